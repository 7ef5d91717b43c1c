package main

import (
	"culvert/keys/awskms"
	"culvert/keys/pkcs11"
)

func (c *Config) validateRootKey() error {
	r := &c.RootKey
	switch r.Provider {
	case "local":
		if err := r.unused("key", "endpoint", "token", "pin_file"); err != nil {
			return hinted(err, "set root_key.provider=awskms or pkcs11 to use a key of a KMS or an HSM")
		}
		return nil
	case "awskms":
		return r.validateAWS()
	case "pkcs11":
		return r.validatePKCS11()
	}
	return hinted(usage("setting root_key.provider: unknown provider %q", r.Provider),
		"the providers are: local, awskms, pkcs11")
}

// unused refuses settings of other providers: who gives one means another key than the one that would be used.
func (r *RootKeyConfig) unused(names ...string) error {
	values := map[string]string{
		"path": r.Path, "key": r.Key, "endpoint": r.Endpoint, "token": r.Token, "pin_file": r.PINFile,
	}
	for _, name := range names {
		if values[name] != "" {
			return usage("setting root_key.%s: provider %s has no use for it", name, r.Provider)
		}
	}
	return nil
}

func (r *RootKeyConfig) validateAWS() error {
	if err := r.unused("path", "token", "pin_file"); err != nil {
		return err
	}
	if err := awskms.CheckARN(r.Key); err != nil {
		return hinted(usage("setting root_key.key: %v", err),
			"write it such as arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab")
	}
	if err := awskms.CheckEndpoint(r.Endpoint); err != nil {
		return usage("setting root_key.endpoint: %v", err)
	}
	return nil
}

func (r *RootKeyConfig) validatePKCS11() error {
	if !pkcs11.Built {
		return hinted(usage("setting root_key.provider: this binary was built without PKCS#11 support"),
			"build one where it will run, with a C compiler: CGO_ENABLED=1 go build -tags pkcs11 ./cmd/culvert")
	}
	if err := r.unused("endpoint"); err != nil {
		return err
	}
	if err := pkcs11.CheckModule(r.Path); err != nil {
		return hinted(usage("setting root_key.path: %v", err), "for SoftHSM on Debian it is /usr/lib/softhsm/libsofthsm2.so")
	}
	if err := pkcs11.CheckTokenLabel(r.Token); err != nil {
		return usage("setting root_key.token: %v", err)
	}
	if err := pkcs11.CheckKeyLabel(r.Key); err != nil {
		return usage("setting root_key.key: %v", err)
	}
	if r.PINFile == "" {
		return hinted(usage("setting root_key.pin_file: provider pkcs11 needs it"),
			"name a file of mode 0600 with the PIN of the token's user; the PIN itself is never a setting")
	}
	return nil
}
