package pipes

import (
	"context"
	"time"

	"culvert/internal/access"
)

// Impatient shortens a broker's waits, before it is used.
func Impatient(b *Broker) {
	b.timing.wait, b.timing.doubt = 2*time.Second, 10*time.Millisecond
	b.timing.resend = []time.Duration{time.Millisecond, time.Millisecond, time.Millisecond}
	b.timing.poll = 5 * time.Millisecond
}

// Hasty makes callers of a broker wait for next to nothing, for tests of what they are told then.
func Hasty(b *Broker) { b.timing.wait = 200 * time.Millisecond }

// Sweep runs one round of a sweeper that has not swept before.
func Sweep(ctx context.Context, b *Broker) {
	s := &sweeper{Broker: b, expired: map[access.EnvironmentID]time.Time{}, removed: map[access.EnvironmentID]time.Time{}}
	s.round(ctx)
}

// CheckReturnTo tells what return_to may be.
func CheckReturnTo(allowed []string, anyLoopback bool, returnTo string) error {
	o, err := newOrigins(allowed, anyLoopback)
	if err != nil {
		return err
	}
	return o.check(returnTo)
}

// WithOutcome appends an outcome to a return_to.
func WithOutcome(returnTo string, out Outcome) string { return withOutcome(returnTo, &out) }
