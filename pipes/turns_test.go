package pipes_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"culvert/connectors/connectorstest"
	"culvert/pipes"
	"culvert/pipes/pipestest"
)

// due is a stack with narrow bounds and n accounts at each of two integrations, all of them due.
func due(t *testing.T, n, each, all int) *pipestest.Stack {
	t.Helper()
	s := pipestest.WithConfig(t, pipestest.Config{Provider: connectorstest.Config{Rotate: true}})
	pipes.Narrow(s.Broker, each, all)
	for _, slug := range []string{pipestest.Slug, pipestest.Second} {
		s.MustIntegration(t, slug)
		for i := range n {
			user := fmt.Sprint("user_", i)
			begun, err := s.Broker.Authorize(t.Context(), s.Call(), pipes.AuthorizeRequest{Slug: slug, UserID: user})
			must(t, err)
			must(t, errOf(s.Broker.Callback(t.Context(), s.Browser().MustReturn(t, pipestest.Ticket(t, begun.URL)))))
		}
	}
	s.Clock.Advance(2 * time.Hour)
	return s
}

// Many grants that are due together wait for their turns: as many at once as the bounds say, of one
// integration and in all, and in the end all of them are refreshed.
func TestRefreshesAtOnce(t *testing.T) {
	const accounts, each, all = 5, 2, 3
	for name, c := range map[string]struct {
		slugs []string
		most  int
	}{
		"of one integration": {[]string{pipestest.Slug}, each},
		"in all":             {[]string{pipestest.Slug, pipestest.Second}, all},
	} {
		t.Run(name, func(t *testing.T) {
			s := due(t, accounts, each, all)
			s.Provider.Hold()
			var group sync.WaitGroup
			for _, slug := range c.slugs {
				for i := range accounts {
					group.Go(func() {
						v, err := s.Broker.Token(t.Context(), s.Call(), pipes.Request{Slug: slug, UserID: fmt.Sprint("user_", i)})
						if err != nil || !v.Active {
							t.Errorf("%s, user %d: %+v, %v", slug, i, v.Error, err)
						}
					})
				}
			}
			eventually(t, "as many refreshes as may be", func() bool { return s.Provider.Refreshes() >= c.most })
			s.Provider.Release()
			group.Wait()
			if got := s.Provider.MostAtOnce(); got != c.most {
				t.Errorf("%d refreshes at once, want %d", got, c.most)
			}
			if got, want := s.Provider.Refreshes(), accounts*len(c.slugs); got != want {
				t.Errorf("%d refreshes, want %d", got, want)
			}
			eventually(t, "nobody waits", func() bool { return pipes.Queues(s.Broker) == 0 })
		})
	}
}

// Who gets no turn in time is told which provider it is about, and finds the account as it was; another
// integration is not held up.
func TestNoTurnInTime(t *testing.T) {
	s := due(t, 2, 1, 2)
	pipes.Hasty(s.Broker)
	ask := func(slug, user string) error {
		return errOf(s.Broker.Token(t.Context(), s.Call(), pipes.Request{Slug: slug, UserID: user}))
	}
	s.Provider.Hold()
	for _, user := range []string{"user_0", "user_1"} {
		var failed *pipes.ProviderError
		if err := ask(pipestest.Slug, user); !errors.As(err, &failed) || failed.Slug != pipestest.Slug || failed.RetryAfter <= 0 {
			t.Errorf("%s: got %v", user, err)
		}
	}
	if n := s.Provider.Refreshes(); n != 1 {
		t.Errorf("%d refreshes at the provider, want the one that has the turn", n)
	}
	// The caller's own deadline is shorter.
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	err := errOf(s.Broker.Token(ctx, s.Call(), pipes.Request{Slug: pipestest.Slug, UserID: "user_1"}))
	if err == nil {
		t.Error("a token although there was no turn")
	}
	go func() { _ = ask(pipestest.Second, "user_0") }()
	eventually(t, "the other integration's refresh", func() bool { return s.Provider.Refreshes() == 2 })
	s.Provider.Release()
	eventually(t, "a token", func() bool { return ask(pipestest.Slug, "user_1") == nil })
}

// A shutdown sends those away who wait for a turn, because they have sent nothing yet, and waits for who has.
func TestShutdownEndsTheWaitForATurn(t *testing.T) {
	s := due(t, 2, 1, 2)
	answers := make(chan error, 2)
	ask := func(user string) {
		answers <- errOf(s.Broker.Token(t.Context(), s.Call(), pipes.Request{Slug: pipestest.Slug, UserID: user}))
	}
	s.Provider.Hold()
	go ask("user_0")
	eventually(t, "a refresh", func() bool { return s.Provider.Refreshes() == 1 })
	go ask("user_1")
	eventually(t, "another one that waits", func() bool { return pipes.Waiting(s.Broker) == 1 })
	closed := make(chan error, 1)
	go func() { closed <- s.Broker.Close(t.Context()) }()
	// The first is held until now: only the second can have an answer, long before its patience ends.
	select {
	case err := <-answers:
		if !errors.Is(err, pipes.ErrProvider) {
			t.Errorf("who waited got %v", err)
		}
	case <-time.After(20 * time.Second):
		t.Error("a shutdown leaves those waiting who have sent nothing")
	}
	s.Provider.Release()
	must(t, <-closed)
	if err := <-answers; err != nil {
		t.Errorf("who had a turn got %v", err)
	}
	if n := s.Provider.Refreshes(); n != 1 {
		t.Errorf("%d refreshes, want the one that had begun", n)
	}
}
