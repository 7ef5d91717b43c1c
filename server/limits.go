package server

import (
	"errors"
	"time"
)

// Limits of what the door lets in. Limits of names, values and key contexts are those of vault and keys.
type Limits struct {
	// PathBytes is the longest path in bytes as escaped; default 8 KiB. Measured before routing, so that
	// cost does not grow with what is going to be refused.
	PathBytes int
	// BodyBytes is the longest body; default 8 MiB. Counted while reading, never taken from a header.
	BodyBytes int64
}

const (
	defaultPathBytes = 8 << 10
	defaultBodyBytes = 8 << 20
)

// Limits of HTTP itself. A client that trickles is cut off; the values leave room for the largest body
// and answer over 200 KiB/s.
const (
	readHeaderTimeout = 10 * time.Second
	readTimeout       = 60 * time.Second
	writeTimeout      = 90 * time.Second
	idleTimeout       = 120 * time.Second
	// maxHeaderBytes holds a path of 64 KiB, so that it is refused by us, as JSON.
	maxHeaderBytes = 128 << 10
)

// maxHeaderFields is how many names a request's header may have: clients and the proxies on the way send some forty.
const maxHeaderFields = 200

// Limits of JSON. A legitimate body has some twenty members, a key context of ten and a list of scopes;
// the rest is room for members that later clients send and this server ignores.
const (
	maxDepth  = 32
	maxTokens = 20_000
	// firstRead is how much memory a body gets before its first byte is there, whatever length its
	// header claims.
	firstRead = 64 << 10
)

// maxPooled is the largest answer whose buffer is kept for the next one; a page of 100 fits.
const maxPooled = 64 << 10

// Limits of lists (contract section 4, Pagination).
const (
	defaultPage = 10
	maxPage     = 100
)

// maxIdempotencyKey is in characters; SDKs send a UUID.
const maxIdempotencyKey = 255

func (l Limits) withDefaults() (Limits, error) {
	if l.PathBytes == 0 {
		l.PathBytes = defaultPathBytes
	}
	if l.BodyBytes == 0 {
		l.BodyBytes = defaultBodyBytes
	}
	if l.PathBytes < 0 || l.PathBytes > maxHeaderBytes || l.BodyBytes < 0 {
		return Limits{}, errors.New("server: limits out of range")
	}
	return l, nil
}
