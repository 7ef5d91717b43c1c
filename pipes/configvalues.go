package pipes

import (
	"context"
	"errors"
	"maps"

	"culvert/connectors"
	"culvert/internal/secret"
)

// Values of a provider's config fields stand in three records: the integration's count for all accounts,
// an account's for itself, and an organization's for those of its accounts that have none of their own. What
// they come to is read anew for everything that is sent; where it may be sent is bound by seals, so a value
// that is changed later moves no secret to another host ([ErrEndpointChanged]).

// at is an integration as it is for one account, whose config these values are.
func (i *Integration) at(config map[string]string) *Integration {
	if len(config) == 0 {
		return i
	}
	next := *i
	next.AccountConfig = config
	return &next
}

// values are what stands in the provider's config fields: the integration's own before those of the account
// that it was read for, and these before the organization's.
func (i *Integration) values() map[string]string {
	if len(i.AccountConfig) == 0 && len(i.SharedConfig) == 0 {
		return i.Config
	}
	return layered(i.SharedConfig, i.AccountConfig, i.Config)
}

// layered are the values of all configs; where several have the same one, the last counts.
func layered(configs ...map[string]string) map[string]string {
	all := map[string]string{}
	for _, config := range configs {
		maps.Copy(all, config)
	}
	return all
}

// template is the provider without any values; of a custom one, which has no config fields, and of one that
// the catalogue has lost, nothing is there.
func (b *Broker) template(i *Integration) *connectors.Connector {
	if conn, ok := b.catalog.Connector(i.Slug); ok && i.Custom == nil {
		return conn
	}
	return &connectors.Connector{}
}

// given is values without those that are empty, which were left out; nil if there are none.
func given(values map[string]string) map[string]string {
	var kept map[string]string
	for key, v := range values {
		if v == "" {
			continue
		}
		if kept == nil {
			kept = map[string]string{}
		}
		kept[key] = v
	}
	return kept
}

// changedConfig is a config with the values of a change over it. An empty one takes its key out.
func changedConfig(config, changes map[string]string) map[string]string {
	return given(layered(config, changes))
}

// unpinned are values without those of fields that the integration has a value of by now.
func unpinned(i *Integration, config map[string]string) map[string]string {
	kept := maps.Clone(config)
	maps.DeleteFunc(kept, func(key, _ string) bool { return i.Config[key] != "" })
	return kept
}

// accountConfig is an account's values: in clear, and the secret ones, which are sealed beside its credential.
type accountConfig struct {
	plain   map[string]string
	secrets map[string]secret.Bytes
	// kept tells that none came, so that the account keeps those that it has, the secret ones too.
	kept bool
}

// checkConfig checks the values that came for an account by themselves, so that they are refused together with the
// rest of a request; what else there is comes later.
func (b *Broker) checkConfig(slug string, values map[string]string) error {
	conn, ok := b.catalog.Connector(slug)
	if !ok {
		return nil // a custom provider, which has no fields, or none
	}
	return refusedConfig(conn.CheckAccountConfig(nil, nil, given(values), true))
}

// configFor checks the values that came for an account of an integration as it is for the owner, and is what the
// account then has. a is the account if there is one: where no values come it keeps its own. Required ones may be
// missing with partial.
func (b *Broker) configFor(i *Integration, a *Account, values map[string]string, m AuthMethod, partial bool) (accountConfig, error) {
	conn := b.template(i)
	c := accountConfig{plain: given(values)}
	others := i.SharedConfig // where required values may stand
	if c.kept = a != nil && len(c.plain) == 0; c.kept {
		c.plain = unpinned(i, a.Config)
		others = changedConfig(others, a.SecretConfig)
	}
	if err := refusedConfig(conn.CheckAccountConfig(i.Config, others, c.plain, partial)); err != nil {
		return accountConfig{}, err
	}
	for _, key := range conn.Secrets(c.plain) {
		if m == MethodOAuth {
			return accountConfig{}, invalid("config."+key, "is secret: it can only come with an API key or client credentials")
		}
		if c.secrets == nil {
			c.secrets = map[string]secret.Bytes{}
		}
		c.secrets[key] = secret.New([]byte(c.plain[key]))
		delete(c.plain, key)
	}
	return c, nil
}

// checkShared checks the values that an organization has for its accounts. The contract answers with 400.
func (b *Broker) checkShared(i *Integration, values map[string]string) error {
	err := refusedConfig(b.template(i).CheckSharedConfig(i.Config, values))
	var refused *InvalidError
	if errors.As(err, &refused) {
		refused.Malformed = true
		for _, other := range refused.Others {
			other.Malformed = true
		}
	}
	return err
}

// keepSecrets fills in the secret values that an account keeps: they are sealed in its grant.
func (o *operation) keepSecrets(ctx context.Context, a *Account, c *accountConfig) error {
	if !c.kept || len(a.SecretConfig) == 0 || a.Grant == "" {
		return nil
	}
	g, err := o.broker.grant(ctx, o.Environment(), a.Grant)
	if err != nil {
		return err
	}
	tokens, err := o.openGrant(ctx, g.Record)
	c.secrets = tokens.Config
	return err
}

// into puts an account's values where they stand.
func (c *accountConfig) into(a *Account) {
	a.Config, a.SecretConfig = c.plain, nil
	for key, value := range c.secrets {
		if a.SecretConfig == nil {
			a.SecretConfig = map[string]string{}
		}
		a.SecretConfig[key] = value.Last4()
	}
}

// refusedConfig is an error of a connector's checks as an [InvalidError].
func refusedConfig(err error) error {
	var refused *connectors.ConfigError
	if !errors.As(err, &refused) {
		return err
	}
	var wrong []error
	for _, e := range append([]*connectors.ConfigError{refused}, refused.Others...) {
		one := invalid("config", e.Rule)
		if e.Key != "" {
			one.Field += "." + e.Key
		}
		if e.Missing {
			one.Code = CodeRequired
		}
		if e.Example != "" {
			one.Rule += ", as in \"" + e.Example + "\""
		}
		wrong = append(wrong, one)
	}
	return gather(wrong...)
}
