package connectors

import (
	"maps"
	"slices"
	"strings"
)

// variable opens a place in a URL where a value of a config field stands; "}" closes it. Neither can be in
// a URL, so what was not filled in is refused by everything that takes one.
const variable = "${config."

// templates are the texts that may hold variables.
func (c *Connector) templates() []*string {
	list := []*string{
		&c.AuthorizationURL, &c.TokenURL, &c.RefreshURL, &c.RevocationURL, &c.IdentityURL, &c.PushURL, &c.Issuer,
		&c.Revocation.URL, &c.APIKey.VerifyURL, &c.APIKey.Username, &c.APIKey.Password,
		&c.LongLived.URL, &c.Quirks.RedirectURI,
	}
	for i := range c.DefaultScopes {
		list = append(list, &c.DefaultScopes[i])
	}
	return list
}

// templateMaps are the maps whose values may hold variables, but for AuthorizeParams.
func (c *Connector) templateMaps() []map[string]string {
	return []map[string]string{c.APIKey.Headers, c.Quirks.CallbackPins}
}

// copied is a connector whose templates may be changed.
func (c *Connector) copied() *Connector {
	same := *c
	same.DefaultScopes = slices.Clone(c.DefaultScopes)
	same.APIKey.Headers = maps.Clone(c.APIKey.Headers)
	same.AuthorizeParams = maps.Clone(c.AuthorizeParams)
	same.Quirks.CallbackPins = maps.Clone(c.Quirks.CallbackPins)
	return &same
}

// Complete reports whether all variables were filled in. No URL is built of a connector that is not.
func (c *Connector) Complete() bool {
	for _, values := range append(c.templateMaps(), c.AuthorizeParams) {
		for _, value := range values {
			if strings.Contains(value, variable) {
				return false
			}
		}
	}
	return !slices.ContainsFunc(c.templates(), func(s *string) bool { return strings.Contains(*s, variable) })
}

// With is the connector with the values of its config fields in its URLs. Values of keys that it does not
// declare are of no effect: what a caller may give is for [Connector.CheckIntegrationConfig],
// [Connector.CheckSharedConfig] and [Connector.CheckAccountConfig] to say.
//
// Attackers: whoever connects an account and names its host, to whom the client secret would go
// (evil.com/, x@evil.com, evil.com#, a.evil.com). Defence: no URL is built before every value has matched its
// field's pattern and is, in a URL, one label or segment, or a name below a domain of the provider's; and
// what comes out is held to the rules of any endpoint. What stays open: whoever owns a label at the
// provider sees the client secret if the provider lets customers run its token endpoint, which none does.
//
// Errors are of type [*ConfigError], and never hold a value.
func (c *Connector) With(values map[string]string) (*Connector, error) {
	return c.fill(values, ConfigIntegration, ConfigInstallation)
}

// ForIntegration is the connector with the values of an integration, while those of its accounts are not
// known: where client secrets will go ([Connector.SecretOrigin]) can be told of it, and no URL be built if
// some are missing.
func (c *Connector) ForIntegration(values map[string]string) (*Connector, error) {
	return c.fill(values, ConfigIntegration)
}

func (c *Connector) fill(values map[string]string, scopes ...ConfigScope) (*Connector, error) {
	if len(c.Config) == 0 {
		return c, nil // nothing can vary: this is asked on every vend, of nearly every provider
	}
	// loose are values that stand in a parameter, whose encoding holds them in: pairs stand anywhere.
	var pairs, loose []string
	var wrong []*ConfigError
	for i := range c.Config {
		f := &c.Config[i]
		if !slices.Contains(scopes, f.Scope) {
			continue
		}
		v, err := f.value(values)
		if err != nil {
			wrong = append(wrong, err)
			continue
		}
		if f.Secret {
			continue // stands nowhere: configRule has seen to it
		}
		loose = append(loose, variable+f.Key+"}", v)
		if labelOK(v) || f.inDomains(v) {
			pairs = append(pairs, variable+f.Key+"}", v)
		} else if !c.fits(f, v) {
			wrong = append(wrong, f.wrong(unfit, false))
		}
	}
	if err := joined(wrong); err != nil {
		return nil, err
	}
	filled := c.copied()
	replace := strings.NewReplacer(pairs...)
	for _, at := range filled.templates() {
		*at = replace.Replace(*at)
	}
	for _, values := range filled.templateMaps() {
		for name, value := range values {
			values[name] = replace.Replace(value)
		}
	}
	replace = strings.NewReplacer(loose...)
	for name, value := range filled.AuthorizeParams {
		filled.AuthorizeParams[name] = replace.Replace(value)
	}
	filled.secretOrigin(c, values)
	return filled, filled.wellFilled()
}

// unfit is the rule that a value breaks which is more than one label or segment.
const unfit = "cannot stand in a URL"

// fits tells that a value can stand wherever the field's variable does.
func (c *Connector) fits(f *ConfigField, v string) bool {
	return f.Secret || labelOK(v) || f.inDomains(v) || !c.uses(f.Key)
}

// secretOrigin notes where client secrets go, if that depends on the account.
func (c *Connector) secretOrigin(template *Connector, values map[string]string) {
	origin := authority(template.TokenURL)
	if !strings.Contains(origin, variable) {
		return
	}
	for i := range template.Config {
		if f := &template.Config[i]; f.Scope == ConfigIntegration {
			v, _ := f.value(values) // fill has checked it
			origin = strings.ReplaceAll(origin, variable+f.Key+"}", strings.ToLower(v))
		}
	}
	if strings.Contains(origin, variable) {
		c.ClientOrigin = origin
	}
}

// wellFilled checks again, with what came out, what is checked of every endpoint.
func (c *Connector) wellFilled() error {
	for _, e := range c.endpoints() {
		if e.url == "" || strings.Contains(e.url, variable) {
			continue
		}
		if _, rule := parseEndpoint(e.url); rule != "" {
			return &ConfigError{Key: e.field, Rule: rule}
		}
	}
	return nil
}

// endpoint is a URL of a connector by its name in definitions and errors.
type endpoint struct{ field, url string }

// endpoints are all URLs of a connector, some of them empty.
func (c *Connector) endpoints() []endpoint {
	return []endpoint{
		{"authorization_url", c.AuthorizationURL},
		{"token_url", c.TokenURL},
		{"refresh_token_url", c.RefreshURL},
		{"revocation_url", c.RevocationURL},
		{"identity_url", c.IdentityURL},
		{"pushed_authorization_request_url", c.PushURL},
		{"revocation_call", strings.ReplaceAll(c.Revocation.URL, "${client_id}", "id")},
		{"verify_url", c.APIKey.VerifyURL},
		{"long_lived_url", c.LongLived.URL},
	}
}

// uses tells whether a variable stands where it could be taken for more than a value.
func (c *Connector) uses(key string) bool {
	here := func(s string) bool { return strings.Contains(s, variable+key+"}") }
	for _, values := range c.templateMaps() {
		if slices.ContainsFunc(slices.Collect(maps.Values(values)), here) {
			return true
		}
	}
	return slices.ContainsFunc(c.templates(), func(s *string) bool { return here(*s) })
}

// asks tells whether a variable stands in a parameter of authorization requests.
func (c *Connector) asks(key string) bool {
	return slices.ContainsFunc(slices.Collect(maps.Values(c.AuthorizeParams)), func(s string) bool {
		return strings.Contains(s, variable+key+"}")
	})
}

// authority is scheme, host and port of a URL as they are written.
func authority(url string) string {
	scheme, rest, _ := strings.Cut(url, "://")
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		rest = rest[:i]
	}
	return scheme + "://" + rest
}

// templatesRule is the rule that variables in URLs break, "" for none: each is a field's that always has
// a value, and in a host either a label before a domain of the provider's, or a whole name at the end.
func (c *Connector) templatesRule() string {
	for i := range c.Config {
		f := &c.Config[i]
		if (c.uses(f.Key) || c.asks(f.Key)) && (f.Secret || !f.Required && f.Default == "") {
			return f.Key + ": stands in a URL and may be secret or empty"
		}
	}
	for _, at := range c.templates() {
		if !strings.Contains(*at, variable) || !strings.Contains(*at, "://") {
			continue
		}
		host := authority(*at)
		before, rest, found := strings.Cut(host, variable)
		if !found {
			continue
		}
		key, after, _ := strings.Cut(rest, "}")
		f := c.field(key)
		switch {
		case f == nil, strings.Contains(after, variable):
			return printableKey(key) + ": a URL has a variable that is no field, or two in its host"
		case len(f.Domains) > 0 && (after != "" || !strings.HasSuffix(before, ".") && !strings.HasSuffix(before, "://")):
			return key + ": is a whole name, so it ends the host"
		case len(f.Domains) == 0 && !(strings.HasPrefix(after, ".") && strings.Count(after, ".") >= 2):
			return key + ": is one label, so a domain of the provider's follows it"
		}
	}
	filled, err := c.With(c.ExampleConfig())
	if err != nil || !filled.Complete() {
		return "the URLs are none with the examples filled in"
	}
	return ""
}
