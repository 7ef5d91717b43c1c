package pipes

import (
	"fmt"
	"net/netip"
	"net/url"
	"strings"

	"culvert/internal/origin"
)

// maxReturnTo bounds return_to in bytes.
const maxReturnTo = 2048

// origins are where a flow may end. It is immutable.
type origins struct {
	exact map[string]bool
	// anyLoopback allows every http origin on loopback.
	anyLoopback bool
}

func newOrigins(list []string, anyLoopback bool) (origins, error) {
	o := origins{exact: map[string]bool{}, anyLoopback: anyLoopback}
	for _, raw := range list {
		u, ok := parseReturnTo(raw)
		if !ok || u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.ForceQuery {
			return origins{}, fmt.Errorf("pipes: ReturnTo %q is no origin, such as https://app.example.com", raw)
		}
		o.exact[origin.Of(raw)] = true
	}
	return o, nil
}

// check accepts a URL whose origin is on the list, exactly: scheme, host and port. The error is
// [ErrReturnTo]. An empty return_to is a flow that ends on a page of ours.
func (o *origins) check(raw string) error {
	if raw == "" {
		return nil
	}
	u, ok := parseReturnTo(raw)
	if ok && (o.exact[origin.Of(raw)] || o.anyLoopback && u.Scheme == "http" && origin.IsLoopback(u.Hostname())) {
		return nil
	}
	return ErrReturnTo
}

// still is a return_to that was checked when its flow began, or "" if its origin is not on the list any
// more: the operator took it out because nobody is to be sent there, and a flow lives for days.
func (o *origins) still(returnTo string) string {
	if o.check(returnTo) != nil {
		return ""
	}
	return returnTo
}

// parseReturnTo reads an absolute http or https URL.
//
// Attacker: whoever can have a flow begun with a return_to of his choosing, to make our redirect lead to
// his site. Defence: what browsers and Go's parser are known to read differently is refused instead of
// interpreted: backslashes, control characters and spaces, userinfo, missing slashes, hosts with
// anything but letters, digits, dots and dashes. Fragments too: what is appended must land in the query.
func parseReturnTo(raw string) (*url.URL, bool) {
	if len(raw) > maxReturnTo || !visible(raw) || strings.ContainsAny(raw, `\#`) {
		return nil, false
	}
	scheme, rest, found := strings.Cut(raw, "://")
	if !found || strings.ContainsAny(scheme, "/?") {
		return nil, false
	}
	authority := rest
	if i := strings.IndexAny(rest, "/?"); i >= 0 {
		authority = rest[:i]
	}
	u, err := url.Parse(raw)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Opaque != "" || u.User != nil ||
		u.Host != authority || !isHost(u.Hostname()) || strings.HasSuffix(authority, ":") {
		return nil, false
	}
	return u, true
}

// isHost accepts DNS names in their ASCII form and IP addresses, without a zone and without a dot at
// the end.
func isHost(host string) bool {
	if ip, err := netip.ParseAddr(host); err == nil {
		return ip.Zone() == ""
	}
	if host == "" || strings.HasPrefix(host, ".") || strings.HasSuffix(host, ".") {
		return false
	}
	for i := range len(host) {
		c := host[i] | 0x20 // lower case, for letters
		if (c < 'a' || c > 'z') && (host[i] < '0' || host[i] > '9') && host[i] != '-' && host[i] != '.' {
			return false
		}
	}
	return true
}

// Parameters that we append to return_to.
const (
	paramStatus  = "status"
	paramAccount = "connected_account_id"
	paramError   = "error"
	paramResult  = "result_id"
)

// withOutcome appends how a flow ended. Parameters of the same names that return_to brought are taken
// out, so that an application never reads somebody else's; all others stay byte for byte.
func withOutcome(returnTo string, out *Outcome) string {
	if out.Code != "" {
		return withParameters(returnTo, paramError+"="+url.QueryEscape(out.Code))
	}
	return withParameters(returnTo, paramStatus+"=connected", paramAccount+"="+url.QueryEscape(string(out.Account)))
}

// withResult appends that a flow waits to be finished, and by which name.
func withResult(returnTo, id string) string {
	return withParameters(returnTo, paramStatus+"=finish_required", paramResult+"="+url.QueryEscape(id))
}

func withParameters(returnTo string, ours ...string) string {
	if returnTo == "" {
		return ""
	}
	base, query, _ := strings.Cut(returnTo, "?")
	var kept []string
	for part := range strings.SplitSeq(query, "&") {
		name, _, _ := strings.Cut(part, "=")
		if name, err := url.QueryUnescape(name); part == "" || err == nil && isOurs(name) {
			continue
		}
		kept = append(kept, part)
	}
	return base + "?" + strings.Join(append(kept, ours...), "&")
}

func isOurs(name string) bool {
	return name == paramStatus || name == paramAccount || name == paramError || name == paramResult
}
