package pipes

import (
	"slices"

	"culvert/connectors"
)

// AuthMethod is how an account was connected.
type AuthMethod string

// The methods of contract section 2.
const (
	MethodOAuth             = AuthMethod(connectors.MethodOAuth)
	MethodAPIKey            = AuthMethod(connectors.MethodAPIKey)
	MethodClientCredentials = AuthMethod(connectors.MethodClientCredentials)
)

// asksProvider reports a method whose tokens come from the provider's token endpoint.
func (m AuthMethod) asksProvider() bool { return m == MethodOAuth || m == MethodClientCredentials }

// checkMethods accepts an integration's methods: each once.
func checkMethods(methods []AuthMethod) error {
	for n, m := range methods {
		switch m {
		case MethodOAuth, MethodAPIKey, MethodClientCredentials:
		default:
			return invalid("auth_methods", `must be of "oauth", "api_key" and "client_credentials"`)
		}
		if slices.Contains(methods[:n], m) {
			return invalid("auth_methods", "must name each method once")
		}
	}
	return nil
}

// supports reports whether accounts may be connected by a method.
func (i *Integration) supports(m AuthMethod) bool { return slices.Contains(i.AuthMethods, m) }

// fits refuses methods that the provider does not have.
func (i *Integration) fits(conn *connectors.Connector) error {
	for _, m := range i.AuthMethods {
		if !slices.Contains(conn.Methods, connectors.Method(m)) {
			return invalid("auth_methods", "has a method that the provider does not take: culvert connectors show says which it takes")
		}
	}
	return nil
}

// defaultMethods are those of an integration that names none: OAuth, or what a built-in provider has
// instead.
func (b *Broker) defaultMethods(slug string) []AuthMethod {
	conn, builtIn := b.catalog.Connector(slug)
	if !builtIn || len(conn.Methods) == 0 || slices.Contains(conn.Methods, connectors.MethodOAuth) {
		return []AuthMethod{MethodOAuth}
	}
	return []AuthMethod{AuthMethod(conn.Methods[0])}
}

// withoutOAuth refuses client credentials where no method takes them: each account would bring its own.
func (i *Integration) withoutOAuth(c *ClientCredentials) error {
	if c != nil {
		return invalid("credentials", `are for "oauth", which is not among auth_methods`)
	}
	return nil
}
