// Package catalog is the built-in connectors: data, in files by what providers are for, and a file of its
// own for each whose replies no RFC describes. How to add one stands in connectors/ADDING.md.
//
// The data are Go and not a format that is parsed: the compiler checks their shape, nothing can fail as
// the program starts, and what is odd about a provider stands as a comment where it is provided for. The
// rules that blocks keep besides are those of [Lint].
package catalog

import (
	"cmp"
	"slices"
	"strings"

	"culvert/connectors"
)

// All returns the built-in connectors in the order of their slugs, a fresh list each time. Accounts are
// connected by OAuth where a block does not say how.
func All() []connectors.Connector {
	all := slices.Concat(
		commerce(), communication(), data(), design(), developer(), finance(), googleProducts(), hiring(), mail(), microsoftProducts(), models(), operations(),
		people(), projects(), sales(),
	)
	for i := range all {
		if all[i].Methods == nil {
			all[i].Methods = []connectors.Method{connectors.MethodOAuth}
		}
	}
	slices.SortFunc(all, func(a, b connectors.Connector) int { return strings.Compare(a.Slug, b.Slug) })
	return all
}

// ordinary fills in what a block leaves out: what most providers do. A block without a type of its own
// has the slug as type.
func ordinary(c connectors.Connector) connectors.Connector {
	c.Type = cmp.Or(c.Type, c.Slug)
	c.ClientAuth = cmp.Or(c.ClientAuth, connectors.ClientAuthBody)
	c.Body = cmp.Or(c.Body, connectors.BodyForm)
	c.ScopeSeparator = cmp.Or(c.ScopeSeparator, " ")
	return c
}

// takesKeys is a block of a provider that is reached by API keys alone.
func takesKeys(c connectors.Connector) connectors.Connector {
	c.Methods = []connectors.Method{connectors.MethodAPIKey}
	return ordinary(c)
}

// bearer is a key that is sent as RFC 6750 sends tokens. verify is the URL of a GET that a good key may
// make, or empty.
func bearer(label, help, verify string) connectors.APIKey {
	return connectors.APIKey{Label: label, Help: help, Header: "Authorization", Prefix: "Bearer ", VerifyURL: verify}
}

// hostOf is a member of a token reply that names the host of a customer's API, as an https URL at one of these
// domains of the provider's or below one.
func hostOf(name string, domains ...string) connectors.ReplyField {
	return connectors.ReplyField{Name: name, Pattern: hostURL, Domains: domains}
}

// hostURL is a URL of a host, with a path at most.
const hostURL = `^(?:https://[A-Za-z0-9.-]+(?:/[A-Za-z0-9._/-]*)?)$`

// inHeader is a key in a header of its own.
func inHeader(label, help, header, verify string) connectors.APIKey {
	return connectors.APIKey{Label: label, Help: help, Header: header, VerifyURL: verify}
}

// label is a config field for a value that is one label of a host name in the provider's URLs.
func label(key, name, description, example string) connectors.ConfigField {
	return connectors.ConfigField{
		Key: key, Label: name, Required: true, Scope: connectors.ConfigInstallation,
		Description: description, Example: example, Pattern: `^(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?)$`, Order: 1,
	}
}
