package etcd_test

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"testing"

	"culvert/internal/etcd"
	"culvert/keys"
)

// opening opens environments with a root key.
func opening(ctx context.Context, root keys.RootKey) func(keys.EnvironmentRecord) (*keys.Environment, error) {
	return func(r keys.EnvironmentRecord) (*keys.Environment, error) {
		return keys.OpenEnvironment(ctx, keys.NewRootKeys(root), r)
	}
}

func testInitialize(t *testing.T, open opener) {
	p := preparedPlace(t, open(t))
	ctx := t.Context()
	// Case 1: nothing is there. Reading says so, and creates nothing.
	_, err := p.client.Environments(ctx, p.codec, opening(ctx, p.root))
	mustBe(t, "environments of an empty root", err, etcd.ErrUninitialized)
	_, err = p.client.Environments(ctx, p.codec, opening(ctx, p.root))
	mustBe(t, "environments of an empty root, again", err, etcd.ErrUninitialized)
	// Case 2: the first one writes.
	if err := p.client.Initialize(ctx, p.codec, p.record, p.environment); err != nil {
		t.Fatal(err)
	}
	all, err := p.client.Environments(ctx, p.codec, opening(ctx, p.root))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := all.Environment(p.env); err != nil {
		t.Errorf("the environment is not among those loaded: %v", err)
	}
	// Case 3: the second one does not, and what the first one wrote stays.
	before := p.rawGet(t, etcd.KeyEnv(p.env))
	mustBe(t, "second initialize", p.client.Initialize(ctx, p.codec, p.record, p.environment), etcd.ErrInitialized)
	other := preparedPlace(t, p.client)
	mustBe(t, "another's initialize", p.client.Initialize(ctx, p.codec, other.record, other.environment), etcd.ErrInitialized)
	if !bytes.Equal(before, p.rawGet(t, etcd.KeyEnv(p.env))) || p.rawGet(t, etcd.KeyEnv(other.env)) != nil {
		t.Error("a refused initialize wrote something")
	}
}

func testInitializeAtOnce(t *testing.T, open opener) {
	client := open(t)
	const processes = 8
	places := make([]*place, processes)
	for i := range places {
		places[i] = preparedPlace(t, client)
	}
	results := make([]error, processes)
	var wg sync.WaitGroup
	for i, p := range places {
		wg.Go(func() { results[i] = client.Initialize(t.Context(), p.codec, p.record, p.environment) })
	}
	wg.Wait()
	winners := 0
	for i, err := range results {
		switch {
		case err == nil:
			winners++
			// Whoever lost loads what the winner wrote: nothing else is there.
			if _, err := client.Environments(t.Context(), places[i].codec, opening(t.Context(), places[i].root)); err != nil {
				t.Errorf("the winner's environment does not open: %v", err)
			}
		case !errors.Is(err, etcd.ErrInitialized):
			t.Errorf("initialize: %v", err)
		}
	}
	if winners != 1 {
		t.Errorf("%d of %d wrote the first environment", winners, processes)
	}
}

func testReplaceEnvironment(t *testing.T, open opener) {
	p := newPlace(t, open(t))
	s, other := p.mustStore(t), p.mustStore(t)
	r, revision, err := s.EnvironmentRecord(t.Context(), p.env)
	if err != nil {
		t.Fatal(err)
	}
	next := *r
	next.Shares = []keys.Share{{Slot: keys.RootSlot, KeyURI: "local:next", Wrapped: []byte("share")}}
	if err := s.ReplaceEnvironment(t.Context(), next, revision); err != nil {
		t.Fatal(err)
	}
	// Another replica sees it, and what it read before is no ground to write on.
	mustFence(t, other)
	got, _, err := other.EnvironmentRecord(t.Context(), p.env)
	if err != nil || got.RootKeyURI() != "local:next" {
		t.Errorf("at another replica: under %q, %v", got.RootKeyURI(), err)
	}
	mustBe(t, "replace what was replaced", other.ReplaceEnvironment(t.Context(), *r, revision), keys.ErrConflict)
	p.rawPut(t, etcd.KeyEnv(p.env), append(p.rawGet(t, etcd.KeyEnv(p.env)), 0))
	mustFence(t, s)
	_, _, err = s.EnvironmentRecord(t.Context(), p.env)
	mustBe(t, "a record that somebody edited", err, keys.ErrTampered)
}

func testForeignRoot(t *testing.T, open opener) {
	for name, plant := range map[string]func(*place){
		"another program's key": func(p *place) { p.rawPut(t, "registry/pods", []byte("x")) },
		"a later format":        func(p *place) { p.rawPut(t, "format", []byte("culvert/2")) },
		"an empty marker":       func(p *place) { p.rawPut(t, "format", nil) },
	} {
		p := preparedPlace(t, open(t))
		plant(p)
		_, err := p.client.Environments(t.Context(), p.codec, opening(t.Context(), p.root))
		mustBe(t, name+": environments", err, etcd.ErrForeign)
		mustBe(t, name+": initialize", p.client.Initialize(t.Context(), p.codec, p.record, p.environment), etcd.ErrForeign)
		if p.rawGet(t, etcd.KeyEnv(p.env)) != nil {
			t.Errorf("%s: something was written all the same", name)
		}
	}
	// The neighbour whose prefix merely begins alike is no business of ours.
	p := preparedPlace(t, open(t))
	neighbour := p.client.Abs("")
	neighbour = neighbour[:len(neighbour)-1] + "-other/key"
	if _, err := p.client.KV().Put(t.Context(), neighbour, "x"); err != nil {
		t.Fatal(err)
	}
	if err := p.client.Initialize(t.Context(), p.codec, p.record, p.environment); err != nil {
		t.Errorf("initialize beside another prefix: %v", err)
	}
}

func testEnvironments(t *testing.T, open opener) {
	p := newPlace(t, open(t))
	ctx := t.Context()
	load := func(root keys.RootKey) error {
		_, err := p.client.Environments(ctx, p.codec, opening(ctx, root))
		return err
	}
	// Case 1: another root key.
	mustBe(t, "another root key", load(mustRoot(t)), keys.ErrRefused)
	// Case 2: bytes that were edited, at every few offsets. The length of the tag is the first one.
	key := etcd.KeyEnv(p.env)
	genuine := p.rawGet(t, key)
	for i := 0; i < len(genuine); i += 1 + len(genuine)/64 {
		for _, flip := range []byte{0x01, 0x80, 0xff} {
			edited := bytes.Clone(genuine)
			edited[i] ^= flip
			p.rawPut(t, key, edited)
			if err := load(p.root); !errors.Is(err, keys.ErrTampered) && !errors.Is(err, keys.ErrRefused) {
				t.Fatalf("byte %d xor %#x: got %v, want a refusal", i, flip, err)
			}
		}
	}
	long := append([]byte{255}, bytes.Repeat([]byte{1}, 600)...)
	for _, edited := range [][]byte{nil, {0}, {255}, genuine[:len(genuine)-1], genuine[:1], append(bytes.Clone(genuine), 0), long} {
		p.rawPut(t, key, edited)
		mustBe(t, "edited record", load(p.root), keys.ErrTampered)
	}
	// Case 3: the genuine record at another environment's key.
	p.rawPut(t, key, genuine)
	p.rawPut(t, etcd.KeyEnv("01ARZ3NDEKTSV4RRFFQ69G5FAV"), genuine)
	mustBe(t, "a copied record", load(p.root), keys.ErrTampered)
	if _, err := p.client.KV().Delete(ctx, p.client.Abs(etcd.KeyEnv("01ARZ3NDEKTSV4RRFFQ69G5FAV"))); err != nil {
		t.Fatal(err)
	}
	// The twin: put back, it opens again.
	if err := load(p.root); err != nil {
		t.Errorf("the genuine record: %v", err)
	}
	// Case 4: no environment at all is not an empty vault.
	if _, err := p.client.KV().Delete(ctx, p.client.Abs(key)); err != nil {
		t.Fatal(err)
	}
	mustBe(t, "no environment", load(p.root), keys.ErrTampered)
}
