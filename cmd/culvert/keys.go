package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
)

const keysLong = `Operations on KEKs, the keys that wrap the data keys of one key context each: rotate gives them a new version,
rewrap brings data keys under it, rewrap-root brings KEKs under another root key, reencrypt seals values under
fresh data keys, and shred makes everything under a context item unreadable. cmk is about customers' own keys,
schedule about rotations without somebody who asks, rekey about a data key that a client holds.

What is about many records is a job of the server: job shows one, jobs all, cancel ends one, resume lets it go on.

All of them call the API of a server that runs, at --server, with the API key in --key-file.`

func keysCommand() *cobra.Command {
	cmd := group("keys", "Operations on keys: list, rotate, rewrap, re-encrypt, shred, customers' keys, jobs", keysLong)
	cmd.AddCommand(
		listKeysCommand(), showKeyCommand(), rotateCommand(), rewrapCommand(), rewrapRootCommand(), reencryptCommand(), rekeyCommand(), shredCommand(), cmkCommand(), scheduleCommand(),
		listJobsCommand(), showJobCommand(), cancelJobCommand(), resumeJobCommand(),
	)
	return cmd
}

// kek is one as the API answers it.
type kek struct {
	ID        string            `json:"id"`
	Context   map[string]string `json:"key_context"`
	State     string            `json:"state"`
	CreatedAt time.Time         `json:"created_at"`
	Versions  int               `json:"versions"`
	PrimaryAt time.Time         `json:"primary_created_at"`
	RootKeys  []struct {
		Slot string `json:"slot"`
		URI  string `json:"uri"`
	} `json:"root_keys"`
	// Records and Stale are nil where the server did not count.
	Records    *uint64    `json:"records"`
	Stale      *uint64    `json:"stale_records"`
	ShreddedAt *time.Time `json:"shredded_at"`
}

// keksPath is where the API has KEKs.
const keksPath = "/culvert/v1/keks"

const listKeysLong = `Lists KEKs in order of creation, all or those of a context item, the shredded ones too.

PRIMARY is the day of the newest version. RECORDS have data keys under the KEK, STALE of them under an older version,
which culvert keys rewrap changes; both are ? where there are too many to be counted for an answer. ROOT KEYS are
all needed to use the KEK: those of customers, and the server's.`

func listKeysCommand() *cobra.Command {
	var flags apiFlags
	var item string
	var counts bool
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List KEKs in order of creation, all or those of a context item",
		Long:  listKeysLong,
		Args:  noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := flags.open()
			if err != nil {
				return err
			}
			query := url.Values{"limit": {"100"}, "counts": {strconv.FormatBool(counts)}}
			if cmd.Flags().Changed("context") {
				name, value, err := parseItem(item)
				if err != nil {
					return err
				}
				query.Set("context_name", name)
				query.Set("context_value", value)
			}
			return listKEKs(cmd.Context(), c, query, flags.json, cmd.OutOrStdout())
		},
	}
	flags.registerList(cmd)
	cmd.Flags().BoolVar(&counts, "counts", true, "count the records of each KEK, which goes through all there are")
	cmd.Flags().StringVar(&item, "context", "", "only KEKs whose key context has this item, `name=value`")
	return cmd
}

// parseItem reads a context item as it is typed. A value may hold an equals sign, a name can not.
func parseItem(text string) (name, value string, err error) {
	name, value, ok := strings.Cut(text, "=")
	if !ok || name == "" {
		return "", "", hinted(usage("a context item is written name=value"), "such as organization_id=org_123, as culvert keys list shows them")
	}
	return name, value, nil
}

func listKEKs(ctx context.Context, c *client, query url.Values, asJSON bool, out io.Writer) error {
	headed := asJSON
	head := func() {
		if !headed {
			_, _ = fmt.Fprintln(out, "KEK                                   STATE     VERSIONS  PRIMARY      RECORDS     STALE  CONTEXT  ROOT KEYS")
		}
		headed = true
	}
	err := c.eachOf(ctx, keksPath, query, func(raw json.RawMessage) error {
		head()
		var k kek
		if err := json.Unmarshal(raw, &k); err != nil {
			return fmt.Errorf("decode the answer: %w", err)
		}
		if k.Records == nil {
			query.Set("counts", "false") // what was too much for one page is too much for the next
		}
		if asJSON {
			_, err := fmt.Fprintf(out, "%s\n", raw)
			return err
		}
		return k.printLine(out)
	})
	if err == nil {
		head() // of a list without lines
	}
	return err
}

// printLine prints one KEK of a list.
func (k *kek) printLine(out io.Writer) error {
	primary := "-"
	if k.Versions > 0 {
		primary = k.PrimaryAt.Format(time.DateOnly)
	}
	line := fmt.Sprintf("%-36s  %-8s  %8d  %-10s  %8s  %8s  %s",
		k.ID, k.State, k.Versions, primary, countText(k.Records), countText(k.Stale), contextText(k.Context))
	for _, r := range k.RootKeys {
		line += "  " + r.URI
	}
	_, err := fmt.Fprintln(out, line)
	return err
}

// countText is a number, or a question mark where there are too many to be counted for an answer.
func countText(n *uint64) string {
	if n == nil {
		return "?"
	}
	return strconv.FormatUint(*n, 10)
}

// contextText is a key context in one line, in order. Items come quoted where they would not be read as
// they are.
func contextText(items map[string]string) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(items)) {
		part := name + "=" + items[name]
		if strings.ContainsAny(part, " \t\"'\\") {
			part = fmt.Sprintf("%q", part)
		}
		parts = append(parts, part)
	}
	return cmp.Or(strings.Join(parts, " "), "(empty)")
}

func showKeyCommand() *cobra.Command {
	var flags apiFlags
	cmd := &cobra.Command{
		Use:   "show ID",
		Short: "Describe one KEK",
		Args:  oneArgument("the id of a KEK"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return flags.about(cmd, args[0], func(ctx context.Context, c *client, id string, answer any) error {
				return c.get(ctx, keksPath+"/"+url.PathEscape(id), nil, answer)
			})
		},
	}
	flags.register(cmd)
	return cmd
}

// about makes a call that answers with a KEK, and prints it.
func (f *apiFlags) about(cmd *cobra.Command, id string, call func(ctx context.Context, c *client, id string, answer any) error) error {
	return printAnswered(cmd, f, func(ctx context.Context, c *client, answer any) error { return call(ctx, c, id, answer) }, (*kek).print)
}

func (k *kek) print(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintf(w, "KEK\t%s\nContext\t%s\nState\t%s\nCreated\t%s\n", k.ID, contextText(k.Context), k.State, k.CreatedAt.Format(time.RFC3339))
	if k.Versions > 0 {
		_, _ = fmt.Fprintf(w, "Versions\t%d, the primary from %s\n", k.Versions, k.PrimaryAt.Format(time.RFC3339))
	}
	for _, r := range k.RootKeys {
		_, _ = fmt.Fprintf(w, "Root key\t%s (%s)\n", r.URI, r.Slot)
	}
	if k.Records != nil && k.Stale != nil {
		_, _ = fmt.Fprintf(w, "Records\t%d, %d of them stale\n", *k.Records, *k.Stale)
	}
	if k.ShreddedAt != nil {
		_, _ = fmt.Fprintf(w, "Shredded\t%s\n", k.ShreddedAt.Format(time.RFC3339))
	}
	return w.Flush()
}
