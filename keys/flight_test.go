package keys_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"culvert/keys"
)

func TestFlightIsSharedAndNotRemembered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := keys.NewFlight[string, int64]()
		var runs atomic.Int64
		slow := func(context.Context) (int64, error) {
			time.Sleep(time.Second)
			return runs.Add(1), nil
		}
		for round := int64(1); round <= 2; round++ {
			results := make(chan int64, 10)
			for range 10 {
				go func() {
					n, err := f.Do(t.Context(), "key", slow)
					if err != nil {
						t.Error(err)
					}
					results <- n
				}()
			}
			for range 10 {
				if got := <-results; got != round {
					t.Errorf("round %d got the result of run %d", round, got)
				}
			}
		}
	})
}

// Who began may hang up: the others are not to fail for it. Who waits may leave.
func TestFlightOutlivesItsCallers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := keys.NewFlight[string, string]()
		slow := func(ctx context.Context) (string, error) {
			select {
			case <-time.After(time.Second):
				return "done", nil
			case <-ctx.Done():
				return "", ctx.Err()
			}
		}
		first, hangUp := context.WithCancel(t.Context())
		go func() { _, _ = f.Do(first, "key", slow) }()
		synctest.Wait()

		impatient, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		if _, err := f.Do(impatient, "key", slow); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("who leaves: %v", err)
		}
		hangUp()
		if got, err := f.Do(t.Context(), "key", slow); got != "done" || err != nil {
			t.Errorf("who stays: %q, %v", got, err)
		}
	})
}

func TestFlightEndsByItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := keys.NewFlight[string, string]()
		began := time.Now()
		_, err := f.Do(t.Context(), "key", func(ctx context.Context) (string, error) {
			<-ctx.Done()
			return "", ctx.Err()
		})
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(began) > time.Minute {
			t.Errorf("after %v: %v", time.Since(began), err)
		}
	})
}

func TestFlightThatPanicsLeavesNobodyWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := keys.NewFlight[string, string]()
		go func() {
			defer func() { _ = recover() }()
			_, _ = f.Do(t.Context(), "key", func(context.Context) (string, error) {
				time.Sleep(time.Second)
				panic("in the flight")
			})
		}()
		synctest.Wait()
		if _, err := f.Do(t.Context(), "key", nil); err == nil {
			t.Error("a flight that panicked gave a result")
		}
		got, err := f.Do(t.Context(), "key", func(context.Context) (string, error) { return "next", nil })
		if got != "next" || err != nil {
			t.Errorf("the next flight: %q, %v", got, err)
		}
	})
}
