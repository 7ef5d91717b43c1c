package connectors

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"culvert/internal/text"
)

// ConfigScope is who fills in a config field.
type ConfigScope string

// The contract's scopes: once for an integration, or for every account that is connected.
const (
	ConfigIntegration  ConfigScope = "integration"
	ConfigInstallation ConfigScope = "installation"
)

// ConfigField is a value that a provider needs besides credentials: a shop's name, a tenant, a region
// (contract section 2.5, the config field descriptor).
type ConfigField struct {
	// Key is its name in a config object and in URLs, where ${config.key} stands for its value.
	Key   string
	Label string
	// Required fields have no default: a value must be given.
	Required    bool
	Scope       ConfigScope
	Description string
	// Example is a value that the field takes.
	Example string
	// Pattern is what the whole value must match, written ^(?:…)$, so that nothing stands before or
	// behind what it describes. Every field has one.
	Pattern string
	// Order is the place of the field in a form, from 1.
	Order int
	// Secret values are an account's: sealed beside its API key or client secret, and vended with that alone.
	// They stand in no URL.
	Secret bool
	// Default is the value of a field that was left empty.
	Default string
	// Domains makes the value a host name: one of these domains, or a name below one. All other values
	// that stand in a URL are one label of a host or one segment of a path.
	Domains []string
}

// ConfigError is a refused value, the first if there are others. Rule never repeats the value.
type ConfigError struct {
	// Key is the field's; empty for keys that the connector does not declare, which are the caller's own text.
	Key, Rule string
	// Example is a value that the field takes.
	Example string
	// Missing tells that there is no value, and not that it is wrong.
	Missing bool
	// Others are further refused values of the same config.
	Others []*ConfigError
}

func (e *ConfigError) Error() string {
	if e.Key == "" {
		return "connectors: config " + e.Rule
	}
	return "connectors: config." + e.Key + " " + e.Rule
}

const (
	// maxConfigBytes bounds a value: a secret may be a key in PEM.
	maxConfigBytes = 8 << 10
	// maxLabelBytes is that of a DNS label, maxHostBytes that of a host name (RFC 1035 section 2.3.4).
	maxLabelBytes = 63
	maxHostBytes  = 253
)

// ExampleConfig is a value for every field, as the fields give it. What comes of it is no customer's.
func (c *Connector) ExampleConfig() map[string]string {
	values := map[string]string{}
	for i := range c.Config {
		values[c.Config[i].Key] = c.Config[i].Example
	}
	return values
}

// field finds a field by its key.
func (c *Connector) field(key string) *ConfigField {
	for i := range c.Config {
		if c.Config[i].Key == key {
			return &c.Config[i]
		}
	}
	return nil
}

// value is the field's among those given, or its default.
func (f *ConfigField) value(values map[string]string) (string, *ConfigError) {
	v := values[f.Key]
	if v == "" {
		if f.Required {
			return "", f.wrong("is required", true)
		}
		return f.Default, nil
	}
	if rule := f.rule(v); rule != "" {
		return "", f.wrong(rule, false)
	}
	return v, nil
}

func (f *ConfigField) wrong(rule string, missing bool) *ConfigError {
	return &ConfigError{Key: f.Key, Rule: rule, Example: f.Example, Missing: missing}
}

// rule is the rule that a value breaks, "" for none.
func (f *ConfigField) rule(v string) string {
	if len(v) > maxConfigBytes {
		return "is longer than 8 KiB"
	}
	if !f.Secret && text.Unprintable(v) {
		return "must be printable text"
	}
	pattern, err := regexp.Compile(f.Pattern)
	if err != nil || !pattern.MatchString(v) {
		return "does not match the pattern of the field" // which callers can read; the value stays out
	}
	if len(f.Domains) > 0 && !f.inDomains(v) {
		return "is not a host of the provider's"
	}
	return ""
}

// inDomains tells a host name that is one of the field's domains or below one.
func (f *ConfigField) inDomains(v string) bool { return hostIn(v, f.Domains) }

// hostIn tells a host name that is one of the domains or below one.
func hostIn(host string, domains []string) bool {
	if len(host) > maxHostBytes || slices.ContainsFunc(strings.Split(host, "."), func(label string) bool { return !labelOK(label) }) {
		return false
	}
	return slices.ContainsFunc(domains, func(domain string) bool {
		return host == domain || strings.HasSuffix(host, "."+domain)
	})
}

// labelOK tells what is one label of a host name and one segment of a path, to every parser: no dot, no
// slash, no userinfo, no port, no escape, nothing that is an option or a parent directory.
func labelOK(v string) bool {
	alnum := func(b byte) bool { return b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' || b >= '0' && b <= '9' }
	if v == "" || len(v) > maxLabelBytes || !alnum(v[0]) || !alnum(v[len(v)-1]) {
		return false
	}
	return !strings.ContainsFunc(v, func(r rune) bool { return r > 'z' || !alnum(byte(r)) && r != '-' && r != '_' })
}

// joined makes one error of a list, nil of none.
func joined(wrong []*ConfigError) error {
	if len(wrong) == 0 {
		return nil
	}
	wrong[0].Others = wrong[1:]
	return wrong[0]
}

// printableKey is a key that a caller made up, if it can stand in an error.
func printableKey(key string) string {
	if configKey(key) {
		return key
	}
	return "…"
}

// configKey tells the names that fields have.
func configKey(key string) bool {
	return key != "" && len(key) <= maxSlugBytes && !strings.ContainsFunc(key, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '_'
	})
}

// mistake is the rule that a field breaks in itself, "" for none.
func (f *ConfigField) mistake() string {
	pattern, err := regexp.Compile(f.Pattern)
	switch {
	case !configKey(f.Key) || f.Label == "":
		return "needs a key of a-z, 0-9 and _, and a label"
	case f.Scope != ConfigIntegration && f.Scope != ConfigInstallation:
		return "needs a scope"
	case err != nil || !strings.HasPrefix(f.Pattern, "^(?:") || !strings.HasSuffix(f.Pattern, ")$"):
		return "needs a pattern that is written ^(?:…)$"
	case pattern.MatchString(""):
		return "needs a pattern that does not match nothing"
	case f.Example == "" || f.rule(f.Example) != "":
		return "needs an example that it takes"
	case f.Secret && f.Scope == ConfigIntegration:
		return "is secret, which only values of accounts can be"
	case f.Required && f.Default != "":
		return "is required and has a default"
	case f.Default != "" && (f.Secret || f.rule(f.Default) != ""):
		return "has a default that it does not take"
	}
	return ""
}

// configRule is the rule that the fields and the URLs that use them break, "" for none.
func (c *Connector) configRule() string {
	seen := map[string]bool{}
	for i := range c.Config {
		f := &c.Config[i]
		if rule := f.mistake(); rule != "" {
			return fmt.Sprintf("%s: %s", printableKey(f.Key), rule)
		}
		if seen[f.Key] {
			return f.Key + ": is there twice"
		}
		seen[f.Key] = true
	}
	return c.templatesRule()
}
