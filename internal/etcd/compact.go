package etcd

import (
	"context"
	"errors"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
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

// Compact implements keys.OperationsStore. A walk that reads at a revision it began with begins once more.
func (s *Store) Compact(ctx context.Context) error {
	ctx, cancel := bounded(ctx, readTimeout)
	defer cancel()
	head, err := s.client.head(ctx)
	if err != nil {
		return down(err)
	}
	// Somebody else may have done it, and further.
	if _, err := s.client.kv.Compact(ctx, head.Revision); err != nil && !errors.Is(err, rpctypes.ErrCompacted) {
		return down(err)
	}
	return nil
}

// recover makes room in an embedded etcd that has come near its quota: a compaction that waits until
// the space is free, a defragmentation that gives it back, and the end of the alarm. The in-process
// client's Defragment panics (etcd 3.7.3), so the backend is asked itself. It stops reads and writes for
// as long as it takes, which is why it runs only when it would give back a third, or when the alarm
// stops all writes anyway.
func (c *Client) recover(ctx context.Context, alarm bool) {
	if c.embedded == nil {
		return
	}
	backend, quota := c.embedded.Server.Backend(), c.embedded.Config().QuotaBackendBytes
	head, err := c.kv.Get(ctx, c.abs(keyFence), clientv3.WithCountOnly())
	if err != nil {
		return
	}
	if _, err := c.kv.Compact(ctx, head.Header.Revision, clientv3.WithCompactPhysical()); err != nil {
		c.log.Debug("compact to make room", "error", err)
	}
	size, inUse := backend.Size(), backend.SizeInUse()
	if reclaim := inUse <= size/3*2 || alarm && size-inUse > quota/100; reclaim && c.holds(inUse) {
		c.log.Warn("storage is nearly full of free pages: defragmenting", "bytes", size, "in_use", inUse)
		if err := backend.Defrag(); err != nil {
			c.log.Error("defragment", "error", err)
			return
		}
	}
	// Above that the alarm would only come back.
	if alarm && backend.Size() < quota-quota/100 {
		c.disarm(ctx)
	}
}

// holds reports that the data disk has room for a copy of the store, as a defragmentation makes one,
// and for etcd's log to grow meanwhile: an etcd whose disk fills ends the process.
func (c *Client) holds(bytes int64) bool {
	const log = 128 << 20
	free, known := c.free()
	return !known || free > uint64(bytes)+log
}

// disarm ends every space alarm. Should there be too little space all the same, etcd raises it again.
func (c *Client) disarm(ctx context.Context) {
	alarms, err := c.kv.AlarmList(ctx)
	if err != nil {
		c.log.Error("list alarms", "error", err)
		return
	}
	for _, a := range alarms.Alarms {
		if a.Alarm != etcdserverpb.AlarmType_NOSPACE {
			continue // corruption is for a person to look at
		}
		if _, err := c.kv.AlarmDisarm(ctx, (*clientv3.AlarmMember)(a)); err != nil {
			c.log.Error("end the space alarm", "error", err)
		}
	}
}
