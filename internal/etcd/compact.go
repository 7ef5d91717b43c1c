package etcd

import (
	"context"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

const (
	// compactBytes is how much is written between two compactions: history is kept for slow watchers
	// and for the second read of a by-name lookup, not for people.
	compactBytes = 64 << 20
	// compactInterval is how often the counter is looked at.
	compactInterval = 5 * time.Second
)

// compact forgets history, driven by the bytes that the watch has seen. A revision is compacted at the
// earliest one interval after it was current. Two replicas that do it at once do no harm.
func (s *Store) compact(ctx context.Context) {
	tick := time.NewTicker(compactInterval)
	defer tick.Stop()
	var previous, compactedAt int64
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		written, revision := s.feed.written.Load(), s.feed.applied.Load()
		if written-compactedAt >= compactBytes && previous > 0 {
			callCtx, cancel := bounded(ctx, readTimeout)
			_, err := s.client.kv.Compact(callCtx, previous)
			cancel()
			if err == nil {
				compactedAt = written
			}
		}
		previous = revision
	}
}

// recover makes room in an embedded etcd that has come near its quota: a compaction that waits until
// the space is free, a defragmentation that gives it back, and the end of the alarm. The in-process
// client's Defragment panics (etcd 3.7.3), so the backend is asked itself. It stops writes for as long
// as it takes, which is why it runs only when it would give back a third.
func (c *Client) recover(ctx context.Context) {
	if c.embedded == nil {
		return
	}
	backend := c.embedded.Server.Backend()
	head, err := c.kv.Get(ctx, c.abs(keyFence), clientv3.WithCountOnly())
	if err != nil {
		return
	}
	if _, err := c.kv.Compact(ctx, head.Header.Revision, clientv3.WithCompactPhysical()); err != nil {
		c.log.Debug("compact to make room", "error", err)
	}
	if backend.SizeInUse() > backend.Size()/3*2 {
		return
	}
	c.log.Warn("storage is nearly full of free pages: defragmenting", "bytes", backend.Size(), "in_use", backend.SizeInUse())
	if err := backend.Defrag(); err != nil {
		c.log.Error("defragment", "error", err)
		return
	}
	alarms, err := c.kv.AlarmList(ctx)
	if err != nil {
		return
	}
	for _, a := range alarms.Alarms {
		if _, err := c.kv.AlarmDisarm(ctx, (*clientv3.AlarmMember)(a)); err != nil {
			c.log.Error("end the space alarm", "error", err)
		}
	}
}
