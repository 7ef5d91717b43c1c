package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"culvert/connectors"
	"culvert/connectors/catalog"
)

const connectorsLong = `What this program knows of providers: list names the built-in connectors, show tells all of one. They need no
server. Where a provider really is can be set for each, see pipes.connectors in culvert help settings.`

func connectorsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "connectors",
		Short: "The built-in connectors to providers: list, show",
		Long:  connectorsLong,
		Args:  cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return cmd.Help()
			}
			return unknownCommand(cmd, args[0])
		},
	}
	cmd.AddCommand(listConnectorsCommand(), showConnectorCommand())
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
			_, _ = fmt.Fprintf(w, "SLUG\tSTATE\tNAME\n")
			for _, c := range all {
				_, _ = fmt.Fprintf(w, "%s\t%s\t%s\n", c.Slug, stateOf(&c), c.Name)
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

// connectorFacts are a connector as a person or a script reads it. The names are those of the API where
// it has one for the same thing.
type connectorFacts struct {
	Slug             string            `json:"slug"`
	Name             string            `json:"name"`
	State            string            `json:"state"`
	Type             string            `json:"integration_type"`
	DocsURL          string            `json:"docs_url"`
	AuthorizationURL string            `json:"authorization_url"`
	TokenURL         string            `json:"token_url"`
	RefreshURL       string            `json:"refresh_token_url"`
	RevocationURL    string            `json:"revocation_url"`
	IdentityURL      string            `json:"identity_url"`
	ClientAuth       string            `json:"authenticate_via"`
	Body             string            `json:"token_body_content_type"`
	PKCE             bool              `json:"pkce_enabled"`
	ScopeSeparator   string            `json:"request_scope_separator"`
	DefaultScopes    []string          `json:"default_scopes"`
	IgnoresScopes    bool              `json:"ignores_scopes"`
	AuthorizeParams  map[string]string `json:"additional_authorization_parameters"`
	// Lifetime is in seconds, of a token whose reply does not say; 0: it does not end.
	Lifetime int `json:"access_token_lifetime"`
}

func factsOf(c *connectors.Connector) *connectorFacts {
	f := &connectorFacts{
		Slug: c.Slug, Name: c.Name, State: stateOf(c), Type: c.Type, DocsURL: c.DocsURL,
		AuthorizationURL: c.AuthorizationURL, TokenURL: c.TokenURL, RefreshURL: c.RefreshEndpoint(),
		RevocationURL: c.RevocationURL, IdentityURL: c.IdentityURL,
		ClientAuth: string(c.ClientAuth), Body: string(c.Body), PKCE: c.PKCE, ScopeSeparator: c.ScopeSeparator,
		DefaultScopes: c.DefaultScopes, IgnoresScopes: c.NoScopes, AuthorizeParams: c.AuthorizeParams,
		Lifetime: int(c.Lifetime / time.Second),
	}
	if f.DefaultScopes == nil {
		f.DefaultScopes = []string{}
	}
	if f.AuthorizeParams == nil {
		f.AuthorizeParams = map[string]string{}
	}
	return f
}

// stateOf is what may be expected of a connector's data.
func stateOf(c *connectors.Connector) string {
	if c.Preview {
		return "preview"
	}
	return "ready"
}

// print leaves out what the provider does not have.
func (f *connectorFacts) print(out io.Writer) error {
	scopes := strings.Join(f.DefaultScopes, " ")
	if f.IgnoresScopes {
		scopes = "belong to the application: the provider ignores those of a request"
	}
	var params []string
	for _, name := range slices.Sorted(maps.Keys(f.AuthorizeParams)) {
		params = append(params, name+"="+f.AuthorizeParams[name])
	}
	lifetime := ""
	if f.Lifetime > 0 {
		lifetime = (time.Duration(f.Lifetime) * time.Second).String()
	}
	pkce := "no"
	if f.PKCE {
		pkce = "yes"
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, row := range [][2]string{
		{"Slug", f.Slug}, {"Name", f.Name}, {"State", f.State}, {"Documentation", f.DocsURL},
		{"Authorization", f.AuthorizationURL}, {"Tokens", f.TokenURL}, {"Refreshes", f.RefreshURL},
		{"Revocation", f.RevocationURL}, {"Identity", f.IdentityURL},
		{"Client", f.ClientAuth}, {"Body", f.Body}, {"PKCE", pkce},
		{"Default scopes", scopes}, {"Parameters", strings.Join(params, " ")}, {"Token lifetime", lifetime},
	} {
		if row[1] != "" {
			_, _ = fmt.Fprintf(w, "%s\t%s\n", row[0], row[1])
		}
	}
	return w.Flush()
}
