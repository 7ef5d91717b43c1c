package etcd

import (
	"strings"
	"sync"
	"sync/atomic"
)

// mirror holds every record of the steering kinds (see mirrored): API keys, integrations,
// epochs, markers. It is complete while the feed is ready, so what is not in it does not exist. It is
// small: one record per API key, integration, environment and replica.
type mirror struct {
	mu    sync.RWMutex
	items map[string]*item
	// markers counts those of shreds, which every use of a KEK asks for; written under mu.
	markers atomic.Int64
}

func newMirror() *mirror { return &mirror{items: map[string]*item{}} }

// get never returns nil: an absent key is an item that does not exist.
func (m *mirror) get(key string) *item {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if it := m.items[key]; it != nil {
		return it
	}
	return &item{key: key}
}

// list returns the items with this prefix, in no order.
func (m *mirror) list(prefix string) []*item {
	m.mu.RLock()
	defer m.mu.RUnlock()
	var found []*item
	for key, it := range m.items {
		if strings.HasPrefix(key, prefix) {
			found = append(found, it)
		}
	}
	return found
}

// shredding reports that there is a marker of a shred, of whatever item and environment.
func (m *mirror) shredding() bool {
	return m.markers.Load() > 0
}

// replace takes the whole set as read at one revision.
func (m *mirror) replace(items map[string]*item) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.items = items
	markers := int64(0)
	for key := range items {
		if kindOf(key) == kindShred {
			markers++
		}
	}
	m.markers.Store(markers)
}

// apply takes an event of the watch.
func (m *mirror) apply(it *item, deleted bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	before := len(m.items)
	if deleted {
		delete(m.items, it.key)
	} else {
		m.items[it.key] = it
	}
	if kindOf(it.key) == kindShred {
		m.markers.Add(int64(len(m.items) - before))
	}
}
