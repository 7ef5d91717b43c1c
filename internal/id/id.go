// Package id makes identifiers: UUIDv7 on a hybrid clock for objects, versions and keys, ULIDs for
// what carries a prefix on the wire, and event ids that contain their epoch.
//
// All are ordered by time and opaque to clients. Randomness is crypto/rand and cannot be replaced.
package id

import (
	"crypto/rand"
	"encoding/binary"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"
)

// ULID returns 26 characters of Crockford's base 32 in upper case: 48 bits of milliseconds and 80
// bits of crypto/rand. ULIDs of one millisecond are in no order.
func ULID(at time.Time) string {
	var u ulid.ULID
	setTime(&u, at)
	_, _ = rand.Read(u[6:])
	return u.String()
}

// IsULID reports whether s is a ULID in the one form that [ULID] returns.
func IsULID(s string) bool {
	_, ok := parseULID(s)
	return ok
}

// ULIDTime is when a ULID was made, by the clock of whoever made it.
func ULIDTime(s string) (time.Time, bool) {
	u, ok := parseULID(s)
	if !ok {
		return time.Time{}, false
	}
	return u.Timestamp().UTC(), true
}

// eventPrefix is that of the contract (section 4, IDs).
const eventPrefix = "event_"

// maxEpoch is 40 bits: at one epoch a second they last 34,000 years.
const maxEpoch = 1<<40 - 1

// Event returns an event id: "event_" and a ULID whose random part holds 40 bits of epoch and 40 bits
// of crypto/rand. Two events collide only within one millisecond and one epoch. Bits of the epoch
// beyond the 40th are dropped.
func Event(at time.Time, epoch uint64) string {
	var u ulid.ULID
	setTime(&u, at)
	var wide [8]byte
	binary.BigEndian.PutUint64(wide[:], epoch&maxEpoch)
	copy(u[6:11], wide[3:])
	_, _ = rand.Read(u[11:])
	return eventPrefix + u.String()
}

// EventEpoch is the epoch in an event id; false if s is none. Every well-formed id has one, so this
// says nothing about whether the event exists.
func EventEpoch(s string) (uint64, bool) {
	text, ok := strings.CutPrefix(s, eventPrefix)
	if !ok {
		return 0, false
	}
	u, ok := parseULID(text)
	if !ok {
		return 0, false
	}
	var wide [8]byte
	copy(wide[3:], u[6:11])
	return binary.BigEndian.Uint64(wide[:]), true
}

// setTime writes the 48 bits of milliseconds. They are clamped, so it cannot fail.
func setTime(u *ulid.ULID, at time.Time) {
	var wide [8]byte
	binary.BigEndian.PutUint64(wide[:], clampMillis(at))
	copy(u[:6], wide[2:])
}

// parseULID accepts the canonical form alone; the library also reads lower case.
func parseULID(s string) (ulid.ULID, bool) {
	u, err := ulid.ParseStrict(s)
	if err != nil || u.String() != s {
		return ulid.ULID{}, false
	}
	return u, true
}
