package pipes_test

import (
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"culvert/connectors/connectorstest"
	"culvert/internal/outage"
	"culvert/pipes"
)

// The callback's tokens are in the store before it answers; while the store is away it keeps trying, and
// a claim whose code was not sent is given back.
func TestCallbackWhileTheStoreIsAway(t *testing.T) {
	s, store := withInterposed(t)
	callback := s.Browser().MustReturn(t, s.MustAuthorize(t, "user_2"))
	fails := 0
	store.set(func(c pipes.Change) error {
		if c.Account != nil && fails < 3 {
			fails++
			return &outage.Error{Dependency: outage.Etcd}
		}
		return nil
	})
	result, err := s.Broker.Callback(t.Context(), callback)
	must(t, err)
	if result.Account == "" || fails != 3 || s.Provider.Exchanges() != 2 {
		t.Errorf("got %+v after %d failures", result, fails)
	}
	pipes.Hasty(s.Broker)
	// Down for longer than anybody waits: no account, an error, and the code is not sent again.
	second := s.Browser().MustReturn(t, s.MustAuthorize(t, "user_3"))
	store.set(func(c pipes.Change) error {
		if c.Account != nil {
			return &outage.Error{Dependency: outage.Etcd}
		}
		return nil
	})
	if err := errOf(s.Broker.Callback(t.Context(), second)); outage.Of(err) == nil {
		t.Errorf("got %v", err)
	}
	store.set(nil)
	pipes.Impatient(s.Broker)
	s.Clock.Advance(4 * time.Minute)
	again, err := s.Broker.Callback(t.Context(), second)
	must(t, err)
	if again.Code != pipes.CodeInterrupted || s.Provider.Exchanges() != 3 {
		t.Errorf("got %+v after %d exchanges", again, s.Provider.Exchanges())
	}
}

// A claim whose holder died is taken over by another departure of the same ticket, with its own code.
func TestClaimIsTakenOver(t *testing.T) {
	s, store := withInterposed(t)
	browser := s.Browser()
	ticket := s.MustAuthorize(t, "user_2")
	first := browser.MustReturn(t, ticket)
	pipes.Hasty(s.Broker)
	store.set(func(c pipes.Change) error {
		if c.Account != nil {
			return &outage.Error{Dependency: outage.Etcd}
		}
		return nil
	})
	if err := errOf(s.Broker.Callback(t.Context(), first)); err == nil {
		t.Fatal("connected while nothing can be stored")
	}
	store.set(nil)
	pipes.Impatient(s.Broker)
	s.Clock.Advance(4 * time.Minute)
	result, err := s.Broker.Callback(t.Context(), browser.MustReturn(t, ticket))
	must(t, err)
	if result.Account == "" {
		t.Errorf("got %+v", result)
	}
	if late, err := s.Broker.Callback(t.Context(), first); err != nil || late != result {
		t.Errorf("the first departure: %+v, %v", late, err)
	}
}

// A callback that took so long that another departure took over does not decide any more, also not that
// the flow failed.
func TestLateExchangeGivesWay(t *testing.T) {
	s := withAccount(t, connectorstest.Config{Rotate: true})
	browser := s.Browser()
	ticket := s.MustAuthorize(t, "user_2")
	first, second := browser.MustReturn(t, ticket), browser.MustReturn(t, ticket)
	answerFirst, answerSecond := make(chan struct{}), make(chan struct{})
	refused, slow := connectorstest.JSON(400, `{"error":"invalid_grant"}`), connectorstest.Fault{Granted: true, Until: answerSecond}
	refused.Until = answerFirst
	s.Provider.Next(refused, slow)
	results := make([]pipes.Result, 2)
	errs := make([]error, 2)
	var group sync.WaitGroup
	for n, callback := range []pipes.CallbackRequest{first, second} {
		group.Go(func() { results[n], errs[n] = s.Broker.Callback(t.Context(), callback) })
		eventually(t, "the exchange", func() bool { return s.Provider.Exchanges() == 2+n })
		s.Clock.Advance(2 * time.Minute * time.Duration(2-2*n)) // the first claim runs out, the second does not
	}
	close(answerFirst)
	eventually(t, "the refusal", func() bool { return strings.Contains(s.Log.String(), "code exchange failed") })
	close(answerSecond)
	group.Wait()
	must(t, errors.Join(errs...))
	if results[0] != results[1] || results[0].Account == "" {
		t.Errorf("got %+v", results)
	}
}
