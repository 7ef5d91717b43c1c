package connectors

import (
	"net"
	"net/http"
	"net/netip"
	"time"

	"culvert/internal/secret"
)

// ReadReply reads a body as the client does: sent is our clock, date the provider's.
func ReadReply(conn *Connector, status int, body []byte, sent, date time.Time, secrets ...secret.Bytes) (Tokens, error) {
	a := &answer{conn: conn, status: status, sent: sent, received: sent, date: date, secrets: secrets}
	return a.read(body)
}

// OpenID is how custom providers say whose an account is.
func OpenID() Identity { return openID() }

func RetryAfter(h http.Header, now time.Time) time.Duration { return retryAfter(h, now) }

func (e *Egress) Judge(host string, port uint16, ip netip.Addr) error { return e.judge(host, port, ip) }

// SetResolver puts a resolver of the test's own in place before the first use.
func (e *Egress) SetResolver(r *net.Resolver) { e.resolver = r }
