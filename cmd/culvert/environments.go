package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
)

// environmentsPath is where the API has environments.
const environmentsPath = "/culvert/v1/environments"

const environmentsLong = `Environments: what must never meet, such as sandbox and production, in one store and one set of servers. Each has its own
encryption keys, objects, integrations, accounts, events, webhooks, API keys and roles; an API key is of one environment,
and nothing of another one is there for it.

A store begins with the environment "default". Only API keys of that one can make others and list all; any other sees its
own. An environment cannot be deleted: culvert keys shred destroys what is in it.

The commands call the API of a server that runs, at --server, with the API key in --key-file.`

func environmentsCommand() *cobra.Command {
	cmd := group("environments", "Environments: create, list, show", environmentsLong)
	cmd.AddCommand(createEnvironmentCommand(), listEnvironmentsCommand(), showEnvironmentCommand())
	return cmd
}

// environment is one as the API answers it.
type environment struct {
	ID        string    `json:"id"`
	Name      string    `json:"name"`
	CreatedAt time.Time `json:"created_at"`
	// APIKey is in the answer of who made it.
	APIKey *apiKey `json:"api_key"`
}

func (e *environment) print(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintf(w, "Environment\t%s\nName\t%s\nCreated\t%s\n", e.ID, e.Name, e.CreatedAt.Format(time.RFC3339))
	return w.Flush()
}

const createEnvironmentLong = `Makes an environment, and prints its first API key on a line of its own, once: nobody can show it again. The key has every
right in the new environment and none anywhere else, and makes the other keys of it.

Every server on the store knows the environment within a second. NAME is small letters, digits and dashes.`

func createEnvironmentCommand() *cobra.Command {
	var flags apiFlags
	cmd := &cobra.Command{
		Use:   "create NAME",
		Short: "Make an environment, and print its first API key once",
		Long:  createEnvironmentLong,
		Args:  oneArgument("the name of an environment"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := flags.open()
			if err != nil {
				return err
			}
			var raw json.RawMessage
			if err := c.post(cmd.Context(), environmentsPath, map[string]any{"name": args[0]}, &raw); err != nil {
				return err
			}
			if flags.json {
				_, err := fmt.Fprintf(cmd.OutOrStdout(), "%s\n", raw)
				return err
			}
			var e environment
			if err := json.Unmarshal(raw, &e); err != nil || e.APIKey == nil {
				return hinted(fmt.Errorf("the answer has no API key (%v)", err), "see that --server is of this version")
			}
			// The key alone on stdout, so that it can go into a file of mode 0600 as it is.
			if err := e.print(cmd.ErrOrStderr()); err != nil {
				return err
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), e.APIKey.Value)
			return err
		},
	}
	flags.register(cmd)
	return cmd
}

func listEnvironmentsCommand() *cobra.Command {
	var flags apiFlags
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the environments that the API key may see, the oldest first",
		Args:  noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !flags.json {
				_, _ = fmt.Fprintln(cmd.OutOrStdout(), "ENVIRONMENT                             CREATED     NAME")
			}
			return printListed(cmd, &flags, environmentsPath, url.Values{}, func(e *environment, out io.Writer) error {
				_, err := fmt.Fprintf(out, "%-38s  %s  %s\n", e.ID, e.CreatedAt.Format(time.DateOnly), e.Name)
				return err
			})
		},
	}
	flags.registerList(cmd)
	return cmd
}

func showEnvironmentCommand() *cobra.Command {
	var flags apiFlags
	cmd := &cobra.Command{
		Use:   "show NAME",
		Short: "Describe one environment, by its name or id",
		Args:  oneArgument("the name or id of an environment"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return printAnswered(cmd, &flags, func(ctx context.Context, c *client, answer any) error {
				return c.get(ctx, environmentsPath+"/"+url.PathEscape(args[0]), nil, answer)
			}, (*environment).print)
		},
	}
	flags.register(cmd)
	return cmd
}
