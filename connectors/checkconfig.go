package connectors

import (
	"slices"
	"strings"
)

// CheckIntegrationConfig holds what is set once for an integration to the connector's rules: values of declared
// fields, each as its field has it, and all that an integration needs. Values of the fields of accounts count for
// every account, and none may be given for one. An empty value is one that was left out.
//
// Errors are of type [*ConfigError], and never hold a value.
func (c *Connector) CheckIntegrationConfig(values map[string]string) error {
	wrong := c.checkGiven(values, func(f *ConfigField) string {
		if f.Secret {
			return "is secret: each account brings its own"
		}
		return ""
	})
	return joined(append(wrong, c.missing(ConfigIntegration, values)...))
}

// CheckSharedConfig is the same for what counts for some of the integration's accounts, where one has no value of
// its own: fields of accounts, but for those that the integration has values of.
func (c *Connector) CheckSharedConfig(integration, values map[string]string) error {
	return joined(c.checkGiven(values, func(f *ConfigField) string {
		if rule := f.forAccounts(integration); rule != "" {
			return rule
		}
		if f.Secret {
			return "is secret: each account brings its own"
		}
		return ""
	}))
}

// CheckAccountConfig is the same for one account. What is required may stand in the integration's or the shared
// values, too; with partial it may be missing.
func (c *Connector) CheckAccountConfig(integration, shared, values map[string]string, partial bool) error {
	wrong := c.checkGiven(values, func(f *ConfigField) string { return f.forAccounts(integration) })
	if !partial {
		wrong = append(wrong, c.missing(ConfigInstallation, integration, shared, values)...)
	}
	return joined(wrong)
}

// forAccounts is why an account can have no value of a field, "" if it can.
func (f *ConfigField) forAccounts(integration map[string]string) string {
	switch {
	case f.Scope != ConfigInstallation:
		return "is set for the data integration, and not for an account"
	case integration[f.Key] != "":
		return "has a value of the data integration's, which counts for all its accounts"
	}
	return ""
}

// checkGiven checks the values that are there: that their fields are declared and can have one here, and the
// values themselves. Keys that are not declared are one error, because they are the caller's own text.
func (c *Connector) checkGiven(values map[string]string, refused func(*ConfigField) string) []*ConfigError {
	var wrong []*ConfigError
	var takes []string
	declared := 0
	for i := range c.Config {
		f := &c.Config[i]
		rule := refused(f)
		if rule == "" {
			takes = append(takes, f.Key)
		}
		v, given := values[f.Key]
		if given {
			declared++
		}
		if v == "" {
			continue
		}
		if rule != "" {
			// No value would do, so an example of one would mislead.
			wrong = append(wrong, &ConfigError{Key: f.Key, Rule: rule})
			continue
		}
		if rule = f.rule(v); rule == "" && !c.fits(f, v) {
			rule = unfit
		}
		if rule != "" {
			wrong = append(wrong, f.wrong(rule, false))
		}
	}
	if declared < len(values) {
		rule := "has a field that the provider does not declare: it has none here"
		if len(takes) > 0 {
			rule = "has a field that the provider does not declare: here it has " + strings.Join(takes, ", ")
		}
		wrong = append(wrong, &ConfigError{Rule: rule})
	}
	return wrong
}

// missing are the required fields of a scope that have a value in none of the configs.
func (c *Connector) missing(scope ConfigScope, configs ...map[string]string) []*ConfigError {
	var wrong []*ConfigError
	for i := range c.Config {
		f := &c.Config[i]
		given := func(config map[string]string) bool { return config[f.Key] != "" }
		if f.Scope == scope && f.Required && !slices.ContainsFunc(configs, given) {
			wrong = append(wrong, f.wrong("is required", true))
		}
	}
	return wrong
}

// Secrets are the keys of secret fields among those that have a value.
func (c *Connector) Secrets(values map[string]string) []string {
	var secrets []string
	for key, v := range values {
		if f := c.field(key); v != "" && f != nil && f.Secret {
			secrets = append(secrets, key)
		}
	}
	slices.Sort(secrets)
	return secrets
}

// InstallationConfig is what stands in the fields of accounts that are not secret, defaults included.
func (c *Connector) InstallationConfig(values map[string]string) map[string]string {
	all := map[string]string{}
	for i := range c.Config {
		f := &c.Config[i]
		if f.Scope != ConfigInstallation || f.Secret {
			continue
		}
		if v, err := f.value(values); err == nil && v != "" {
			all[f.Key] = v
		}
	}
	return all
}
