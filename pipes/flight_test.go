package pipes_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"culvert/pipes"
)

// Everybody who needs a grant while it is refreshed waits for the one refresh; who comes after it begins
// another.
func TestFlightIsShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, runs, failed := pipes.NewFlights(), 0, errors.New("failed")
		run := func(context.Context) error {
			runs++
			time.Sleep(time.Minute)
			return failed
		}
		first, _ := f.Start(t.Context(), "a", run)
		time.Sleep(59 * time.Second)
		second, err := f.Start(t.Context(), "a", run)
		if first != second {
			t.Error("the second caller has a flight of its own")
		}
		other, _ := f.Start(t.Context(), "b", func(context.Context) error { return nil })
		<-other
		began := time.Now()
		<-second
		if waited := time.Since(began); waited != time.Second || !errors.Is(err(), failed) || runs != 1 {
			t.Errorf("waited %v, got %v after %d runs", waited, err(), runs)
		}
		synctest.Wait()
		third, _ := f.Start(t.Context(), "a", run)
		<-third
		if runs != 2 {
			t.Errorf("%d runs, want two", runs)
		}
	})
}

// A caller who leaves takes nothing with him; a broker that closes waits, and after its patience cancels.
func TestFlightOutlivesItsCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := pipes.NewFlights()
		ctx, cancel := context.WithCancel(t.Context())
		done, err := f.Start(ctx, "a", func(ctx context.Context) error {
			time.Sleep(time.Minute)
			return ctx.Err()
		})
		stuck, stuckErr := f.Start(ctx, "b", func(ctx context.Context) error {
			<-ctx.Done()
			return ctx.Err()
		})
		cancel()
		<-done
		if err() != nil {
			t.Errorf("cancelled with its caller: %v", err())
		}
		patience, end := context.WithTimeout(t.Context(), time.Hour)
		defer end()
		began := time.Now()
		if lost := f.Close(patience); lost != 1 || time.Since(began) != time.Hour {
			t.Errorf("%d lost after %v", lost, time.Since(began))
		}
		<-stuck
		if !errors.Is(stuckErr(), context.Canceled) {
			t.Errorf("got %v", stuckErr())
		}
		if late, _ := f.Start(t.Context(), "a", nil); late != nil {
			t.Error("a flight began after Close")
		}
	})
}

// Pauses double from a second to five minutes, a fifth more or less, and are at least what the provider
// asks for, within reason. A success forgets them.
func TestPauses(t *testing.T) {
	f, now := pipes.NewFlights(), time.Unix(1e9, 0)
	for n, want := range []time.Duration{1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300} {
		want *= time.Second
		got := f.Failed("a", now, 0)
		if got < want*8/10 || got > want*12/10 {
			t.Errorf("failure %d: pause of %v, want about %v", n+1, got, want)
		}
		if paused := f.Paused("a", now.Add(got/2)); paused != got-got/2 {
			t.Errorf("failure %d: %v left, want %v", n+1, paused, got-got/2)
		}
		if paused := f.Paused("a", now.Add(got)); paused != 0 {
			t.Errorf("failure %d: %v left after the pause", n+1, paused)
		}
	}
	if f.Paused("b", now) != 0 {
		t.Error("another grant is paused too")
	}
	f.Succeeded("a")
	if f.Paused("a", now) != 0 || f.Failed("a", now, 0) > 2*time.Second {
		t.Error("a success did not forget the pauses")
	}
	if got := f.Failed("c", now, 90*time.Second); got != 90*time.Second {
		t.Errorf("Retry-After 90 s: pause of %v", got)
	}
	if got := f.Failed("c", now, 365*24*time.Hour); got != time.Hour {
		t.Errorf("Retry-After of a year: pause of %v", got)
	}
}

// The breaker opens for a minute, then lets one try; what it says decides.
func TestBreaker(t *testing.T) {
	b, now := pipes.NewBreaker(), time.Unix(1e9, 0)
	allowed := func(at time.Duration, want bool) {
		t.Helper()
		if wait, ok := b.Allow(now.Add(at)); ok != want || ok != (wait == 0) {
			t.Errorf("after %v: %v, wait %v", at, ok, wait)
		}
	}
	allowed(0, true)
	allowed(0, true)
	b.Rejected(now)
	allowed(59*time.Second, false)
	allowed(60*time.Second, true)
	allowed(60*time.Second, false) // another one is trying
	b.Undecided()
	allowed(61*time.Second, true)
	b.Rejected(now.Add(61 * time.Second))
	b.Undecided() // the trial is over
	allowed(62*time.Second, false)
	allowed(121*time.Second, true)
	b.Accepted()
	allowed(121*time.Second, true)
	allowed(121*time.Second, true)
}

// Clients that are refused are not remembered without end: first those go that may be tried again.
func TestBreakersAreBounded(t *testing.T) {
	b, now := pipes.NewBreaker(), time.Unix(1e9, 0)
	b.RejectMany(pipes.MaxBreakers-1, now)
	now = now.Add(time.Hour)
	b.Rejected(now)
	if n := b.RejectMany(1, now); n != 2 {
		t.Errorf("%d are remembered after an hour", n)
	}
	if _, ok := b.Allow(now); ok {
		t.Error("one that was refused just now is forgotten with the old ones")
	}
	if n := b.RejectMany(3*pipes.MaxBreakers, now); n > pipes.MaxBreakers {
		t.Errorf("%d are remembered", n)
	}
}
