package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"culvert/internal/access"
	"culvert/internal/etcd"
	"culvert/internal/id"
	"culvert/internal/outage"
	"culvert/internal/record"
	"culvert/keys"
)

// opener opens the environments of a store, and the root keys as soon as the first of them needs one.
type opener struct {
	client *etcd.Client
	codec  *record.Codec
	// places are where the root keys are, the current one first.
	places []rootKeyPlace
	// keyFile is the root API key's, which is made after the store.
	keyFile string
	now     time.Time
	// endpoints are what the operator was told etcd is; none if it is embedded.
	endpoints []string
	prefix    string
	// tls is what the client has; nil if it is none.
	tls *tls.Config

	// rootKeys are those at the places; nil until they are needed.
	rootKeys []keys.RootKey
	// refused is why a root key could not be opened, or used to make the first environment. It is told as
	// it is, not wrapped in the name of the environment that happened to be the first to need the key.
	refused error
	// uri is the root key of the environment that was opened last.
	uri string
	// first is the environment named [keys.FirstEnvironment].
	first access.EnvironmentID
	// made tells that the store was empty.
	made bool
}

func (g *graph) newOpener(cfg Config, dir *dataDir, client *etcd.Client, codec *record.Codec, now time.Time) *opener {
	return &opener{
		tls:    g.tls,
		client: client, codec: codec, places: cfg.rootKeysIn(dir), keyFile: dir.file(apiKeyFile),
		now: now, endpoints: cfg.Etcd.Endpoints, prefix: cfg.Etcd.Prefix,
	}
}

// open loads the environments. In development it makes the first one if the store is empty; production
// refuses such a store, because it is more likely that its place was mistyped, or that it was lost.
func (o *opener) open(ctx context.Context, m mode) (*keys.Environments, error) {
	all, err := o.load(ctx)
	if !errors.Is(err, etcd.ErrUninitialized) {
		return all, err
	}
	if m == production {
		return nil, noStore(o.place())
	}
	if err := o.make(ctx, nil); err != nil && !errors.Is(err, etcd.ErrInitialized) {
		return nil, err
	}
	return o.load(ctx)
}

// startTimeout bounds what a start waits for etcd and for whoever holds the root key, in all: a supervisor
// that starts the process again is told why, and an orchestrator's own limits are longer.
const startTimeout = 30 * time.Second

// bounded is open, for no longer than [startTimeout].
func (o *opener) bounded(ctx context.Context, m mode) (*keys.Environments, error) {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	return o.open(ctx, m)
}

func noStore(place string) error {
	return hinted(fmt.Errorf("there is no store under %s", place),
		"look at etcd.endpoints, etcd.prefix and data_dir; culvert init makes a store, once")
}

// load opens the environments of a store. The error is [etcd.ErrUninitialized] if there is none.
func (o *opener) load(ctx context.Context) (*keys.Environments, error) {
	all, err := o.client.Environments(ctx, o.codec, o.environment(ctx))
	if errors.Is(err, etcd.ErrUninitialized) {
		return nil, err
	}
	return all, o.explain(ctx, err)
}

// make writes the first environment into an empty store, with the API key that admit makes for it, if any.
// Two processes may find the same store empty: it is initialized by compare-and-swap, and who comes
// second gets [etcd.ErrInitialized]. The one who was first reads it back all the same, so that there is
// one way to begin.
func (o *opener) make(ctx context.Context, admit func(*keys.Environment) (access.KeyRecord, error)) error {
	// What should exist is not created anew: the database was lost, or the prefix is mistyped.
	if _, err := os.Stat(o.keyFile); err == nil {
		return hinted(fmt.Errorf("the store is empty, but %s is of a store that was not", o.keyFile),
			"look where the data went (etcd.prefix, the directory etcd); to begin a new store, use another data directory")
	}
	o.made = true
	if o.rootKeys, o.refused = openRootKeys(ctx, o.places, true); o.refused != nil {
		return o.refused
	}
	record, env, err := keys.NewEnvironment(ctx, o.roots(), access.EnvironmentID(id.ULID(o.now)), keys.FirstEnvironment, o.now)
	if err != nil {
		o.refused = o.places[0].explain(err)
		return o.refused
	}
	var first []access.KeyRecord
	if admit != nil {
		apiKey, err := admit(env)
		if err != nil {
			return err
		}
		first = append(first, apiKey)
	}
	return o.client.Initialize(ctx, o.codec, record, env, first...)
}

// place says where the store is, for an operator.
func (o *opener) place() string {
	if len(o.endpoints) == 0 {
		return filepath.Join(filepath.Dir(o.keyFile), "etcd")
	}
	return o.prefix + " at " + strings.Join(o.endpoints, ", ")
}

// environment returns what [etcd.Client.Environments] calls for each record.
func (o *opener) environment(ctx context.Context) func(keys.EnvironmentRecord) (*keys.Environment, error) {
	return func(r keys.EnvironmentRecord) (*keys.Environment, error) {
		if o.rootKeys == nil {
			opened, err := openRootKeys(ctx, o.places, false)
			if err != nil {
				o.refused = lacking(r.RootKeyURI(), opened, err)
				return nil, o.refused
			}
			o.rootKeys = opened
		}
		o.uri = r.RootKeyURI()
		env, err := keys.OpenEnvironment(ctx, o.roots(), r)
		if named := errors.Unwrap(err); named != nil {
			// etcd names the environment as well, and once is enough.
			err = named
		}
		if err == nil {
			err = o.note(env)
		}
		return env, err
	}
}

// note remembers which environment is the first one. A second one of that name is from somebody who can write to etcd
// and has another store under the same root key: its API keys would look after all environments.
func (o *opener) note(e *keys.Environment) error {
	if e.Name() != keys.FirstEnvironment || e.ID() == o.first {
		return nil
	}
	if o.first != "" {
		o.refused = hinted(fmt.Errorf("the store has two environments named %q, %s and %s", e.Name(), o.first, e.ID()),
			"nothing of Culvert's makes a second one: find out who wrote to etcd, and restore a backup from before")
		return o.refused
	}
	o.first = e.ID()
	return nil
}

// lacking adds which root key the store needs to why it was not opened: a file that is missing or damaged does
// not tell whose it was, and the record does, to who looks for a copy. It is quoted, because nothing vouches for
// the record yet.
func lacking(uri string, opened []keys.RootKey, err error) error {
	_, id, _ := strings.Cut(uri, ":")
	isNeeded := func(key keys.RootKey) bool { return key.URI() == uri }
	if outage.Of(err) != nil || strings.Contains(err.Error(), id) || slices.ContainsFunc(opened, isNeeded) {
		return err
	}
	return fmt.Errorf("%w, and the store needs root key %q", err, uri)
}

// roots are the root keys that were opened.
func (o *opener) roots() *keys.RootKeys { return keys.NewRootKeys(o.rootKeys[0], o.rootKeys[1:]...) }

// needed is the place of the root key that the environment opened last is under, and whether it is at hand.
func (o *opener) needed() (p rootKeyPlace, ok bool) {
	for i, key := range o.rootKeys {
		if key.URI() == o.uri {
			return o.places[i], true
		}
	}
	return o.places[0], false
}

// explain adds what an operator can do about the likeliest mistakes.
func (o *opener) explain(ctx context.Context, err error) error {
	switch {
	case o.refused != nil:
		return o.refused
	case err == nil && o.first == "":
		return fmt.Errorf("the store has no environment named %q", keys.FirstEnvironment)
	case errors.Is(err, keys.ErrTampered), errors.Is(err, keys.ErrRefused):
		p, ok := o.needed()
		err = p.explain(fmt.Errorf("%s does not open this store: %w", p, err))
		if !ok {
			err = hinted(err, "if the store has moved to another root key since, name that one in root_key or under other_root_keys")
		}
		return err
	case errors.Is(err, etcd.ErrForeign):
		return hinted(err, "name another one in etcd.prefix")
	case outage.Of(err) != nil && outage.Of(err).Dependency == outage.RootKey:
		p, _ := o.needed()
		return p.explain(err)
	case outage.Of(err) != nil && outage.Of(err).Dependency == outage.Etcd:
		if len(o.endpoints) == 0 {
			return hinted(err, "try again: the disk of the data directory may be slow")
		}
		if why := refusal(ctx, o.endpoints, o.tls); why != nil {
			return hinted(fmt.Errorf("etcd cannot be used: %w", why), "look at etcd.ca_file, etcd.cert_file and etcd.key_file")
		}
		return hinted(err, "see that etcd runs and answers at "+strings.Join(o.endpoints, ", ")+" (etcd.endpoints)")
	}
	return err
}
