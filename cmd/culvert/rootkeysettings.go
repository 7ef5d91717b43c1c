package main

import (
	"maps"
	"regexp"
	"slices"

	"culvert/keys/awskms"
	"culvert/keys/pkcs11"
)

// rootKeySetting is a root key in the settings: root_key, or one of the others.
type rootKeySetting struct {
	// name is what its settings begin with, without the dot.
	name   string
	config RootKeyConfig
}

// otherRootKeys is the section of the root keys that are not the current one.
const otherRootKeys = "other_root_keys"

// rootKeys are all there are in the settings, the current one first and the others in order of their names.
func (c *Config) rootKeys() []rootKeySetting {
	all := []rootKeySetting{{"root_key", c.RootKey}}
	for _, name := range slices.Sorted(maps.Keys(c.OtherRootKeys)) {
		other := c.OtherRootKeys[name]
		if other.Provider == "" {
			other.Provider = defaults().RootKey.Provider
		}
		all = append(all, rootKeySetting{otherRootKeys + "." + name, other})
	}
	return all
}

// rootKeyName is what a name under other_root_keys looks like: /readyz shows it to everybody.
var rootKeyName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,40}$`)

func (c *Config) validateRootKeys() error {
	for name := range c.OtherRootKeys {
		if !rootKeyName.MatchString(name) {
			return usage("setting %s: name %q is not 1 to 40 letters, digits, - and _", otherRootKeys, name)
		}
	}
	for _, r := range c.rootKeys() {
		if err := r.validate(); err != nil {
			return err
		}
	}
	return nil
}

func (r rootKeySetting) validate() error {
	switch r.config.Provider {
	case "local":
		return r.validateLocal()
	case "awskms":
		return r.validateAWS()
	case "pkcs11":
		return r.validatePKCS11()
	}
	return hinted(usage("setting %s.provider: unknown provider %q", r.name, r.config.Provider),
		"the providers are: local, awskms, pkcs11")
}

// unused refuses settings of other providers: who gives one means another key than the one that would be used.
func (r rootKeySetting) unused(names ...string) error {
	c := r.config
	values := map[string]string{
		"path": c.Path, "key": c.Key, "endpoint": c.Endpoint, "token": c.Token, "pin_file": c.PINFile,
	}
	for _, name := range names {
		if values[name] != "" {
			return usage("setting %s.%s: provider %s has no use for it", r.name, name, c.Provider)
		}
	}
	return nil
}

func (r rootKeySetting) validateLocal() error {
	if err := r.unused("key", "endpoint", "token", "pin_file"); err != nil {
		return hinted(err, "set "+r.name+".provider=awskms or pkcs11 to use a key of a KMS or an HSM")
	}
	// The default path is that of the current root key.
	if r.config.Path == "" && r.name != "root_key" {
		return hinted(usage("setting %s.path: must name the key file", r.name), "other_root_keys are keys that there are already")
	}
	return nil
}

func (r rootKeySetting) validateAWS() error {
	if err := r.unused("path", "token", "pin_file"); err != nil {
		return err
	}
	if err := awskms.CheckARN(r.config.Key); err != nil {
		return hinted(usage("setting %s.key: %v", r.name, err),
			"write it such as arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab")
	}
	if err := awskms.CheckEndpoint(r.config.Endpoint); err != nil {
		return usage("setting %s.endpoint: %v", r.name, err)
	}
	return nil
}

func (r rootKeySetting) validatePKCS11() error {
	if !pkcs11.Built {
		return hinted(usage("setting %s.provider: this binary was built without PKCS#11 support", r.name),
			"build one where it will run, with a C compiler: CGO_ENABLED=1 go build -tags pkcs11 ./cmd/culvert")
	}
	if err := r.unused("endpoint"); err != nil {
		return err
	}
	if err := pkcs11.CheckModule(r.config.Path); err != nil {
		return hinted(usage("setting %s.path: %v", r.name, err), "for SoftHSM on Debian it is /usr/lib/softhsm/libsofthsm2.so")
	}
	if err := pkcs11.CheckTokenLabel(r.config.Token); err != nil {
		return usage("setting %s.token: %v", r.name, err)
	}
	if err := pkcs11.CheckKeyLabel(r.config.Key); err != nil {
		return usage("setting %s.key: %v", r.name, err)
	}
	if r.config.PINFile == "" {
		return hinted(usage("setting %s.pin_file: provider pkcs11 needs it", r.name),
			"name a file of mode 0600 with the PIN of the token's user; the PIN itself is never a setting")
	}
	return nil
}
