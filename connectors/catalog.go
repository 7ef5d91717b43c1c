package connectors

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Catalog is the connectors that an installation offers. It is immutable.
type Catalog struct {
	list   []*Connector
	bySlug map[string]*Connector
}

// Endpoints are the settings pipes.connectors.SLUG: where a built-in connector's provider really is,
// such as a GitHub Enterprise Server, a Microsoft tenant or an emulator.
type Endpoints struct {
	// BaseURL replaces scheme, host and port of every endpoint; the paths stay, behind BaseURL's own path
	// if it has one. It has no query. GitHub Enterprise Server and others whose API has another path on
	// their own host need IdentityURL besides.
	BaseURL string
	// The others replace one endpoint whole, and win over BaseURL.
	AuthorizationURL, TokenURL, RevocationURL, IdentityURL string
}

// NewCatalog checks a list of connectors and applies the operator's overrides, by slug. Overrides of
// unknown slugs are errors: a typing error would otherwise send client secrets to the public provider.
func NewCatalog(list []Connector, overrides map[string]Endpoints) (*Catalog, error) {
	c := &Catalog{bySlug: map[string]*Connector{}}
	for _, conn := range list {
		if o, ok := overrides[conn.Slug]; ok {
			if err := conn.override(o); err != nil {
				return nil, fmt.Errorf("connectors: settings of %s: %w", conn.Slug, err)
			}
		}
		if err := conn.check(); err != nil {
			return nil, fmt.Errorf("connectors: connector %q: %w", conn.Slug, err)
		}
		if c.bySlug[conn.Slug] != nil {
			return nil, fmt.Errorf("connectors: connector %q is there twice", conn.Slug)
		}
		c.bySlug[conn.Slug] = &conn
		c.list = append(c.list, &conn)
	}
	for _, slug := range slices.Sorted(maps.Keys(overrides)) {
		if c.bySlug[slug] == nil {
			return nil, fmt.Errorf("connectors: settings of %q: there is no such connector", slug)
		}
	}
	return c, nil
}

// Connector finds a connector by its slug.
func (c *Catalog) Connector(slug string) (*Connector, bool) {
	conn, ok := c.bySlug[slug]
	return conn, ok
}

// All lists the connectors in the order of the list that the catalog was made of.
func (c *Catalog) All() []*Connector { return slices.Clone(c.list) }

// override moves a connector's endpoints. Whoever answers there issues for itself, so what is known of
// the public provider's iss goes.
func (c *Connector) override(o Endpoints) error {
	base, err := o.base()
	if err != nil {
		return err
	}
	for _, endpoint := range []struct {
		at  *string
		own string
	}{
		{&c.AuthorizationURL, o.AuthorizationURL},
		{&c.TokenURL, o.TokenURL},
		{&c.RefreshURL, ""},
		{&c.RevocationURL, o.RevocationURL},
		{&c.IdentityURL, o.IdentityURL},
		{&c.PushURL, ""},
		{&c.Revocation.URL, ""},
		{&c.APIKey.VerifyURL, ""},
		{&c.LongLived.URL, ""},
	} {
		if base != "" && *endpoint.at != "" {
			*endpoint.at = base + behindHost(*endpoint.at)
		}
		*endpoint.at = cmp.Or(endpoint.own, *endpoint.at)
	}
	if o.TokenURL != "" || o.AuthorizationURL != "" {
		// Neither is there one for pushed requests, which another server's need not be able to take.
		c.PushURL = ""
	}
	if o.TokenURL != "" {
		// There is no setting for refreshes: where tokens come from is where they are refreshed.
		c.RefreshURL = ""
	}
	if o.RevocationURL != "" {
		c.Revocation = RevocationCall{} // what is set is an endpoint of RFC 7009
	}
	if o != (Endpoints{}) {
		c.Issuer = ""
	}
	return nil
}

// base is BaseURL without a slash at the end.
func (o *Endpoints) base() (string, error) {
	if o.BaseURL == "" {
		return "", nil
	}
	u, rule := parseEndpoint(o.BaseURL)
	if rule == "" && (u.RawQuery != "" || u.ForceQuery) {
		rule = "must not have a query"
	}
	if rule != "" {
		return "", &DefinitionError{Field: "base_url", Rule: rule}
	}
	return strings.TrimSuffix(o.BaseURL, "/"), nil
}

// behindHost is path and query of a URL that has been checked, byte for byte.
func behindHost(raw string) string {
	_, rest, _ := strings.Cut(raw, "://")
	if i := strings.IndexAny(rest, "/?"); i >= 0 {
		return rest[i:]
	}
	return ""
}
