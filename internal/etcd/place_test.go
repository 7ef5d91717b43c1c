package etcd_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"culvert/internal/access"
	"culvert/internal/etcd"
	"culvert/internal/events"
	"culvert/internal/id"
	"culvert/internal/outage"
	"culvert/internal/record"
	"culvert/keys"
	"culvert/keys/localkms"
	"culvert/vault"
)

// place is a keyspace with one environment, and what it takes to open stores on it.
type place struct {
	client      *etcd.Client
	root        *localkms.Key
	codec       *record.Codec
	record      keys.EnvironmentRecord
	environment *keys.Environment
	env         access.EnvironmentID
	ids         *id.Clock
}

// newPlace initializes the root of a client.
func newPlace(t testing.TB, client *etcd.Client) *place {
	t.Helper()
	p := preparedPlace(t, client)
	if err := client.Initialize(t.Context(), p.codec, p.record, p.environment); err != nil {
		t.Fatalf("initialize: %v", err)
	}
	return p
}

// preparedPlace has everything but the first write.
func preparedPlace(t testing.TB, client *etcd.Client) *place {
	t.Helper()
	p := &place{client: client, root: mustRoot(t), ids: id.NewClock(time.Now)}
	p.env = access.EnvironmentID(id.ULID(time.Now()))
	var err error
	if p.codec, err = record.NewCodec(); err != nil {
		t.Fatal(err)
	}
	p.record, p.environment, err = keys.NewEnvironment(t.Context(), keys.NewRootKeys(p.root), p.env, "default", time.Now())
	if err != nil {
		t.Fatalf("new environment: %v", err)
	}
	return p
}

func mustRoot(t testing.TB) *localkms.Key {
	t.Helper()
	path := filepath.Join(t.TempDir(), "root-key")
	if err := localkms.Create(path); err != nil {
		t.Fatalf("create root key: %v", err)
	}
	root, err := localkms.Open(path)
	if err != nil {
		t.Fatalf("open root key: %v", err)
	}
	return root
}

// config is that of a store on this place.
func (p *place) config() etcd.StoreConfig {
	return etcd.StoreConfig{
		Client: p.client, Environments: keys.NewEnvironments(p.environment), Codec: p.codec,
		IDs: id.NewClock(time.Now), Logger: slog.New(slog.DiscardHandler), Node: "node-" + id.ULID(time.Now()),
		MinFreeBytes: 1, // whoever runs the tests may have a full disk
	}
}

// mustStore opens a store, changed by tweaks, and waits until it lists from memory.
func (p *place) mustStore(t testing.TB, tweaks ...func(*etcd.StoreConfig)) *etcd.Store {
	t.Helper()
	cfg := p.config()
	for _, tweak := range tweaks {
		tweak(&cfg)
	}
	s, err := etcd.NewStore(t.Context(), cfg)
	if err != nil {
		t.Fatalf("open store: %v", err)
	}
	t.Cleanup(s.Close)
	eventually(t, "a store that is ready", s.Ready)
	return s
}

// rawPut writes past every store, as another program would.
func (p *place) rawPut(t testing.TB, key string, value []byte) {
	t.Helper()
	if _, err := p.client.KV().Put(t.Context(), p.client.Abs(key), string(value)); err != nil {
		t.Fatalf("put %s: %v", key, err)
	}
}

// rawGet reads past every store; nil if the key does not exist.
func (p *place) rawGet(t testing.TB, key string) []byte {
	t.Helper()
	resp, err := p.client.KV().Get(t.Context(), p.client.Abs(key))
	if err != nil {
		t.Fatalf("get %s: %v", key, err)
	}
	if len(resp.Kvs) == 0 {
		return nil
	}
	return resp.Kvs[0].Value
}

// event is one of this type whose data says what.
func (p *place) event(kind events.Type, what string) events.Event {
	data, err := json.Marshal(map[string]string{"id": what})
	if err != nil {
		panic(err) // a map of strings
	}
	return events.Event{Type: kind, Data: data, At: time.Now().UTC().Truncate(time.Millisecond), Node: "node-1", Index: 7}
}

// newKEK is the creation of a KEK for a context. Nothing here looks into the keyset.
func (p *place) newKEK(items map[string]string) keys.Conditions {
	keyID := keys.ID(p.ids.UUID())
	return keys.Conditions{Environment: p.env, KeyID: keyID, Create: &keys.Creation{
		Record: keys.KEKRecord{
			Environment: p.env, KeyID: keyID, Items: items, CreatedAt: p.ids.Now(),
			Shares: []keys.Share{{Slot: keys.RootSlot, KeyURI: "local:test", Wrapped: []byte("share")}},
			Sealed: []byte("keyset"),
		},
		Event: p.event(events.KEKCreated, string(keyID)),
	}}
}

// mustKEK stores a KEK and returns the conditions of its use.
func (p *place) mustKEK(t testing.TB, s *etcd.Store, items map[string]string) keys.Conditions {
	t.Helper()
	c := p.newKEK(items)
	if err := s.CreateKEK(t.Context(), c); err != nil {
		t.Fatalf("create KEK: %v", err)
	}
	return p.mustConditions(t, s, c.KeyID)
}

// mustConditions are those of using a KEK as it is now.
func (p *place) mustConditions(t testing.TB, s *etcd.Store, keyID keys.ID) keys.Conditions {
	t.Helper()
	mustFence(t, s)
	_, generation, err := s.KEK(t.Context(), p.env, keyID)
	if err != nil {
		t.Fatalf("KEK %s: %v", keyID, err)
	}
	return keys.Conditions{Environment: p.env, KeyID: keyID, Generation: generation}
}

// write is the first version of a new object. The ciphertext is any bytes.
func (p *place) write(name string, c keys.Conditions) vault.Write {
	at, text := p.ids.Now(), []byte("ciphertext of "+name)
	h := vault.Header{
		ID: vault.ObjectID(p.ids.UUID()), Environment: p.env, Name: name, KeyID: c.KeyID,
		Items: map[string]string{"organization_id": "org_1"}, CreatedAt: at,
		Versions: []vault.VersionHeader{p.version(1, at, text)},
	}
	return vault.Write{Header: h, Ciphertext: text, Conditions: c, Event: p.event(events.DataCreated, string(h.ID))}
}

// next is the following version of an object, keeping at most keep of them. It also returns what to
// prune.
func (p *place) next(h *vault.Header, c keys.Conditions, keep int) (w vault.Write, pruneTo uint64) {
	at, next := p.ids.Now(), *h
	sequence := h.Current().Sequence + 1
	text := fmt.Appendf(nil, "ciphertext %d of %s", sequence, h.Name)
	next.Versions = append([]vault.VersionHeader{p.version(sequence, at, text)}, h.Versions...)
	if len(next.Versions) > keep {
		pruneTo = next.Versions[keep].Sequence
		next.Versions = slices.Clip(next.Versions[:keep])
	}
	return vault.Write{Header: next, Ciphertext: text, Conditions: c, Event: p.event(events.DataUpdated, string(h.ID))}, pruneTo
}

func (p *place) version(sequence uint64, at time.Time, text []byte) vault.VersionHeader {
	return vault.VersionHeader{
		ID: vault.VersionID(p.ids.UUID()), Sequence: sequence, CreatedAt: at, Author: vault.Author{ID: "key_1", Name: "a key"},
		WrappedDEK: bytes.Repeat([]byte{7}, 77), ETag: "etag", Size: len(text),
	}
}

// mustCreate stores a new object.
func (p *place) mustCreate(t testing.TB, s *etcd.Store, name string, c keys.Conditions) vault.Write {
	t.Helper()
	w := p.write(name, c)
	if _, err := s.Create(t.Context(), w, nil); err != nil {
		t.Fatalf("create %s: %v", name, err)
	}
	return w
}

// mustHeader reads a header behind a fence.
func (p *place) mustHeader(t testing.TB, s *etcd.Store, object vault.ObjectID) vault.Stored {
	t.Helper()
	mustFence(t, s)
	h, err := s.Header(t.Context(), p.env, object)
	if err != nil {
		t.Fatalf("header of %s: %v", object, err)
	}
	return h
}

// mustDelete removes an object as it is now.
func (p *place) mustDelete(t testing.TB, s *etcd.Store, object vault.ObjectID) {
	t.Helper()
	h := p.mustHeader(t, s, object)
	if err := s.Delete(t.Context(), *h.Header, h.Revision, p.event(events.DataDeleted, string(object))); err != nil {
		t.Fatalf("delete %s: %v", object, err)
	}
}

func mustFence(t testing.TB, s *etcd.Store) {
	t.Helper()
	if err := s.Fence(t.Context()); err != nil {
		t.Fatalf("fence: %v", err)
	}
}

// mustBe fails unless err is, or wraps, want.
func mustBe(t testing.TB, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("%s: got %v, want %v", what, err, want)
	}
}

// mustBeOutage fails unless err is an outage of etcd of this kind.
func mustBeOutage(t testing.TB, what string, err error, kind outage.Kind) {
	t.Helper()
	o := outage.Of(err)
	if o == nil || o.Dependency != outage.Etcd || o.Kind != kind {
		t.Fatalf("%s: got %v, want an outage of etcd of kind %d", what, err, kind)
	}
}

// eventually waits for what other goroutines bring about.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !holds(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited too long for %s", what)
		}
	}
}

// sleep waits, or returns early when the test ends.
func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}
