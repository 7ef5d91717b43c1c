package audit

import (
	"errors"
	"time"

	"culvert/internal/access"
)

// Filter says which records somebody wants to see. The zero value is all.
type Filter struct {
	// Since is inclusive and Until exclusive; zero is open.
	Since, Until time.Time
	// Actor is an actor's id, Action an action in full; empty is any.
	Actor  string
	Action access.Action
	Result Result
	// Environment keeps what is of one environment or of none: the records of the log about itself. Empty is any.
	Environment access.EnvironmentID
}

// Match tells whether a record is wanted.
func (f *Filter) Match(r *Record) bool {
	return (f.Since.IsZero() || !r.Time.Before(f.Since)) && (f.Until.IsZero() || r.Time.Before(f.Until)) &&
		(f.Actor == "" || r.ActorID == f.Actor) && (f.Action == "" || r.Action == f.Action) &&
		(f.Result == "" || r.Result == f.Result) &&
		(f.Environment == "" || r.EnvironmentID == "" || r.EnvironmentID == f.Environment)
}

// Begin is an index before which no record is of that time or later: segments that end before it are not read.
// A clock that was set back can have put later times before earlier ones, so a segment counts by its first record
// and those of one before it are looked at too.
func Begin(dir string, since time.Time) (uint64, error) {
	first, _, err := segments(dir)
	if err != nil || since.IsZero() {
		return lowest(first), err
	}
	begin := lowest(first)
	for i := 1; i < len(first); i++ {
		at, err := firstTime(dir, first[i])
		if err != nil {
			return 0, err
		}
		if !at.IsZero() && !at.Before(since.Add(-time.Minute)) {
			break
		}
		begin = first[i]
	}
	return begin, nil
}

// firstTime is the time of a segment's first record; zero if it has none yet.
func firstTime(dir string, index uint64) (at time.Time, err error) {
	err = Read(dir, index, func(r Record, _ []byte) error { at = r.Time; return errEnough })
	if gap := new(GapError); errors.Is(err, errEnough) || errors.Is(err, ErrCorrupt) || errors.As(err, &gap) {
		err = nil
	}
	return at, err
}

// End is the index behind the last record that stands in a directory, and the lowest one there.
func End(dir string) (low, end uint64, err error) {
	first, _, err := segments(dir)
	if err != nil || len(first) == 0 {
		return 0, 0, err
	}
	end = lastOf(first)
	err = Read(dir, end, func(r Record, _ []byte) error { end = r.Index + 1; return nil })
	return lowest(first), end, err
}

func lowest(first []uint64) uint64 {
	if len(first) == 0 {
		return 0
	}
	return first[0]
}
