package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
)

// apiKeysPath is where the API has API keys.
const apiKeysPath = "/culvert/v1/api-keys"

const apiKeysLong = `API keys: who may call, and what they may. A key is shown once, by the command that makes it; the store has no more than
a keyed hash of it. What it may is said by its role (culvert access roles list), and on what by its scope.

All but recover call the API of a server that runs, at --server, with the API key in --key-file.`

func apiKeysCommand() *cobra.Command {
	cmd := group("api-keys", "API keys: create, list, show, rotate, expire, revoke, recover", apiKeysLong)
	cmd.AddCommand(
		createAPIKeyCommand(), listAPIKeysCommand(), showAPIKeyCommand(), rotateAPIKeyCommand(), expireAPIKeyCommand(), revokeAPIKeyCommand(), recoverAPIKeyCommand(),
	)
	return cmd
}

// apiKey is one as the API answers it.
type apiKey struct {
	ID    string `json:"id"`
	Name  string `json:"name"`
	Owner struct {
		Type string `json:"type"`
		ID   string `json:"id"`
	} `json:"owner"`
	Obfuscated  string     `json:"obfuscated_value"`
	Role        string     `json:"role"`
	Permissions []string   `json:"permissions"`
	Scope       *scope     `json:"scope"`
	State       string     `json:"state"`
	LastUsedAt  *time.Time `json:"last_used_at"`
	ExpiresAt   *time.Time `json:"expires_at"`
	RevokedAt   *time.Time `json:"revoked_at"`
	CreatedAt   time.Time  `json:"created_at"`
	CreatedBy   string     `json:"created_by"`
	Predecessor string     `json:"predecessor_id"`
	Successor   string     `json:"successor_id"`
	// Value is the key itself, in the answer of who made it.
	Value string `json:"value"`
}

const createAPIKeyLong = `Makes an API key and prints it on a line of its own, once: nobody can show it again.

--role says what the key may: reader, writer, broker, key-admin, auditor, admin, or a role of the environment. The flags
of a scope narrow it, all of them together: --context, --name-prefix, --connector, --organization, --not-before,
--not-after. --owner makes it the key of an organization, which reaches what is of that organization alone.`

func createAPIKeyCommand() *cobra.Command {
	var flags apiFlags
	var narrow scopeFlags
	var name, role, owner string
	var permissions []string
	var expiresIn time.Duration
	cmd := &cobra.Command{
		Use:   "create --name NAME --role ROLE",
		Short: "Make an API key, and print it once",
		Long:  createAPIKeyLong,
		Args:  noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if name == "" || role == "" && owner == "" && len(permissions) == 0 {
				return hinted(usage("%s needs --name and --role", cmd.CommandPath()), "culvert access roles list shows the roles")
			}
			body := map[string]any{"name": name}
			for member, value := range map[string]string{"role": role, "organization_id": owner} {
				if value != "" {
					body[member] = value
				}
			}
			if len(permissions) > 0 {
				body["permissions"] = permissions
			}
			if cmd.Flags().Changed("expires-in") {
				body["expires_in"] = expiresIn.String()
			}
			narrowed, err := narrow.body()
			if err != nil {
				return err
			}
			if len(narrowed) > 0 {
				body["scope"] = narrowed
			}
			return flags.makeKey(cmd, apiKeysPath, body)
		},
	}
	flags.register(cmd)
	narrow.register(cmd.Flags())
	cmd.Flags().StringVar(&name, "name", "", "what people call the key")
	cmd.Flags().StringVar(&role, "role", "", "what the key may, a `role`")
	cmd.Flags().StringVar(&owner, "owner", "", "the `organization` that owns the key")
	cmd.Flags().StringSliceVar(&permissions, "permissions", nil, "further `actions`, or an application's own permissions")
	cmd.Flags().DurationVar(&expiresIn, "expires-in", 0, "after how long the key ends, such as 720h; never by default")
	return cmd
}

// makeKey makes a call that answers with a new key, and prints it.
func (f *apiFlags) makeKey(cmd *cobra.Command, path string, body any) error {
	raw, err := f.ask(cmd, func(ctx context.Context, c *client, answer any) error { return c.post(ctx, path, body, answer) })
	if err != nil {
		return err
	}
	out := cmd.OutOrStdout()
	if f.json {
		_, err := fmt.Fprintf(out, "%s\n", raw)
		return err
	}
	var k apiKey
	if err := json.Unmarshal(raw, &k); err != nil {
		return fmt.Errorf("decode the answer: %w", err)
	}
	// The key alone on stdout, so that it can go into a file of mode 0600 as it is.
	if err := k.print(cmd.ErrOrStderr()); err != nil {
		return err
	}
	_, err = fmt.Fprintln(out, k.Value)
	return err
}

func listAPIKeysCommand() *cobra.Command {
	var flags apiFlags
	var owner string
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List API keys, newest first, with when they were used last",
		Args:  noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			query := url.Values{"limit": {"100"}}
			if owner != "" {
				query.Set("organization_id", owner)
			}
			if !flags.json {
				_, _ = fmt.Fprintln(cmd.OutOrStdout(), "API KEY                             STATE    ROLE        EXPIRES     LAST USED            NAME  OWNER")
			}
			return printListed(cmd, &flags, apiKeysPath, query, (*apiKey).printLine)
		},
	}
	flags.registerList(cmd)
	cmd.Flags().StringVar(&owner, "owner", "", "only the keys of this `organization`")
	return cmd
}

// printLine prints one API key of a list.
func (k *apiKey) printLine(out io.Writer) error {
	line := fmt.Sprintf("%-34s  %-7s  %-10s  %-10s  %-19s  %s", k.ID, k.State, cmp.Or(k.Role, "-"),
		day(k.ExpiresAt), minute(k.LastUsedAt), k.Name)
	if k.Owner.Type == "organization" {
		line += "  " + k.Owner.ID
	}
	_, err := fmt.Fprintln(out, line)
	return err
}

func day(t *time.Time) string {
	if t == nil {
		return "never"
	}
	return t.Format(time.DateOnly)
}

func minute(t *time.Time) string {
	if t == nil {
		return "never"
	}
	return t.Format("2006-01-02 15:04 UTC")
}

func showAPIKeyCommand() *cobra.Command {
	var flags apiFlags
	cmd := &cobra.Command{
		Use:   "show ID",
		Short: "Describe one API key; the key itself is never shown again",
		Args:  oneArgument("the id of an API key"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return printAnswered(cmd, &flags, func(ctx context.Context, c *client, answer any) error {
				return c.get(ctx, keyPath(args[0]), nil, answer)
			}, (*apiKey).print)
		},
	}
	flags.register(cmd)
	return cmd
}

func keyPath(id string) string { return apiKeysPath + "/" + url.PathEscape(id) }

func rotateAPIKeyCommand() *cobra.Command {
	var flags apiFlags
	var overlap, expiresIn time.Duration
	cmd := &cobra.Command{
		Use:   "rotate ID",
		Short: "Make a key in place of another one, and print it once",
		Long: `Makes an API key with the rights of another one, and prints it once. The old one works on for --overlap, so that whoever
uses it has time to change; each names the other. Without --expires-in the new key lives as long as the old one was to.`,
		Args: oneArgument("the id of an API key"),
		RunE: func(cmd *cobra.Command, args []string) error {
			body := map[string]any{"overlap": overlap.String()}
			if cmd.Flags().Changed("expires-in") {
				body["expires_in"] = expiresIn.String()
			}
			return flags.makeKey(cmd, keyPath(args[0])+"/rotate", body)
		},
	}
	flags.register(cmd)
	cmd.Flags().DurationVar(&overlap, "overlap", 24*time.Hour, "for how long the old key works on; 0s ends it at once")
	cmd.Flags().DurationVar(&expiresIn, "expires-in", 0, "after how long the new key ends, such as 720h")
	return cmd
}

func expireAPIKeyCommand() *cobra.Command {
	var flags apiFlags
	var in time.Duration
	var never, force bool
	cmd := &cobra.Command{
		Use:   "expire ID",
		Short: "Change when an API key ends: now, after --in, or --never",
		Args:  oneArgument("the id of an API key"),
		RunE: func(cmd *cobra.Command, args []string) error {
			body := map[string]any{"force": force}
			switch given := cmd.Flags().Changed("in"); {
			case given && never:
				return hinted(usage("--in and --never exclude each other"), cmd.CommandPath()+" --help says what they are")
			case given:
				body["expires_in"] = in.String()
			case never:
				body["expires_at"] = nil
			}
			return printAnswered(cmd, &flags, func(ctx context.Context, c *client, answer any) error {
				return c.post(ctx, keyPath(args[0])+"/expire", body, answer)
			}, (*apiKey).print)
		},
	}
	flags.register(cmd)
	cmd.Flags().DurationVar(&in, "in", 0, "after how long the key ends, such as 24h; now by default")
	cmd.Flags().BoolVar(&never, "never", false, "take the key's end away")
	cmd.Flags().BoolVar(&force, "force", false, "also the last key with every right")
	return cmd
}

func revokeAPIKeyCommand() *cobra.Command {
	var flags apiFlags
	var force bool
	cmd := &cobra.Command{
		Use:   "revoke ID",
		Short: "End an API key for good, on every replica at once",
		Long: `Ends an API key for good. When the command has ended, no call succeeds by the key any more, on any replica.

The last key with every right is kept, because without one nobody could make another. With --force it goes too; then
only culvert api-keys recover lets anybody back in.`,
		Args: oneArgument("the id of an API key"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := flags.open()
			if err != nil {
				return err
			}
			path := keyPath(args[0])
			if force {
				path += "?force=true"
			}
			if err := c.call(cmd.Context(), http.MethodDelete, path, nil, nil); err != nil {
				return err
			}
			if !flags.json {
				_, err = fmt.Fprintf(cmd.OutOrStdout(), "Revoked %s\n", args[0])
			}
			return err
		},
	}
	flags.register(cmd)
	cmd.Flags().BoolVar(&force, "force", false, "also the last key with every right")
	return cmd
}

func (k *apiKey) print(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintf(w, "API key\t%s (%s)\nName\t%s\nOwner\t%s %s\nRole\t%s\n", k.ID, k.Obfuscated, k.Name, k.Owner.Type, k.Owner.ID, cmp.Or(k.Role, "-"))
	if len(k.Permissions) > 0 {
		_, _ = fmt.Fprintf(w, "Permissions\t%s\n", strings.Join(k.Permissions, ", "))
	}
	if k.Scope != nil {
		_, _ = fmt.Fprintf(w, "Scope\t%s\n", k.Scope)
	}
	_, _ = fmt.Fprintf(w, "State\t%s\nCreated\t%s by %s\n", k.State, k.CreatedAt.Format(time.RFC3339), cmp.Or(k.CreatedBy, "the store's first start"))
	for _, at := range []struct {
		what string
		at   *time.Time
	}{{"Expires", k.ExpiresAt}, {"Revoked", k.RevokedAt}, {"Last used", k.LastUsedAt}} {
		if at.at != nil {
			_, _ = fmt.Fprintf(w, "%s\t%s\n", at.what, at.at.Format(time.RFC3339))
		}
	}
	for _, other := range []struct{ what, id string }{{"Replaces", k.Predecessor}, {"Replaced by", k.Successor}} {
		if other.id != "" {
			_, _ = fmt.Fprintf(w, "%s\t%s\n", other.what, other.id)
		}
	}
	return w.Flush()
}
