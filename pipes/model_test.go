package pipes_test

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"culvert/connectors/connectorstest"
	"culvert/internal/access"
	"culvert/internal/outage"
	"culvert/keys"
	"culvert/pipes"
	"culvert/pipes/pipestest"
)

// witness stands between a broker and the store and sees every change of a grant that was committed.
type witness struct {
	pipes.Store
	stack *pipestest.Stack
	// faulty is how many of the next changes of grants fail without having happened.
	faulty atomic.Int64

	mu     *sync.Mutex
	writes map[pipes.GrantID][]write
	// stored are the access tokens of all committed generations.
	stored map[string]bool
}

// write is one committed change of a grant, placed by the revision it replaced.
type write struct {
	revision   int64
	generation uint64
	sealed     []byte
}

func (w *witness) Apply(ctx context.Context, c pipes.Change) error {
	if c.Grant != nil && w.faulty.Add(-1) >= 0 {
		return &outage.Error{Dependency: outage.Etcd}
	}
	if err := w.Store.Apply(ctx, c); err != nil || c.Grant == nil {
		return err
	}
	g := c.Grant.Record
	token := w.open(ctx, &g)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stored[token] = true
	w.writes[g.ID] = append(w.writes[g.ID], write{c.Grant.Revision, g.Generation, g.Sealed})
	return nil
}

// open reads a grant's access token as a vend would.
func (w *witness) open(ctx context.Context, g *pipes.Grant) string {
	permit, err := w.stack.Gate.Authorize(w.stack.Call().Actor, access.TokenVend)
	if err != nil {
		return err.Error()
	}
	if permit, err = permit.Complete(access.Resource{}); err != nil {
		return err.Error()
	}
	tokens, err := w.stack.Keys.OpenGrant(ctx, permit, keys.Sealed{KeyID: g.KeyID, WrappedDEK: g.WrappedDEK, Ciphertext: g.Sealed}, keys.GrantBinding{
		GrantID: string(g.ID), IntegrationID: string(g.Integration), Origin: g.Origin, Generation: g.Generation,
		ExpiresAt: g.ExpiresAt, RefreshExpiresAt: g.RefreshExpiresAt, ObtainedAt: g.ObtainedAt, Refreshable: g.Refreshable,
	})
	if err != nil {
		return err.Error()
	}
	return string(tokens.Access.Reveal())
}

// modelUsers are few, so that operations meet.
const modelUsers = 2

// Whatever two brokers do at once with the same accounts: the generation of a grant strictly grows with
// its tokens, no token is vended that is not in the store, and nobody needs reauthorization whom the
// provider did not refuse.
func TestRefreshEqualsModel(t *testing.T) {
	first := &witness{mu: &sync.Mutex{}, writes: map[pipes.GrantID][]write{}, stored: map[string]bool{}}
	second := &witness{mu: first.mu, writes: first.writes, stored: first.stored}
	witnesses := []*witness{first, second}
	next := 0
	s := pipestest.WithConfig(t, pipestest.Config{
		Provider: connectorstest.Config{Rotate: true},
		Wrap: func(inner pipes.Store) pipes.Store {
			w := witnesses[next]
			next++
			w.Store = inner
			return w
		},
	})
	stacks := []*pipestest.Stack{s, s.Replica(t)}
	for i, w := range witnesses {
		w.stack = stacks[i]
		pipes.Impatient(stacks[i].Broker)
	}
	s.MustIntegration(t, pipestest.Slug)
	m := &brokersModel{t: t, stacks: stacks, witnesses: witnesses}
	rapid.Check(t, func(rt *rapid.T) {
		for range rapid.IntRange(1, 5).Draw(rt, "steps") {
			m.step(rt)
		}
	})
}

type brokersModel struct {
	t         *testing.T
	stacks    []*pipestest.Stack
	witnesses []*witness

	mu sync.Mutex
	// vended are the tokens that callers got in the current step.
	vended []string
	tokens atomic.Int64
}

// step runs some operations at once and looks at what is left.
func (m *brokersModel) step(rt *rapid.T) {
	if rapid.Bool().Draw(rt, "tokens end") {
		m.stacks[0].Clock.Advance(time.Hour)
	}
	m.vended = nil
	operations := map[string]func(*pipestest.Stack, string) error{
		"token": m.token, "another token": m.token, "reconnect": m.reconnect, "import": m.bring, "update": m.change, "delete": m.remove,
	}
	names := slices.Sorted(maps.Keys(operations))
	var group sync.WaitGroup
	errs := make([]error, rapid.IntRange(1, 6).Draw(rt, "at once"))
	for i := range errs {
		name := rapid.SampledFrom(names).Draw(rt, "operation")
		n, user := rapid.IntRange(0, 1).Draw(rt, "broker"), fmt.Sprint("user_", rapid.IntRange(1, modelUsers).Draw(rt, "user"))
		m.witnesses[n].faulty.Store(int64(rapid.IntRange(-3, 2).Draw(rt, "faults")))
		group.Go(func() {
			if err := operations[name](m.stacks[n], user); err != nil {
				errs[i] = fmt.Errorf("%s of %s: %w", name, user, err)
			}
		})
	}
	group.Wait()
	for _, w := range m.witnesses {
		w.faulty.Store(0)
	}
	for _, err := range errs {
		if err != nil && outage.Of(err) == nil && !expected(err) {
			rt.Fatal(err)
		}
	}
	m.check(rt)
}

// expected are the answers of operations that met another one.
func expected(err error) bool {
	for _, known := range []error{pipes.ErrNoAccount, pipes.ErrAccountExists, pipes.ErrTokenInUse, pipes.ErrConflict} {
		if errors.Is(err, known) {
			return true
		}
	}
	return false
}

func (m *brokersModel) token(s *pipestest.Stack, user string) error {
	v, err := s.Broker.Token(m.t.Context(), s.Call(), pipestest.Request(user))
	if err == nil && v.Active {
		m.mu.Lock()
		m.vended = append(m.vended, string(v.AccessToken.Reveal()))
		m.mu.Unlock()
	}
	if err == nil && !v.Active && v.Error == pipes.VendNeedsReauthorization && !m.doubtful(s, user) {
		return errors.New("needs reauthorization although the provider refused nothing")
	}
	return err
}

// doubtful allows for the moment in which one replica has been told that the token of the other, who is
// about to store the new one, is dead.
func (m *brokersModel) doubtful(s *pipestest.Stack, user string) bool {
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		a, err := s.Broker.Account(m.t.Context(), s.Call(), pipestest.Request(user))
		if err != nil || a.State == pipes.Connected || a.Reason == "imported_without_tokens" {
			return true
		}
	}
	return false
}

func (m *brokersModel) reconnect(s *pipestest.Stack, user string) error {
	begun, err := s.Broker.Authorize(m.t.Context(), s.Call(), pipes.AuthorizeRequest{Slug: pipestest.Slug, UserID: user})
	if err != nil {
		return err
	}
	result, err := s.Broker.Callback(m.t.Context(), s.Browser().MustReturn(m.t, pipestest.Ticket(m.t, begun.URL)))
	if err == nil && result.Account == "" {
		return fmt.Errorf("callback: %+v", result)
	}
	return err
}

// bring imports a grant that the provider knows.
func (m *brokersModel) bring(s *pipestest.Stack, user string) error {
	tokens := mustTokens(m.t, s)
	return errOf(s.Broker.ImportAccount(m.t.Context(), s.Call(), pipestest.Request(user), tokens))
}

func (m *brokersModel) change(s *pipestest.Stack, user string) error {
	tokens := mustTokens(m.t, s)
	if m.tokens.Add(1)%2 == 0 {
		tokens = pipes.AccountTokens{Scopes: []string{fmt.Sprint("scope-", m.tokens.Load())}}
	}
	return errOf(s.Broker.UpdateAccount(m.t.Context(), s.Call(), pipestest.Request(user), tokens))
}

func (m *brokersModel) remove(s *pipestest.Stack, user string) error {
	return s.Broker.DeleteAccount(m.t.Context(), s.Call(), pipestest.Request(user))
}

// check looks at what was committed and handed out.
func (m *brokersModel) check(rt *rapid.T) {
	w := m.witnesses[0]
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, token := range m.vended {
		if !w.stored[token] {
			rt.Fatal("a token was vended that no committed generation holds")
		}
	}
	for id, writes := range w.writes {
		slices.SortFunc(writes, func(a, b write) int { return cmp.Compare(a.revision, b.revision) })
		for i, now := range writes[1:] {
			before := writes[i]
			if now.generation < before.generation || now.generation == before.generation && !bytes.Equal(now.sealed, before.sealed) {
				rt.Fatalf("grant %s: generation %d follows %d", id, now.generation, before.generation)
			}
		}
	}
}
