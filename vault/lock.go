package vault

import (
	"context"
	"hash/maphash"
	"time"
)

const (
	// stripeCount is how many objects of one process can be changed at once without two of them
	// sharing a lock by chance; 64 concurrent writers meet rarely among 256.
	stripeCount = 256
	// lockWait bounds the queue for one object: with etcd stopped every holder waits out its own
	// deadline, and callers must not add up theirs behind it.
	lockWait = time.Second
)

// stripes are locks by object id. They only save work: whoever waited [lockWait] goes on without the
// lock, and the compare on the header revision decides.
type stripes struct {
	seed  maphash.Seed
	slots [stripeCount]chan struct{}
}

func newStripes() *stripes {
	s := &stripes{seed: maphash.MakeSeed()}
	for i := range s.slots {
		s.slots[i] = make(chan struct{}, 1)
	}
	return s
}

// lock queues for an object and returns what gives the lock back. waited tells that another holder may
// have changed the object since the caller's fence.
func (s *stripes) lock(ctx context.Context, id ObjectID) (unlock func(), waited bool) {
	slot := s.slots[maphash.String(s.seed, string(id))%stripeCount]
	unlock = func() { <-slot }
	select {
	case slot <- struct{}{}:
		return unlock, false
	default:
	}
	timer := time.NewTimer(lockWait)
	defer timer.Stop()
	select {
	case slot <- struct{}{}:
		return unlock, true
	case <-timer.C:
	case <-ctx.Done():
	}
	return func() {}, true
}
