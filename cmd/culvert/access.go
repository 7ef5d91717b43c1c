package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/spf13/cobra"
)

// rolesPath and explainPath are where the API has roles and what they come to.
const (
	rolesPath   = "/culvert/v1/roles"
	explainPath = "/culvert/v1/access/explain"
)

func accessCommand() *cobra.Command {
	cmd := group("access", "Roles, and why an API key may do something or not", `What API keys may: roles are lists of rules that allow or deny actions, explain says which rule decides.

All of them call the API of a server that runs, at --server, with the API key in --key-file.`)
	roles := group("roles", "Roles: create, list, show, replace, delete", `Roles. Those that every environment has are part of the program: reader, writer, broker, key-admin, auditor, admin. A role of
the environment is a list of rules, in a JSON file:

  [{"effect": "allow", "actions": ["vault.data.read"], "scope": {"name_prefix": "billing/"}},
   {"effect": "deny", "actions": ["*"], "scope": {"context": {"team": "root"}}}]

What no rule allows is denied, and what one rule denies is denied, whatever others say.`)
	roles.AddCommand(createRoleCommand(), listRolesCommand(), showRoleCommand(), replaceRoleCommand(), deleteRoleCommand())
	cmd.AddCommand(roles, explainCommand())
	return cmd
}

func explainCommand() *cobra.Command {
	var flags apiFlags
	var key, action, name, connector, organization string
	var items []string
	cmd := &cobra.Command{
		Use:   "explain --action ACTION",
		Short: "Say why an API key may do something, or not",
		Long: `Asks the server's evaluator whether an API key may do something, and prints the rule that decides. Nothing is done, and no
record is looked at: --context, --name, --connector and --organization say what one would be like.

The exit code is 0 if the key may, and 1 if it may not.`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if action == "" {
				return hinted(usage("%s needs --action", cmd.CommandPath()), "such as vault.data.read; server/API.md has them after Requires")
			}
			described, err := parseItems(items)
			if err != nil {
				return err
			}
			body := map[string]any{"action": action, "context": described}
			for member, value := range map[string]string{"api_key_id": key, "name": name, "connector": connector, "organization_id": organization} {
				if value != "" {
					body[member] = value
				}
			}
			return flags.explain(cmd, body)
		},
	}
	flags.register(cmd)
	f := cmd.Flags()
	f.StringVar(&key, "key", "", "the `id` of the API key; default the one in --key-file")
	f.StringVar(&action, "action", "", "the `action`, such as vault.data.read")
	f.StringArrayVar(&items, "context", nil, "an item of the record's key context, `name=value`; may be repeated")
	f.StringVar(&name, "name", "", "the object's name")
	f.StringVar(&connector, "connector", "", "the `slug` of what the record belongs to")
	f.StringVar(&organization, "organization", "", "the `organization` that the record is of")
	return cmd
}

// explanation is an answer of explain.
type explanation struct {
	Key     string `json:"api_key_id"`
	Action  string `json:"action"`
	Allowed bool   `json:"allowed"`
	Reason  string `json:"reason"`
	Role    string `json:"role"`
	Number  int    `json:"rule_number"`
	Rule    *rule  `json:"rule"`
}

func (f *apiFlags) explain(cmd *cobra.Command, body any) error {
	raw, err := f.ask(cmd, func(ctx context.Context, c *client, answer any) error { return c.post(ctx, explainPath, body, answer) })
	if err != nil {
		return err
	}
	var e explanation
	if err := json.Unmarshal(raw, &e); err != nil {
		return fmt.Errorf("decode the answer: %w", err)
	}
	if f.json {
		_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s\n", raw)
	} else {
		err = e.print(cmd.OutOrStdout())
	}
	if err == nil && !e.Allowed {
		return hinted(fmt.Errorf("%s may not %s", e.Key, e.Action), reasonText(e.Reason))
	}
	return err
}

func (e *explanation) print(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	verdict := "no"
	if e.Allowed {
		verdict = "yes"
	}
	_, _ = fmt.Fprintf(w, "API key\t%s\nRole\t%s\nAction\t%s\nAllowed\t%s\nReason\t%s\n", e.Key, e.Role, e.Action, verdict, reasonText(e.Reason))
	if e.Rule != nil {
		_, _ = fmt.Fprintf(w, "Rule %d\t%s\n", e.Number, e.Rule)
	}
	return w.Flush()
}

// reasonText says a reason in words.
func reasonText(reason string) string {
	switch reason {
	case "allowed_by_rule":
		return "a rule allows it"
	case "denied_by_rule":
		return "a rule denies it, which wins over whatever allows it"
	case "no_rule":
		return "no rule of the role allows the action"
	case "out_of_scope":
		return "the rule that allows it is about other records, or other times"
	case "out_of_key_scope":
		return "the key's own scope, or the organization that owns it, leaves this record out"
	case "whole_environment":
		return "the action is about a whole environment, and the key may a part of it"
	case "other_environment":
		return "only API keys of the first environment may, because it is about the whole store"
	case "key_expired", "key_revoked":
		return "the key has ended: culvert api-keys show tells when"
	}
	return reason
}
