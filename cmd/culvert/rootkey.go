package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"culvert/internal/outage"
	"culvert/internal/secret"
	"culvert/keys"
	"culvert/keys/awskms"
	"culvert/keys/localkms"
	"culvert/keys/pkcs11"
)

// rootKeyFile is the default of root_key.path, inside the data directory.
const rootKeyFile = "root.key"

// rootKeyPlace is where the settings say that a root key is.
type rootKeyPlace struct {
	// setting is what the settings of it begin with.
	setting string
	config  RootKeyConfig
	// path is the key file of provider local, else empty.
	path string
}

// rootKeysIn are where the root keys are, seen from a data directory, the current one first.
func (c *Config) rootKeysIn(dir *dataDir) []rootKeyPlace {
	var places []rootKeyPlace
	for _, r := range c.rootKeys() {
		p := rootKeyPlace{setting: r.name, config: r.config}
		if p.config.Provider == "local" {
			p.path = cmp.Or(p.config.Path, dir.file(rootKeyFile))
		}
		places = append(places, p)
	}
	return places
}

// isCurrent reports the root key that wraps what is new.
func (p rootKeyPlace) isCurrent() bool { return p.setting == "root_key" }

// String names the root key in an error.
func (p rootKeyPlace) String() string { return "the root key " + p.name() }

// name tells one root key from another, for an operator.
func (p rootKeyPlace) name() string {
	switch p.config.Provider {
	case "awskms":
		return p.config.Key
	case "pkcs11":
		return p.config.Key + " in token " + p.config.Token
	}
	return "in " + p.path
}

// open opens the root key. A key of a KMS or an HSM is never made here; the file of the current one may be for an
// empty store.
func (p rootKeyPlace) open(ctx context.Context, storeIsEmpty bool) (key keys.RootKey, err error) {
	switch p.config.Provider {
	case "awskms":
		key, err = awskms.Open(ctx, awskms.Config{Key: p.config.Key, Endpoint: p.config.Endpoint})
	case "pkcs11":
		key, err = p.openPKCS11(ctx)
	default:
		if p.isCurrent() {
			return openRootKeyFile(p.path, storeIsEmpty)
		}
		if key, err = localkms.Open(p.path); errors.Is(err, fs.ErrNotExist) {
			return nil, hinted(fmt.Errorf("root key file %s is missing (%s)", p.path, p.setting),
				"put the file back; or take the setting away, if culvert keys list shows no KEK under that key")
		}
	}
	if err != nil {
		return nil, p.explain(fmt.Errorf("%s cannot be opened: %w", p, err))
	}
	return key, nil
}

// openPKCS11 reads the PIN, which a token counts as an attempt: so what is none is not shown to it.
func (p rootKeyPlace) openPKCS11(ctx context.Context) (keys.RootKey, error) {
	text, err := readFile(p.config.PINFile, 0o007, 0o640)
	if err != nil {
		return nil, fmt.Errorf("PIN: %w", err)
	}
	pin := bytes.TrimRight(text, "\r\n")
	if len(pin) == 0 || bytes.ContainsAny(pin, "\r\n\x00") {
		return nil, fmt.Errorf("PIN: %s is not one line with a PIN", p.config.PINFile)
	}
	return pkcs11.Open(ctx, pkcs11.Config{
		Module: p.config.Path, Token: p.config.Token, Key: p.config.Key, PIN: secret.New(pin),
	})
}

// explain adds what an operator can do when the root key refuses or does not answer.
func (p rootKeyPlace) explain(err error) error {
	hint := ""
	switch o := outage.Of(err); {
	case o != nil && o.Dependency == outage.RootKey:
		hint = p.hints().down
	case errors.Is(err, keys.ErrRefused):
		hint = p.hints().refused
	case errors.Is(err, keys.ErrTampered):
		hint = p.hints().tampered
	}
	if hint == "" {
		return err
	}
	return hinted(err, hint)
}

// rootKeyHints are for the kinds of error that a root key has; empty where there is nothing to say.
type rootKeyHints struct{ down, refused, tampered string }

func (p rootKeyPlace) hints() rootKeyHints {
	switch p.config.Provider {
	case "awskms":
		return rootKeyHints{
			down: "see that this machine has credentials for AWS and reaches the KMS (" + p.setting + ".endpoint, if it has one of its own)",
			refused: p.setting + ".key has to be the key that " + p.purpose() + ", enabled, and its policy and this " +
				"machine's role have to allow its use",
		}
	case "pkcs11":
		return rootKeyHints{
			down: "see with pkcs11-tool -L that the module in " + p.setting + ".path reaches the token, and that this user may use it",
			refused: p.setting + ".token and " + p.setting + ".key have to name the key that " + p.purpose() + ", and " + p.setting + ".pin_file " +
				"the PIN of the token's user; tokens count wrong PINs and lock themselves",
			tampered: p.setting + ".key has to name the key that " + p.purpose() + ": the label may be another key's by now",
		}
	}
	file := "name the key file that " + p.purpose() + " in " + p.setting + ".path"
	return rootKeyHints{refused: file, tampered: file}
}

// purpose says of a root key what an operator knows it by.
func (p rootKeyPlace) purpose() string {
	if p.isCurrent() {
		return "the store was made with"
	}
	return "KEKs are under"
}

// openRootKeys opens all root keys of the settings, of which the first may be made for an empty store. One that
// cannot be opened ends the start: without it, some records would not open, and nobody would know which. With the
// error come those before it.
func openRootKeys(ctx context.Context, places []rootKeyPlace, storeIsEmpty bool) ([]keys.RootKey, error) {
	var opened []keys.RootKey
	for _, p := range places {
		key, err := p.open(ctx, storeIsEmpty)
		if err != nil {
			return opened, err
		}
		for i, other := range opened {
			if key.URI() == other.URI() {
				return opened, hinted(usage("settings %s and %s are the same root key", places[i].setting, p.setting),
					"take one of them away, or name another key there")
			}
		}
		opened = append(opened, key)
	}
	return opened, nil
}

// openRootKeyFile opens the root key file. Only for a store that is still empty may it be made: a store
// without its root key is lost, and a new key in the old one's place would hide that behind integrity
// errors.
func openRootKeyFile(path string, storeIsEmpty bool) (*localkms.Key, error) {
	key, err := localkms.Open(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return key, err
	}
	if !storeIsEmpty {
		return nil, hinted(fmt.Errorf("the store has data, but its root key file %s is missing", path),
			"put the file back or name it in root_key.path; nothing can be read without it")
	}
	if _, err := os.Stat(filepath.Dir(path)); errors.Is(err, fs.ErrNotExist) {
		return nil, hinted(fmt.Errorf("there is no directory %s for the root key file", filepath.Dir(path)),
			"make it with mode 0700, or name another file in root_key.path")
	}
	// Another process that shares the path may be as new as this one: whoever is second opens the file
	// of the first.
	if err := localkms.Create(path); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	return localkms.Open(path)
}
