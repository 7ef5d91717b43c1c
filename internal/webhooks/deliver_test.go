package webhooks_test

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"culvert/internal/webhooks"
	"culvert/vault/vaulttest"
)

// TestReplicas: three replicas on one store deliver everything, in order, whoever of them is there; one endpoint that
// refuses delays no other, and gets all of it in order once it accepts.
func TestReplicas(t *testing.T) {
	s := vaulttest.New(t)
	one, two, three := newReplica(t, s, asIs), newReplica(t, s.Replica(t), asIs), newReplica(t, s.Replica(t), asIs)
	good, bad := newReceiver(t, ok), newReceiver(t, status(500))
	one.mustObjects(t, "before")
	one.mustEndpoint(t, good.URL)
	refusing := two.mustEndpoint(t, bad.URL)

	var want []string
	for i, r := range []*replica{one, two, three} {
		names := numbered(fmt.Sprintf("round-%d", i), 10)
		r.mustObjects(t, names...)
		want = append(want, names...)
		good.mustReceive(t, want...)
		if i < 2 {
			[]*replica{one, two}[i].deliverer.Close()
		}
	}
	bad.mustReceive(t, want[0]) // again and again
	if v := three.view(t, refusing.ID); v.State() != "failing" || v.Progress.FailingSince.IsZero() {
		t.Errorf("the endpoint that refuses is %s, %+v", v.State(), v.Progress)
	}
	bad.answers(ok)
	bad.mustReceive(t, want...)
	eventually(t, func() error {
		if v := three.view(t, refusing.ID); v.State() != "delivering" || v.Progress.AcceptedAt.IsZero() || v.Progress.Deliveries < uint64(len(want)) {
			return fmt.Errorf("the endpoint that accepts again is %s, %+v", v.State(), v.Progress)
		}
		return nil
	})
	if got := len(good.deliveries()); got != len(want) {
		t.Errorf("%d deliveries of %d events although nobody was killed", got, len(want))
	}
}

// TestWithoutLocks: replicas that all take an endpoint for theirs lose no event and no order; what they store is
// what one of them did.
func TestWithoutLocks(t *testing.T) {
	s := vaulttest.New(t)
	lawless := func(s *vaulttest.Stack) *replica {
		return newReplica(t, s, func(c *webhooks.DelivererConfig) { c.Store = anarchy{c.Store} })
	}
	replicas := []*replica{lawless(s), lawless(s.Replica(t)), lawless(s.Replica(t))}
	r := newReceiver(t, ok)
	endpoint := replicas[0].mustEndpoint(t, r.URL)
	names := numbered("thing", 30)
	for i, name := range names {
		replicas[i%3].mustObjects(t, name)
	}
	r.mustReceive(t, names...)
	last := ""
	for _, d := range r.deliveries() {
		if d.Data.Name == names[len(names)-1] {
			last = d.ID
		}
	}
	eventually(t, func() error {
		v := replicas[0].view(t, endpoint.ID)
		page, err := s.Store.Tail(t.Context(), s.Environment.ID(), v.Progress.Cursor, 1)
		must(t, err)
		if len(page) > 0 {
			return fmt.Errorf("the cursor stands before %s", page[0].ID)
		}
		return nil
	})
	if got := replicas[1].attempts(t, endpoint.ID); len(got) == 0 || got[0].EventID != last {
		t.Errorf("the log of deliveries ends with %+v, want %s", got, last)
	}
}

// TestFaultyReceivers: whatever a receiver does, the event comes again until it is accepted, and the log says what
// happened. A redirect is not followed.
func TestFaultyReceivers(t *testing.T) {
	s := vaulttest.New(t)
	r := newReplica(t, s, func(c *webhooks.DelivererConfig) { c.Timing.Timeout = time.Second })
	elsewhere := newReceiver(t, ok)
	hang := func(w http.ResponseWriter, q *http.Request, _ received) { <-q.Context().Done() }
	faults := map[string]struct {
		answer func(http.ResponseWriter, *http.Request, received)
		reason webhooks.Reason
		status int
	}{
		"error":   {status(500), webhooks.ReasonStatus, 500},
		"refusal": {status(400), webhooks.ReasonStatus, 400},
		"redirect": {func(w http.ResponseWriter, q *http.Request, _ received) {
			http.Redirect(w, q, elsewhere.URL, http.StatusTemporaryRedirect)
		}, webhooks.ReasonRedirect, 307},
		"silence": {hang, webhooks.ReasonTimeout, 0},
		"reset": {func(w http.ResponseWriter, _ *http.Request, _ received) {
			conn, _, err := http.NewResponseController(w).Hijack()
			must(t, err)
			_ = conn.(*net.TCPConn).SetLinger(0)
			_ = conn.Close()
		}, webhooks.ReasonBroken, 0},
		"rubbish": {func(w http.ResponseWriter, _ *http.Request, _ received) {
			conn, _, err := http.NewResponseController(w).Hijack()
			must(t, err)
			_, _ = conn.Write([]byte(strings.Repeat("rubbish ", 10_000)))
			_ = conn.Close()
		}, webhooks.ReasonBroken, 0},
	}
	receivers, endpoints := map[string]*receiver{}, map[string]webhooks.EndpointID{}
	for name, fault := range faults {
		receivers[name] = newReceiver(t, fault.answer)
		endpoints[name] = r.mustEndpoint(t, receivers[name].URL).ID
	}
	gone := newReceiver(t, ok)
	gone.Close()
	absent := r.mustEndpoint(t, gone.URL).ID
	r.mustObjects(t, "first", "second")
	failed := func(id webhooks.EndpointID, reason webhooks.Reason, code int) {
		t.Helper()
		eventually(t, func() error {
			if all := r.attempts(t, id); len(all) < 2 || all[1].Reason != reason || all[1].Status != code {
				return fmt.Errorf("attempts %+v, want %s and %d", all, reason, code)
			}
			return nil
		})
	}
	for name, fault := range faults {
		failed(endpoints[name], fault.reason, fault.status)
		receivers[name].mustReceive(t, "first")
		receivers[name].answers(ok)
		receivers[name].mustReceive(t, "first", "second")
		eventually(t, func() error {
			all := r.attempts(t, endpoints[name])
			if len(all) < 4 || all[0].Reason != "" || all[0].Status != 200 || all[0].Latency <= 0 {
				return fmt.Errorf("%s: attempts %+v", name, all)
			}
			return nil
		})
	}
	failed(absent, webhooks.ReasonRefused, 0)
	if got := elsewhere.deliveries(); len(got) > 0 {
		t.Errorf("a redirect was followed: %v", got)
	}
	for _, secret := range []string{"value of first", "whsec_", "rubbish"} {
		if strings.Contains(r.log.String(), secret) {
			t.Errorf("the log holds %q", secret)
		}
	}
}

// TestEgress: the address is judged when it is connected to, whatever was allowed when the endpoint was made.
func TestEgress(t *testing.T) {
	s := vaulttest.New(t)
	r := newReplica(t, s, func(c *webhooks.DelivererConfig) { c.Egress = mustEgress(t, false) })
	inside := newReceiver(t, ok)
	endpoint := r.mustEndpoint(t, inside.URL)
	r.mustObjects(t, "first")
	eventually(t, func() error {
		if all := r.attempts(t, endpoint.ID); len(all) == 0 || all[0].Reason != webhooks.ReasonBlocked {
			return fmt.Errorf("attempts %+v", all)
		}
		return nil
	})
	if got := inside.deliveries(); len(got) > 0 {
		t.Errorf("the inside got %v", got)
	}
	// The same is delivered where loopback is allowed.
	r.deliverer.Close()
	newReplica(t, s, asIs)
	inside.mustReceive(t, "first")
}

// TestDeadLetters: what is not accepted in its time is given up in order, and can be had again.
func TestDeadLetters(t *testing.T) {
	s := vaulttest.New(t)
	r := newReplica(t, s, func(c *webhooks.DelivererConfig) { c.Timing.For = 50 * time.Millisecond })
	receiver := newReceiver(t, status(503))
	r.mustObjects(t, "before") // so that the key of the others is there, and they have one event each
	endpoint := r.mustEndpoint(t, receiver.URL)
	names := numbered("lost", 5)
	r.mustObjects(t, names...)
	letters := func() []webhooks.Letter {
		page, err := r.hooks.DeadLetters(t.Context(), r.Call(), webhooks.AttemptQuery{ID: endpoint.ID, Limit: 100})
		must(t, err)
		return page.Data
	}
	eventually(t, func() error {
		if got := letters(); len(got) != len(names) {
			return fmt.Errorf("%d dead letters, want %d", len(got), len(names))
		}
		return nil
	})
	for _, l := range letters() {
		if l.Event != "vault.data.created" || l.Status != 503 || l.Reason != webhooks.ReasonStatus || l.Attempts < 1 || l.At.Before(l.EventAt) {
			t.Errorf("dead letter %+v", l)
		}
	}
	if v := r.view(t, endpoint.ID); v.Letters != uint64(len(names)) {
		t.Errorf("%d dead letters in the view", v.Letters)
	}

	// Case 1: one at a time, behind a cursor.
	first, err := r.hooks.DeadLetters(t.Context(), r.Call(), webhooks.AttemptQuery{ID: endpoint.ID, Limit: 2})
	must(t, err)
	second, err := r.hooks.DeadLetters(t.Context(), r.Call(), webhooks.AttemptQuery{ID: endpoint.ID, After: first.After, Limit: 100})
	must(t, err)
	if got := slices.Concat(first.Data, second.Data); !slices.Equal(got, letters()) || second.After != "" {
		t.Errorf("pages of dead letters: %+v", got)
	}

	// Case 2: accepted again, what comes next is delivered, and a replay brings what was lost, in order.
	receiver.answers(ok)
	r.mustObjects(t, "next")
	eventually(t, func() error {
		if all := receiver.deliveries(); len(all) == 0 || all[len(all)-1].Data.Name != "next" {
			return errors.New("the next event does not come")
		}
		return nil
	})
	before := len(receiver.deliveries())
	// A moment within the first one's millisecond: what a clock shows that is finer than events.
	since := letters()[0].EventAt.Add(time.Millisecond - time.Nanosecond)
	_, err = r.hooks.Replay(t.Context(), r.Call(), webhooks.ReplayRequest{ID: endpoint.ID, Since: since})
	must(t, err)
	want := append(names, "next")
	eventually(t, func() error {
		var got []string
		for _, d := range receiver.deliveries()[before:] {
			got = append(got, d.Data.Name)
		}
		if !slices.Equal(got, want) {
			return fmt.Errorf("replayed %q, want %q", got, want)
		}
		return nil
	})
	eventually(t, func() error {
		if got := letters(); len(got) > 0 {
			return fmt.Errorf("dead letters after the replay: %+v", got)
		}
		return nil
	})
}

// TestDeletedEndpoint: nothing is sent any more once the removal is acknowledged, and what is under way is cut off. A
// disabled one waits, and goes on where it stopped.
func TestDeletedEndpoint(t *testing.T) {
	s := vaulttest.New(t)
	r := newReplica(t, s, asIs)
	other := newReplica(t, s.Replica(t), nil)
	cut := make(chan struct{}, 10)
	hanging := newReceiver(t, func(_ http.ResponseWriter, q *http.Request, _ received) {
		<-q.Context().Done()
		cut <- struct{}{}
	})
	paused := newReceiver(t, ok)
	doomed, waiting := r.mustEndpoint(t, hanging.URL), r.mustEndpoint(t, paused.URL)
	r.mustObjects(t, "first")
	hanging.mustReceive(t, "first")
	paused.mustReceive(t, "first")

	// Case 1: another replica removes it.
	must(t, other.hooks.Delete(t.Context(), other.Call(), doomed.ID))
	select {
	case <-cut:
	case <-time.After(5 * time.Second): // half of the attempt's own time
		t.Error("the attempt was not cut off")
	}
	change := func(status string) {
		_, err := other.hooks.Update(t.Context(), other.Call(), webhooks.UpdateRequest{ID: waiting.ID, Status: &status})
		must(t, err)
	}
	change(webhooks.Disabled)
	fresh := newReceiver(t, ok)
	r.mustEndpoint(t, fresh.URL)
	r.mustObjects(t, "second", "third")
	fresh.mustReceive(t, "second", "third")
	if got := len(hanging.deliveries()); got != 1 {
		t.Errorf("the endpoint that is gone got %d deliveries", got)
	}
	if _, err := r.hooks.Deliveries(t.Context(), r.Call(), webhooks.AttemptQuery{ID: doomed.ID}); !errors.Is(err, webhooks.ErrNoEndpoint) {
		t.Errorf("deliveries of the endpoint that is gone: %v", err)
	}
	paused.mustReceive(t, "first")
	// Case 2: enabled again.
	change(webhooks.Enabled)
	paused.mustReceive(t, "first", "second", "third")
}

// TestSecretRotation: during the overlap a receiver gets along with either secret, as SDKs verify them; after it,
// with the present one alone.
func TestSecretRotation(t *testing.T) {
	s := vaulttest.New(t)
	r := newReplica(t, s, asIs)
	knows := func(secret string) func(http.ResponseWriter, *http.Request, received) {
		return func(w http.ResponseWriter, _ *http.Request, d received) {
			if !d.signedBy(secret) {
				w.WriteHeader(http.StatusBadRequest)
			}
		}
	}
	receiver := newReceiver(t, ok)
	made := r.mustEndpoint(t, receiver.URL)
	first := string(made.Secret.Reveal())
	receiver.answers(knows(first))
	r.mustObjects(t, "one")
	accepted := func(want string) {
		t.Helper()
		eventually(t, func() error {
			for _, a := range r.attempts(t, made.ID) {
				for _, d := range receiver.deliveries() {
					if a.EventID == d.ID && a.Reason == "" && d.Data.Name == want {
						return nil
					}
				}
			}
			return fmt.Errorf("%s was not accepted: %+v", want, r.attempts(t, made.ID))
		})
	}
	accepted("one")
	rotate := func(overlap time.Duration) string {
		t.Helper()
		again, err := r.hooks.RotateSecret(t.Context(), r.Call(), webhooks.RotateRequest{ID: made.ID, Overlap: &overlap})
		must(t, err)
		return string(again.Secret.Reveal())
	}
	second := rotate(time.Hour)
	r.mustObjects(t, "two", "three") // the receiver has the first secret still
	accepted("three")
	last := receiver.deliveries()[len(receiver.deliveries())-1]
	if !last.alsoSignedBy(first) || !last.alsoSignedBy(second) {
		t.Errorf("signatures of an overlap: %v", last.header)
	}
	receiver.answers(knows(second))
	r.mustObjects(t, "four", "five")
	accepted("five")
	third := rotate(0)
	receiver.answers(knows(second))
	r.mustObjects(t, "six")
	eventually(t, func() error {
		if all := r.attempts(t, made.ID); all[0].Status != 400 {
			return fmt.Errorf("the secret that ended goes on: %+v", all[0])
		}
		return nil
	})
	receiver.answers(knows(third))
	accepted("six")
	for _, d := range receiver.deliveries() {
		if d.signedBy(third) && (d.alsoSignedBy(first) || d.alsoSignedBy(second)) {
			t.Errorf("a secret that ended signs %s", d.Data.Name)
		}
	}
	for _, secret := range []string{first, second, third} {
		if strings.Contains(r.log.String(), secret) {
			t.Error("the log holds a secret")
		}
	}
}
