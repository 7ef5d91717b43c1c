package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
)

// cmksPath is where the API has customers' keys.
const cmksPath = "/culvert/v1/cmks"

const cmkLong = `Customers' own keys (CMK, bring your own key). One applies to a context item: every KEK whose key context has
the item is under the customer's key beside the root key, and cannot be used without it.`

func cmkCommand() *cobra.Command {
	cmd := group("cmk", "Customers' own keys: attach, list, show, verify, detach", cmkLong)
	cmd.AddCommand(attachCMKCommand(), listCMKsCommand(), showCMKCommand(), verifyCMKCommand(), detachCMKCommand())
	return cmd
}

// cmkFlags are shared by attach and detach, which are jobs.
type cmkFlags struct {
	workFlags
	dryRun bool
}

func (f *cmkFlags) register(cmd *cobra.Command) {
	f.workFlags.register(cmd)
	cmd.Flags().BoolVar(&f.dryRun, "dry-run", false, "count, and change nothing")
}

func attachCMKCommand() *cobra.Command {
	var flags cmkFlags
	var item, key string
	cmd := &cobra.Command{
		Use:   "attach --context name=value --key ARN",
		Short: "Put KEKs under a customer's key, beside the root key",
		Long: `Tries the customer's key, and puts every KEK whose key context has the item under it: new ones at once, those
from before by a job of the server, which gives each a new version and wraps data keys again. What a job
left undone, the same command goes on with. The last line says which backups the key does not protect.`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			name, value, err := parseItem(item)
			if err != nil {
				return err
			}
			if key == "" {
				return hinted(usage("%s needs --key", cmd.CommandPath()), "the full ARN of the customer's key, or the URI of a key under other_root_keys in the server's settings")
			}
			return flags.await(cmd, func(ctx context.Context, c *client, answer any) error {
				return c.post(ctx, cmksPath, map[string]any{
					"context_name": name, "context_value": value, "key": key, "dry_run": flags.dryRun, "rate": flags.rate,
				}, answer)
			})
		},
	}
	flags.register(cmd)
	cmd.Flags().StringVar(&item, "context", "", "the item that the key applies to, `name=value`")
	cmd.Flags().StringVar(&key, "key", "", "the key's full `ARN`, or its URI")
	return cmd
}

func detachCMKCommand() *cobra.Command {
	var flags cmkFlags
	cmd := &cobra.Command{
		Use:   "detach ID",
		Short: "Take a customer's key from the KEKs under it",
		Long: `Seals every KEK under the customer's key again without it, by a job of the server, and forgets the key then.
It needs the key: what is under one that refuses for good can only be shredded.`,
		Args: oneArgument("the id of a customer's key"),
		RunE: func(cmd *cobra.Command, args []string) error {
			query := url.Values{"dry_run": {strconv.FormatBool(flags.dryRun)}, "rate": {strconv.Itoa(flags.rate)}}
			return flags.await(cmd, func(ctx context.Context, c *client, answer any) error {
				return c.call(ctx, http.MethodDelete, cmksPath+"/"+url.PathEscape(args[0])+"?"+query.Encode(), nil, answer)
			})
		},
	}
	flags.register(cmd)
	return cmd
}

// cmk is one as the API answers it.
type cmk struct {
	ID           string     `json:"id"`
	ContextName  string     `json:"context_name"`
	ContextValue string     `json:"context_value"`
	URI          string     `json:"key_uri"`
	State        string     `json:"state"`
	JobID        string     `json:"job_id"`
	CreatedAt    time.Time  `json:"created_at"`
	AttachedAt   *time.Time `json:"attached_at"`
}

func (k *cmk) item() string { return contextText(map[string]string{k.ContextName: k.ContextValue}) }

// printLine prints one customer's key of a list.
func (k *cmk) printLine(out io.Writer) error {
	_, err := fmt.Fprintf(out, "%-36s  %-9s  %s  %s\n", k.ID, k.State, k.item(), k.URI)
	return err
}

func listCMKsCommand() *cobra.Command {
	var flags apiFlags
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List customers' keys",
		Args:  noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !flags.json {
				_, _ = fmt.Fprintln(cmd.OutOrStdout(), "CMK                                   STATE      ITEM  KEY")
			}
			return printListed(cmd, &flags, cmksPath, url.Values{"limit": {"100"}}, (*cmk).printLine)
		},
	}
	flags.registerList(cmd)
	return cmd
}

func showCMKCommand() *cobra.Command {
	return aboutCMKCommand("show", "Describe one customer's key", func(ctx context.Context, c *client, path string, answer any) error {
		return c.get(ctx, path, nil, answer)
	})
}

func verifyCMKCommand() *cobra.Command {
	return aboutCMKCommand("verify", "Try a customer's key as its KEKs use it", func(ctx context.Context, c *client, path string, answer any) error {
		return c.post(ctx, path+"/verify", nil, answer)
	})
}

// aboutCMKCommand is a command that takes the id of a customer's key and prints what is known of it.
func aboutCMKCommand(verb, short string, call func(ctx context.Context, c *client, path string, answer any) error) *cobra.Command {
	var flags apiFlags
	cmd := &cobra.Command{
		Use:   verb + " ID",
		Short: short,
		Args:  oneArgument("the id of a customer's key"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return printAnswered(cmd, &flags, func(ctx context.Context, c *client, answer any) error {
				return call(ctx, c, cmksPath+"/"+url.PathEscape(args[0]), answer)
			}, (*cmk).print)
		},
	}
	flags.register(cmd)
	return cmd
}

func (k *cmk) print(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintf(w, "CMK\t%s\nItem\t%s\nKey\t%s\nState\t%s, by job %s\nCreated\t%s\n",
		k.ID, k.item(), k.URI, k.State, k.JobID, k.CreatedAt.Format(time.RFC3339))
	if k.AttachedAt != nil {
		_, _ = fmt.Fprintf(w, "Attached\t%s\n", k.AttachedAt.Format(time.RFC3339))
	}
	return w.Flush()
}
