package main

import (
	"maps"
	"slices"
	"strings"

	"culvert/connectors"
	"culvert/connectors/catalog"
)

// validate checks the form of the settings by building what they describe: none of it opens anything.
func (c *PipesConfig) validate() error {
	for _, origin := range c.ReturnTo {
		if err := checkOrigin("pipes.return_to", origin); err != nil {
			return err
		}
	}
	builtIn := catalog.All()
	for _, slug := range slices.Sorted(maps.Keys(c.Connectors)) {
		if !slices.ContainsFunc(builtIn, func(c connectors.Connector) bool { return c.Slug == slug }) {
			return noConnector(usage("setting pipes.connectors.%s: there is no such connector", slug), slug)
		}
	}
	if _, err := c.catalog(); err != nil {
		return usage("setting pipes.connectors: %s", strings.TrimPrefix(err.Error(), "connectors: "))
	}
	if _, err := c.egress(production); err != nil {
		return usage("setting %s", strings.TrimPrefix(err.Error(), "connectors: "))
	}
	return nil
}

// catalog is the built-in connectors, at the endpoints that the settings say.
func (c *PipesConfig) catalog() (*connectors.Catalog, error) {
	overrides := make(map[string]connectors.Endpoints, len(c.Connectors))
	for slug, e := range c.Connectors {
		overrides[slug] = connectors.Endpoints(e)
	}
	return connectors.NewCatalog(catalog.All(), overrides)
}

// egress is where providers may be. Development allows this machine, where emulators are.
func (c *PipesConfig) egress(m mode) (*connectors.Egress, error) {
	return connectors.NewEgress(connectors.EgressConfig{AllowLoopback: m == development, Allow: c.Egress.Allow})
}
