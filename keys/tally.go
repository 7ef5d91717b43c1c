package keys

import (
	"context"
	"errors"
	"time"

	"culvert/internal/outage"
)

// tallyTime bounds how long records are counted, so that the rest of the answer is still given.
const tallyTime = 3 * time.Second

// Tally is how many records hold DEKs under a KEK.
type Tally struct {
	Records uint64
	// Stale is how many of them have a DEK that is not under the primary: what a rewrap would change.
	Stale uint64
}

// errTallyTime means that there are too many records to be counted in time.
var errTallyTime = errors.New("keys: too many records to count")

// tally counts the records of KEKs, of all of them in one walk: nothing in a store leads from a KEK to its
// records, because every write would pay for that. It is exact while nothing is written. If it takes too
// long the counts stay away, which is no error; a dry run counts however many there are.
func (o *operation) tally(ctx context.Context, found []KEKAt, infos []KEKInfo) error {
	if len(found) == 0 {
		return nil
	}
	walkCtx, cancel := context.WithTimeoutCause(ctx, outage.Within(ctx, o.ops.tallyTime), errTallyTime)
	defer cancel()
	// A walk at a time: however many ask, they do not take all of the processor and of etcd.
	select {
	case o.ops.tallying <- struct{}{}:
		defer func() { <-o.ops.tallying }()
	case <-walkCtx.Done():
		return inTime(walkCtx, walkCtx.Err())
	}
	tallies := make(map[ID]*Tally, len(found))
	records := make(map[ID]*KEKRecord, len(found))
	for _, f := range found {
		tallies[f.ID], records[f.ID] = &Tally{}, f.Record
	}
	if err := o.ops.store.EachHolder(walkCtx, o.Environment(), func(h Holder) { h.addTo(tallies, records) }); err != nil {
		return inTime(walkCtx, err)
	}
	for i := range infos {
		infos[i].Tally = tallies[infos[i].ID]
	}
	return nil
}

// addTo counts a record once for each KEK that it has DEKs under. One that failed its integrity check is
// under none: what it says of its KEK is not to be believed.
func (h *Holder) addTo(tallies map[ID]*Tally, records map[ID]*KEKRecord) {
	stale := map[ID]bool{}
	for _, d := range h.DEKs {
		if r := records[d.KeyID]; r != nil {
			stale[d.KeyID] = stale[d.KeyID] || r.stale(d.Wrapped)
		}
	}
	for id, is := range stale {
		tallies[id].Records++
		if is {
			tallies[id].Stale++
		}
	}
}

// inTime leaves an error out that is there only because counting had its time.
func inTime(walkCtx context.Context, err error) error {
	if errors.Is(context.Cause(walkCtx), errTallyTime) {
		return nil
	}
	return err
}
