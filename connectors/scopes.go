package connectors

import (
	"slices"
	"strings"
)

// ScopeRules are how a provider's replies spell the scopes that were asked for. Without them a list of
// missing scopes would name scopes that were granted.
type ScopeRules struct {
	// Aliases leads from a scope to the spelling that replies use.
	Aliases map[string]string
	// Prefix is left out of scopes in replies, or added to them: both spellings are the same scope.
	Prefix string
	// Fold compares without regard to case.
	Fold bool
	// Implied lists for a scope those that it includes. Providers that thin their replies out name the
	// widest only.
	Implied map[string][]string
	// Widened leads from the prefix of a scope to that of the one which it includes, where all of a provider's scopes
	// are made like that, as in write_products and read_products.
	Widened map[string]string
	// Unlisted are scopes that no reply names, whether they were granted or not.
	Unlisted []string
	// Params leads from the prefix of a scope to the authorization parameter that takes such scopes,
	// without the prefix, instead of "scope". Replies are read with the prefix put back.
	Params map[string]string
}

// normal is the one spelling under which scopes are compared.
func (r *ScopeRules) normal(scope string) string {
	if alias, ok := r.Aliases[scope]; ok {
		scope = alias
	}
	if r.Fold {
		return strings.TrimPrefix(strings.ToLower(scope), strings.ToLower(r.Prefix))
	}
	return strings.TrimPrefix(scope, r.Prefix)
}

// MissingScopes are the requested scopes that the granted ones do not cover, as they were requested, in
// that order and once each. A granted list of nil means that the provider did not say, and so granted
// what was asked for (RFC 6749 section 5.1).
func MissingScopes(conn *Connector, requested, granted []string) []string {
	if conn.NoScopes || granted == nil {
		return nil
	}
	rules := &conn.ScopeRules
	have := map[string]bool{}
	for _, scope := range rules.Unlisted {
		have[rules.normal(scope)] = true
	}
	for _, scope := range granted {
		rules.add(have, rules.normal(scope))
	}
	var missing []string
	for _, scope := range requested {
		if scope != "" && !have[rules.normal(scope)] && !slices.Contains(missing, scope) {
			missing = append(missing, scope)
		}
	}
	return missing
}

// add notes a scope and all that it includes, at any distance.
func (r *ScopeRules) add(have map[string]bool, scope string) {
	if have[scope] {
		return
	}
	have[scope] = true
	for _, included := range r.Implied[scope] {
		r.add(have, r.normal(included))
	}
	for wide, narrow := range r.Widened {
		if rest, ok := strings.CutPrefix(scope, wide); ok {
			r.add(have, r.normal(narrow+rest))
		}
	}
}

// splitScopes takes a list of scopes apart at spaces and commas: providers join them by either,
// whatever they want in requests. The result is never nil: an empty list says that nothing was granted.
func splitScopes(text string) []string {
	return append([]string{}, strings.FieldsFunc(text, func(r rune) bool {
		return r == ' ' || r == ',' || r == '\t' || r == '\n' || r == '\r'
	})...)
}
