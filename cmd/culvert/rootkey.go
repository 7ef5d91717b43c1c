package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"culvert/internal/outage"
	"culvert/keys"
	"culvert/keys/awskms"
	"culvert/keys/localkms"
)

// rootKeyFile is the default of root_key.path, inside the data directory.
const rootKeyFile = "root.key"

// rootKeyPlace is where the settings say that the root key is.
type rootKeyPlace struct {
	config RootKeyConfig
	// path is the file of provider local, else empty.
	path string
}

// in is where the root key is, seen from a data directory.
func (c RootKeyConfig) in(dir *dataDir) rootKeyPlace {
	if c.Provider == "local" && c.Path == "" {
		return rootKeyPlace{c, dir.file(rootKeyFile)}
	}
	return rootKeyPlace{c, c.Path}
}

// String names the root key in an error.
func (p rootKeyPlace) String() string {
	if p.config.Provider == "awskms" {
		return "the root key " + p.config.Key
	}
	return "the root key in " + p.path
}

// open opens the root key. A key of a KMS is never made here; a file may be for an empty store.
func (p rootKeyPlace) open(ctx context.Context, storeIsEmpty bool) (keys.RootKey, error) {
	if p.config.Provider == "awskms" {
		key, err := awskms.Open(ctx, awskms.Config{Key: p.config.Key, Endpoint: p.config.Endpoint})
		if err != nil {
			return nil, p.explain(fmt.Errorf("%s cannot be opened: %w", p, err))
		}
		return key, nil
	}
	key, err := openRootKeyFile(p.path, storeIsEmpty)
	if err != nil {
		return nil, err
	}
	return key, nil
}

// explain adds what an operator can do when the root key refuses or does not answer.
func (p rootKeyPlace) explain(err error) error {
	local := p.config.Provider == "local"
	switch o := outage.Of(err); {
	case o != nil && o.Dependency == outage.RootKey && !local:
		return hinted(err, "see that this machine has credentials for AWS and reaches the KMS (root_key.endpoint, if it has one of its own)")
	case errors.Is(err, keys.ErrRefused) && !local:
		return hinted(err, "root_key.key has to be the key that the store was made with, enabled, and its policy and this "+
			"machine's role have to allow its use")
	case (errors.Is(err, keys.ErrRefused) || errors.Is(err, keys.ErrTampered)) && local:
		return hinted(err, "name the key file that the store was made with in root_key.path")
	}
	return err
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
