package webhooks

import (
	"context"
	"slices"
	"sync"

	"culvert/internal/access"
	"culvert/internal/events"
)

// windowEvents is how many of the newest events of an environment a replica holds for its workers.
const windowEvents = 1000

// window is the end of an environment's log, read once for all endpoints: each by itself would read the newest
// epoch whole for every event of it.
type window struct {
	store Store
	env   access.EnvironmentID

	mu sync.Mutex // guards what follows, never during a read
	// events follow each other in the log; current says that there was nothing behind them when last looked.
	events  []events.Stored
	current bool
}

// extend reads what is new. It is called by one goroutine alone.
func (w *window) extend(ctx context.Context) error {
	w.mu.Lock()
	held := w.events
	w.mu.Unlock()
	for {
		var found []events.Stored
		var err error
		if len(held) == 0 {
			found, err = w.newest(ctx)
		} else {
			found, err = w.store.Tail(ctx, w.env, held[len(held)-1].ID, windowEvents)
		}
		begun := len(held) > 0
		held = append(held[:len(held):len(held)], found...)
		held = slices.Clone(held[max(0, len(held)-windowEvents):])
		w.mu.Lock()
		w.events, w.current = held, err == nil
		w.mu.Unlock()
		if err != nil || !begun || len(found) < windowEvents {
			return err
		}
	}
}

// newest is the last event alone, to begin with.
func (w *window) newest(ctx context.Context) ([]events.Stored, error) {
	page, err := w.store.Page(ctx, w.env, events.Query{Limit: 1, Order: events.Descending})
	return page.Data, err
}

// behind is up to limit events behind a cursor; false if the window cannot tell.
func (w *window) behind(cursor string, limit int) ([]events.Stored, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.current {
		return nil, false
	}
	// From the end: most workers are there.
	for i := len(w.events) - 1; i >= 0; i-- {
		if w.events[i].ID == cursor {
			return w.events[i+1 : min(len(w.events), i+1+limit)], true
		}
	}
	return nil, false
}
