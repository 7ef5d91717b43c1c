package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/spf13/cobra"
)

// role is one as the API answers it.
type role struct {
	Name        string `json:"name"`
	BuiltIn     bool   `json:"built_in"`
	Description string `json:"description"`
	Rules       []rule `json:"rules"`
	UpdatedBy   string `json:"updated_by"`
}

type rule struct {
	Effect  string   `json:"effect"`
	Actions []string `json:"actions"`
	Scope   *scope   `json:"scope"`
}

func (r *rule) String() string {
	text := r.Effect + " " + strings.Join(r.Actions, ", ")
	if r.Scope != nil {
		text += " where " + r.Scope.String()
	}
	return text
}

// roleFlags are shared by create and replace. Without a file, the flags are one rule that allows.
type roleFlags struct {
	apiFlags
	scopeFlags
	description, file string
	allow, deny       []string
}

func (f *roleFlags) register(cmd *cobra.Command) {
	f.apiFlags.register(cmd)
	f.scopeFlags.register(cmd.Flags())
	cmd.Flags().StringVar(&f.description, "description", "", "what the role is for")
	cmd.Flags().StringVar(&f.file, "rules", "", "`file` with the rules as JSON, instead of the flags below")
	cmd.Flags().StringSliceVar(&f.allow, "allow", nil, "`actions` that the role allows in the scope that the flags give")
	cmd.Flags().StringSliceVar(&f.deny, "deny", nil, "`actions` that it denies, wherever that is")
}

// body is the role as the API is asked with it.
func (f *roleFlags) body(cmd *cobra.Command) (map[string]any, error) {
	body := map[string]any{"description": f.description}
	narrowed, err := f.scopeFlags.body()
	if err != nil {
		return nil, err
	}
	switch flags := len(f.allow) + len(f.deny) + len(narrowed); {
	case f.file != "" && flags > 0:
		return nil, hinted(usage("--rules and the flags of a rule exclude each other"), cmd.CommandPath()+" --help says what they are")
	case f.file != "":
		text, err := readPublic(f.file)
		if err != nil {
			return nil, fmt.Errorf("rules: %w", err)
		}
		var rules []json.RawMessage
		if err := json.Unmarshal(text, &rules); err != nil {
			return nil, hinted(fmt.Errorf("%s is no JSON list of rules", f.file), "culvert access roles --help shows one")
		}
		body["rules"] = rules
		return body, nil
	case len(f.allow) == 0:
		return nil, hinted(usage("%s needs --allow or --rules", cmd.CommandPath()), "such as --allow vault.data.read; culvert access roles show reader names some actions")
	}
	allowed := map[string]any{"effect": "allow", "actions": f.allow}
	if len(narrowed) > 0 {
		allowed["scope"] = narrowed
	}
	rules := []any{allowed}
	if len(f.deny) > 0 {
		rules = append(rules, map[string]any{"effect": "deny", "actions": f.deny})
	}
	body["rules"] = rules
	return body, nil
}

func createRoleCommand() *cobra.Command {
	var flags roleFlags
	cmd := &cobra.Command{
		Use:   "create NAME",
		Short: "Make a role of the environment",
		Args:  oneArgument("the name of a role"),
		RunE: func(cmd *cobra.Command, args []string) error {
			body, err := flags.body(cmd)
			if err != nil {
				return err
			}
			body["name"] = args[0]
			return printAnswered(cmd, &flags.apiFlags, func(ctx context.Context, c *client, answer any) error {
				return c.post(ctx, rolesPath, body, answer)
			}, (*role).print)
		},
	}
	flags.register(cmd)
	return cmd
}

func replaceRoleCommand() *cobra.Command {
	var flags roleFlags
	cmd := &cobra.Command{
		Use:   "replace NAME",
		Short: "Give a role other rules, on every replica at once",
		Args:  oneArgument("the name of a role"),
		RunE: func(cmd *cobra.Command, args []string) error {
			body, err := flags.body(cmd)
			if err != nil {
				return err
			}
			return printAnswered(cmd, &flags.apiFlags, func(ctx context.Context, c *client, answer any) error {
				return c.call(ctx, http.MethodPut, rolesPath+"/"+url.PathEscape(args[0]), body, answer)
			}, (*role).print)
		},
	}
	flags.register(cmd)
	return cmd
}

func listRolesCommand() *cobra.Command {
	var flags apiFlags
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List all roles, those of every environment first",
		Args:  noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return printListed(cmd, &flags, rolesPath, url.Values{}, (*role).print)
		},
	}
	flags.registerList(cmd)
	return cmd
}

func showRoleCommand() *cobra.Command {
	var flags apiFlags
	cmd := &cobra.Command{
		Use:   "show NAME",
		Short: "Show the rules of one role",
		Args:  oneArgument("the name of a role"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return printAnswered(cmd, &flags, func(ctx context.Context, c *client, answer any) error {
				return c.get(ctx, rolesPath+"/"+url.PathEscape(args[0]), nil, answer)
			}, (*role).print)
		},
	}
	flags.register(cmd)
	return cmd
}

func deleteRoleCommand() *cobra.Command {
	var flags apiFlags
	cmd := &cobra.Command{
		Use:   "delete NAME",
		Short: "Delete a role that no usable API key has",
		Args:  oneArgument("the name of a role"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := flags.open()
			if err != nil {
				return err
			}
			if err := c.call(cmd.Context(), http.MethodDelete, rolesPath+"/"+url.PathEscape(args[0]), nil, nil); err != nil {
				return err
			}
			if !flags.json {
				_, err = fmt.Fprintf(cmd.OutOrStdout(), "Deleted %s\n", args[0])
			}
			return err
		},
	}
	flags.register(cmd)
	return cmd
}

func (r *role) print(out io.Writer) error {
	text := r.Name
	switch {
	case r.BuiltIn:
		text += " (of every environment)"
	case r.Description != "":
		text += ": " + r.Description
	}
	for i := range r.Rules {
		text += fmt.Sprintf("\n  %d  %s", i+1, &r.Rules[i])
	}
	_, err := fmt.Fprintln(out, text)
	return err
}
