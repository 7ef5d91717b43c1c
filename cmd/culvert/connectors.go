package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"culvert/connectors"
	"culvert/connectors/catalog"
)

const connectorsLong = `What this program knows of providers: list names the built-in connectors, show tells all of one, lint checks
what is known, and test asks the provider. They need no server. Where a provider really is can be set for each, see
pipes.connectors in culvert help settings.`

func connectorsCommand() *cobra.Command {
	cmd := group("connectors", "The built-in connectors to providers: list, show, lint, test", connectorsLong)
	cmd.AddCommand(listConnectorsCommand(), showConnectorCommand(), lintConnectorsCommand(), testConnectorCommand())
	return cmd
}

const listConnectorsLong = `Lists the built-in connectors in the order of their slugs, which are what integrations name.

A preview is one whose URLs nobody has verified.`

func listConnectorsCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the built-in connectors",
		Long:  listConnectorsLong,
		Args:  noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			all := catalog.All()
			if asJSON {
				out := json.NewEncoder(cmd.OutOrStdout())
				for i := range all {
					if err := out.Encode(factsOf(&all[i])); err != nil {
						return err
					}
				}
				return nil
			}
			w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
			_, _ = fmt.Fprintf(w, "SLUG\tSTATE\tMETHODS\tNAME\n")
			for _, c := range all {
				_, _ = fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", c.Slug, stateOf(&c), methodsOf(&c), c.Name)
			}
			return w.Flush()
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON, one connector a line")
	return cmd
}

func showConnectorCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "show SLUG",
		Short: "Show what is known of a provider",
		Args:  oneArgument("the slug of a connector"),
		RunE: func(cmd *cobra.Command, args []string) error {
			all := catalog.All()
			i := slices.IndexFunc(all, func(c connectors.Connector) bool { return c.Slug == args[0] })
			if i < 0 {
				return noConnector(usage("there is no connector %q", args[0]), args[0])
			}
			facts := factsOf(&all[i])
			if asJSON {
				return json.NewEncoder(cmd.OutOrStdout()).Encode(facts)
			}
			return facts.print(cmd.OutOrStdout())
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// noConnector adds the nearest slug to an error about one that is not there.
func noConnector(err error, slug string) error {
	var known []string
	for _, c := range catalog.All() {
		known = append(known, c.Slug)
	}
	if near := nearest(slug, known); near != "" {
		return hinted(err, "did you mean "+near+"?")
	}
	return hinted(err, "culvert connectors list names the connectors")
}
