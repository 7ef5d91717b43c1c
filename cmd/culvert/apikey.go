package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"slices"
	"strings"
	"time"

	"culvert/internal/access"
	"culvert/internal/outage"
	"culvert/keys"
)

// apiKeyFile holds the root API key of a data directory: the first key there is, with every right in
// its environment.
const apiKeyFile = "root-api-key"

// apiKeyFileOf is the file of another environment's.
func apiKeyFileOf(e *keys.Environment) string {
	if e.Name() == keys.FirstEnvironment {
		return apiKeyFile
	}
	return apiKeyFile + "-" + e.Name()
}

// rootAPIKey returns the key in a file of the directory, or makes one and writes the file. The file comes
// before the record in the store, because only the file holds the key: the other order could leave,
// after a crash, a record whose key nobody has.
func (d *dataDir) rootAPIKey(name string, env access.EnvironmentID, now time.Time) (access.APIKey, error) {
	path := d.file(name)
	text, err := readPrivate(path)
	if errors.Is(err, fs.ErrNotExist) {
		key, err := access.GenerateAPIKey(env, now)
		if err != nil {
			return access.APIKey{}, err
		}
		return key, d.write(name, keyLine(key))
	}
	if err != nil {
		return access.APIKey{}, fmt.Errorf("API key: %w", err)
	}
	key, err := parseKeyLine(text)
	if err != nil {
		return access.APIKey{}, hinted(fmt.Errorf("%s does not hold an API key", path),
			"move it away to get another key; the one it held, if anybody has it, stays valid")
	}
	if key.Environment != env {
		return access.APIKey{}, hinted(fmt.Errorf("the API key in %s is of another store", path),
			"give each store a data directory of its own, or move the file away to get another key, which leaves the old one valid where it is from")
	}
	return key, nil
}

// keyLine is the content of a key's file. A newline at the end, as editors and shells expect; $(cat …)
// drops it.
func keyLine(key access.APIKey) []byte { return slices.Concat(key.Text().Reveal(), []byte{'\n'}) }

func parseKeyLine(line []byte) (access.APIKey, error) {
	return access.ParseAPIKey(strings.TrimSuffix(string(line), "\n"))
}

// rootKeyRecord is what the store keeps of the first key: not the key.
func rootKeyRecord(env *keys.Environment, key access.APIKey, now time.Time) (access.KeyRecord, error) {
	hash, err := env.Pepper(key.Text())
	if err != nil {
		return access.KeyRecord{}, fmt.Errorf("hash the root API key: %w", err)
	}
	return access.KeyRecord{
		ID:          key.ID,
		Environment: key.Environment,
		Name:        "root",
		Role:        access.RoleAdmin,
		Hash:        hash,
		CreatedAt:   now,
		Last4:       key.Text().Last4(),
	}, nil
}

// register makes sure that the store knows the key, and tells whether it is new there. A key whose
// file is old can be new: the process died between file and record.
func (f *floor) register(ctx context.Context, key access.APIKey, log *slog.Logger) (created bool, err error) {
	switch _, _, err := f.store.APIKey(ctx, key.Environment, key.ID); {
	case err == nil:
		return false, nil
	case outage.Of(err) != nil || ctx.Err() != nil:
		return false, fmt.Errorf("look up the root API key: %w", err)
	case !errors.Is(err, access.ErrNoKey):
		// Somebody edited the record. Its key is worth nothing any more, but other keys are.
		log.WarnContext(ctx, "the record of the root API key was tampered with, and the key is refused: move its file away to get another one",
			"key_id", key.ID)
		return false, nil
	}
	env, err := f.environments.Environment(key.Environment)
	if err != nil {
		return false, err
	}
	record, err := rootKeyRecord(env, key, f.ids.Now())
	if err != nil {
		return false, err
	}
	if err := f.store.CreateAPIKey(ctx, record); err != nil {
		return false, fmt.Errorf("store the root API key: %w", err)
	}
	return true, nil
}
