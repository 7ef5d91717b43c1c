package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"culvert/keys/localkms"
)

// rootKeyFile is the default of root_key.path, inside the data directory.
const rootKeyFile = "root.key"

// openRootKey opens the root key file. Only for a store that is still empty may it be made: a store
// without its root key is lost, and a new key in the old one's place would hide that behind integrity
// errors.
func openRootKey(path string, storeIsEmpty bool) (*localkms.Key, error) {
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
