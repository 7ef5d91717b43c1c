package main

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"culvert/connectors"
)

// connectorFacts are a connector as a person or a script reads it. The names are those of the API where
// it has one for the same thing.
type connectorFacts struct {
	Slug             string   `json:"slug"`
	Name             string   `json:"name"`
	State            string   `json:"state"`
	Preview          bool     `json:"preview"`
	Type             string   `json:"integration_type"`
	DocsURL          string   `json:"docs_url"`
	Methods          []string `json:"auth_methods"`
	AuthorizationURL string   `json:"authorization_url"`
	TokenURL         string   `json:"token_url"`
	RefreshURL       string   `json:"refresh_token_url"`
	// RevocationURL takes requests of RFC 7009. RevocationCall is the provider's own, where it has no such
	// endpoint: its method and its URL. ScopeParams leads from the prefix of a scope to the parameter that takes
	// such scopes in place of "scope".
	RevocationURL   string            `json:"revocation_url"`
	RevocationCall  string            `json:"revocation_call"`
	IdentityURL     string            `json:"identity_url"`
	PushURL         string            `json:"pushed_authorization_request_url"`
	Said            []string          `json:"metadata"`
	ClientAuth      string            `json:"authenticate_via"`
	Body            string            `json:"token_body_content_type"`
	PKCE            bool              `json:"pkce_enabled"`
	ScopeSeparator  string            `json:"request_scope_separator"`
	DefaultScopes   []string          `json:"default_scopes"`
	IgnoresScopes   bool              `json:"ignores_scopes"`
	ScopeParams     map[string]string `json:"scope_parameters,omitempty"`
	AuthorizeParams map[string]string `json:"additional_authorization_parameters"`
	// Lifetime is in seconds, of a token whose reply does not say; 0: it does not end. RefreshIdle and
	// GrantLifetime are in seconds, too.
	Lifetime      int           `json:"access_token_lifetime"`
	RefreshIdle   int           `json:"refresh_token_idle_lifetime"`
	GrantLifetime int           `json:"grant_lifetime"`
	Config        []configFacts `json:"config_fields"`
	APIKey        *keyFacts     `json:"api_key"`
}

// configFacts are a config field, by the contract's names.
type configFacts struct {
	Key         string `json:"key"`
	Label       string `json:"label"`
	Required    bool   `json:"required"`
	Scope       string `json:"scope"`
	Description string `json:"description,omitempty"`
	Example     string `json:"example,omitempty"`
	Pattern     string `json:"pattern"`
	Order       int    `json:"order,omitempty"`
	Secret      bool   `json:"secret,omitempty"`
	Default     string `json:"default,omitempty"`
}

// keyFacts are how a provider takes a key, and where people find it.
type keyFacts struct {
	Label     string `json:"label"`
	Help      string `json:"help"`
	SentAs    string `json:"sent_as"`
	VerifyURL string `json:"verify_url"`
}

func factsOf(c *connectors.Connector) *connectorFacts {
	f := &connectorFacts{
		Slug: c.Slug, Name: c.Name, State: stateOf(c), Preview: c.Preview, Type: c.Type, DocsURL: c.DocsURL, Methods: []string{},
		AuthorizationURL: c.AuthorizationURL, TokenURL: c.TokenURL, RefreshURL: c.RefreshEndpoint(),
		RevocationURL: c.RevocationURL, IdentityURL: c.IdentityURL, PushURL: c.PushURL, Said: []string{},
		ClientAuth: string(c.ClientAuth), Body: string(c.Body), PKCE: c.PKCE, ScopeSeparator: c.ScopeSeparator,
		DefaultScopes: c.DefaultScopes, IgnoresScopes: c.NoScopes, ScopeParams: c.ScopeRules.Params, AuthorizeParams: c.AuthorizeParams,
		Lifetime: inSeconds(c.Lifetime), RefreshIdle: inSeconds(c.RefreshIdle), GrantLifetime: inSeconds(c.GrantLifetime),
		Config: []configFacts{}, APIKey: keyFactsOf(c),
	}
	for _, m := range c.Methods {
		f.Methods = append(f.Methods, string(m))
	}
	if c.Revocation.URL != "" {
		f.RevocationCall = c.Revocation.Method + " " + c.Revocation.URL
	}
	for _, field := range c.Metadata {
		f.Said = append(f.Said, field.Name)
	}
	for _, field := range c.Config {
		f.Config = append(f.Config, configFacts{
			Key: field.Key, Label: field.Label, Required: field.Required, Scope: string(field.Scope), Description: field.Description,
			Example: field.Example, Pattern: field.Pattern, Order: field.Order, Secret: field.Secret, Default: field.Default,
		})
	}
	if f.DefaultScopes == nil {
		f.DefaultScopes = []string{}
	}
	if f.AuthorizeParams == nil {
		f.AuthorizeParams = map[string]string{}
	}
	if c.TokenURL == "" {
		f.ClientAuth, f.Body, f.ScopeSeparator = "", "", "" // words on token requests, of which there are none
	}
	return f
}

func inSeconds(d time.Duration) int { return int(d / time.Second) }

func keyFactsOf(c *connectors.Connector) *keyFacts {
	if !slices.Contains(c.Methods, connectors.MethodAPIKey) {
		return nil
	}
	k := &c.APIKey
	sent := k.Header + ": " + k.Prefix + "KEY"
	switch {
	case k.Query != "":
		sent = "?" + k.Query + "=KEY"
	case k.Username != "":
		sent = "Basic " + strings.ReplaceAll(k.Username+":"+k.Password, "${key}", "KEY")
	}
	return &keyFacts{Label: k.Label, Help: k.Help, SentAs: sent, VerifyURL: k.VerifyURL}
}

// stateOf is what may be expected of a connector's data.
func stateOf(c *connectors.Connector) string {
	if c.Preview {
		return "preview"
	}
	return "ready"
}

// methodsOf is the ways to connect accounts, for a column.
func methodsOf(c *connectors.Connector) string {
	var names []string
	for _, m := range c.Methods {
		names = append(names, string(m))
	}
	return strings.Join(names, ",")
}

// print leaves out what the provider does not have.
func (f *connectorFacts) print(out io.Writer) error {
	rows := [][2]string{
		{"Slug", f.Slug}, {"Name", f.Name}, {"State", f.State}, {"Documentation", f.DocsURL},
		{"Methods", strings.Join(f.Methods, ", ")},
	}
	rows = append(rows, f.oauthRows()...)
	if f.APIKey != nil {
		rows = append(rows, [][2]string{
			{"Key", f.APIKey.Label}, {"Found", f.APIKey.Help}, {"Sent as", f.APIKey.SentAs}, {"Verified at", f.APIKey.VerifyURL},
		}...)
	}
	for _, field := range f.Config {
		rows = append(rows, [2]string{"Config " + field.Key, field.describe()})
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, row := range rows {
		if row[1] != "" {
			_, _ = fmt.Fprintf(w, "%s\t%s\n", row[0], row[1])
		}
	}
	return w.Flush()
}

// oauthRows are what a provider with tokens has.
func (f *connectorFacts) oauthRows() [][2]string {
	if f.TokenURL == "" {
		return nil
	}
	scopes := strings.Join(f.DefaultScopes, " ")
	if f.IgnoresScopes {
		scopes = "belong to the application: the provider ignores those of a request"
	}
	var params []string
	for _, name := range slices.Sorted(maps.Keys(f.AuthorizeParams)) {
		params = append(params, name+"="+f.AuthorizeParams[name])
	}
	var prefixes []string
	for _, prefix := range slices.Sorted(maps.Keys(f.ScopeParams)) {
		prefixes = append(prefixes, prefix+"SCOPE is sent in "+f.ScopeParams[prefix])
	}
	pkce := "no"
	if f.PKCE {
		pkce = "yes"
	}
	return [][2]string{
		{"Authorization", f.AuthorizationURL}, {"Tokens", f.TokenURL}, {"Refreshes", f.RefreshURL},
		{"Revocation", cmp.Or(f.RevocationURL, f.RevocationCall)}, {"Identity", f.IdentityURL}, {"Pushed requests", f.PushURL}, {"Metadata", strings.Join(f.Said, ", ")},
		{"Client", f.ClientAuth}, {"Body", f.Body}, {"PKCE", pkce},
		{"Default scopes", scopes}, {"Other scopes", strings.Join(prefixes, ", ")}, {"Parameters", strings.Join(params, " ")},
		{"Token lifetime", lifetimeText(f.Lifetime)}, {"Idle lifetime", lifetimeText(f.RefreshIdle)},
		{"Grant lifetime", lifetimeText(f.GrantLifetime)},
	}
}

// lifetimeText is a number of seconds as people say it; empty for none.
func lifetimeText(seconds int) string {
	d := time.Duration(seconds) * time.Second
	const day = 24 * time.Hour
	switch {
	case d == 0:
		return ""
	case d%day == 0 && d > day:
		return fmt.Sprintf("%d days", d/day)
	}
	return d.String()
}

// describe is a field in a line.
func (f *configFacts) describe() string {
	label := f.Label
	if f.Description != "" {
		label += " (" + strings.TrimSuffix(f.Description, ".") + ")"
	}
	words := []string{label}
	switch {
	case f.Required:
		words = append(words, "required")
	case f.Default != "":
		words = append(words, "default "+f.Default)
	}
	if f.Secret {
		words = append(words, "secret")
	}
	words = append(words, "of the "+f.Scope, "such as "+f.Example, "matching "+f.Pattern)
	return strings.Join(words, ", ")
}
