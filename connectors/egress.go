package connectors

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"time"

	"culvert/internal/origin"
)

// ErrBlocked means that our own rules forbid an address. What wraps it says which rule, not which
// address: a name that leads inside must not tell what is there.
var ErrBlocked = errors.New("connectors: address not allowed")

// blockedError is ErrBlocked with the rule that forbids.
type blockedError struct{ rule string }

func (e *blockedError) Error() string { return ErrBlocked.Error() + ": " + e.rule }

func (e *blockedError) Unwrap() error { return ErrBlocked }

// connectTimeout bounds DNS and the handshake of TCP together, over all addresses of a name.
const connectTimeout = 5 * time.Second

// httpsPort is the one port that is called without being on the operator's list.
const httpsPort = 443

// EgressConfig is what the operator allows beyond the public internet.
type EgressConfig struct {
	// AllowLoopback opens this machine's own addresses, every port, also over http, to URLs that name
	// them (127.0.0.1, ::1, localhost). For development.
	AllowLoopback bool
	// Allow opens further targets (setting pipes.egress.allow). An entry is a CIDR, for every port; or an
	// address or a host name, with a port or for 443. A name opens private addresses and loopback, but
	// nothing link-local and no metadata service: those only an address or a CIDR opens. http stays
	// confined to loopback.
	Allow []string
	// Setting is what errors call the list; default pipes.egress.allow.
	Setting string
}

// Egress decides where this server connects to on behalf of others: custom providers are URLs of a
// caller's, and names are their owners' to point anywhere. Attackers: a hostile provider definition, a
// name that resolves to the inside, also only the second time (DNS rebinding). Defence: the decision
// falls on the address that the socket is about to connect to, for every attempt. What stays open:
// whatever the operator's list opens, and services that trust the public address of this server.
//
// It is immutable and safe for concurrent use.
type Egress struct {
	ranges   []addressRange
	loopback bool
	// names are "host:port" in lower case; prefixes are for every port; literals are exact.
	names    map[string]bool
	prefixes []netip.Prefix
	literals map[netip.AddrPort]bool
	// resolver is nil but in tests of this package.
	resolver *net.Resolver
}

// NewEgress reads the operator's list. Errors name the entry: it comes from the settings.
func NewEgress(c EgressConfig) (*Egress, error) {
	e := &Egress{
		ranges:   specialRanges(),
		loopback: c.AllowLoopback,
		names:    map[string]bool{},
		literals: map[netip.AddrPort]bool{},
	}
	for _, entry := range c.Allow {
		if err := e.allow(entry); err != nil {
			return nil, fmt.Errorf("connectors: %s: entry %q: %w", cmp.Or(c.Setting, "pipes.egress.allow"), entry, err)
		}
	}
	return e, nil
}

func (e *Egress) allow(entry string) error {
	if strings.Contains(entry, "/") {
		prefix, err := netip.ParsePrefix(entry)
		switch {
		case err != nil || prefix.Addr().Is4In6():
			return errors.New("not a CIDR, such as 10.1.0.0/16")
		case prefix.Bits() == 0:
			return errors.New("opens everything, metadata services too; name the networks that are meant")
		}
		e.prefixes = append(e.prefixes, prefix.Masked())
		return nil
	}
	if ip, err := netip.ParseAddr(entry); err == nil {
		e.literals[netip.AddrPortFrom(plain(ip), httpsPort)] = true
		return nil
	}
	host, port := entry, uint16(httpsPort)
	if h, p, err := net.SplitHostPort(entry); err == nil {
		n, err := strconv.ParseUint(p, 10, 16)
		if err != nil || n == 0 {
			return errors.New("the port is not a number from 1 to 65535")
		}
		host, port = h, uint16(n)
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		e.literals[netip.AddrPortFrom(plain(ip), port)] = true
		return nil
	}
	if !hostOK(host) {
		return errors.New("neither a CIDR (10.1.0.0/16) nor an address (10.1.2.3) nor the name of a host")
	}
	e.names[target(host, port)] = true
	return nil
}

// CheckURL is what can be said of a URL that this server would call before its name is resolved: for
// definitions, so that a caller learns of a mistake at once. The dialer decides again, on the address.
// An error wraps [ErrBlocked].
func (e *Egress) CheckURL(raw string) error {
	_, err := e.check(raw, true)
	return err
}

// check parses a URL and holds it to the rules for its scheme, and if it is to be called from here, to
// those for ports and for addresses in place of names.
func (e *Egress) check(raw string, called bool) (*url.URL, error) {
	u, rule := parseEndpoint(raw)
	if rule != "" {
		return nil, &blockedError{"the URL " + rule}
	}
	host, port := u.Hostname(), urlPort(u)
	if u.Scheme == "http" && !e.mayBeLocal(host, port) {
		return nil, &blockedError{"http is for loopback, where it is allowed"}
	}
	if !called {
		return u, nil
	}
	ip, err := netip.ParseAddr(host)
	if err == nil {
		return u, e.judge(host, port, ip)
	}
	if origin.IsLoopback(host) && !e.mayBeLocal(host, port) {
		return nil, &blockedError{"loopback"}
	}
	if port != httpsPort && !origin.IsLoopback(host) && !e.names[target(host, port)] && len(e.prefixes) == 0 {
		return nil, &blockedError{"a port other than 443"}
	}
	return u, nil
}

// mayBeLocal tells whether a name of this machine may be connected to at all.
func (e *Egress) mayBeLocal(host string, port uint16) bool {
	if !origin.IsLoopback(host) {
		return false
	}
	if e.loopback || e.names[target(host, port)] {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && e.listed(plain(ip), port)
}

// listed tells whether the operator's list has the address itself.
func (e *Egress) listed(ip netip.Addr, port uint16) bool {
	if e.literals[netip.AddrPortFrom(ip, port)] {
		return true
	}
	for _, prefix := range e.prefixes {
		if prefix.Contains(ip) {
			return true
		}
	}
	return false
}

// judge decides on one address that host (a name, or the address itself) stands for.
func (e *Egress) judge(host string, port uint16, ip netip.Addr) error {
	ip = plain(ip)
	if origin.IsLoopback(host) && !ip.IsLoopback() {
		// http is allowed to such names, so whatever they lead to must not be on the wire.
		return &blockedError{"a name of this machine that leads elsewhere"}
	}
	if e.listed(ip, port) || e.loopback && origin.IsLoopback(host) {
		return nil
	}
	r := special(e.ranges, ip)
	if e.names[target(host, port)] && (r == nil || !r.never) {
		return nil
	}
	if r != nil {
		return &blockedError{r.name}
	}
	if port != httpsPort {
		return &blockedError{"a port other than 443"}
	}
	return nil
}

// DialContext connects to address (host:port) if the rules allow each address that is tried. It fits
// [net/http.Transport]. No proxy is ever asked: it would resolve the name itself.
func (e *Egress) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	host, portText, err := net.SplitHostPort(address)
	if err != nil {
		return nil, &blockedError{"not host and port"}
	}
	port, err := strconv.ParseUint(portText, 10, 16)
	if err != nil {
		return nil, &blockedError{"not a port number"}
	}
	d := net.Dialer{
		Timeout:  connectTimeout,
		Resolver: e.resolver,
		// Control runs after the name is resolved, with the address that the socket gets next.
		Control: func(_, address string, _ syscall.RawConn) error {
			to, err := netip.ParseAddrPort(address)
			if err != nil || uint64(to.Port()) != port {
				return &blockedError{"not an address"}
			}
			return e.judge(host, to.Port(), to.Addr())
		},
	}
	return d.DialContext(ctx, network, address)
}

// target is the key of an allowed name. A dot at the end is the root's and says nothing.
func target(host string, port uint16) string {
	return strings.ToLower(strings.TrimSuffix(host, ".")) + ":" + strconv.Itoa(int(port))
}

// urlPort is the port of a URL that has been parsed, or its scheme's; 0 for none that exists.
func urlPort(u *url.URL) uint16 {
	switch p := u.Port(); {
	case p != "":
		n, err := strconv.ParseUint(p, 10, 16)
		if err != nil {
			return 0
		}
		return uint16(n)
	case u.Scheme == "http":
		return 80
	default:
		return httpsPort
	}
}
