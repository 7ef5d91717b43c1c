package keys_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"culvert/internal/outage"
	"culvert/internal/secret"
	"culvert/keys"
	"culvert/keys/keystest"
)

// mapOf puts a map of CMKs into the store, as it is once they are attached.
func mapOf(t testing.TB, s *keystest.Stack, cmks ...keys.CMK) {
	t.Helper()
	for i := range cmks {
		cmks[i].ID, cmks[i].State = keys.CMKID(s.IDs.UUID()), keys.CMKAttached
	}
	_, revision, err := s.Store.CMKMap(t.Context(), keystest.Environment)
	must(t, err)
	_, err = s.Store.ChangeCMKs(t.Context(), keys.CMKChange{
		Map: &keys.CMKMap{CMKs: cmks}, MapRevision: revision,
		Job: &keys.Job{ID: keys.JobID(s.IDs.UUID()), Environment: keystest.Environment, Kind: keys.AttachJob, State: keys.JobSucceeded},
	})
	must(t, err)
	s.MustFence(t)
}

func cmkOf(org string, key keys.RootKey) keys.CMK {
	return keys.CMK{Item: keys.Item{Name: "organization_id", Value: org}, KeyURI: key.URI()}
}

// A replica that asks nothing new of a key goes on for the TTL and no longer, whatever an outage of the root
// key may do for others; a grant is cut as a value is.
func TestCMKIsRevokedWithinTheTTL(t *testing.T) {
	s, cmk := keystest.New(t), keystest.NewRoot(t)
	mapOf(t, s, cmkOf("org_1", cmk))
	var ahead atomic.Int64
	now := func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	config := keys.Config{CMKs: bagOf(cmk), Now: now, CacheTTL: time.Minute, OutageExtension: time.Hour}
	k := s.MustKeys(t, config)
	theirs, nobodys := keystest.MustContext(t, "organization_id", "org_1"), keystest.MustContext(t, "region", "eu")
	b := goldenInput(t).Object
	sealed, other := mustStore(t, s, k, theirs, b, "theirs"), mustStore(t, s, k, nobodys, b, "nobody's")
	grant, conditions, err := k.SealGrant(t.Context(), s.MustPermit(t, theirs), theirs, goldenInput(t).Grant, goldenTokens(), keys.SealMeta{})
	must(t, err)
	if conditions.Create != nil {
		t.Fatal("a grant has a KEK of its own")
	}
	if cmk.Wraps() != 1 {
		t.Fatalf("%d shares under the customer's key, want 1", cmk.Wraps())
	}
	open := func() (value, token, others error) {
		_, value = k.Open(t.Context(), s.MustPermit(t, theirs), sealed, b)
		_, token = k.OpenGrant(t.Context(), s.MustPermit(t, theirs), grant, goldenInput(t).Grant)
		_, others = k.Open(t.Context(), s.MustPermit(t, nobodys), other, b)
		return value, token, others
	}
	mustAll := func(when string, is func(error) bool) {
		t.Helper()
		if value, token, others := open(); !is(value) || !is(token) || others != nil {
			t.Errorf("%s: value %v, grant %v, others %v", when, value, token, others)
		}
	}
	fine := func(err error) bool { return err == nil }
	mustAll("warm", fine)
	cmk.Refuse()
	mustAll("taken back, within the TTL", fine)
	ahead.Add(int64(time.Minute))
	mustAll("after the TTL", isCMKRefused)
	cmk.Fail(nil)
	ahead.Add(int64(2 * time.Second))
	mustAll("given back", fine)

	// Both KMSs are away: what only the root key wraps goes on.
	cmk.Down()
	s.Root.Down()
	ahead.Add(int64(2 * time.Minute))
	mustAll("out of reach", func(err error) bool { return outage.Of(err) != nil })
	calls := cmk.Unwraps()
	mustAll("a moment later", func(err error) bool { return outage.Of(err) != nil })
	if cmk.Unwraps() != calls {
		t.Error("a KMS that did not answer a moment ago was asked again")
	}
	cmk.Fail(nil)
	s.Root.Fail(nil)
	ahead.Add(int64(2 * time.Second))
	mustAll("back", fine)
}

// hooked is a key that does something before it gives a share away.
type hooked struct {
	*keystest.Root
	hook atomic.Pointer[func()]
}

func (h *hooked) Unwrap(ctx context.Context, wrapped []byte, b keys.Binding) (secret.Bytes, error) {
	share, err := h.Root.Unwrap(ctx, wrapped, b)
	if hook := h.hook.Swap(nil); hook != nil {
		(*hook)()
	}
	return share, err
}

// An unwrap that the key has granted before it refused another one is not remembered after it.
func TestGrantedBeforeTheRefusal(t *testing.T) {
	s, cmk := keystest.New(t), &hooked{Root: keystest.NewRoot(t)}
	mapOf(t, s, cmkOf("org_1", cmk))
	k, b := s.MustKeys(t, keys.Config{CMKs: bagOf(cmk)}), goldenInput(t).Object
	one, two := keystest.MustContext(t, "organization_id", "org_1"), keystest.MustContext(t, "organization_id", "org_1", "n", "2")
	first, second := mustStore(t, s, k, one, b, "1"), mustStore(t, s, k, two, b, "2")
	cold := s.MustKeys(t, keys.Config{CMKs: bagOf(cmk)})
	revoke := func() {
		cmk.Refuse()
		if _, err := cold.Open(t.Context(), s.MustPermit(t, two), second, b); !isCMKRefused(err) {
			t.Errorf("the second: %v", err)
		}
	}
	cmk.hook.Store(&revoke)
	if _, err := cold.Open(t.Context(), s.MustPermit(t, one), first, b); err != nil {
		t.Fatalf("granted before: %v", err)
	}
	if _, err := cold.Open(t.Context(), s.MustPermit(t, one), first, b); !isCMKRefused(err) {
		t.Errorf("after the refusal: %v", err)
	}
}

// All keys of a context's items are needed, and a shared context is cut by each of them.
func TestSeveralCMKs(t *testing.T) {
	s, org, region := keystest.New(t), keystest.NewRoot(t), keystest.NewRoot(t)
	mapOf(t, s, cmkOf("org_1", org), keys.CMK{Item: keys.Item{Name: "region", Value: "eu"}, KeyURI: region.URI()})
	k, b := s.MustKeys(t, keys.Config{CMKs: bagOf(org, region), NoCache: true}), goldenInput(t).Object
	c := keystest.MustContext(t, "organization_id", "org_1", "region", "eu", "n", "1")
	sealed := mustStore(t, s, k, c, b, "v")
	open := func() error {
		_, err := k.Open(t.Context(), s.MustPermit(t, c), sealed, b)
		return err
	}
	must(t, open())
	for _, key := range []*keystest.Root{org, region, s.Root} {
		key.Refuse()
		if err := open(); !errors.Is(err, keys.ErrRefused) || errors.Is(err, keys.ErrCMKRefused) != (key != s.Root) {
			t.Errorf("without one of three: %v", err)
		}
		key.Fail(nil)
		mustBecome(t, open)
	}
	// Who is cut by a refusal does not use up what others may create.
	org.Refuse()
	limited := s.MustKeys(t, keys.Config{CMKs: bagOf(org, region), CreateRate: 0.001, CreateBurst: 3})
	for i := range 10 {
		c := keystest.MustContext(t, "organization_id", "org_1", "n", string(rune('a'+i)))
		if _, _, err := limited.Seal(t.Context(), s.MustPermit(t, c), c, b, value("v"), keys.SealMeta{}); !isCMKRefused(err) {
			t.Errorf("a new context: %v", err)
		}
	}
	free := keystest.MustContext(t, "organization_id", "org_2")
	if _, _, err := limited.Seal(t.Context(), s.MustPermit(t, free), free, b, value("v"), keys.SealMeta{}); err != nil {
		t.Errorf("another customer's: %v", err)
	}
}

// A KEK that was drafted before the map changed is not stored after it.
func TestDraftFromBeforeTheMap(t *testing.T) {
	s, cmk := keystest.New(t), keystest.NewRoot(t)
	k, b := s.MustKeys(t, keys.Config{CMKs: bagOf(cmk)}), goldenInput(t).Object
	c := keystest.MustContext(t, "organization_id", "org_1")
	draft := func() keys.Conditions {
		t.Helper()
		_, conditions, err := k.Seal(t.Context(), s.MustPermit(t, c), c, b, value("v"), keys.SealMeta{})
		must(t, err)
		return conditions
	}
	before := draft()
	mapOf(t, s, cmkOf("org_1", cmk))
	if err := s.Store.CreateKEK(t.Context(), before); !errors.Is(err, keys.ErrConflict) {
		t.Errorf("without the customer's key: %v, want %v", err, keys.ErrConflict)
	}
	under := draft()
	if len(before.Create.Record.Shares) != 1 || len(under.Create.Record.Shares) != 2 {
		t.Errorf("%d shares before, %d after", len(before.Create.Record.Shares), len(under.Create.Record.Shares))
	}
	mapOf(t, s)
	if err := s.Store.CreateKEK(t.Context(), under); !errors.Is(err, keys.ErrConflict) {
		t.Errorf("under a key that is gone: %v, want %v", err, keys.ErrConflict)
	}
	must(t, s.Store.CreateKEK(t.Context(), draft()))
}

// A key that does not answer is asked by one caller a second: nobody else waits as long as he does. Once he was
// answered, all go on.
func TestOneAsksForAll(t *testing.T) {
	s, cmk := keystest.New(t), keystest.NewRoot(t)
	mapOf(t, s, cmkOf("org_1", cmk))
	var ahead atomic.Int64
	began := time.Now()
	now := func() time.Time { return began.Add(time.Duration(ahead.Load())) } // it stands still in between
	k, b := s.MustKeys(t, keys.Config{CMKs: bagOf(cmk), Now: now}), goldenInput(t).Object
	var contexts []keys.Context
	var sealed []keys.Sealed
	for _, n := range []string{"1", "2", "3"} {
		c := keystest.MustContext(t, "organization_id", "org_1", "n", n)
		contexts, sealed = append(contexts, c), append(sealed, mustStore(t, s, k, c, b, n))
	}
	cold := s.MustKeys(t, keys.Config{CMKs: bagOf(cmk), Now: now})
	open := func(i int) error {
		_, err := cold.Open(t.Context(), s.MustPermit(t, contexts[i]), sealed[i], b)
		return err
	}
	cmk.Down()
	if err := open(0); outage.Of(err) == nil {
		t.Fatalf("out of reach: %v", err)
	}
	ahead.Add(int64(time.Second))
	release := cmk.Hang(t)
	calls := cmk.Unwraps()
	asked := make(chan error, 1)
	go func() { asked <- open(0) }()
	mustBecome(t, func() error {
		if cmk.Unwraps() == calls {
			return errors.New("nobody has asked")
		}
		return nil
	})
	for i := range contexts[1:] {
		if err := open(i + 1); outage.Of(err) == nil {
			t.Errorf("while one asks: %v, want an outage", err)
		}
	}
	if n := cmk.Unwraps() - calls; n != 1 {
		t.Errorf("%d calls, want that of one caller", n)
	}
	cmk.Fail(nil)
	release()
	// What the one who asks is told was settled before he waited.
	if err := <-asked; outage.Of(err) == nil {
		t.Errorf("the one who asks: %v", err)
	}
	ahead.Add(int64(time.Second))
	for i := range contexts {
		if err := open(i); err != nil {
			t.Errorf("once it answers: %v", err)
		}
	}
}
