package etcd_test

import (
	"bytes"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"culvert/internal/access"
	"culvert/internal/etcd"
	"culvert/internal/etcd/etcdtest"
	"culvert/internal/events"
	"culvert/internal/id"
	"culvert/internal/outage"
	"culvert/keys"
	"culvert/vault"
)

const smallQuota = 24 << 20

// large is the create of an object whose value is as large as that.
func (p *place) large(name string, c keys.Conditions, size int) vault.Write {
	w := p.write(name, c)
	w.Ciphertext = append(bytes.Repeat([]byte("."), size), w.Header.ID...)
	w.Event.Data = p.event("", string(w.Header.Current().ID)).Data
	return w
}

// TestFullStore fills a small store to its limit: what grows it is refused in time, what frees it goes on.
func TestFullStore(t *testing.T) {
	p := newPlace(t, etcdtest.MustOpen(t, etcd.Config{DataDir: t.TempDir(), QuotaBytes: smallQuota}))
	s := p.mustStore(t)
	ctx := t.Context()
	c := p.mustKEK(t, s, nil)
	small := p.mustCreate(t, s, "small", c)
	var stored []vault.Write
	var err error
	for len(stored) < 500 {
		w := p.large(fmt.Sprint(len(stored)), c, 128<<10)
		if _, err = s.Create(ctx, w, nil); err != nil {
			break
		}
		stored = append(stored, w)
		p.client.Flush()
		s.Measure(ctx)
	}
	mustBeOutage(t, "a create in a full store", err, outage.Full)
	used, quota, alarm, err := p.client.Sizes(ctx)
	if err != nil || quota != smallQuota || alarm || used < quota*80/100 || used > quota*85/100 {
		t.Errorf("%d of %d bytes used, alarm %v, %v", used, quota, alarm, err)
	}
	h := p.mustHeader(t, s, small.Header.ID)
	next, _ := p.next(h.Header, c, 10)
	mustBeOutage(t, "an update", s.Update(ctx, next, h.Revision, 0), outage.Full)
	mustBeOutage(t, "a KEK", s.CreateKEK(ctx, p.newKEK(map[string]string{"new": "context"})), outage.Full)
	mustBeOutage(t, "health", s.Health(ctx), outage.Full)
	if o := outage.Of(s.Health(ctx)); o.RetryAfter < 10*time.Second {
		t.Errorf("retry after %s", o.RetryAfter)
	}
	// Reads and deletes go on, and so does what neither grows nor frees much, up to 90 %.
	p.mustSee(t, s, small)
	if err := s.CreateAPIKey(ctx, p.apiKey()); err != nil {
		t.Errorf("an API key: %v", err)
	}
	for _, w := range stored[:len(stored)/2] {
		p.mustDelete(t, s, w.Header.ID)
	}
	// Room is made by the store itself within a second or two; here at once.
	p.client.Recover(ctx, false)
	s.Measure(ctx)
	if size, inUse := p.client.BackendBytes(); size > smallQuota*70/100 {
		t.Errorf("%d bytes are used after the deletes, %d really", size, inUse)
	}
	if err := s.Update(ctx, next, h.Revision, 0); err != nil {
		t.Errorf("an update after the deletes: %v", err)
	}
	if _, err := s.Create(ctx, p.large("after the deletes", c, 128<<10), nil); err != nil {
		t.Errorf("a create after the deletes: %v", err)
	}
	if err := s.Health(ctx); err != nil {
		t.Errorf("health after the deletes: %v", err)
	}
	for _, w := range stored[len(stored)/2:] {
		p.mustSee(t, s, w)
	}
}

func (p *place) apiKey() access.KeyRecord {
	return access.KeyRecord{
		ID: id.ULID(time.Now()), Environment: p.env, Name: "a key", Role: access.RoleAdmin,
		Hash: bytes.Repeat([]byte{1}, 32), CreatedAt: p.ids.Now(),
	}
}

// TestFullDisk: an etcd whose disk fills ends the process, so nothing grows while there is little space.
func TestFullDisk(t *testing.T) {
	p := newPlace(t, etcdtest.Embedded(t))
	roomy := p.mustStore(t)
	c := p.mustKEK(t, roomy, nil)
	w := p.mustCreate(t, roomy, "before", c)
	s := p.mustStore(t, func(cfg *etcd.StoreConfig) { cfg.MinFreeBytes = 1 << 60 })
	s.Measure(t.Context())
	_, err := s.Create(t.Context(), p.write("refused", c), nil)
	mustBeOutage(t, "a create", err, outage.Full)
	h := p.mustHeader(t, s, w.Header.ID)
	next, _ := p.next(h.Header, c, 10)
	mustBeOutage(t, "an update", s.Update(t.Context(), next, h.Revision, 0), outage.Full)
	mustBeOutage(t, "an API key", s.CreateAPIKey(t.Context(), p.apiKey()), outage.Full)
	mustBeOutage(t, "health", s.Health(t.Context()), outage.Full)
	p.mustDelete(t, s, w.Header.ID)
	// The twin.
	if _, err := roomy.Create(t.Context(), p.write("refused", c), nil); err != nil {
		t.Errorf("a create where there is space: %v", err)
	}
}

// mustFill puts one key again and again, past every limit of ours, until etcd refuses.
func mustFill(t *testing.T, p *place) {
	t.Helper()
	for range 200 {
		_, err := p.client.KV().Put(t.Context(), p.client.Abs("node/filler"), string(make([]byte, 1<<20)))
		if errors.Is(err, rpctypes.ErrNoSpace) {
			return
		}
		if err != nil {
			t.Fatalf("fill: %v", err)
		}
	}
	t.Fatal("etcd takes everything")
}

// TestSpaceAlarm: at the quota etcd refuses every put until somebody disarms its alarm. The embedded one
// is brought back by the store itself; of an external one it says what is the matter.
func TestSpaceAlarm(t *testing.T) {
	t.Parallel()
	t.Run("embedded", func(t *testing.T) {
		p := newPlace(t, etcdtest.MustOpen(t, etcd.Config{DataDir: t.TempDir(), QuotaBytes: smallQuota}))
		s := p.mustStore(t)
		c := p.mustKEK(t, s, nil)
		w := p.mustCreate(t, s, "before", c)
		mustFill(t, p)
		eventually(t, "creates to work again", func() bool {
			_, err := s.Create(t.Context(), p.write("after", c), nil)
			if err != nil && outage.Of(err) == nil {
				t.Fatalf("create: %v", err)
			}
			return err == nil
		})
		if _, _, alarm, err := p.client.Sizes(t.Context()); alarm || err != nil {
			t.Errorf("alarm %v, %v", alarm, err)
		}
		p.mustSee(t, s, w)
		p.mustDelete(t, s, w.Header.ID)
	})
	t.Run("external", func(t *testing.T) {
		endpoint := etcdtest.ListeningQuota(t, smallQuota)
		p := newPlace(t, etcdtest.MustOpen(t, etcd.Config{Endpoints: []string{endpoint}}))
		s := p.mustStore(t)
		c := p.mustKEK(t, s, nil)
		w := p.mustCreate(t, s, "before", c)
		if used, quota, alarm, err := p.client.Sizes(t.Context()); used == 0 || quota != smallQuota || alarm || err != nil {
			t.Errorf("%d of %d bytes used, alarm %v, %v", used, quota, alarm, err)
		}
		mustFill(t, p)
		_, _, alarm, err := p.client.Sizes(t.Context())
		if !alarm || err != nil {
			t.Errorf("alarm %v, %v", alarm, err)
		}
		// Before the store has measured it, etcd's own refusal says the same, of creates and deletes.
		_, err = s.Create(t.Context(), p.write("refused", c), nil)
		mustBeOutage(t, "a create", err, outage.Full)
		h := p.mustHeader(t, s, w.Header.ID)
		err = s.Delete(t.Context(), *h.Header, h.Revision, p.event(events.DataDeleted, "x"))
		mustBeOutage(t, "a delete", err, outage.Full)
		p.mustSee(t, s, w)
		s.Measure(t.Context())
		mustBeOutage(t, "health", s.Health(t.Context()), outage.Full)

		mustRecoverByHand(t, p, endpoint)
		s.Measure(t.Context())
		p.mustDelete(t, s, w.Header.ID)
		if _, err := s.Create(t.Context(), p.write("refused", c), nil); err != nil {
			t.Errorf("a create afterwards: %v", err)
		}
	})
}

// mustRecoverByHand is what the operator of an external etcd does.
func mustRecoverByHand(t *testing.T, p *place, endpoint string) {
	t.Helper()
	kv, ctx := p.client.KV(), t.Context()
	if _, err := kv.Compact(ctx, revisionOf(t, p), clientv3.WithCompactPhysical()); err != nil {
		t.Fatal(err)
	}
	if _, err := kv.Defragment(ctx, endpoint); err != nil {
		t.Fatal(err)
	}
	if _, err := kv.AlarmDisarm(ctx, &clientv3.AlarmMember{}); err != nil {
		t.Fatal(err)
	}
}

// TestLastOfTheQuota: etcd applies the transaction that takes the last of the quota, and answers it with
// "no space" all the same. The store must not pass that on as a refusal.
func TestLastOfTheQuota(t *testing.T) {
	p := newPlace(t, etcdtest.MustOpen(t, etcd.Config{DataDir: t.TempDir(), QuotaBytes: smallQuota}))
	s := p.mustStore(t)
	c := p.mustKEK(t, s, nil)
	const writers = 64
	done := make([][]attempt, writers)
	var wg sync.WaitGroup
	for i := range writers {
		wg.Go(func() {
			for n := range 100 {
				a := attempt{write: p.large(fmt.Sprintf("%d/%d", i, n), c, 64<<10)}
				_, a.err = s.Create(t.Context(), a.write, nil)
				if done[i] = append(done[i], a); a.err != nil {
					return
				}
			}
		})
	}
	wg.Wait()
	logged := map[string]int{}
	for _, e := range p.mustEvents(t, s, events.DataCreated) {
		logged[what(t, e)]++
	}
	kinds, full := map[string]int{}, 0
	for _, attempts := range done {
		for _, a := range attempts {
			// A disk that stands still for seconds is an outage of another kind, whose outcome counts as well.
			o := outage.Of(a.err)
			if a.err != nil && o == nil {
				t.Errorf("create: %v", a.err)
			}
			if o != nil && o.Kind == outage.Full {
				full++
			}
			kind := p.mustHold(t, s, &a, logged[a.label()])
			if kind == "refused" && logged[a.label()] != 0 {
				t.Errorf("%s was refused and is there", a.label())
			}
			kinds[kind]++
		}
	}
	t.Logf("outcomes %v, %d for want of room", kinds, full)
	if full == 0 || kinds["refused"] == 0 || kinds["committed"] < 50 {
		t.Error("nothing was tried")
	}
}

// TestRequestRoom: request records may take a tenth of the quota; the next one has to wait.
func TestRequestRoom(t *testing.T) {
	p := newPlace(t, etcdtest.MustOpen(t, etcd.Config{DataDir: t.TempDir(), QuotaBytes: 2 * smallQuota}))
	s := p.mustStore(t)
	c := p.mustKEK(t, s, nil)
	s.Measure(t.Context())
	w := p.write("first", c)
	if _, err := s.Create(t.Context(), w, idempotent("key-1", &w)); err != nil {
		t.Fatal(err)
	}
	for i := range 6 {
		p.rawPut(t, etcd.PrefixRequests(p.env, time.Now())+fmt.Sprint(i), make([]byte, 1<<20))
	}
	mustFence(t, s)
	w = p.write("second", c)
	_, err := s.Create(t.Context(), w, idempotent("key-2", &w))
	mustBeOutage(t, "a create with an Idempotency-Key", err, outage.Full)
	if _, err := s.Create(t.Context(), w, nil); err != nil {
		t.Errorf("a create without one: %v", err)
	}
}

// TestCompaction: history is forgotten by the bytes written, and nothing that is there now is.
func TestCompaction(t *testing.T) {
	t.Parallel()
	p := newPlace(t, etcdtest.MustOpen(t, etcd.Config{Endpoints: []string{etcdtest.Listening(t)}}))
	s := p.mustStore(t)
	w := p.mustCreate(t, s, "old", p.mustKEK(t, s, nil))
	before := revisionOf(t, p)
	for range 70 {
		p.rawPut(t, "node/filler", make([]byte, 1<<20))
	}
	// However long a slow disk took for that: what was current a moment ago is kept for an interval.
	recent := revisionOf(t, p)
	if _, err := p.client.KV().Get(t.Context(), p.client.Abs("format"), clientv3.WithRev(recent)); err != nil {
		t.Fatalf("history is gone at once: %v", err)
	}
	eventually(t, "history to be forgotten", func() bool {
		_, err := p.client.KV().Get(t.Context(), p.client.Abs("format"), clientv3.WithRev(before))
		return errors.Is(err, rpctypes.ErrCompacted)
	})
	p.mustSee(t, s, w)
	if !s.Current() {
		t.Error("the store's own watch was compacted away")
	}
}

// TestCompact: on demand history is forgotten up to the moment of the call, on either kind of etcd, once or
// twice.
func TestCompact(t *testing.T) {
	t.Parallel()
	for kind, cfg := range map[string]etcd.Config{
		"embedded": {DataDir: t.TempDir()}, "external": {Endpoints: []string{etcdtest.Listening(t)}},
	} {
		p := newPlace(t, etcdtest.MustOpen(t, cfg))
		s := p.mustStore(t)
		w := p.mustCreate(t, s, "kept", p.mustKEK(t, s, nil))
		p.rawPut(t, "node/overwritten", []byte("old"))
		before := revisionOf(t, p)
		p.rawPut(t, "node/overwritten", []byte("new"))
		read := func(options ...clientv3.OpOption) (string, error) {
			resp, err := p.client.KV().Get(t.Context(), p.client.Abs("node/overwritten"), options...)
			if err != nil || len(resp.Kvs) != 1 {
				return "", err
			}
			return string(resp.Kvs[0].Value), nil
		}
		if got, err := read(clientv3.WithRev(before)); got != "old" {
			t.Fatalf("%s: history has %q before, %v", kind, got, err)
		}
		for range 2 {
			if err := s.Compact(t.Context()); err != nil {
				t.Fatalf("%s: %v", kind, err)
			}
		}
		if got, err := read(clientv3.WithRev(before)); !errors.Is(err, rpctypes.ErrCompacted) {
			t.Errorf("%s: history has %q, %v", kind, got, err)
		}
		if got, err := read(); got != "new" {
			t.Errorf("%s: the present is %q, %v", kind, got, err)
		}
		p.mustSee(t, s, w)
	}
}

// TestByNameWhileCompacted: a by-name read in whose middle history is forgotten finds its object all the same.
func TestByNameWhileCompacted(t *testing.T) {
	t.Parallel()
	p := newPlace(t, etcdtest.MustOpen(t, etcd.Config{Endpoints: []string{etcdtest.Listening(t)}}))
	s := p.mustStore(t)
	w := p.mustCreate(t, s, "kept", p.mustKEK(t, s, nil))
	// One compaction a round, so that no read meets two.
	for range 100 {
		done := make(chan error, 1)
		go func() {
			_, err := p.client.KV().Put(t.Context(), p.client.Abs("node/other"), "x")
			done <- errors.Join(err, s.Compact(t.Context()))
		}()
		for reading := true; reading; {
			select {
			case err := <-done:
				reading = false
				if err != nil {
					t.Errorf("compact: %v", err)
				}
			default:
			}
			if got, err := s.HeaderByNameAtOnce(t.Context(), p.env, w.Header.Name); err != nil || got.ID != w.Header.ID {
				t.Errorf("by name: %v", err)
			}
		}
	}
}
