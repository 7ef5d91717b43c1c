package webhooks

import (
	"math/rand/v2"
	"time"

	"culvert/internal/access"
	"culvert/internal/events"
)

const (
	// KeptDeliveries is how many attempts the log of an endpoint holds; an older one is overwritten.
	KeptDeliveries = 200
	// MaxLetters bounds the dead letters of an endpoint; the oldest leaves for one more.
	MaxLetters = 1000
)

// Timing says how long deliveries take and how often they are tried.
type Timing struct {
	// Timeout bounds an attempt, from the name's lookup to the answer's header.
	Timeout time.Duration
	// First is the time between the first attempt and the second; it doubles up to Longest.
	First, Longest time.Duration
	// For is how long an event is tried before it is a dead letter.
	For time.Duration
}

// DefaultTiming is that of production.
func DefaultTiming() Timing {
	return Timing{Timeout: 10 * time.Second, First: 5 * time.Second, Longest: time.Hour, For: 72 * time.Hour}
}

// Progress is how far an endpoint has come, as stored. The store adds a MAC. Whoever delivers replaces it by
// compare-and-swap.
type Progress struct {
	Environment access.EnvironmentID `cbor:"1,keyasint"`
	Endpoint    EndpointID           `cbor:"2,keyasint"`
	// Cursor is the id of the last event that is done with; empty before the first of the log.
	Cursor string `cbor:"3,keyasint,omitempty"`
	// Since is when the endpoint began to wait at its cursor: when it was made, enabled, or replayed. An event
	// is tried for its time from then on, or from its own.
	Since time.Time `cbor:"4,keyasint"`
	// Failures are the attempts since the last one that was accepted; FailingSince is when the first of them
	// was, zero if there is none. NextAt is when the next attempt is due.
	Failures     int       `cbor:"5,keyasint,omitempty"`
	FailingSince time.Time `cbor:"6,keyasint,omitzero"`
	NextAt       time.Time `cbor:"7,keyasint,omitzero"`
	// Died says that the last event that was done with is a dead letter.
	Died bool `cbor:"8,keyasint,omitempty"`
	// Deliveries counts the attempts there ever were.
	Deliveries uint64 `cbor:"9,keyasint,omitempty"`
	// AcceptedAt is when an event was accepted last.
	AcceptedAt time.Time `cbor:"10,keyasint,omitzero"`
	// Previous says that the receiver accepted the previous secret last.
	Previous bool `cbor:"11,keyasint,omitempty"`
}

// Delivery is one attempt, as the log of an endpoint has it.
type Delivery struct {
	// Number counts from 1 over all attempts to the endpoint.
	Number  uint64      `cbor:"1,keyasint"`
	EventID string      `cbor:"2,keyasint"`
	Event   events.Type `cbor:"3,keyasint"`
	At      time.Time   `cbor:"4,keyasint"`
	// Status is that of the answer, 0 if there was none; Reason says why the attempt failed, empty if it did
	// not.
	Status int    `cbor:"5,keyasint,omitempty"`
	Reason Reason `cbor:"6,keyasint,omitempty"`
	// Latency is from the beginning of the attempt to the answer's header, or to the failure.
	Latency time.Duration `cbor:"7,keyasint"`
}

// Letter is an event that was given up.
type Letter struct {
	EventID string      `cbor:"1,keyasint"`
	Event   events.Type `cbor:"2,keyasint"`
	// EventAt is the event's own time; At when it was given up.
	EventAt time.Time `cbor:"3,keyasint"`
	At      time.Time `cbor:"4,keyasint"`
	// Attempts were made since the last event that was accepted. Status and Reason are those of the last one.
	Attempts int    `cbor:"5,keyasint"`
	Status   int    `cbor:"6,keyasint,omitempty"`
	Reason   Reason `cbor:"7,keyasint,omitempty"`
}

// deadline is until when an event is tried.
func (p *Progress) deadline(e *events.Stored, t Timing) time.Time {
	from := e.At
	if from.Before(p.Since) {
		from = p.Since
	}
	return from.Add(t.For)
}

// accepted is the progress behind an event that its receiver took.
func (p Progress) accepted(e *events.Stored, at time.Time) Progress {
	p.Cursor, p.Failures, p.FailingSince, p.NextAt, p.Died, p.AcceptedAt = e.ID, 0, time.Time{}, time.Time{}, false, at
	return p
}

// passed is the progress behind an event that the endpoint does not want.
func (p Progress) passed(e *events.Stored) Progress {
	p.Cursor = e.ID
	return p
}

// refused is the progress after an attempt that failed, and whether the event is dead with it.
func (p Progress) refused(e *events.Stored, at time.Time, t Timing) (next Progress, dead bool) {
	if p.Failures == 0 {
		p.FailingSince = at
	}
	p.Failures++
	again := at.Add(t.pause(p.Failures))
	if end := p.deadline(e, t); at.Before(end) {
		if again.After(end) {
			again = end // the last attempt is at the end, not short of it
		}
		p.NextAt = again
		return p, false
	}
	next = p.buried(e)
	if p.Died {
		next.NextAt = again // the receiver is gone, not the event wrong
	}
	return next, true
}

// buried is the progress behind an event that is given up. The next one is tried at once.
func (p Progress) buried(e *events.Stored) Progress {
	p.Cursor, p.NextAt, p.Died = e.ID, time.Time{}, true
	return p
}

// pause is the time after so many failures: doubling, less up to a fifth, so that endpoints that failed
// together do not come back together.
func (t Timing) pause(failures int) time.Duration {
	pause := t.First
	for range failures - 1 {
		if pause >= t.Longest {
			break
		}
		pause *= 2
	}
	pause = min(pause, t.Longest)
	return pause - time.Duration(rand.Int64N(int64(pause)/5+1))
}
