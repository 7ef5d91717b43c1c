package access_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"culvert/internal/access"
	"culvert/internal/id"
	"culvert/internal/outage"
	"culvert/internal/secret"
	"culvert/vault/vaulttest"
)

// between stands between a gate and the real store: it notes every call and can change what comes of
// it. It is for one goroutine.
type between struct {
	store access.KeyStore
	calls []string
	// answer, if set, changes what the store answered; behind tells that a fence has passed.
	answer func(r access.KeyRecord, revision int64, err error, behind bool) (access.KeyRecord, int64, error)
	// role, if set, is what every look-up of a role finds.
	role         *access.RoleRecord
	roleRevision int64
	// fence, if set, is what Fence returns.
	fence error
}

func (b *between) APIKey(ctx context.Context, env access.EnvironmentID, keyID string) (access.KeyRecord, int64, error) {
	behind := slices.Contains(b.calls, "fence")
	b.calls = append(b.calls, "look up")
	r, revision, err := b.store.APIKey(ctx, env, keyID)
	if b.answer != nil {
		return b.answer(r, revision, err, behind)
	}
	return r, revision, err
}

func (b *between) Role(ctx context.Context, env access.EnvironmentID, name access.Role) (access.RoleRecord, int64, error) {
	b.calls = append(b.calls, "look up role")
	if b.role != nil {
		return *b.role, 7 + b.roleRevision, nil
	}
	return b.store.Role(ctx, env, name)
}

func (b *between) Fence(ctx context.Context) error {
	b.calls = append(b.calls, "fence")
	if b.fence != nil {
		return b.fence
	}
	return b.store.Fence(ctx)
}

// house is a gate on a real store with a valid key.
type house struct {
	*vaulttest.Stack
	between *between
	gate    *access.Gate
	now     time.Time
	// reports are what the gate reported, by key id.
	reports map[string]error
}

func newHouse(t testing.TB) *house {
	t.Helper()
	h := &house{Stack: vaulttest.New(t), now: time.Now(), reports: map[string]error{}}
	h.between = &between{store: h.Store}
	var err error
	h.gate, err = access.NewGate(access.GateConfig{
		Keys: h.between, Peppers: h.Environments, Now: func() time.Time { return h.now },
		Report: func(_ context.Context, _ access.EnvironmentID, keyID string, err error) { h.reports[keyID] = err },
	})
	if err != nil {
		t.Fatalf("new gate: %v", err)
	}
	return h
}

// reset forgets the calls and reports of the case before.
func (h *house) reset() {
	h.between.calls, h.between.answer, h.between.fence = nil, nil, nil
	clear(h.reports)
}

// edit makes the store answer a changed record.
func (h *house) edit(change func(r *access.KeyRecord)) {
	h.between.answer = func(r access.KeyRecord, revision int64, err error, _ bool) (access.KeyRecord, int64, error) {
		change(&r)
		return r, revision + 1, err
	}
}

func (h *house) fail(with error) {
	h.between.answer = func(access.KeyRecord, int64, error, bool) (access.KeyRecord, int64, error) {
		return access.KeyRecord{}, 0, with
	}
}

var (
	errBroken = errors.New("MAC does not verify")
	errEtcd   = &outage.Error{Dependency: outage.Etcd}
)

func TestAuthenticate(t *testing.T) {
	h := newHouse(t)

	// Case 1: a valid key is one look-up in memory.
	actor, err := h.gate.Authenticate(t.Context(), h.APIKey)
	if err != nil {
		t.Fatalf("authenticate: %v", err)
	}
	if actor.ID() != "key_"+h.APIKey.ID || actor.Environment() != h.APIKey.Environment || actor.Name() != "test admin" || actor.Source() != "api" {
		t.Errorf("actor: got %s %s of %s", actor.ID(), actor.Name(), actor.Environment())
	}
	if diff := cmp.Diff([]string{"look up"}, h.between.calls); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}

	// Case 2: a key that this replica sees only behind the fence works.
	h.reset()
	h.between.answer = func(r access.KeyRecord, revision int64, err error, behind bool) (access.KeyRecord, int64, error) {
		if !behind {
			return access.KeyRecord{}, 0, access.ErrNoKey
		}
		return r, revision, err
	}
	if _, err := h.gate.Authenticate(t.Context(), h.APIKey); err != nil {
		t.Errorf("key created on another replica: %v", err)
	}

	// Case 3: the last moment of a key works, and so does one that expires later.
	h.reset()
	h.edit(func(r *access.KeyRecord) { r.ExpiresAt = h.now.Add(time.Nanosecond) })
	if _, err := h.gate.Authenticate(t.Context(), h.APIKey); err != nil {
		t.Errorf("key that expires in a nanosecond: %v", err)
	}
}

// refusals are all ways in which a key is worth nothing.
func (h *house) refusals(t *testing.T) map[string]access.APIKey {
	unknown, err := access.GenerateAPIKey(h.APIKey.Environment, h.now)
	if err != nil {
		t.Fatal(err)
	}
	elsewhere, err := access.GenerateAPIKey(access.EnvironmentID(id.ULID(h.now)), h.now)
	if err != nil {
		t.Fatal(err)
	}
	wrong := mustReplaceSecret(t, h.APIKey)
	return map[string]access.APIKey{
		"unknown": unknown, "of an unknown environment": elsewhere, "wrong secret": wrong,
		"revoked": h.APIKey, "revoked in the future": h.APIKey, "expired": h.APIKey, "expires now": h.APIKey,
		"without hash": h.APIKey, "tampered with": h.APIKey, "record of another key": h.APIKey,
		"record of another environment": h.APIKey,
	}
}

// mustReplaceSecret returns a well-formed key of the same ids.
func mustReplaceSecret(t *testing.T, key access.APIKey) access.APIKey {
	t.Helper()
	text := string(key.Text().Reveal())
	body := text[:57] + strings.Repeat("0", 43)
	wrong, err := access.ParseAPIKey(body + "_" + checksum(body))
	if err != nil || wrong.ID != key.ID {
		t.Fatalf("replace secret: %v", err)
	}
	return wrong
}

func (h *house) arrange(name string) {
	h.reset()
	switch name {
	case "revoked":
		h.edit(func(r *access.KeyRecord) { r.RevokedAt = h.now.Add(-time.Hour) })
	case "revoked in the future":
		h.edit(func(r *access.KeyRecord) { r.RevokedAt = h.now.Add(time.Hour) })
	case "expired":
		h.edit(func(r *access.KeyRecord) { r.ExpiresAt = h.now.Add(-time.Hour) })
	case "expires now":
		h.edit(func(r *access.KeyRecord) { r.ExpiresAt = h.now })
	case "without hash":
		h.edit(func(r *access.KeyRecord) { r.Hash = nil })
	case "tampered with":
		h.fail(errBroken)
	case "record of another key":
		h.edit(func(r *access.KeyRecord) { r.ID = "01JD8Z6Q5RN5T4M0A1B2C3D4E6" })
	case "record of another environment":
		h.edit(func(r *access.KeyRecord) { r.Environment = env })
	}
}

func TestAuthenticateRefusesAllAlike(t *testing.T) {
	h := newHouse(t)
	for name, key := range h.refusals(t) {
		h.arrange(name)
		actor, err := h.gate.Authenticate(t.Context(), key)
		if err != access.ErrUnauthenticated || actor != (access.Actor{}) {
			t.Errorf("%s: got actor %q and %v, want %v alone", name, actor.ID(), err, access.ErrUnauthenticated)
		}
		// The steps are the same, so the time tells nothing of the reason.
		if diff := cmp.Diff([]string{"look up", "fence", "look up"}, h.between.calls); diff != "" {
			t.Errorf("%s: calls (-want +got):\n%s", name, diff)
		}
		broken := name == "tampered with" || strings.HasPrefix(name, "record of")
		if got := h.reports[key.ID]; (got != nil) != broken || len(h.reports) > 1 {
			t.Errorf("%s: reported %v", name, h.reports)
		}
		if name == "tampered with" && !errors.Is(h.reports[key.ID], errBroken) {
			t.Errorf("%s: reported %v, want the store's error", name, h.reports[key.ID])
		}
	}
	h.reset()
	if _, err := h.gate.Authenticate(t.Context(), access.APIKey{}); err != access.ErrUnauthenticated || h.between.calls != nil {
		t.Errorf("no key: got %v after %v", err, h.between.calls)
	}
	if _, err := h.gate.Authenticate(t.Context(), h.APIKey); err != nil {
		t.Errorf("the key itself: %v", err)
	}
}

func TestAuthenticateTellsAnOutage(t *testing.T) {
	h := newHouse(t)

	// Case 1: the look-up fails.
	h.fail(errEtcd)
	if _, err := h.gate.Authenticate(t.Context(), h.APIKey); outage.Of(err) != errEtcd {
		t.Errorf("look-up: got %v", err)
	}

	// Case 2: the fence behind a failed look-up fails. "Wrong key" would be a guess.
	h.reset()
	h.between.fence = errEtcd
	if _, err := h.gate.Authenticate(t.Context(), mustReplaceSecret(t, h.APIKey)); outage.Of(err) != errEtcd {
		t.Errorf("fence: got %v", err)
	}
}

func TestRecheck(t *testing.T) {
	h := newHouse(t)
	permit := h.permit(t)
	for name, c := range map[string]struct {
		arrange func()
		want    error
	}{
		"unchanged":             {func() {}, nil},
		"renamed":               {func() { h.edit(func(r *access.KeyRecord) { r.Name = "other" }) }, nil},
		"revoked":               {func() { h.arrange("revoked") }, access.ErrUnauthenticated},
		"expired":               {func() { h.arrange("expired") }, access.ErrUnauthenticated},
		"gone":                  {func() { h.fail(access.ErrNoKey) }, access.ErrUnauthenticated},
		"tampered with":         {func() { h.fail(errBroken) }, access.ErrUnauthenticated},
		"record of another key": {func() { h.arrange("record of another key") }, access.ErrUnauthenticated},
		"role that reads too":   {func() { h.edit(func(r *access.KeyRecord) { r.Role = access.RoleReader }) }, nil},
		"role that does not":    {func() { h.edit(func(r *access.KeyRecord) { r.Role = access.RoleAuditor }) }, access.ErrDenied},
		"scope":                 {func() { h.edit(func(r *access.KeyRecord) { r.Scope.NotAfter = h.now }) }, access.ErrDenied},
		"outage":                {func() { h.fail(errEtcd) }, errEtcd},
	} {
		h.reset()
		c.arrange()
		if _, err := h.gate.Recheck(t.Context(), permit); !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", name, err, c.want)
		}
		if broken := name == "tampered with" || name == "record of another key"; (h.reports[h.APIKey.ID] != nil) != broken {
			t.Errorf("%s: reported %v", name, h.reports)
		}
		if diff := cmp.Diff([]string{"look up"}, h.between.calls); diff != "" {
			t.Errorf("%s: calls (-want +got):\n%s", name, diff)
		}
	}
	// Who hangs up is no integrity failure.
	h.reset()
	h.fail(context.Canceled)
	ctx, hangUp := context.WithCancel(t.Context())
	hangUp()
	if _, err := h.gate.Recheck(ctx, permit); !errors.Is(err, context.Canceled) || len(h.reports) > 0 {
		t.Errorf("hang-up: got %v, reported %v", err, h.reports)
	}
	h.reset()
	if _, err := h.gate.Recheck(t.Context(), access.Permit{}); err != access.ErrUnauthenticated {
		t.Errorf("no permit: got %v", err)
	}
}

func (h *house) permit(t *testing.T) access.Permit {
	t.Helper()
	actor, err := h.gate.Authenticate(t.Context(), h.APIKey)
	if err != nil {
		t.Fatalf("authenticate: %v", err)
	}
	permit, err := h.gate.Authorize(actor, access.DataRead)
	if err != nil {
		t.Fatalf("authorize: %v", err)
	}
	return permit
}

func TestNewGateChecksItsConfig(t *testing.T) {
	whole := access.GateConfig{Keys: &between{}, Peppers: noPeppers{}, Report: func(context.Context, access.EnvironmentID, string, error) {}}
	if _, err := access.NewGate(whole); err != nil {
		t.Errorf("whole config: %v", err)
	}
	for name, spoil := range map[string]func(c *access.GateConfig){
		"keys":    func(c *access.GateConfig) { c.Keys = nil },
		"peppers": func(c *access.GateConfig) { c.Peppers = nil },
		"report":  func(c *access.GateConfig) { c.Report = nil },
	} {
		c := whole
		spoil(&c)
		if _, err := access.NewGate(c); err == nil {
			t.Errorf("without %s: no error", name)
		}
	}
}

type noPeppers struct{}

func (noPeppers) Pepper(access.EnvironmentID, secret.Bytes) ([]byte, error) { return nil, nil }

// TestEmptyHashesDoNotMeet: a pepper that gives nothing and a record that holds nothing are no match.
func TestEmptyHashesDoNotMeet(t *testing.T) {
	h := newHouse(t)
	h.edit(func(r *access.KeyRecord) { r.Hash = nil })
	gate, err := access.NewGate(access.GateConfig{
		Keys: h.between, Peppers: noPeppers{}, Report: func(context.Context, access.EnvironmentID, string, error) {},
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := gate.Authenticate(t.Context(), h.APIKey); err != access.ErrUnauthenticated {
		t.Errorf("got %v", err)
	}
}
