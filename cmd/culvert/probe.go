package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"culvert/connectors"
)

const testConnectorLong = `Calls a provider's endpoints without credentials and tells what they answer: whether the authorization page is
there, whether the token endpoint refuses a code that nobody was given, whether what needs a token or key says so, and
whether the provider's metadata, if it has any, names the same endpoint. Nothing is created there. Calls go where the
settings let the server's go (pipes.connectors, pipes.egress.allow), each once and for 10 seconds at most. Loopback,
which culvert dev allows by itself, is asked for here: --set pipes.egress.allow=127.0.0.1:8500.

A provider with config fields needs their values: --field shop=acme. Without them their examples are used, which
are no customer's, so that not all of it may be there.

Exits with 1 if an endpoint does not answer as it should.`

func testConnectorCommand() *cobra.Command {
	var from source
	var asJSON bool
	var fields map[string]string
	cmd := &cobra.Command{
		Use:   "test SLUG",
		Short: "Ask a provider's endpoints what they answer",
		Long:  testConnectorLong,
		Args:  oneArgument("the slug of a connector"),
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, err := from.load(cmd)
			if err != nil {
				return err
			}
			client, conn, err := probed(&cfg.Pipes, args[0], fields)
			if err != nil {
				return err
			}
			findings := client.Probe(cmd.Context(), conn)
			if err := printFindings(cmd.OutOrStdout(), findings, asJSON); err != nil {
				return err
			}
			return judge(findings)
		},
	}
	from.register(cmd.Flags())
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON, one endpoint a line")
	cmd.Flags().StringToStringVar(&fields, "field", nil, "a config field as `key=value`; may be repeated")
	return cmd
}

// probed is the connector as it is to be called, and a client that may.
func probed(cfg *PipesConfig, slug string, fields map[string]string) (*connectors.Client, *connectors.Connector, error) {
	if err := cfg.validate(); err != nil {
		return nil, nil, err
	}
	all, err := cfg.catalog()
	if err != nil {
		return nil, nil, err
	}
	template, ok := all.Connector(slug)
	if !ok {
		return nil, nil, noConnector(usage("there is no connector %q", slug), slug)
	}
	values := template.ExampleConfig()
	for key, value := range fields {
		if _, known := values[key]; !known {
			return nil, nil, hinted(usage("%s has no config field %q", slug, key), "culvert connectors show "+slug+" names its fields")
		}
		values[key] = value
	}
	conn, err := template.With(values)
	var refused *connectors.ConfigError
	if errors.As(err, &refused) {
		return nil, nil, hinted(usage("the config field %s %s", refused.Key, refused.Rule), "culvert connectors show "+slug+" has an example")
	}
	if err != nil {
		return nil, nil, err
	}
	egress, err := cfg.egress(production)
	if err != nil {
		return nil, nil, err
	}
	client, err := connectors.NewClient(connectors.ClientConfig{Egress: egress})
	return client, conn, err
}

// findingFacts are a finding for scripts.
type findingFacts struct {
	Check  string `json:"check"`
	OK     bool   `json:"ok"`
	Answer string `json:"answer"`
	Hint   string `json:"hint,omitempty"`
}

func printFindings(out io.Writer, findings []connectors.Finding, asJSON bool) error {
	if asJSON {
		encoder := json.NewEncoder(out)
		for _, f := range findings {
			if err := encoder.Encode(findingFacts{f.Check, f.OK, f.Answer, f.Hint}); err != nil {
				return err
			}
		}
		return nil
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintf(w, "ENDPOINT\tRESULT\tANSWER\n")
	for _, f := range findings {
		result := "ok"
		if !f.OK {
			result = "failed"
		}
		_, _ = fmt.Fprintf(w, "%s\t%s\t%s\n", f.Check, result, f.Answer)
	}
	return w.Flush()
}

// judge is the error of findings that are not all good, with what to do about each.
func judge(findings []connectors.Finding) error {
	wrong, advice := 0, map[string]bool{}
	for _, f := range findings {
		if !f.OK {
			wrong++
			advice[f.Hint] = true
		}
	}
	switch {
	case len(findings) == 0:
		return hinted(errors.New("the provider has no endpoint that can be asked"), "try it with an account of your own")
	case wrong == 0:
		return nil
	}
	err := fmt.Errorf("%d of %d endpoints do not answer as they should", wrong, len(findings))
	for _, hint := range slices.Sorted(maps.Keys(advice)) {
		err = hinted(err, hint)
	}
	return err
}
