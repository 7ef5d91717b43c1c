package keystest

import (
	"context"
	"io"
	"log/slog"
	"testing"
	"time"

	"culvert/internal/access"
	"culvert/internal/etcd"
	"culvert/internal/etcd/etcdtest"
	"culvert/internal/id"
	"culvert/internal/record"
	"culvert/internal/secret"
	"culvert/keys"
)

// Environment is the id of a stack's environment.
const Environment access.EnvironmentID = "01JQ0000000000000000000000"

// Stack is keys over a store on a real embedded etcd, with one environment and one API key.
type Stack struct {
	Root         *Root
	Store        *etcd.Store
	Codec        *record.Codec
	IDs          *id.Clock
	Environment  *keys.Environment
	Environments *keys.Environments
	// Keys has the defaults of keys.Config.
	Keys *keys.Keys

	gate  *access.Gate
	actor access.Actor
}

// New builds a stack and takes it down after the test.
func New(t testing.TB) *Stack {
	t.Helper()
	ctx := t.Context()
	codec, err := record.NewCodec()
	if err != nil {
		t.Fatal(err)
	}
	s := &Stack{Root: NewRoot(t), Codec: codec, IDs: id.NewClock(time.Now)}
	stored, env, err := keys.NewEnvironment(ctx, keys.NewRootKeys(s.Root), Environment, "test", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	s.Environment, s.Environments = env, keys.NewEnvironments(env)
	client := etcdtest.Embedded(t)
	if err := client.Initialize(ctx, codec, stored, env); err != nil {
		t.Fatal(err)
	}
	s.Store, err = etcd.NewStore(ctx, etcd.StoreConfig{
		Client: client, Environments: s.Environments, Codec: codec, IDs: s.IDs,
		Logger: slog.New(slog.NewTextHandler(io.Discard, nil)), Node: "test", MinFreeBytes: 1,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Store.Close)
	s.Keys = s.MustKeys(t, keys.Config{})
	s.authenticate(t)
	return s
}

// MustKeys is another set of keys over the same store, as of a second replica or with other settings.
// What the config leaves out is the stack's.
func (s *Stack) MustKeys(t testing.TB, c keys.Config) *keys.Keys {
	t.Helper()
	if c.Store == nil {
		c.Store = s.Store
	}
	if c.Roots == nil {
		c.Roots = keys.NewRootKeys(s.Root)
	}
	c.Environments, c.Codec, c.NewID = s.Environments, s.Codec, s.IDs.UUID
	k, err := keys.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// authenticate makes an API key with all rights, and the actor that it stands for.
func (s *Stack) authenticate(t testing.TB) {
	t.Helper()
	key, err := access.GenerateAPIKey(Environment, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	hash, err := s.Environment.Pepper(key.Text())
	if err != nil {
		t.Fatal(err)
	}
	err = s.Store.CreateAPIKey(t.Context(), access.KeyRecord{
		ID: key.ID, Environment: Environment, Name: "test", Role: access.RoleAdmin, Hash: hash, CreatedAt: time.Now().UTC(),
	})
	if err != nil {
		t.Fatal(err)
	}
	s.gate, err = access.NewGate(access.GateConfig{
		Keys: s.Store, Peppers: s.Environments,
		Report: func(_ context.Context, _ access.EnvironmentID, keyID string, err error) {
			t.Errorf("API key %s: %v", keyID, err)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	if s.actor, err = s.gate.Authenticate(t.Context(), key); err != nil {
		t.Fatal(err)
	}
}

// MustPermit is a permit completed for a key context.
func (s *Stack) MustPermit(t testing.TB, c keys.Context) access.Permit {
	t.Helper()
	p, err := s.MustIncompletePermit(t).Complete(access.Resource{Context: c.Canonical(), Items: c.Items()})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// MustIncompletePermit is what a use case holds before it has seen the record.
func (s *Stack) MustIncompletePermit(t testing.TB) access.Permit {
	t.Helper()
	p, err := s.gate.Authorize(s.actor, access.DataRead)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// MustSeal seals a value as an object's; a KEK that is made for it is committed by itself.
func (s *Stack) MustSeal(t testing.TB, c keys.Context, b keys.ObjectBinding, value string) keys.Sealed {
	t.Helper()
	sealed, conditions, err := s.Keys.Seal(t.Context(), s.MustPermit(t, c), c, b, secret.New([]byte(value)), keys.SealMeta{})
	if err != nil {
		t.Fatal(err)
	}
	if conditions.Create != nil {
		if err := s.Store.CreateKEK(t.Context(), conditions); err != nil {
			t.Fatal(err)
		}
		s.MustFence(t)
	}
	return sealed
}

// MustFence makes what was acknowledged visible to this replica's reads.
func (s *Stack) MustFence(t testing.TB) {
	t.Helper()
	if err := s.Store.Fence(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// MustContext parses a key context given as names and values in turn.
func MustContext(t testing.TB, pairs ...string) keys.Context {
	t.Helper()
	items := map[string]string{}
	for i := 0; i+1 < len(pairs); i += 2 {
		items[pairs[i]] = pairs[i+1]
	}
	c, err := keys.ParseContext(items)
	if err != nil {
		t.Fatal(err)
	}
	return c
}
