package admission

import (
	"context"
	"log/slog"
	"time"
)

// keepUses writes down now and then which keys were used. What it could not write is lost: a time of last use is
// for people who tidy up, and no request waits for it.
func (r *Register) keepUses(ctx context.Context, every time.Duration) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			r.putUses(ctx)
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastUsesTimeout)
			defer cancel()
			r.putUses(last)
			return
		}
	}
}

// lastUsesTimeout bounds what a stop waits for the last uses.
const lastUsesTimeout = 2 * time.Second

func (r *Register) putUses(ctx context.Context) {
	for _, u := range r.gate.TakeUses() {
		if err := r.store.PutLastUse(ctx, u); err != nil {
			r.log.WarnContext(ctx, "the last use of API keys could not be written down", slog.String("error", err.Error()))
			return
		}
	}
}
