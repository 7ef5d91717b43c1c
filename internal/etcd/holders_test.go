package etcd_test

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"culvert/internal/etcd"
	"culvert/internal/events"
	"culvert/internal/id"
	"culvert/keys"
	"culvert/pipes"
	"culvert/vault"
)

// mustHolders walks all records that hold DEKs.
func (p *place) mustHolders(t *testing.T, s *etcd.Store, limit int) (all []keys.Holder) {
	t.Helper()
	for after := ""; ; {
		page, err := s.Holders(t.Context(), p.env, after, limit)
		if err != nil || len(page) > limit {
			t.Fatalf("holders behind %q: %d, %v", after, len(page), err)
		}
		if len(page) == 0 {
			return all
		}
		all, after = append(all, page...), page[len(page)-1].Key
	}
}

// mustPipes stores an integration with a client secret, an organization's own for it, and the same removed and
// kept; two grants, of which one holds nothing any more; and two revocations, of which one has ended.
func (p *place) mustPipes(t *testing.T, s *etcd.Store, c keys.Conditions) {
	t.Helper()
	at := p.ids.Now()
	integration := pipes.Integration{
		ID: pipes.IntegrationID("data_integration_" + id.ULID(at)), Environment: p.env, Slug: "provider", Ownership: pipes.OwnedByUser,
		DIK: "dik_" + id.ULID(at), CreatedAt: at, UpdatedAt: at,
		Client: &pipes.Client{Type: "custom", ID: "client", Secret: &pipes.SealedSecret{KeyID: c.KeyID, WrappedDEK: []byte("secret's"), Ciphertext: []byte("x"), SealedAt: at}},
	}
	full := pipes.Grant{ID: pipes.GrantID("grant_" + id.ULID(at)), Environment: p.env, Integration: integration.ID, Generation: 3,
		KeyID: c.KeyID, WrappedDEK: []byte("grant's"), Sealed: []byte("x"), ObtainedAt: at}
	own := *integration.Client
	own.Organization = "org_1"
	own.Previous = &pipes.PreviousSecret{Until: at.Add(time.Hour), Secret: &pipes.SealedSecret{KeyID: c.KeyID, WrappedDEK: []byte("previous"), Ciphertext: []byte("y"), SealedAt: at.Add(-time.Hour)}}
	configuration := pipes.Configuration{
		Integration: integration.ID, Environment: p.env, Slug: integration.Slug, Organization: "org_1", Client: &own, CreatedAt: at, UpdatedAt: at,
	}
	empty := pipes.Grant{ID: pipes.GrantID("grant_" + id.ULID(at)), Environment: p.env, Integration: integration.ID, ObtainedAt: at}
	held := full
	held.ID = pipes.GrantID("grant_" + id.ULID(at))
	pending := pipes.Revocation{ID: pipes.AccountID("data_installation_" + id.ULID(at)), Environment: p.env, Integration: integration.ID,
		State: pipes.RevocationPending, Grant: &held, NextAt: at.Add(time.Hour), CreatedAt: at}
	ended := pipes.Revocation{ID: pipes.AccountID("data_installation_" + id.ULID(at)), Environment: p.env, State: pipes.Revoked, CreatedAt: at, EndedAt: at}
	for _, change := range []pipes.Change{
		{Retired: &pipes.Put[pipes.Integration]{Record: integration}, Revocation: &pipes.Put[pipes.Revocation]{Record: pending}, Conditions: []keys.Conditions{c}},
		{Revocation: &pipes.Put[pipes.Revocation]{Record: ended}},
		{Integration: &pipes.Put[pipes.Integration]{Record: integration}, Grant: &pipes.Put[pipes.Grant]{Record: full}, Conditions: []keys.Conditions{c}},
		{Grant: &pipes.Put[pipes.Grant]{Record: empty}},
		{Configuration: &pipes.Put[pipes.Configuration]{Record: configuration}, Conditions: []keys.Conditions{c}},
	} {
		change.Environment, change.Events = p.env, []events.Event{p.event(events.IntegrationCreated, "x")}
		if err := s.Apply(t.Context(), change); err != nil {
			t.Fatalf("store what pipes holds: %v", err)
		}
	}
}

// testHolders: the walk finds every record with DEKs once, in pages of any size, and each kind says what its
// DEKs are bound to; a broken one is among them and says so.
func testHolders(t *testing.T, open opener) {
	p := newPlace(t, open(t))
	s := p.mustStore(t)
	c := p.mustKEK(t, s, map[string]string{"organization_id": "org_1"})
	p.mustPipes(t, s, c)
	var objects []string
	for _, name := range []string{"a", "b", "c", "d", "e"} {
		w := p.mustCreate(t, s, name, c)
		objects = append(objects, etcd.KeyObject(p.env, w.Header.ID))
	}
	if n, err := s.CountHolders(t.Context(), p.env); err != nil || n != 12 {
		t.Errorf("count: %d, %v", n, err)
	}
	whole := p.mustHolders(t, s, 100)
	for _, limit := range []int{1, 2, 3} {
		got := p.mustHolders(t, s, limit)
		if !slices.EqualFunc(got, whole, func(a, b keys.Holder) bool { return a.Key == b.Key && a.Revision == b.Revision }) {
			t.Errorf("by %d: %d records, want the %d of a large page", limit, len(got), len(whole))
		}
	}
	found := map[string]int{}
	for _, h := range whole {
		if h.Err != nil || h.Revision == 0 {
			t.Errorf("%s: %+v", h.Key, h)
		}
		kind, _, _ := strings.Cut(h.Key, "/")
		found[kind]++
		for _, d := range h.DEKs {
			found[kind+"'s DEKs"]++
			object, isObject := d.Binding.(keys.ObjectBinding)
			grant, isGrant := d.Binding.(keys.GrantBinding)
			secret, isSecret := d.Binding.(keys.ClientSecretBinding)
			if d.KeyID != c.KeyID || len(d.Wrapped) == 0 || isObject && object.ObjectID == "" || isGrant && grant.Generation != 3 || isSecret && secret.IntegrationID == "" {
				t.Errorf("%s: %+v", h.Key, d)
			}
		}
	}
	for what, want := range map[string]int{"integration": 1, "integration's DEKs": 1, "configuration": 1, "configuration's DEKs": 2, "grant": 2, "grant's DEKs": 1, "retired": 1, "retired's DEKs": 1, "revocation": 2, "revocation's DEKs": 1, "object": 5, "object's DEKs": 5} {
		if found[what] != want {
			t.Errorf("%s: %d, want %d", what, found[what], want)
		}
	}

	p.rawPut(t, objects[1], p.rawGet(t, objects[2]))
	p.rawPut(t, objects[3], []byte("no record"))
	for _, h := range p.mustHolders(t, s, 2) {
		if broken := h.Key == objects[1] || h.Key == objects[3]; broken {
			mustBe(t, h.Key, h.Err, keys.ErrTampered)
		} else if h.Err != nil {
			t.Errorf("%s: %v", h.Key, h.Err)
		}
	}
}

// testRewrap: DEKs are put into every kind of record if it and its KEKs are as they were, and nothing else
// of it changes.
func testRewrap(t *testing.T, open opener) {
	p := newPlace(t, open(t))
	s, other := p.mustStore(t), p.mustStore(t, slowWatch)
	ctx := t.Context()
	c := p.mustKEK(t, s, map[string]string{"organization_id": "org_1"})
	p.mustPipes(t, s, c)
	w := p.mustCreate(t, s, "object", c)
	before := p.mustHeader(t, s, w.Header.ID)
	next, _ := p.next(before.Header, c, 10)
	if err := s.Update(ctx, next, before.Revision, 0); err != nil {
		t.Fatal(err)
	}
	before = p.mustHeader(t, s, w.Header.ID)
	fresh := func(h keys.Holder) (deks [][]byte) {
		for i := range h.DEKs {
			deks = append(deks, bytes.Repeat([]byte{byte(i + 1)}, 77))
		}
		return deks
	}
	for _, h := range p.mustHolders(t, s, 100) {
		if len(h.DEKs) == 0 {
			continue
		}
		old := c
		old.Generation--
		mustBe(t, "under a KEK that changed: "+h.Key, s.Rewrap(ctx, p.env, h, fresh(h), []keys.Conditions{old}), keys.ErrConflict)
		if err := s.Rewrap(ctx, p.env, h, fresh(h), []keys.Conditions{c, c}); err != nil {
			t.Fatalf("rewrap %s: %v", h.Key, err)
		}
		mustBe(t, "a record that changed: "+h.Key, other.Rewrap(ctx, p.env, h, fresh(h), []keys.Conditions{c}), keys.ErrConflict)
		again, err := other.Holder(ctx, p.env, h.Key)
		if err != nil || again.Err != nil || again.Revision <= h.Revision || len(again.DEKs) != len(h.DEKs) {
			t.Fatalf("%s afterwards: %+v, %v", h.Key, again, err)
		}
		for i, d := range again.DEKs {
			if !bytes.Equal(d.Wrapped, fresh(h)[i]) || d.Binding != h.DEKs[i].Binding || d.KeyID != h.DEKs[i].KeyID {
				t.Errorf("DEK %d of %s: %+v, before %+v", i, h.Key, d, h.DEKs[i])
			}
		}
	}
	after := p.mustHeader(t, other, w.Header.ID)
	for i := range after.Versions {
		got, want := after.Versions[i], before.Versions[i]
		want.WrappedDEK = got.WrappedDEK
		if got.ID != want.ID || got.ETag != want.ETag || got.Sequence != want.Sequence || !got.CreatedAt.Equal(want.CreatedAt) || got.Size != want.Size {
			t.Errorf("version %d: %+v, before %+v", i, got, want)
		}
	}
	text, err := other.Ciphertext(ctx, p.env, w.Header.ID, 2)
	if err != nil || !bytes.Equal(text, next.Ciphertext) {
		t.Errorf("the value: %q, %v; want %q", text, err, next.Ciphertext)
	}
	if h, err := s.Holder(ctx, p.env, etcd.KeyObject(p.env, vault.ObjectID(p.ids.UUID()))); err != nil || len(h.DEKs) != 0 {
		t.Errorf("a record that is gone: %+v, %v", h, err)
	}
}

// testRewrapsAtOnce: rewraps that come at once share transactions, and one that conflicts takes no other with it.
func testRewrapsAtOnce(t *testing.T, open opener) {
	p := newPlace(t, open(t))
	s, other := p.mustStore(t), p.mustStore(t)
	ctx := t.Context()
	contexts := []keys.Conditions{p.mustKEK(t, s, map[string]string{"n": "1"}), p.mustKEK(t, s, map[string]string{"n": "2"})}
	conditions := map[keys.ID]keys.Conditions{}
	for i := range 90 {
		c := contexts[i%2]
		conditions[c.KeyID] = c
		p.mustCreate(t, s, fmt.Sprint("object ", i), c)
	}
	holders := p.mustHolders(t, s, 100)
	// Of some the record has changed, of some the KEK.
	spoilt := map[int]bool{3: true, 44: true, 80: true}
	errs := make([]error, len(holders))
	var all sync.WaitGroup
	for i, h := range holders {
		c := conditions[h.DEKs[0].KeyID]
		if spoilt[i] && i%2 == 0 {
			c.Generation--
		} else if spoilt[i] {
			h.Revision--
		}
		store := []*etcd.Store{s, other}[i%3/2]
		all.Go(func() {
			errs[i] = store.Rewrap(ctx, p.env, h, [][]byte{bytes.Repeat([]byte{byte(i)}, 77)}, []keys.Conditions{c})
		})
	}
	all.Wait()
	revisions := map[int64]bool{}
	for i, h := range holders {
		if errors.Is(errs[i], keys.ErrConflict) != spoilt[i] || !spoilt[i] && errs[i] != nil {
			t.Errorf("rewrap %d, spoilt: %v: %v", i, spoilt[i], errs[i])
		}
		now, err := s.Holder(ctx, p.env, h.Key)
		if err != nil || bytes.Equal(now.DEKs[0].Wrapped, bytes.Repeat([]byte{byte(i)}, 77)) == spoilt[i] {
			t.Errorf("record %d afterwards: %+v, %v", i, now, err)
		}
		revisions[now.Revision] = true
	}
	t.Logf("%d rewraps in %d transactions", len(holders)-len(spoilt), len(revisions)-len(spoilt))
}

// testRewrapsOfOneRecord: of rewraps of one record that come at once, as from two jobs, one is stored and the others
// are conflicts, and they take no other record's with them.
func testRewrapsOfOneRecord(t *testing.T, open opener) {
	p := newPlace(t, open(t))
	s := p.mustStore(t)
	c := p.mustKEK(t, s, map[string]string{"n": "1"})
	for i := range 3 {
		p.mustCreate(t, s, fmt.Sprint("object ", i), c)
	}
	holders := p.mustHolders(t, s, 100)
	errs := make([]error, 10*len(holders))
	var all sync.WaitGroup
	for i := range errs {
		all.Go(func() {
			errs[i] = s.Rewrap(t.Context(), p.env, holders[i%len(holders)], [][]byte{bytes.Repeat([]byte{byte(i)}, 77)}, []keys.Conditions{c})
		})
	}
	all.Wait()
	stored := map[string]int{}
	for i, err := range errs {
		key := holders[i%len(holders)].Key
		if err == nil {
			stored[key]++
			if now, err := s.Holder(t.Context(), p.env, key); err != nil || !bytes.Equal(now.DEKs[0].Wrapped, bytes.Repeat([]byte{byte(i)}, 77)) {
				t.Errorf("record %s afterwards: %+v, %v", key, now, err)
			}
		} else if !errors.Is(err, keys.ErrConflict) {
			t.Errorf("rewrap %d: %v, want none or a conflict", i, err)
		}
	}
	for _, h := range holders {
		if stored[h.Key] != 1 {
			t.Errorf("%d of the rewraps of %s are stored, want one", stored[h.Key], h.Key)
		}
	}
}
