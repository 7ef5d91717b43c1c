package id

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"sync/atomic"
	"time"
)

// MaxAhead is how far an id of another replica may lie before this one's clock and still be believed.
// Beyond it one replica with a wrong clock, or one forged id, would drag every other into the future.
const MaxAhead = 2 * time.Second

const (
	// counterBits are the bits below a millisecond: fraction of the millisecond when the clock moves,
	// counter when it stands or goes back.
	counterBits = 12
	maxMillis   = 1<<48 - 1
)

// Clock is a hybrid clock: the newer of this machine's time and the newest id seen. Its UUIDs rise
// strictly, also when the machine's clock stands or goes back, so that the order of ids is the order
// of creation. It is safe for concurrent use.
type Clock struct {
	now func() time.Time
	// last is the 60-bit hybrid time of the newest id made or observed: 48 bits of milliseconds since
	// 1970, then 12 bits below them (RFC 9562 section 6.2, method 3).
	last atomic.Uint64
}

// NewClock reads the time from now, which must be safe for concurrent use.
func NewClock(now func() time.Time) *Clock { return &Clock{now: now} }

// Now is this machine's time in UTC, to the microsecond: what times in records and answers hold. It
// is not hybrid and may go back.
func (c *Clock) Now() time.Time { return c.now().UTC().Truncate(time.Microsecond) }

// UUID returns a UUIDv7 as text (36 characters, lower case), strictly greater than every id this
// Clock made or observed before the call; 62 bits are from crypto/rand.
func (c *Clock) UUID() string { return formatUUID(c.tick()) }

// Observe moves the clock past a UUIDv7 of another replica, so that what is made here afterwards
// sorts behind it. Anything that is no UUIDv7, or lies more than [MaxAhead] ahead, is ignored.
func (c *Clock) Observe(uuid string) {
	seen, ok := parseUUID(uuid)
	if !ok || seen > hybrid(c.now().Add(MaxAhead)) {
		return
	}
	for {
		last := c.last.Load()
		if seen <= last || c.last.CompareAndSwap(last, seen) {
			return
		}
	}
}

// tick takes the next hybrid time: no two callers get the same.
func (c *Clock) tick() uint64 {
	for {
		last := c.last.Load()
		next := max(hybrid(c.now()), last+1)
		if c.last.CompareAndSwap(last, next) {
			return next
		}
	}
}

// hybrid is the hybrid time of a moment, clamped to what 60 bits hold (1970 to 10889).
func hybrid(t time.Time) uint64 {
	millis := clampMillis(t)
	below := uint64(t.Nanosecond()%int(time.Millisecond)) << counterBits / uint64(time.Millisecond)
	return millis<<counterBits | below
}

// clampMillis keeps a clock that was never set from wrapping round into the far future.
func clampMillis(t time.Time) uint64 {
	return uint64(min(max(t.UnixMilli(), 0), maxMillis))
}

// UUIDTime is the hybrid time in a UUIDv7, to the millisecond in UTC; false if it is none.
func UUIDTime(uuid string) (time.Time, bool) {
	at, ok := parseUUID(uuid)
	if !ok {
		return time.Time{}, false
	}
	return time.UnixMilli(int64(at >> counterBits)).UTC(), true
}

// uuidLength is that of the text form: 32 hex digits and 4 hyphens.
const uuidLength = 36

func formatUUID(at uint64) string {
	var b [16]byte
	// Since Go 1.24 Read never fails: it ends the process rather than return weak randomness.
	_, _ = rand.Read(b[8:])
	binary.BigEndian.PutUint64(b[:8], (at>>counterBits)<<16|7<<12|at&(1<<counterBits-1))
	b[8] = b[8]&0x3f | 0x80
	var text [uuidLength]byte
	hex.Encode(text[0:8], b[0:4])
	hex.Encode(text[9:13], b[4:6])
	hex.Encode(text[14:18], b[6:8])
	hex.Encode(text[19:23], b[8:10])
	hex.Encode(text[24:36], b[10:16])
	text[8], text[13], text[18], text[23] = '-', '-', '-', '-'
	return string(text[:])
}

// parseUUID reads the hybrid time of a UUIDv7. Only the one form that formatUUID writes is accepted:
// were upper case an alias, two texts would name one id.
func parseUUID(s string) (uint64, bool) {
	if len(s) != uuidLength || s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-' {
		return 0, false
	}
	var at uint64
	for i := range len(s) {
		if i == 8 || i == 13 || i == 18 || i == 23 {
			continue
		}
		nibble, ok := lowerHex(s[i])
		switch {
		case !ok, i == 14 && nibble != 7, i == 19 && nibble&0xc != 0x8:
			return 0, false
		case i < 18 && i != 14:
			at = at<<4 | nibble
		}
	}
	return at, true
}

func lowerHex(c byte) (uint64, bool) {
	switch {
	case '0' <= c && c <= '9':
		return uint64(c - '0'), true
	case 'a' <= c && c <= 'f':
		return uint64(c-'a') + 10, true
	}
	return 0, false
}
