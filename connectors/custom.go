package connectors

import (
	"cmp"
	"maps"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"culvert/internal/origin"
	"culvert/internal/text"
)

// Definition is a provider that a caller describes (contract section 2.1, custom_provider).
type Definition struct {
	Name string
	// The URLs are absolute and https, or http on loopback. Empty ones belong to providers without OAuth;
	// an empty RefreshTokenURL means that refreshes go to TokenURL.
	AuthorizationURL, TokenURL, RefreshTokenURL string
	PKCE                                        bool
	// ScopeSeparator is " " if empty.
	ScopeSeparator string
	// SecretRequired is false for a provider that takes clients without a secret.
	SecretRequired  bool
	AuthorizeParams map[string]string
	// TokenContentType is one of the values of [Body], form if empty.
	TokenContentType string
	// ClientAuth is one of the values of [ClientAuth], request_body if empty.
	ClientAuth string
	// Issuer is what the callback's iss must be (RFC 9207), letter for letter; empty for a provider that
	// sends none.
	Issuer string
	// IdentityURL answers a GET with an access token by the claims of OpenID Connect Core section 5.1, of
	// which sub is whose account it is. It is at the origin of TokenURL; empty for a provider that has no
	// such call.
	IdentityURL string
	// RevocationURL takes requests of RFC 7009. It is at the origin of TokenURL, because the tokens and the
	// client secret go there; empty for a provider that has no such endpoint.
	RevocationURL string
	// PushURL is where authorization requests are pushed (RFC 9126), at the origin of TokenURL, because the
	// client secret goes there; empty for a provider that takes them with the browser.
	PushURL string
	// KillsPrevious is as [Connector.KillsPreviousAccessToken].
	KillsPrevious bool
}

// DefinitionError is a refused field, the first if there are others. Field is the name on the wire; Rule
// says what is allowed and never repeats what was sent.
type DefinitionError struct {
	Field, Rule string
	// Others are further refused fields of the same definition.
	Others []*DefinitionError
}

func (e *DefinitionError) Error() string { return "connectors: " + e.Field + " " + e.Rule }

// Bounds of a definition. They are far above what providers need and keep records small.
const (
	maxNameBytes  = 256
	maxURLBytes   = 2048
	maxParams     = 32
	maxParamBytes = 1024
	maxSlugBytes  = 64
)

// Custom makes a connector of a caller's definition. Errors are of type [DefinitionError]. It checks
// what can be checked without an address: whether this server may call the URLs is
// [Egress.CheckURL]'s to say now, and the dialer's whenever they are called.
func Custom(slug string, d Definition) (*Connector, error) {
	c := &Connector{
		Slug:             slug,
		Name:             d.Name,
		Type:             "custom",
		AuthorizationURL: d.AuthorizationURL,
		TokenURL:         d.TokenURL,
		RefreshURL:       d.RefreshTokenURL,
		Issuer:           d.Issuer,
		IdentityURL:      d.IdentityURL,
		RevocationURL:    d.RevocationURL,
		PushURL:          d.PushURL,
		Identity:         openID(),
		ClientAuth:       cmp.Or(ClientAuth(d.ClientAuth), ClientAuthBody),
		Body:             cmp.Or(Body(d.TokenContentType), BodyForm),
		PKCE:             d.PKCE,
		ScopeSeparator:   cmp.Or(d.ScopeSeparator, " "),
		AuthorizeParams:  maps.Clone(d.AuthorizeParams),
		NoSecret:         !d.SecretRequired,
		Methods:          []Method{MethodAPIKey},

		KillsPreviousAccessToken: d.KillsPrevious,
	}
	if d.TokenURL != "" {
		c.Methods = append(c.Methods, MethodClientCredentials)
		if d.AuthorizationURL != "" {
			c.Methods = append(c.Methods, MethodOAuth)
		}
	}
	if err := c.check(); err != nil {
		return nil, err
	}
	// Attacker: an administrator of definitions who may not have tokens vended, and would have them sent to
	// a server of his own. Defence: access tokens go where the refresh tokens go, whose grants are bound to it.
	if c.IdentityURL != "" && (origin.Of(c.IdentityURL) != origin.Of(c.TokenURL) || origin.Of(c.IdentityURL) != c.TokenOrigin()) {
		return nil, &DefinitionError{Field: "identity_url", Rule: "must be at the origin of token_url"}
	}
	if c.RevocationURL != "" && (origin.Of(c.RevocationURL) != origin.Of(c.TokenURL) || origin.Of(c.RevocationURL) != c.TokenOrigin()) {
		return nil, &DefinitionError{Field: "revocation_url", Rule: "must be at the origin of token_url"}
	}
	if c.PushURL != "" && (origin.Of(c.PushURL) != origin.Of(c.TokenURL) || origin.Of(c.PushURL) != c.TokenOrigin()) {
		return nil, &DefinitionError{Field: "pushed_authorization_request_url", Rule: "must be at the origin of token_url"}
	}
	return c, nil
}

// openID is how a provider of OpenID Connect says whose account it is: in its ID token or at its userinfo
// endpoint, which agree (OpenID Connect Core section 5.3.2).
func openID() Identity {
	return Identity{
		ID: []string{"sub"}, Name: []string{"email", "preferred_username", "name"},
		TokenID: []string{"id_token.sub"}, TokenName: []string{"id_token.email", "id_token.preferred_username", "id_token.name"},
	}
}

// check holds a connector to the rules that any must keep, whoever wrote it. Its errors are of type
// DefinitionError.
func (c *Connector) check() error {
	wrong := c.mistakes()
	if len(wrong) == 0 {
		return nil
	}
	wrong[0].Others = wrong[1:]
	return wrong[0]
}

// mistakes are all the rules that a connector breaks, one for a field at most.
func (c *Connector) mistakes() (wrong []*DefinitionError) {
	refuse := func(field, rule string) { wrong = append(wrong, &DefinitionError{Field: field, Rule: rule}) }
	if !slugOK(c.Slug) {
		refuse("slug", "must be 1 to 64 of a-z, 0-9, - and _, beginning and ending with a letter or digit")
	}
	if c.Name == "" || len(c.Name) > maxNameBytes || text.Unprintable(c.Name) {
		refuse("name", "must be printable text of at most 256 bytes")
	}
	for _, endpoint := range c.endpoints() {
		if endpoint.url == "" || len(c.Config) > 0 && strings.Contains(endpoint.url, variable) {
			continue // what comes of variables is checked by configRule
		}
		if _, rule := parseEndpoint(endpoint.url); rule != "" {
			refuse(endpoint.field, rule)
		}
	}
	if rule := c.configRule(); rule != "" && len(c.Config) > 0 {
		refuse("config", rule)
	}
	if rule := c.replyFieldsRule(); rule != "" {
		refuse("metadata", rule)
	}
	if rule := issuerRule(c.Issuer); rule != "" {
		refuse("issuer", rule)
	}
	switch c.ClientAuth {
	case ClientAuthBody, ClientAuthBasic, ClientAuthNone:
	default:
		refuse("authenticate_via", "must be request_body or basic_auth_header")
	}
	if c.Body != BodyForm && c.Body != BodyJSON {
		refuse("token_body_content_type", "must be application/x-www-form-urlencoded or application/json")
	}
	if s := c.ScopeSeparator; s == "" || len(s) > 3 || strings.ContainsFunc(s, notSeparator) {
		refuse("request_scope_separator", "must be a space, a comma or other punctuation")
	}
	if rule := c.paramsRule(); rule != "" {
		refuse("additional_authorization_parameters", rule)
	}
	return wrong
}

// paramsRule is the rule that the authorization parameters break, "" for none.
func (c *Connector) paramsRule() string {
	if len(c.AuthorizeParams) > maxParams {
		return "must be at most 32"
	}
	for name, value := range c.AuthorizeParams {
		switch {
		case name == "" || len(name)+len(value) > maxParamBytes || text.Unprintable(name) || text.Unprintable(value):
			return "must be printable, with names, and at most 1024 bytes each"
		case ownParam(name):
			return "must not set a parameter of the authorization request itself"
		}
	}
	return ""
}

func slugOK(slug string) bool {
	edge := func(b byte) bool { return b >= 'a' && b <= 'z' || b >= '0' && b <= '9' }
	if slug == "" || len(slug) > maxSlugBytes || !edge(slug[0]) || !edge(slug[len(slug)-1]) {
		return false
	}
	return !strings.ContainsFunc(slug, func(r rune) bool {
		return r > 'z' || !edge(byte(r)) && r != '-' && r != '_'
	})
}

func notSeparator(r rune) bool {
	return r < ' ' || r > '~' || r >= '0' && r <= '9' || r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z'
}

// parseEndpoint takes a URL that a server may be asked at, or says which rule it breaks. What parsers
// are known to read differently (backslashes, userinfo, odd hosts) is refused instead of interpreted.
func parseEndpoint(raw string) (*url.URL, string) {
	if len(raw) > maxURLBytes {
		return nil, "must be at most 2048 bytes"
	}
	if strings.ContainsFunc(raw, func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune(`\{}"<>^|`+"`", r) }) {
		return nil, "must be a URL without spaces, placeholders and unusual characters"
	}
	u, err := url.Parse(raw)
	if err != nil || u.Opaque != "" || !hostOK(u.Hostname()) || strings.HasSuffix(u.Host, ":") {
		return nil, "must be an absolute URL"
	}
	switch {
	case u.User != nil:
		return nil, "must not have a user name or password"
	case strings.Contains(raw, "#"):
		return nil, "must not have a fragment"
	case u.Scheme == "http" && !origin.IsLoopback(u.Hostname()), u.Scheme != "http" && u.Scheme != "https":
		return nil, "must be https, or http on loopback"
	}
	if _, err := url.ParseQuery(u.RawQuery); err != nil {
		return nil, "must have a well-formed query"
	}
	return u, ""
}

// issuerRule is the rule that an issuer breaks, "" for none. It is compared and never called (RFC 9207
// section 2: a URL as RFC 8414 section 2 has it, without query and fragment).
func issuerRule(raw string) string {
	if raw == "" {
		return ""
	}
	if _, rule := parseEndpoint(raw); rule != "" {
		return rule
	}
	if strings.Contains(raw, "?") {
		return "must not have a query"
	}
	return ""
}

// hostOK takes IP addresses without a zone, and names of the characters that DNS names of hosts have:
// an internationalised name comes in its ASCII form. A name that ends in a number is none: some parsers take
// 1.2.3 and 0x7f.1 for addresses (https://url.spec.whatwg.org/#ends-in-a-number-checker).
func hostOK(host string) bool {
	if ip, err := netip.ParseAddr(host); err == nil {
		return ip.Zone() == ""
	}
	labels := strings.Split(strings.TrimSuffix(host, "."), ".")
	last := strings.ToLower(labels[len(labels)-1])
	if slices.Contains(labels, "") || strings.Trim(last, "0123456789") == "" || strings.HasPrefix(last, "0x") && strings.Trim(last[2:], "0123456789abcdef") == "" {
		return false
	}
	return host != "" && len(host) <= 253 && !strings.ContainsFunc(host, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '.' && r != '_'
	})
}
