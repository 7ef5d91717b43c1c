package main

import (
	"cmp"
	"context"

	"culvert/keys"
	"culvert/keys/awskms"
)

// customerKeys are the keys that customers may have: any in the AWS KMS that this process may use, and those
// of root keys in the settings that are not the current one. Nobody names a file through the API.
type customerKeys struct {
	roots *keys.RootKeys
	aws   *awskms.Pool
}

var _ keys.CMKSource = (*customerKeys)(nil)

func (c *Config) customerKeys(roots *keys.RootKeys) (*customerKeys, error) {
	pool, err := awskms.NewPool(awskms.PoolConfig{Endpoint: c.cmkEndpoint()})
	if err != nil {
		return nil, err
	}
	return &customerKeys{roots, pool}, nil
}

// cmkEndpoint is where customers' keys are asked: where the root key is, unless the settings say otherwise.
func (c *Config) cmkEndpoint() string {
	if c.RootKey.Provider != "awskms" {
		return c.CMK.Endpoint
	}
	return cmp.Or(c.CMK.Endpoint, c.RootKey.Endpoint)
}

func (c *Config) validateCMK() error {
	if err := awskms.CheckEndpoint(c.CMK.Endpoint); err != nil {
		return usage("setting cmk.endpoint: %v", err)
	}
	return nil
}

// Name implements [keys.CMKSource].
func (c *customerKeys) Name(text string) (uri string, ok bool) {
	for _, key := range c.roots.All() {
		if key.URI() == text {
			return text, true
		}
	}
	return c.aws.Name(text)
}

// Key implements [keys.CMKSource].
func (c *customerKeys) Key(ctx context.Context, uri string) (keys.RootKey, error) {
	for _, key := range c.roots.All() {
		if key.URI() == uri {
			return key, nil
		}
	}
	if _, ok := c.aws.Name(uri); !ok {
		return nil, &keys.Refusal{Code: "the settings of this server do not have it"}
	}
	return c.aws.Key(ctx, uri)
}
