package main

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"culvert/connectors"
	"culvert/connectors/catalog"
)

const lintConnectorsLong = `Holds the built-in connectors, or those that are named, to the rules of the catalogue: what each must have, what is
unlikely to be meant, and what two of them say of one provider. The settings' endpoints (pipes.connectors) are put in
first and held to the rules that any endpoint keeps. No provider is called.

Exits with 1 if anything is found.`

func lintConnectorsCommand() *cobra.Command {
	var from source
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "lint [SLUG...]",
		Short: "Check the data of connectors",
		Long:  lintConnectorsLong,
		Args:  cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, err := from.load(cmd)
			if err != nil {
				return err
			}
			if err := cfg.Pipes.validate(); err != nil {
				return err
			}
			found, checked, err := lintConnectors(args)
			if err != nil {
				return err
			}
			if err := printProblems(cmd.OutOrStdout(), found, asJSON); err != nil {
				return err
			}
			if len(found) == 0 && !asJSON {
				_, err := fmt.Fprintf(cmd.OutOrStdout(), "%d checked, no problems\n", checked)
				return err
			}
			if len(found) > 0 {
				return hinted(fmt.Errorf("%d problems", len(found)), "connectors/ADDING.md says how a connector is written")
			}
			return nil
		},
	}
	from.register(cmd.Flags())
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON, one problem a line")
	return cmd
}

// problem is what the lint says of a connector.
type problem struct {
	Slug    string `json:"slug"`
	Problem string `json:"problem"`
}

// lintConnectors checks the connectors of the slugs; of none all, and what they say of each other. checked is
// how many they are.
func lintConnectors(slugs []string) (found []problem, checked int, err error) {
	all := catalog.All()
	for _, slug := range slugs {
		if !slices.ContainsFunc(all, func(c connectors.Connector) bool { return c.Slug == slug }) {
			return nil, 0, noConnector(usage("there is no connector %q", slug), slug)
		}
	}
	for _, c := range all {
		if len(slugs) > 0 && !slices.Contains(slugs, c.Slug) {
			continue
		}
		checked++
		for _, p := range catalog.Lint(c) {
			found = append(found, problem{c.Slug, p})
		}
	}
	if len(slugs) == 0 {
		for _, p := range catalog.LintTogether(all) {
			slug, text, _ := strings.Cut(p, ": ")
			found = append(found, problem{slug, text})
		}
	}
	return found, checked, nil
}

func printProblems(w io.Writer, found []problem, asJSON bool) error {
	for _, p := range found {
		var err error
		if asJSON {
			err = json.NewEncoder(w).Encode(p)
		} else {
			_, err = fmt.Fprintf(w, "%s: %s\n", p.Slug, p.Problem)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
