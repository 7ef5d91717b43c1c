package etcd

import (
	"strings"
	"sync"

	"culvert/internal/access"
	"culvert/pipes"
)

// watchers wait for changes of single grants, or of an environment's log. They hang on the one watch of the root, so that thousands
// of them cost etcd nothing.
type watchers struct {
	mu sync.Mutex
	// waiting are those of each grant, by environment and id, and of each log, by [logOf]; guarded by mu.
	waiting map[string]map[chan struct{}]bool
}

func newWatchers() *watchers { return &watchers{waiting: map[string]map[chan struct{}]bool{}} }

// Watch implements pipes.Store.
func (s *Store) Watch(env access.EnvironmentID, id pipes.GrantID) (<-chan struct{}, func()) {
	return s.watchers.wait(string(env) + "/" + string(id))
}

// WatchLog implements webhooks.Store.
func (s *Store) WatchLog(env access.EnvironmentID) (<-chan struct{}, func()) {
	return s.watchers.wait(logOf(env))
}

// logOf is no environment and grant: ids have no colon.
func logOf(env access.EnvironmentID) string { return "log:" + string(env) }

// wait waits for whatever has a name.
func (w *watchers) wait(name string) (<-chan struct{}, func()) {
	changed := make(chan struct{}, 1)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.waiting[name] == nil {
		w.waiting[name] = map[chan struct{}]bool{}
	}
	w.waiting[name][changed] = true
	return changed, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.waiting[name], changed)
		if len(w.waiting[name]) == 0 {
			delete(w.waiting, name)
		}
	}
}

// tell wakes those who wait for the grant or the log that a key is about.
func (w *watchers) tell(key string) {
	var name string
	switch kindOf(key) {
	case kindGrant, kindAttempt, kindLock:
		_, name, _ = strings.Cut(key, "/")
	case kindEvent, kindWebhook, kindWebhookLock:
		name = logOf(envOf(key))
	default:
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	wake(w.waiting[name])
}

// tellAll wakes everybody: what happened while the watch was broken is not known.
func (w *watchers) tellAll() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, waiting := range w.waiting {
		wake(waiting)
	}
}

func wake(waiting map[chan struct{}]bool) {
	for changed := range waiting {
		select {
		case changed <- struct{}{}:
		default:
		}
	}
}
