package keys_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"culvert/internal/events"
	"culvert/internal/secret"
	"culvert/keys"
	"culvert/keys/awskms"
	"culvert/keys/keystest"
	"culvert/vault"
	"culvert/vault/vaulttest"
)

// mustAWS opens a new key in a fake KMS.
func mustAWS(t testing.TB, fake *keystest.AWS) keys.RootKey {
	t.Helper()
	key, err := awskms.Open(t.Context(), awskms.Config{Key: fake.NewKey(t, keystest.AWSAccount), Endpoint: fake.Endpoint()})
	must(t, err)
	return key
}

// with is a replica that has these root keys at hand.
func with(t testing.TB, s *vaulttest.Stack, current keys.RootKey, others ...keys.RootKey) *vaulttest.Stack {
	t.Helper()
	return s.Replica(t, func(c *vaulttest.Config) { c.Roots = keys.NewRootKeys(current, others...) })
}

// mustBeUnder wants every KEK that lives, and the environment, under one root key.
func mustBeUnder(t testing.TB, s *vaulttest.Stack, root keys.RootKey) {
	t.Helper()
	page, err := s.Operations.KEKs(t.Context(), s.Call(), keys.KEKQuery{Limit: 100})
	must(t, err)
	for _, i := range page.Data {
		if i.State == keys.KEKActive && (len(i.RootKeys) != 1 || i.RootKeys[0].URI != root.URI()) {
			t.Errorf("KEK %s is under %v, want %s", i.ID, i.RootKeys, root.URI())
		}
	}
	env, _, err := s.Store.EnvironmentRecord(t.Context(), s.Environment.ID())
	if err != nil || env.RootKeyURI() != root.URI() {
		t.Errorf("environment: %v, under %s", err, env.RootKeyURI())
	}
}

// traffic reads and writes objects, also in new contexts, until it is stopped. Nothing of it may fail.
type traffic struct {
	stop   chan struct{}
	work   sync.WaitGroup
	passed atomic.Int64
}

func startTraffic(t *testing.T, s *vaulttest.Stack, stored map[vault.ObjectID]string) *traffic {
	tr := &traffic{stop: make(chan struct{})}
	loop := func(step func(n int) error) {
		tr.work.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-tr.stop:
					return
				default:
				}
				if err := step(n); err != nil {
					t.Errorf("request %d meanwhile: %v", n, err)
					return
				}
				tr.passed.Add(1)
			}
		})
	}
	loop(func(int) error {
		for id, want := range stored {
			o, err := s.Vault.Get(t.Context(), s.Call(), id)
			if err == nil && !o.Value.Equal(vaulttest.Value(want)) {
				err = errors.New("another value")
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	loop(func(n int) error {
		if n >= 60 {
			<-tr.stop // a test has an end, however slow the machine
			return nil
		}
		_, err := s.Vault.Create(t.Context(), s.Call(), vault.CreateRequest{
			Name: s.Node + fmt.Sprint(n), Value: vaulttest.Value("new"), Context: vaulttest.MustContext(t, "live", fmt.Sprint(n%7)),
		})
		return err
	})
	return tr
}

func (tr *traffic) end(t *testing.T) {
	t.Helper()
	close(tr.stop)
	tr.work.Wait()
	if tr.passed.Load() == 0 {
		t.Error("no request passed meanwhile: the test tries nothing")
	}
}

// All KEKs move from a key file to a KMS, by two nodes at once, while both serve; and back. At each end the
// other key is needed no more, and every value is what it was.
func TestMoveToAnotherRootKeyAndBack(t *testing.T) {
	keystest.SetAWSCredentials(t)
	s := vaulttest.New(t)
	local, aws := keys.RootKey(s.Root), mustAWS(t, keystest.NewAWS(t))
	stored := mustObjects(t, s, 3, "organization_id", "org_1")
	mustRotate(t, s, kekOf(t, s, stored))
	for i := range 12 {
		for id, value := range mustObjects(t, s, 1, "organization_id", fmt.Sprint("org_2", i)) {
			stored[id] = value
		}
	}
	for _, leg := range []struct{ from, to keys.RootKey }{{local, aws}, {aws, local}} {
		one, two := with(t, s, leg.to, leg.from), with(t, s, leg.to, leg.from)
		dry := one.MustJob(t, keys.JobRequest{Kind: keys.RewrapRootJob, All: true, DryRun: true})
		live := startTraffic(t, two, stored)
		var runners []*keys.Runner
		for _, r := range []*vaulttest.Stack{one, two} {
			runners = append(runners, r.MustRunner(t, impatient))
		}
		// Until the environment has moved, all of it is counted.
		if d := one.MustEndJob(t, dry.ID); d.State != keys.JobSucceeded || d.Counts.Changed < 14 || !d.HistoryUntil.IsZero() {
			t.Errorf("dry run: %+v", d)
		}
		ended := one.MustEndJob(t, one.MustJob(t, keys.JobRequest{Kind: keys.RewrapRootJob, All: true}).ID)
		live.end(t)
		if ended.State != keys.JobSucceeded || ended.Counts.Failed != 0 || ended.RootKey != leg.to.URI() || ended.HistoryUntil.IsZero() {
			t.Errorf("to %s: %+v", leg.to.URI(), ended)
		}
		for _, r := range runners {
			r.Close()
		}
		alone := with(t, s, leg.to)
		mustBeUnder(t, alone, leg.to)
		if stale := mustCountStale(t, alone, stored); stale == 0 {
			t.Error("a move to another root key made what was stale current")
		}
		_, err := s.Client.Environments(t.Context(), s.Codec, func(r keys.EnvironmentRecord) (*keys.Environment, error) {
			return keys.OpenEnvironment(t.Context(), keys.NewRootKeys(leg.from), r)
		})
		if !errors.Is(err, keys.ErrRefused) {
			t.Errorf("the key from before opens the environment: %v, want %v", err, keys.ErrRefused)
		}
	}
	if told := mustEventsOf(t, s, events.KEKRewrapped); len(told) < 26 {
		t.Errorf("%d events of 13 KEKs that moved twice", len(told))
	}
}

// One KEK moves alone, then those of an item; shredded ones stay what they are.
func TestMoveSomeKEKs(t *testing.T) {
	s := vaulttest.New(t)
	next := keystest.NewRoot(t)
	one := mustStoredKEK(t, s, "organization_id", "org_1", "n", "1")
	two := mustStoredKEK(t, s, "organization_id", "org_1", "n", "2")
	other := mustStoredKEK(t, s, "organization_id", "org_2")
	gone := mustStoredKEK(t, s, "organization_id", "org_3")
	r := with(t, s, next, s.Root)
	r.MustRunner(t)
	r.MustEndJob(t, r.MustJob(t, keys.JobRequest{
		Kind: keys.ShredJob, Scope: keys.Scope{Item: keys.Item{Name: "organization_id", Value: "org_3"}}, Confirm: "organization_id=org_3",
	}).ID)
	under := func(id keys.ID) string {
		must(t, r.Store.Fence(t.Context()))
		i, err := r.Operations.KEK(t.Context(), r.Call(), id)
		must(t, err)
		if len(i.RootKeys) == 0 {
			return "nothing"
		}
		return i.RootKeys[0].URI
	}
	const none = "nothing"
	old, new := s.Root.URI(), next.URI()
	for _, row := range []struct {
		scope keys.Scope
		all   bool
		want  [4]string
	}{
		{keys.Scope{KeyID: one}, false, [4]string{new, old, old, none}},
		{keys.Scope{Item: keys.Item{Name: "organization_id", Value: "org_1"}}, false, [4]string{new, new, old, none}},
		{keys.Scope{}, true, [4]string{new, new, new, none}},
	} {
		j := r.MustEndJob(t, r.MustJob(t, keys.JobRequest{Kind: keys.RewrapRootJob, Scope: row.scope, All: row.all}).ID)
		got := [4]string{under(one), under(two), under(other), under(gone)}
		if j.State != keys.JobSucceeded || got != row.want {
			t.Errorf("after %+v: %s %v, want %v", row.scope, j.State, got, row.want)
		}
		env, _, err := r.Store.EnvironmentRecord(t.Context(), r.Environment.ID())
		must(t, err)
		if moved := env.RootKeyURI() == new; moved != row.all {
			t.Errorf("after %+v the environment has moved: %v", row.scope, moved)
		}
	}
	again := r.MustEndJob(t, r.MustJob(t, keys.JobRequest{Kind: keys.RewrapRootJob, All: true}).ID)
	if want := (keys.Counts{Total: 5, Done: 5}); again.Counts != want {
		t.Errorf("once more: %+v, want %+v", again.Counts, want)
	}
}

// Within one provider the shares do not leave it: the KMS moves them.
func TestMoveWithinTheKMS(t *testing.T) {
	keystest.SetAWSCredentials(t)
	fake := keystest.NewAWS(t)
	from, to := mustAWS(t, fake), mustAWS(t, fake)
	s := keystest.New(t)
	r, _ := mustKEK(t, from)
	k := s.MustKeys(t, keys.Config{Roots: keys.NewRootKeys(to, from)})
	encrypted := fake.Calls("Encrypt")
	moved, err := k.MovedRecord(t.Context(), &r, to.URI())
	must(t, err)
	mustOpenKEK(t, to, moved)
	mustRefuse(t, "the key from before", from, moved, keys.ErrRefused)
	if n := fake.Calls("ReEncrypt"); n != 1 || fake.Calls("Encrypt") != encrypted {
		t.Errorf("%d calls of ReEncrypt and %d more of Encrypt, want 1 and 0", n, fake.Calls("Encrypt")-encrypted)
	}
}

// A job is for nodes that have the root key it moves to, whichever is their current one.
func TestMoveWaitsForANodeWithTheKey(t *testing.T) {
	s := vaulttest.New(t)
	next := keystest.NewRoot(t)
	id := mustStoredKEK(t, s, "a", "b")
	job := with(t, s, next, s.Root).MustJob(t, keys.JobRequest{Kind: keys.RewrapRootJob, All: true})
	s.MustRunner(t)
	// The stack's own runner ends a job that came later.
	s.MustEndJob(t, s.MustJob(t, keys.JobRequest{Kind: keys.RotateJob, Scope: keys.Scope{KeyID: id}}).ID)
	if j, err := s.Operations.Job(t.Context(), s.Call(), job.ID); err != nil || j.State != keys.JobQueued {
		t.Errorf("where the key is not at hand: %s, %v", j.State, err)
	}
	r := with(t, s, s.Root, next)
	r.MustRunner(t)
	if j := r.MustEndJob(t, job.ID); j.State != keys.JobSucceeded {
		t.Errorf("where it is at hand, not as the current one: %+v", j)
	}
	mustBeUnder(t, r, next)
}

// lying is a root key that wraps another share than it was given, as one would whose answers got mixed up.
type lying struct{ keys.RootKey }

func (l lying) Wrap(ctx context.Context, _ secret.Bytes, b keys.Binding) ([]byte, error) {
	return l.RootKey.Wrap(ctx, secret.New(make([]byte, keys.ShareSize)), b)
}

// Nothing is stored that was not opened before: the record stays, and the job says so.
func TestMoveIsProvenBeforeItIsStored(t *testing.T) {
	s := vaulttest.New(t)
	id := mustStoredKEK(t, s, "a", "b")
	r := with(t, s, lying{keystest.NewRoot(t)}, s.Root)
	r.MustRunner(t)
	j := r.MustEndJob(t, r.MustJob(t, keys.JobRequest{Kind: keys.RewrapRootJob, All: true}).ID)
	if want := (keys.Counts{Total: 2, Done: 2, Failed: 2}); j.State != keys.JobFailed || j.Reason != "incomplete" || j.Counts != want {
		t.Errorf("the job ended as %+v, want %+v", j, want)
	}
	mustBeUnder(t, r, s.Root)
	if _, err := s.Operations.RotateKEK(t.Context(), s.Call(), id); err != nil {
		t.Errorf("the KEK afterwards: %v", err)
	}
}

// A share of somebody who refuses stays as it is, and does not hold the root's back; that one is compared.
func TestMoveBesideAnotherShare(t *testing.T) {
	s := keystest.New(t)
	next := keystest.NewRoot(t)
	r, _ := mustKEK(t, s.Root)
	theirs := keys.Share{Slot: "organization_id=org_01JQ", KeyURI: "awskms:gone", Wrapped: []byte("share")}
	r.Shares = []keys.Share{theirs, r.Shares[0]}
	k := s.MustKeys(t, keys.Config{Roots: keys.NewRootKeys(next, s.Root)})
	moved, err := k.MovedRecord(t.Context(), &r, next.URI())
	if err != nil || moved.Shares[0].KeyURI != theirs.KeyURI || moved.Shares[1].KeyURI != next.URI() {
		t.Fatalf("moved: %v, %v", moved.Shares, err)
	}
	moved.Shares = moved.Shares[1:]
	mustOpenKEK(t, next, moved)
	liar := s.MustKeys(t, keys.Config{Roots: keys.NewRootKeys(lying{next}, s.Root)})
	if _, err := liar.MovedRecord(t.Context(), &r, next.URI()); !errors.Is(err, keys.ErrTampered) {
		t.Errorf("another share in its place: %v, want %v", err, keys.ErrTampered)
	}
}
