package outage

import (
	"context"
	"time"
)

// limited is a context that knows until when its caller waits, in all. It is no deadline of its own: a
// timer for each request would cost more than most of them, and who waits for a dependency has one
// anyway, which [Within] makes shorter. So what is not waiting is never cut off.
type limited struct {
	context.Context
	until time.Time
}

// limitKey finds a limited in a chain of contexts.
type limitKey struct{}

// Value implements [context.Context].
func (l *limited) Value(key any) any {
	if key == (limitKey{}) {
		return l
	}
	return l.Context.Value(key)
}

// Limit says until when a caller waits for dependencies, however many waits that is.
func Limit(ctx context.Context, until time.Time) context.Context {
	return &limited{ctx, until}
}

// Within is d, or what is left of the caller's limit if that is less. It may be negative.
func Within(ctx context.Context, d time.Duration) time.Duration {
	if l, ok := ctx.Value(limitKey{}).(*limited); ok {
		return min(d, time.Until(l.until))
	}
	return d
}
