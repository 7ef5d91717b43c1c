package etcd

import (
	"strings"
	"sync"

	"culvert/internal/access"
	"culvert/pipes"
)

// watchers wait for changes of single grants. They hang on the one watch of the root, so that thousands
// of them cost etcd nothing.
type watchers struct {
	mu sync.Mutex
	// waiting are those of each grant, by environment and id; guarded by mu.
	waiting map[string]map[chan struct{}]bool
}

func newWatchers() *watchers { return &watchers{waiting: map[string]map[chan struct{}]bool{}} }

// Watch implements pipes.Store.
func (s *Store) Watch(env access.EnvironmentID, id pipes.GrantID) (<-chan struct{}, func()) {
	w, grant, changed := s.watchers, string(env)+"/"+string(id), make(chan struct{}, 1)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.waiting[grant] == nil {
		w.waiting[grant] = map[chan struct{}]bool{}
	}
	w.waiting[grant][changed] = true
	return changed, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.waiting[grant], changed)
		if len(w.waiting[grant]) == 0 {
			delete(w.waiting, grant)
		}
	}
}

// tell wakes those who wait for the grant that a key is about.
func (w *watchers) tell(key string) {
	switch kindOf(key) {
	case kindGrant, kindAttempt, kindLock:
	default:
		return
	}
	_, grant, _ := strings.Cut(key, "/")
	w.mu.Lock()
	defer w.mu.Unlock()
	wake(w.waiting[grant])
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
