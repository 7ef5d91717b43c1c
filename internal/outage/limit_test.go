package outage_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"culvert/internal/outage"
)

func TestLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		plain := t.Context()
		ctx := outage.Limit(plain, time.Now().Add(5*time.Second))
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		if got := outage.Within(plain, time.Hour); got != time.Hour {
			t.Errorf("without a limit: %v", got)
		}
		if got := outage.Within(ctx, time.Second); got != time.Second {
			t.Errorf("below the limit: %v", got)
		}
		time.Sleep(4500 * time.Millisecond)
		// A cancellation that is not passed on leaves the limit.
		if got := outage.Within(context.WithoutCancel(ctx), time.Second); got != 500*time.Millisecond {
			t.Errorf("near the limit: %v", got)
		}
		time.Sleep(time.Second)
		if got := outage.Within(ctx, time.Second); got >= 0 || ctx.Err() != nil {
			t.Errorf("beyond the limit: %v, %v", got, ctx.Err())
		}
	})
}
