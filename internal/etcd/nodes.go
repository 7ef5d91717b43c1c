package etcd

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"culvert/internal/outage"
)

const (
	beatInterval = 3 * time.Second
	// beatAge is how old a heartbeat may be to count.
	beatAge = 10 * time.Second
	// maxSkew is how far a clock may be off: ids carry the time and promise the order of creation.
	maxSkew = 2 * time.Second
	// quorum is how many live nodes it takes to call one of them wrong.
	quorum = 3
)

// nodes keeps this replica's heartbeat and compares its clock with the others'. A heartbeat is the
// node's own time in Unix milliseconds and the process that beats; it has no MAC, since what it could do
// wrong is refuse writes.
type nodes struct {
	store *Store
	self  string
	pulse *pulse

	mu sync.Mutex
	// heard are the heartbeats of each node that are not too old, oldest first. Guarded by mu.
	heard map[string][]beat
}

// beat is when this replica heard of a node, and how far the node's clock was ahead of its own then.
type beat struct {
	at   time.Time
	skew time.Duration
}

func newNodes(s *Store, self string) *nodes {
	return &nodes{store: s, self: self, pulse: newPulse(s.client, keyNode(self), s.log), heard: map[string][]beat{}}
}

// run beats until the context ends. A single embedded replica has nobody to compare with.
func (n *nodes) run(ctx context.Context) {
	if n.store.client.embedded != nil {
		return
	}
	tick := time.NewTicker(beatInterval)
	defer tick.Stop()
	for {
		n.pulse.beat(ctx)
		select {
		case <-tick.C:
		case <-ctx.Done():
			n.pulse.end(ctx)
			return
		}
	}
}

// hear takes a heartbeat from the watch, at the moment it arrives.
func (n *nodes) hear(it *item) {
	if ms, _, ok := parseBeat(it.value); ok {
		n.note(lastOf(it.key), time.UnixMilli(ms), time.Now())
	}
}

func (n *nodes) note(node string, sent, arrived time.Time) {
	n.mu.Lock()
	defer n.mu.Unlock()
	beats := slices.DeleteFunc(n.heard[node], func(b beat) bool { return arrived.Sub(b.at) >= beatAge })
	n.heard[node] = append(beats, beat{at: arrived, skew: sent.Sub(arrived)})
}

// skew is how far this clock is behind the median of the live nodes, and how many live.
//
// A watch that was held up delivers beats late and all at once, which makes clocks look slow and never
// fast. So the largest skew of a node's beats is the truest, and beats of one moment prove nothing.
func (n *nodes) skew() (time.Duration, int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	var skews []time.Duration
	for _, beats := range n.heard {
		var truest time.Duration
		var first, last time.Time
		for _, b := range beats {
			if time.Since(b.at) >= beatAge {
				continue
			}
			if last = b.at; first.IsZero() {
				first, truest = b.at, b.skew
			}
			truest = max(truest, b.skew)
		}
		if last.Sub(first) >= beatInterval/2 {
			skews = append(skews, truest)
		}
	}
	if len(skews) == 0 {
		return 0, 0
	}
	slices.Sort(skews)
	return skews[len(skews)/2], len(skews)
}

// live is how many replicas have been heard of lately, this one among them.
func (n *nodes) live() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	live := 0
	for node, beats := range n.heard {
		if node != n.self && len(beats) > 0 && time.Since(beats[len(beats)-1].at) < beatAge {
			live++
		}
	}
	return live + 1
}

var errSkew = errors.New("this replica's clock is more than 2 s off the others'")

// forWrite refuses writes of a replica whose clock is wrong, and of one that is there twice.
func (n *nodes) forWrite() error {
	if err := n.health(); err != nil {
		return err
	}
	if off, live := n.skew(); live >= quorum && off.Abs() > maxSkew {
		return &outage.Error{Dependency: outage.Clock, Kind: outage.Unavailable, Cause: errSkew}
	}
	return nil
}

// health says that this process should not be running.
func (n *nodes) health() error {
	if n.pulse.taken.Load() {
		return &outage.Error{Dependency: outage.Node, Kind: outage.Unavailable, Cause: ErrNodeTaken}
	}
	return nil
}

func (n *nodes) degraded() []string {
	if off, live := n.skew(); live > 1 && off.Abs() > maxSkew {
		return []string{errSkew.Error()}
	}
	return nil
}
