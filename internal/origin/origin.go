// Package origin knows web origins (RFC 6454: scheme, host and port) and the hosts that stand for this
// machine. Whoever decides by where a browser or a secret goes compares origins whole, as [Of] writes
// them: a prefix or a suffix would let "https://app.example.com.evil.com" in.
//
// It reads what is configured or what a browser says. A URL that an attacker may have chosen is held to
// stricter rules before its origin is asked for: those of return_to are pipes', those of endpoints
// connectors'.
package origin

import (
	"net"
	"net/netip"
	"net/url"
	"strings"
)

// Parse reads scheme://host[:port] and nothing more, of whatever scheme. The scheme is in lower case;
// the host may be in any.
func Parse(text string) (*url.URL, bool) {
	u, err := url.Parse(text)
	// "*" and "null" are no origins: the second is what every sandboxed page sends.
	if err != nil || u.Scheme == "" || !isHost(u.Hostname()) || u.Scheme+"://"+u.Host != text {
		return nil, false
	}
	return u, true
}

// IsWeb reports whether text is an origin of http or https, and nothing more.
func IsWeb(text string) bool {
	u, ok := Parse(text)
	return ok && (u.Scheme == "https" || u.Scheme == "http")
}

// Of is the origin of a URL as browsers write it (RFC 6454 section 4: lower case, without the scheme's
// own port), or "" if it has none. Two spellings of one origin are equal, so that a harmless edit of a
// URL does not look like another place.
func Of(raw string) string {
	u, err := url.Parse(raw)
	if err != nil || u.Scheme == "" || !isHost(u.Hostname()) {
		return ""
	}
	host := strings.ToLower(u.Hostname())
	port := u.Port()
	if u.Scheme == "https" && port == "443" || u.Scheme == "http" && port == "80" {
		port = ""
	}
	switch {
	case port != "":
		host = net.JoinHostPort(host, port)
	case strings.Contains(host, ":"):
		host = "[" + host + "]"
	}
	return u.Scheme + "://" + host
}

// isHost refuses what net/url lets pass as a host but no browser would: colons that are no IPv6 address,
// and addresses with a zone.
func isHost(host string) bool {
	if !strings.Contains(host, ":") {
		return host != ""
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Zone() == ""
}

// IsLoopback tells the hosts that stand for this machine by their form alone: localhost, with or without
// the root's dot, and loopback addresses, IPv4 in IPv6 clothes included. Nothing is looked up: what a name
// resolves to is somebody else's decision. Names below localhost are left out: not every resolver keeps
// them local.
func IsLoopback(host string) bool {
	if ip, err := netip.ParseAddr(host); err == nil {
		return ip.Unmap().IsLoopback()
	}
	return strings.EqualFold(strings.TrimSuffix(host, "."), "localhost")
}
