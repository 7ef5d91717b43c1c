package vault_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"culvert/internal/access"
	"culvert/internal/audit"
	"culvert/internal/events"
	"culvert/internal/outage"
	"culvert/keys"
	"culvert/vault"
	"culvert/vault/vaulttest"
)

// failing lets the first writes fail with err, as often as it says, then passes them on.
type failing struct {
	vault.Store
	err   error
	times int
	// tried counts the writes.
	tried int
}

func (f *failing) fail() error {
	if f.tried++; f.tried <= f.times {
		return f.err
	}
	return nil
}

func (f *failing) Create(ctx context.Context, w vault.Write, idem *vault.IdempotencyRecord) (*vault.Request, error) {
	if err := f.fail(); err != nil {
		return nil, err
	}
	return f.Store.Create(ctx, w, idem)
}

func (f *failing) Update(ctx context.Context, w vault.Write, revision int64, pruneTo uint64) error {
	if err := f.fail(); err != nil {
		return err
	}
	return f.Store.Update(ctx, w, revision, pruneTo)
}

func (f *failing) Delete(ctx context.Context, h vault.Header, revision int64, e events.Event) error {
	if err := f.fail(); err != nil {
		return err
	}
	return f.Store.Delete(ctx, h, revision, e)
}

// Conflicts are tried again, a bounded number of times, under one intent; everything else is answered
// at once and recorded under the code of the answer.
func TestWriteFailures(t *testing.T) {
	f := new(failing)
	s := vaulttest.WithConfig(t, vaulttest.Config{Wrap: func(store vault.Store) vault.Store { f.Store = store; return f }})
	const ever = 1 << 30
	for what, c := range map[string]struct {
		err   error
		times int
		want  error
		code  string
	}{
		"a changed header":        {vault.ErrConflict, 3, nil, ""},
		"a changed KEK":           {keys.ErrConflict, 3, nil, ""},
		"a header always changed": {vault.ErrConflict, ever, vault.ErrConflict, "concurrent_request"},
		"a KEK always changed":    {keys.ErrConflict, ever, vault.ErrConflict, "concurrent_request"},
		"etcd down":               {&outage.Error{Dependency: outage.Etcd}, ever, nil, "storage_unavailable"},
		"etcd full":               {&outage.Error{Dependency: outage.Etcd, Kind: outage.Full}, ever, nil, "storage_full"},
		"outcome unknown":         {&outage.Error{Dependency: outage.Etcd, Kind: outage.Unknown}, ever, nil, "outcome_unknown"},
		"root key down":           {&outage.Error{Dependency: outage.RootKey}, ever, nil, "root_key_unavailable"},
		"deadline":                {context.DeadlineExceeded, ever, context.DeadlineExceeded, "timeout"},
		"anything else":           {errors.New("unheard of"), ever, nil, "internal_error"},
	} {
		f.times = 0
		m := s.MustCreate(t, what, "v1")
		for method, write := range map[string]func(access.Call) error{
			"create": func(call access.Call) error {
				if errors.Is(c.err, vault.ErrConflict) {
					return c.want // a create has no header that could change
				}
				return errOf(s.Vault.Create(t.Context(), call, vault.CreateRequest{Name: what + " created", Value: vaulttest.Value("v")}))
			},
			"update": func(call access.Call) error {
				return errOf(s.Vault.Update(t.Context(), call, vault.UpdateRequest{ID: m.ID, Value: vaulttest.Value("v2")}))
			},
		} {
			call := s.Call()
			f.err, f.times, f.tried = c.err, c.times, 0
			err := write(call)
			if c.code == "" && err != nil || c.code != "" && err == nil || c.want != nil && !errors.Is(err, c.want) {
				t.Errorf("%s with %s: got %v", method, what, err)
			}
			if f.tried > 16 {
				t.Errorf("%s with %s was tried %d times", method, what, f.tried)
			}
			if f.tried > 0 {
				checkOneIntent(t, s.MustAuditOf(t, call.RequestID), c.code)
			}
		}
	}
}

func checkOneIntent(t *testing.T, records []audit.Record, code string) {
	t.Helper()
	if len(records) != 2 || records[0].Phase != audit.Intent || records[1].Phase != audit.Outcome {
		t.Errorf("want one intent and one outcome, got %+v", records)
		return
	}
	if records[1].Code != code || (records[1].Result == audit.Allowed) != (code == "") {
		t.Errorf("the outcome is %s %q, want code %q", records[1].Result, records[1].Code, code)
	}
}

// lyingKeys answers the look-ups of KEKs as a tampered or shredded store would.
type lyingKeys struct {
	keys.Store
	kekOf func(keys.Context) (keys.ID, error)
	kek   func(*keys.KEKRecord) *keys.KEKRecord
	// refuse counts down the creations that another caller wins.
	refuse int
}

func (l *lyingKeys) KEKOf(ctx context.Context, env access.EnvironmentID, c keys.Context) (keys.ID, error) {
	if l.kekOf != nil {
		return l.kekOf(c)
	}
	return l.Store.KEKOf(ctx, env, c)
}

func (l *lyingKeys) KEK(ctx context.Context, env access.EnvironmentID, id keys.ID) (*keys.KEKRecord, int64, error) {
	r, generation, err := l.Store.KEK(ctx, env, id)
	if err == nil && l.kek != nil {
		r = l.kek(r)
	}
	return r, generation, err
}

func (l *lyingKeys) CreateKEK(ctx context.Context, c keys.Conditions) error {
	if l.refuse--; l.refuse >= 0 {
		return keys.ErrConflict
	}
	return l.Store.CreateKEK(ctx, c)
}

func withLyingKeys(t *testing.T) (*vaulttest.Stack, *lyingKeys) {
	t.Helper()
	l := new(lyingKeys)
	s := vaulttest.WithConfig(t, vaulttest.Config{WrapKeys: func(store keys.Store) keys.Store { l.Store = store; return l }})
	return s, l
}

// An update never moves an object to another KEK: not one of another context, nor another one of its
// own, which its older versions could not be opened with.
func TestUpdateUnderAnotherKEK(t *testing.T) {
	s, l := withLyingKeys(t)
	m := s.MustCreate(t, "n", "v1")
	other, err := s.Vault.Create(t.Context(), s.Call(), vault.CreateRequest{Name: "other", Value: vaulttest.Value("v")})
	must(t, err)
	update := func() error {
		return errOf(s.Vault.Update(t.Context(), s.Call(), vault.UpdateRequest{ID: m.ID, Value: vaulttest.Value("v2")}))
	}
	// Case 1: the pointer leads to the KEK of another context.
	l.kekOf = func(keys.Context) (keys.ID, error) { return other.KeyID, nil }
	if err := update(); !errors.Is(err, keys.ErrTampered) {
		t.Errorf("KEK of another context: got %v, want ErrTampered", err)
	}
	// Case 2: the pointer is gone, so that the context seems new.
	l.kekOf = func(keys.Context) (keys.ID, error) { return "", keys.ErrKEKNotFound }
	if err := update(); !errors.Is(err, keys.ErrTampered) {
		t.Errorf("pointer gone: got %v, want ErrTampered", err)
	}
	// Case 3: the object's own KEK was shredded and its context was used anew.
	l.kek = func(r *keys.KEKRecord) *keys.KEKRecord {
		if r.KeyID != m.KeyID {
			return r
		}
		return &keys.KEKRecord{
			Environment: r.Environment, KeyID: r.KeyID, Items: r.Items, CreatedAt: r.CreatedAt, ShreddedAt: time.Now().UTC(),
		}
	}
	if err := update(); !errors.Is(err, keys.ErrShredded) {
		t.Errorf("shredded: got %v, want ErrShredded", err)
	}
	if err := errOf(s.Vault.Get(t.Context(), s.Call(), m.ID)); !errors.Is(err, keys.ErrShredded) {
		t.Errorf("get of a shredded object: got %v, want ErrShredded", err)
	}
	// The twin: with an honest store again nothing has changed, and it can be.
	l.kekOf, l.kek = nil, nil
	if got := s.MustGet(t, m.ID); string(got.Value.Reveal()) != "v1" {
		t.Error("a refused update changed the object")
	}
	must(t, update())
}

// Who loses the race for a new KEK uses the winner's; who never wins is told so.
func TestDataKeyRaceForNewContext(t *testing.T) {
	s, l := withLyingKeys(t)
	l.refuse = 6
	must(t, errOf(s.Vault.CreateDataKey(t.Context(), s.Call(), vaulttest.MustContext(t, "a", "1"))))
	l.refuse = 1 << 30
	if err := errOf(s.Vault.CreateDataKey(t.Context(), s.Call(), vaulttest.MustContext(t, "a", "2"))); !errors.Is(err, vault.ErrConflict) {
		t.Errorf("got %v, want ErrConflict", err)
	}
	must(t, errOf(s.Vault.CreateDataKey(t.Context(), s.Call(), vaulttest.MustContext(t, "a", "1"))))
}

// A header that changes under every attempt to read it does not hold a caller for ever.
func TestGetGivesUp(t *testing.T) {
	s, store := withInterposed(t, vault.Limits{})
	m := s.MustCreate(t, "n", "v1")
	store.ciphertext = func(vault.ObjectID, uint64) ([]byte, error) { return nil, vault.ErrNotFound }
	revision := int64(0)
	store.header = func(found vault.Stored, err error) (vault.Stored, error) {
		revision++
		found.Revision = revision
		return found, err
	}
	if err := errOf(s.Vault.Get(t.Context(), s.Call(), m.ID)); !errors.Is(err, vault.ErrConflict) || revision > 16 {
		t.Errorf("got %v after %d attempts, want ErrConflict", err, revision)
	}
	store.ciphertext = func(vault.ObjectID, uint64) ([]byte, error) { return nil, &outage.Error{Dependency: outage.Etcd} }
	if err := errOf(s.Vault.Get(t.Context(), s.Call(), m.ID)); outage.Of(err) == nil {
		t.Errorf("got %v, want an outage", err)
	}
}
