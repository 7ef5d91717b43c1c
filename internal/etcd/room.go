package etcd

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"golang.org/x/sys/unix"

	"culvert/internal/outage"
)

// Parts of the quota in percent. At the quota itself etcd refuses every transaction that puts anything,
// also one that deletes and tells of it in an event: so Culvert stops below it, and keeps the last part
// for what frees or protects.
const (
	growthPercent = 80
	writePercent  = 90
)

// roomInterval is how often sizes are read.
const roomInterval = time.Second

// room knows how much the store may still grow. Its answers are at most a few seconds old, which at the
// fastest rate of writes is far less than the tenth of the quota between its limits.
type room struct {
	client *Client
	// minFree is the free space on the data disk below which nothing grows, in bytes; embedded only:
	// an etcd whose disk fills ends the whole process.
	minFree uint64

	mu sync.Mutex
	// All below are guarded by mu.
	used, quota int64
	free        uint64
	freeKnown   bool
	noSpace     bool
	requests    int64
}

func newRoom(c *Client, minFree uint64) *room { return &room{client: c, minFree: minFree} }

// run measures until the context ends.
func (r *room) run(ctx context.Context) {
	tick := time.NewTicker(roomInterval)
	defer tick.Stop()
	for {
		r.measure(ctx)
		if near, alarm := r.near(); near {
			r.client.recover(ctx, alarm)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func (r *room) measure(ctx context.Context) {
	used, quota, noSpace, err := r.client.sizes(ctx)
	if err != nil {
		return // requests will say so themselves
	}
	free, freeKnown := r.client.free()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.used, r.quota, r.noSpace, r.free, r.freeKnown = used, quota, noSpace, free, freeKnown
}

// free is the free space on the data disk; false with an external cluster, whose disk is not ours.
func (c *Client) free() (uint64, bool) {
	var disk unix.Statfs_t
	if c.dataDir == "" || unix.Statfs(c.dataDir, &disk) != nil {
		return 0, false
	}
	return disk.Bavail * uint64(disk.Bsize), true
}

// forGrowth refuses creates and updates where there is no room, or no clock to give their ids a time.
func (s *Store) forGrowth() error {
	if err := s.nodes.forWrite(); err != nil {
		return err
	}
	return s.room.forGrowth()
}

func (r *room) forGrowth() error { return r.check(growthPercent, r.minFree) }

// forWrite refuses every other write but those that free or protect.
func (r *room) forWrite() error { return r.check(writePercent, r.minFree/4) }

// forRequests refuses new Idempotency-Keys when their records have taken their part of the quota.
func (r *room) forRequests() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.quota > 0 && r.requests > r.quota/requestShare {
		return full(fmt.Errorf("request records of Idempotency-Keys take %d bytes", r.requests))
	}
	return nil
}

func (r *room) check(percent int64, minFree uint64) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.noSpace:
		return full(fmt.Errorf("etcd raised its space alarm"))
	case r.quota > 0 && r.used >= r.quota/100*percent:
		return full(fmt.Errorf("%d of %d bytes used", r.used, r.quota))
	case r.freeKnown && r.free < minFree:
		return full(fmt.Errorf("%d bytes free on the data disk", r.free))
	}
	return nil
}

// near reports that the store is near its quota, and whether etcd refuses every put already.
func (r *room) near() (near, alarm bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.noSpace || r.quota > 0 && r.used >= r.quota/100*growthPercent, r.noSpace
}

// health says that writes are being refused.
func (r *room) health() error { return r.forGrowth() }

func full(cause error) error {
	return &outage.Error{Dependency: outage.Etcd, Kind: outage.Full, RetryAfter: 30 * time.Second, Cause: cause}
}

// countRequests reads how much the request records take. Called once an hour and at the start.
func (r *room) countRequests(ctx context.Context, s *Store) {
	var bytes int64
	for _, env := range s.environments.IDs() {
		ctx, cancel := bounded(ctx, readTimeout)
		resp, err := s.client.kv.Get(ctx, s.client.abs(kindRequest+"/"+string(env)+"/"), clientv3.WithPrefix(), clientv3.WithCountOnly())
		cancel()
		if err != nil {
			return
		}
		bytes += resp.Count * requestBytes
	}
	r.mu.Lock()
	r.requests = bytes
	r.mu.Unlock()
}

// requestBytes is about what one request record takes, with its key.
const requestBytes = 500

// addRequest counts a record that the watch showed.
func (r *room) addRequest(bytes int) {
	r.mu.Lock()
	r.requests += int64(bytes)
	r.mu.Unlock()
}

// sizes reads the backend's size, the quota and the alarm: of the fullest member, since one full member
// alarms the whole cluster.
func (c *Client) sizes(ctx context.Context) (used, quota int64, noSpace bool, err error) {
	if c.embedded != nil {
		used, quota = c.embedded.Server.Backend().Size(), c.embedded.Config().QuotaBackendBytes
		for _, a := range c.embedded.Server.Alarms() {
			noSpace = noSpace || a.Alarm == etcdserverpb.AlarmType_NOSPACE
		}
		return used, quota, noSpace, nil
	}
	for _, endpoint := range c.kv.Endpoints() {
		ctx, cancel := bounded(ctx, time.Second)
		status, statusErr := c.kv.Status(ctx, endpoint)
		cancel()
		if statusErr != nil {
			err = statusErr
			continue
		}
		// As floating point: the product of two sizes of gigabytes has more than 63 bits.
		if quota == 0 || float64(status.DbSize)*float64(quota) > float64(used)*float64(status.DbSizeQuota) {
			used, quota = status.DbSize, status.DbSizeQuota
		}
		for _, e := range status.Errors {
			noSpace = noSpace || strings.Contains(e, etcdserverpb.AlarmType_NOSPACE.String())
		}
	}
	if quota > 0 {
		err = nil
	}
	return used, quota, noSpace, err
}
