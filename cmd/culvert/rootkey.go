package main

import (
	"errors"
	"fmt"
	"io/fs"

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
	// Another process that shares the path may be as new as this one: whoever is second opens the file
	// of the first.
	if err := localkms.Create(path); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	return localkms.Open(path)
}
