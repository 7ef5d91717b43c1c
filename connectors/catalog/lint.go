package catalog

import (
	"cmp"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"culvert/connectors"
)

// Lint says what is wrong with a block of data: what a block must have beyond what NewCatalog asks of any
// connector, and what is unlikely to be meant.
func Lint(c connectors.Connector) (problems []string) {
	must := func(ok bool, rule string) {
		if !ok {
			problems = append(problems, rule)
		}
	}
	filled := &c
	if with, err := c.With(c.ExampleConfig()); err == nil {
		filled = with
	} else {
		must(false, "the URLs are none with the examples of its config")
	}
	slug := regexp.MustCompile(`^[a-z][a-z0-9]*(-[a-z0-9]+)*$`)
	must(slug.MatchString(c.Slug), "the slug is not of words and hyphens")
	must(c.Name != "" && strings.TrimSpace(c.Name) == c.Name, "it has no name")
	must(c.Type != "" && c.Type != "custom", "it has no type of the contract's list")
	page, _, _ := strings.Cut(c.DocsURL, "#")
	must(public(page), "it links no documentation")
	for _, optional := range []string{filled.RefreshURL, filled.RevocationURL, filled.IdentityURL, filled.APIKey.VerifyURL} {
		must(optional == "" || public(optional), "an endpoint is not a public https URL")
	}
	lintMethods(&c, filled, must)
	lintScopes(&c, must)
	lintCodes(&c, must)
	lintAccount(&c, must)
	lintEnds(&c, must)
	return problems
}

// lintMethods checks that what a method needs is there, and what none needs is not.
func lintMethods(c, filled *connectors.Connector, must func(bool, string)) {
	oauth := slices.Contains(c.Methods, connectors.MethodOAuth)
	key := slices.Contains(c.Methods, connectors.MethodAPIKey)
	tokens := oauth || slices.Contains(c.Methods, connectors.MethodClientCredentials)
	must(oauth || key || tokens, "accounts cannot be connected by any method")
	must(public(filled.AuthorizationURL) == oauth, "the authorization URL is not a public https URL")
	must(public(filled.TokenURL) == tokens, "the token URL is not a public https URL")
	if u, err := url.Parse(filled.AuthorizationURL); err == nil {
		for name := range u.Query() {
			must(name != "state" && name != "client_id" && name != "scope", "the authorization URL sets a parameter of ours")
		}
	}
	must(c.ClientAuth == connectors.ClientAuthBody || c.ClientAuth == connectors.ClientAuthBasic || c.NoSecret,
		"clients have a secret, so there must be a way to send it")
	k := &c.APIKey
	if !key {
		must(k.Label == "" && k.Header+k.Query+k.Username == "", "there are words on API keys, which it does not take")
		return
	}
	must(k.Label != "" && k.Help != "", "nobody is told what the key is called, or where it is found")
	ways := 0
	for _, way := range []string{k.Header, k.Query, k.Username} {
		if way != "" {
			ways++
		}
	}
	must(ways == 1, "a key is sent in one way")
	must(http.CanonicalHeaderKey(k.Header) == k.Header, "the header is not written as Go writes it")
	must(k.Username == "" || strings.Contains(k.Username+k.Password, "${key}"), "the key is in neither half of Basic")
	must(k.Prefix == "" || strings.HasSuffix(k.Prefix, " "), "nothing separates the key from its scheme")
	must(!strings.Contains(k.VerifyURL, "${key}"), "a key must not stand in a URL")
	must(k.VerifyMethod == "" || k.VerifyMethod == http.MethodPost, "a key is verified by a GET, or a POST")
}

func lintScopes(c *connectors.Connector, must func(bool, string)) {
	must(c.ScopeSeparator == " " || c.ScopeSeparator == ",", "no provider is known that joins scopes so")
	must(!c.NoScopes || len(c.DefaultScopes) == 0, "scopes that are ignored are no default")
	scopes := map[string]bool{}
	for _, s := range c.DefaultScopes {
		must(s != "" && !strings.ContainsAny(s, " ,\t") && !scopes[s], "a default scope is two, or there twice")
		scopes[s] = true
	}
	for _, value := range slices.AppendSeq(slices.Clone(c.DefaultScopes), maps.Values(c.AuthorizeParams)) {
		for _, f := range c.Config {
			value = strings.ReplaceAll(value, "${config."+f.Key+"}", "")
		}
		must(!strings.ContainsAny(value, "{}<>|"), "a scope or parameter is a placeholder")
	}
}

func lintCodes(c *connectors.Connector, must func(bool, string)) {
	code := regexp.MustCompile(`^[a-z0-9_.-]{1,64}$`)
	codes := map[string]bool{}
	for _, s := range slices.Concat(c.DeadGrantCodes, c.DeadClientCodes, c.TransientCodes) {
		must(code.MatchString(s) && !codes[s], "an error code is not one, or means two things")
		codes[s] = true
	}
	for s, ending := range c.Endings {
		must(code.MatchString(s) && ending.Known(), "an ending has no code, or is none of ours")
	}
	must(c.EndingMember == "" || len(c.Endings) > 0, "codes are looked for that mean nothing")
}

// lintAccount checks what tells whose account it is.
func lintAccount(c *connectors.Connector, must func(bool, string)) {
	path := regexp.MustCompile(`^[A-Za-z0-9_]+(\.\??[A-Za-z0-9_]+)*$`)
	i := &c.Identity
	paths := slices.Concat(i.ID, i.Name, i.TokenID, i.TokenName)
	for _, f := range c.Metadata {
		paths = append(paths, cmp.Or(f.Path, f.Name))
	}
	for _, p := range paths {
		must(path.MatchString(p), "what leads to an account is not a path")
	}
	must(len(i.ID) == 0 || c.IdentityURL != "", "an account is read from an answer of no URL")
	must(len(i.Name) == 0 || len(i.ID) > 0, "an account has a name and no id")
	must(i.Post == "" && len(i.Headers) == 0 || c.IdentityURL != "", "there are words on an identity call, which it does not have")
}

// lintEnds checks how grants end, and are ended.
func lintEnds(c *connectors.Connector, must func(bool, string)) {
	must(c.Lifetime == 0 || c.Lifetime >= time.Minute, "the lifetime is not in seconds")
	for _, d := range []time.Duration{c.RefreshIdle, c.GrantLifetime} {
		must(d == 0 || d >= 24*time.Hour, "a refresh token lives for less than a day")
	}
	must(c.RefreshIdle == 0 || c.GrantLifetime == 0 || c.RefreshIdle < c.GrantLifetime, "a grant ends before its refresh token is idle")
	r := &c.Revocation
	must(r.URL == "" || c.RevocationURL == "", "it revokes in two ways")
	must(r.URL == "" || r.Method == http.MethodPost || r.Method == http.MethodDelete, "it revokes by a call that changes nothing")
	must(r.URL == "" || public(strings.ReplaceAll(r.URL, "${client_id}", "id")) || strings.Contains(r.URL, "${config."),
		"an endpoint is not a public https URL")
	must((r.TokenParam == "") == (r.Body == ""), "a revocation has a body, or a parameter in it, but not both")
	switch r.Auth {
	case connectors.RevokeAsClient, connectors.RevokeAsSecret, connectors.RevokeAsNobody:
		must(r.TokenParam != "", "a revocation does not say of what")
	case connectors.RevokeAsToken:
	default:
		must(r.URL == "", "a revocation does not say by whom")
	}
}

// LintTogether says what is wrong between blocks: what a person would mistake for another, and endpoints
// that two blocks call in two ways, of which one must be wrong.
func LintTogether(list []connectors.Connector) (problems []string) {
	names, endpoints := map[string]string{}, map[string]connectors.Connector{}
	for _, c := range list {
		if other, taken := names[c.Name]; taken {
			problems = append(problems, c.Slug+": the name is that of "+other)
		}
		names[c.Name] = c.Slug
		other, shared := endpoints[c.TokenURL]
		pkce := other.PKCE == c.PKCE || other.AuthorizationURL != c.AuthorizationURL
		if shared && (other.ClientAuth != c.ClientAuth || other.Body != c.Body || !pkce) {
			problems = append(problems, c.Slug+": the token endpoint is called otherwise than by "+other.Slug)
		}
		if c.TokenURL != "" {
			endpoints[c.TokenURL] = c
		}
	}
	return problems
}

// public tells an https URL on a host name and port 443.
func public(raw string) bool {
	u, err := url.Parse(raw)
	return err == nil && u.Scheme == "https" && u.Port() == "" && u.User == nil && u.Fragment == "" &&
		!strings.ContainsAny(raw, "{}<>") && strings.Contains(u.Host, ".") && strings.Trim(u.Host, "0123456789.") != ""
}
