package etcd_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"culvert/internal/etcd"
	"culvert/internal/etcd/etcdtest"
	"culvert/internal/events"
	"culvert/internal/outage"
	"culvert/keys"
	"culvert/vault"
)

// attempt is a write whose answer may have been lost, and what the store said of it.
type attempt struct {
	write vault.Write
	err   error
	// update is false for a create.
	update bool
}

// label is in the event of an attempt and nowhere else.
func (a *attempt) label() string { return string(a.write.Header.Current().ID) }

// TestCertainOutcomes loses requests and answers between a store and its etcd, and lets some arrive when
// their sender was told already. Whatever the store says must be true, at once and for ever: nil means
// that it is there once, with one event; an outage that it never happened.
func TestCertainOutcomes(t *testing.T) {
	endpoint := etcdtest.Listening(t)
	proxy := etcdtest.NewProxy(t, endpoint)
	p := newPlace(t, etcdtest.MustOpen(t, etcd.Config{Endpoints: []string{endpoint}}))
	witness := p.mustStore(t)
	c := p.mustKEK(t, witness, nil)
	behind := *p
	behind.client = etcdtest.MustOpen(t, etcd.Config{Endpoints: []string{proxy.Endpoint()}})
	s := behind.mustStore(t)

	const writers, length = 8, 4 * time.Second
	chaos, calm := context.WithCancel(t.Context())
	var faults, writing sync.WaitGroup
	faults.Go(func() {
		for i := 0; chaos.Err() == nil; i++ {
			proxy.Arm(etcdtest.Fault(1 + i%3))
			sleep(chaos, time.Duration(40+rand.IntN(60))*time.Millisecond)
		}
	})
	var refused, committed atomic.Int64
	tried := func() bool {
		return refused.Load() >= 5 && committed.Load() >= 50 && proxy.Struck(etcdtest.LoseReply) >= 3 && proxy.Struck(etcdtest.DelayRequest) >= 3
	}
	done, began := make([][]attempt, writers), time.Now()
	for w := range writers {
		writing.Go(func() {
			for i := 0; time.Since(began) < length || !tried() && time.Since(began) < 10*length; i++ {
				for _, a := range p.attempts(t, s, witness, c, fmt.Sprintf("%d/%d", w, i)) {
					done[w] = append(done[w], a)
					switch o := outage.Of(a.err); {
					case a.err == nil:
						committed.Add(1)
					case o != nil && o.Kind == outage.Unavailable:
						refused.Add(1)
					}
				}
			}
		})
	}
	writing.Wait()
	calm()
	faults.Wait()
	proxy.Arm(0)
	// What was under way has arrived by now; whatever was refused is still refused.
	time.Sleep(2 * etcdtest.Late)

	logged := map[string]int{}
	for _, e := range p.mustEvents(t, witness, events.DataCreated, events.DataUpdated) {
		logged[what(t, e)]++
	}
	kinds := map[string]int{}
	for _, attempts := range done {
		for _, a := range attempts {
			kinds[p.mustHold(t, witness, &a, logged[a.label()])]++
		}
	}
	t.Logf("outcomes %v; answers lost %d, requests lost %d, late %d", kinds,
		proxy.Struck(etcdtest.LoseReply), proxy.Struck(etcdtest.LoseRequest), proxy.Struck(etcdtest.DelayRequest))
	if !tried() {
		t.Error("too few faults: nothing was tried")
	}
	// On a busy machine one or another takes longer to find out than it may.
	if kinds["unknown"]*20 > kinds["unknown"]+kinds["refused"]+kinds["committed"] {
		t.Errorf("%d outcomes are unknown although etcd could be reached", kinds["unknown"])
	}
}

// attempts creates an object and updates it twice, and looks at once through another store whether what
// was refused is absent.
func (p *place) attempts(t *testing.T, s, witness *etcd.Store, c keys.Conditions, name string) []attempt {
	big := func(w vault.Write) vault.Write { // so that the proxy knows it for a write
		label := string(w.Header.Current().ID)
		w.Ciphertext = append(bytes.Repeat([]byte("."), 2000), label...)
		w.Event.Data = p.event("", label).Data
		return w
	}
	create := attempt{write: big(p.write(name, c))}
	_, create.err = s.Create(t.Context(), create.write, nil)
	p.holdNow(t, witness, &create)
	all := []attempt{create}
	if create.err != nil {
		return all
	}
	for range 2 {
		if err := witness.Fence(t.Context()); err != nil {
			t.Errorf("fence: %v", err)
			return all
		}
		h, err := witness.Header(t.Context(), p.env, create.write.Header.ID)
		if err != nil {
			t.Errorf("header of an acknowledged create: %v", err)
			return all
		}
		w, _ := p.next(h.Header, c, 100)
		update := attempt{write: big(w), update: true}
		update.err = s.Update(t.Context(), update.write, h.Revision, 0)
		p.holdNow(t, witness, &update)
		all = append(all, update)
	}
	return all
}

// holdNow checks what the store just said; it may be called from any goroutine.
func (p *place) holdNow(t *testing.T, witness *etcd.Store, a *attempt) {
	if err := witness.Fence(t.Context()); err != nil {
		t.Errorf("fence: %v", err)
		return
	}
	h := &a.write.Header
	text, err := witness.Ciphertext(t.Context(), p.env, h.ID, h.Current().Sequence)
	o := outage.Of(a.err)
	switch {
	case a.err == nil && !bytes.Equal(text, a.write.Ciphertext):
		t.Errorf("%s: acknowledged, but there is %d bytes, %v", a.label(), len(text), err)
	case a.err != nil && (o == nil || o.Dependency != outage.Etcd):
		t.Errorf("%s: got %v, want an outage of etcd", a.label(), a.err)
	case o != nil && o.Kind == outage.Unavailable && bytes.Equal(text, a.write.Ciphertext):
		t.Errorf("%s: refused, and it is there", a.label())
	}
}

// mustHold checks an attempt after everything has settled, and names its outcome.
func (p *place) mustHold(t *testing.T, s *etcd.Store, a *attempt, logged int) string {
	t.Helper()
	h := &a.write.Header
	text, textErr := s.Ciphertext(t.Context(), p.env, h.ID, h.Current().Sequence)
	got, err := s.Header(t.Context(), p.env, h.ID)
	named, nameErr := s.HeaderByName(t.Context(), p.env, h.Name)
	listed := 0
	for i := range vaultVersions(got) {
		if got.Versions[i].ID == h.Current().ID {
			listed++
		}
	}
	stored := textErr == nil && bytes.Equal(text, a.write.Ciphertext)
	there := stored && err == nil && nameErr == nil && named.ID == h.ID && listed == 1 && logged == 1
	gone := !stored && listed == 0 && logged == 0
	if !a.update {
		gone = gone && errors.Is(err, vault.ErrNotFound) && errors.Is(nameErr, vault.ErrNotFound)
	}
	o := outage.Of(a.err)
	switch {
	case !there && !gone:
		t.Errorf("%s is half there: listed %d, logged %d, %v, %v, %v", a.label(), listed, logged, textErr, err, nameErr)
	case a.err == nil && !there:
		t.Errorf("%s was acknowledged and is gone", a.label())
	case o != nil && o.Kind == outage.Unavailable && !gone:
		t.Errorf("%s was refused and came later", a.label())
	}
	switch {
	case a.err == nil:
		return "committed"
	case o != nil && o.Kind == outage.Unknown:
		return "unknown"
	}
	return "refused"
}

func vaultVersions(s vault.Stored) []vault.VersionHeader {
	if s.Header == nil {
		return nil
	}
	return s.Versions
}
