package reads_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"culvert/internal/access"
	"culvert/internal/audit"
	"culvert/internal/etcd/etcdtest"
	"culvert/internal/events"
	"culvert/internal/id"
	"culvert/internal/logtest"
	"culvert/internal/reads"
	"culvert/keys"
	"culvert/vault/vaulttest"
)

// patience is what a test waits for a condition on a busy machine.
const patience = 30 * time.Second

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// config is that of a reader of a stack's log, which looks often.
func config(t testing.TB, s *vaulttest.Stack) reads.Config {
	return reads.Config{
		Log: s.Audit, Store: s.Store, Poll: 10 * time.Millisecond, Environments: s.Environments.IDs,
		Logger: slog.New(slog.NewTextHandler(&logtest.Buffer{}, nil)),
		Report: func(context.Context, access.EnvironmentID) { t.Error("a place is said to be damaged") },
	}
}

func mustOpen(t testing.TB, c reads.Config) *reads.Reader {
	t.Helper()
	r, err := reads.Open(t.Context(), c)
	must(t, err)
	t.Cleanup(r.Close)
	return r
}

// mustSettle waits until everything that was recorded is of the log as a start would find it: a record is acknowledged
// a moment before it counts.
func mustSettle(t testing.TB, s *vaulttest.Stack) {
	t.Helper()
	index, err := s.Audit.Append(t.Context(), audit.Record{Action: "test", Phase: audit.Internal, Result: audit.Allowed})
	must(t, err)
	for deadline := time.Now().Add(patience); s.Audit.Size() <= index; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the log does not settle")
		}
	}
}

// told are the events of reads in an environment, in the order of the log.
func told(t testing.TB, s *vaulttest.Stack, env access.EnvironmentID) []events.Stored {
	t.Helper()
	var all []events.Stored
	must(t, s.Store.Fence(t.Context()))
	for after := ""; ; {
		page, err := s.Store.Page(t.Context(), env, events.Query{After: after, Limit: 100, Order: events.Ascending, Types: []events.Type{
			events.DataRead, events.MetadataRead, events.NamesListed, events.DEKRead, events.DEKDecrypted,
		}})
		must(t, err)
		all = append(all, page.Data...)
		if after = page.After; after == "" {
			return all
		}
	}
}

// mustTell waits for so many events, and reads them.
func mustTell(t testing.TB, s *vaulttest.Stack, env access.EnvironmentID, n int) []events.Stored {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		all := told(t, s, env)
		if len(all) == n {
			return all
		}
		if len(all) > n || time.Now().After(deadline) {
			t.Fatalf("%d events of reads, want %d", len(all), n)
		}
	}
}

// TestReads: each read that was let through is one event, with what the contract shows of it and nothing else; what was
// read before it was switched on, or while it was off, is none.
func TestReads(t *testing.T) {
	s := vaulttest.New(t)
	object := s.MustCreate(t, "card", "4242")
	s.MustGet(t, object.ID)
	mustSettle(t, s)
	r := mustOpen(t, config(t, s))
	call := s.Call()
	began := time.Now().Truncate(time.Millisecond)
	s.MustGet(t, object.ID)
	_, err := s.Vault.GetByName(t.Context(), call, "card")
	must(t, err)
	_, err = s.Vault.Describe(t.Context(), call, object.ID)
	must(t, err)
	key, err := s.Vault.CreateDataKey(t.Context(), call, vaulttest.MustContext(t, "tenant", "t1"))
	must(t, err)
	_, err = s.Vault.DecryptDataKey(t.Context(), call, key.Blob)
	must(t, err)
	if _, err := s.Vault.GetByName(t.Context(), call, "nothing"); err == nil {
		t.Error("an object that is not there was read")
	}
	if _, err := s.Vault.Get(t.Context(), s.MustCallAs(t, access.RoleAuditor), object.ID); !errors.Is(err, access.ErrDenied) {
		t.Errorf("an auditor reads a value: %v", err)
	}
	env := s.Environment.ID()
	all := mustTell(t, s, env, 5)
	var got []map[string]any
	for _, e := range all {
		data := map[string]any{}
		must(t, json.Unmarshal(e.Data, &data))
		at, err := time.Parse(time.RFC3339, fmt.Sprint(data["read_at"]))
		if err != nil || at.Before(began) || at.After(time.Now()) || e.Node != s.Node || e.At.Before(began) {
			t.Errorf("event of record %d of %s at %v: %s", e.Index, e.Node, e.At, e.Data)
		}
		if data["actor_id"] != call.Actor.ID() || data["actor_source"] != "api" {
			t.Errorf("actor of %s", e.Data)
		}
		for _, member := range []string{"read_at", "actor_id", "actor_source", "actor_name"} {
			delete(data, member)
		}
		data["event"] = string(e.Type)
		got = append(got, data)
	}
	kek := string(keyOf(t, s, key.Blob))
	want := []map[string]any{
		{"event": "vault.data.read", "kv_name": "card", "key_id": string(object.KeyID)},
		{"event": "vault.data.read", "kv_name": "card", "key_id": string(object.KeyID)},
		{"event": "vault.metadata.read", "kv_name": "card"},
		{"event": "vault.dek.read", "key_ids": []any{kek}, "key_context": map[string]any{"tenant": "t1"}},
		{"event": "vault.dek.decrypted", "key_id": kek},
	}
	if diff := cmp.Diff(got, want); diff != "" {
		t.Errorf("events of reads (-got +want):\n%s", diff)
	}

	// Case: off for a while.
	r.Close()
	must(t, reads.Forget(t.Context(), s.Store, s.Environments.IDs(), s.Node))
	s.MustGet(t, object.ID)
	mustSettle(t, s)
	mustOpen(t, config(t, s))
	_, err = s.Vault.Describe(t.Context(), call, object.ID)
	must(t, err)
	if all := mustTell(t, s, env, 6); all[5].Type != events.MetadataRead {
		t.Errorf("the event behind the pause is %s", all[5].Type)
	}
}

func keyOf(t testing.TB, s *vaulttest.Stack, blob []byte) keys.ID {
	t.Helper()
	header, err := s.Keys.ParseDataKey(blob)
	must(t, err)
	return header.KeyID
}

// mortal is a store that its process may lose at any step: before a transaction, or behind it and before its answer.
type mortal struct {
	reads.Store
	mu   sync.Mutex
	left int
	dead bool
}

var errDead = errors.New("killed")

func (m *mortal) step() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.left--; m.left < 0 {
		m.dead = true
		return errDead
	}
	return nil
}

func (m *mortal) over() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.dead
}

func (m *mortal) ReadsPlace(ctx context.Context, env access.EnvironmentID, node string) (reads.Place, int64, error) {
	if err := m.step(); err != nil {
		return reads.Place{}, 0, err
	}
	return m.Store.ReadsPlace(ctx, env, node)
}

func (m *mortal) TellReads(ctx context.Context, p reads.Place, revision int64, told []events.Event) (int64, error) {
	if err := m.step(); err != nil {
		return 0, err
	}
	revision, err := m.Store.TellReads(ctx, p, revision, told)
	return revision, errors.Join(err, m.step())
}

// TestKilledReader kills the reader at every kind of step, with two environments in the log: each read is one event
// in the end, in the order of the log.
func TestKilledReader(t *testing.T) {
	endpoint := etcdtest.Listening(t)
	first := vaulttest.WithConfig(t, vaulttest.Config{Endpoints: []string{endpoint}})
	second := addEnvironment(t, first, etcdtest.NewWriter(t, "/culvert", endpoint))
	s := first.Replica(t)
	envs := []access.EnvironmentID{first.Environment.ID(), second}
	c := config(t, s)
	c.Environments = func() []access.EnvironmentID { return envs }
	mustOpen(t, c).Close()
	random := rand.New(rand.NewPCG(1, 2))
	want := map[access.EnvironmentID][]uint64{}
	for round := range 30 {
		for range random.IntN(150) {
			env := envs[random.IntN(2)]
			if round < 5 {
				env = second // the first one has nothing for long
			}
			index, err := s.Audit.Append(t.Context(), audit.Record{
				EnvironmentID: env, ActorID: "a", ActorSource: "api", Action: access.DataRead, Phase: audit.Access, Result: audit.Allowed, ObjectName: "n",
			})
			must(t, err)
			want[env] = append(want[env], index)
		}
		life := &mortal{Store: s.Store, left: random.IntN(9)}
		c.Store = life
		r, err := reads.Open(t.Context(), c)
		if errors.Is(err, errDead) {
			continue
		}
		must(t, err)
		for deadline := time.Now().Add(100 * time.Millisecond); !life.over() && time.Now().Before(deadline); {
			time.Sleep(time.Millisecond)
		}
		r.Close()
	}
	c.Store = s.Store
	mustOpen(t, c)
	for _, env := range envs {
		var got []uint64
		for _, e := range mustTell(t, s, env, len(want[env])) {
			got = append(got, e.Index)
		}
		if !slices.Equal(got, want[env]) {
			t.Errorf("records told of in %s: %v, want %v", env, got, want[env])
		}
	}
}

// addEnvironment puts a second environment into the store of a stack, whose keys the same root key wraps.
func addEnvironment(t *testing.T, s *vaulttest.Stack, w *etcdtest.Writer) access.EnvironmentID {
	t.Helper()
	record, env, err := keys.NewEnvironment(t.Context(), keys.NewRootKeys(s.Root), access.EnvironmentID(id.ULID(time.Now())), "second", time.Now())
	must(t, err)
	body, err := s.Codec.Encode(record)
	must(t, err)
	key := "env/" + string(env.ID())
	tag, err := env.MAC(key, body)
	must(t, err)
	w.MustPut(t, key, slices.Concat([]byte{byte(len(tag))}, tag, body))
	w.MustPut(t, "epoch/"+string(env.ID()), []byte("1"))
	return env.ID()
}

// TestDamagedPlace: a place that somebody edited is told of, and events go on with what is read from then on.
func TestDamagedPlace(t *testing.T) {
	endpoint := etcdtest.Listening(t)
	s := vaulttest.WithConfig(t, vaulttest.Config{Endpoints: []string{endpoint}})
	writer, env := etcdtest.NewWriter(t, "/culvert", endpoint), s.Environment.ID()
	object := s.MustCreate(t, "card", "4242")
	c := config(t, s)
	mustOpen(t, c).Close()
	s.MustGet(t, object.ID)
	mustSettle(t, s)
	writer.MustPut(t, "readsat/"+string(env)+"/"+s.Node, []byte("edited"))
	reported := make(chan access.EnvironmentID, 10)
	c.Report = func(_ context.Context, env access.EnvironmentID) { reported <- env }
	mustOpen(t, c)
	if got := <-reported; got != env || len(reported) > 0 {
		t.Errorf("reported %s", got)
	}
	_, err := s.Vault.Describe(t.Context(), s.Call(), object.ID)
	must(t, err)
	if all := mustTell(t, s, env, 1); all[0].Type != events.MetadataRead {
		t.Errorf("told of %s", all[0].Type)
	}
}
