package connectors

import (
	"math"
	"strconv"
	"time"

	"culvert/internal/secret"
)

const (
	// maxLifetime bounds what a reply may claim, so that no arithmetic overflows: ten years have been seen.
	maxLifetime = 100 * 365 * 24 * time.Hour
	// guessedLifetime is that of a token whose reply says that it ends, but not readably when.
	guessedLifetime = time.Hour
	// maxSkew is how far a provider's clock may be off before its absolute times are distrusted.
	maxSkew = 30 * time.Second
)

// Tokens reads the reply of RFC 6749 sections 5.1 and 5.2, with the liberties that providers take. An
// error wins over a token beside it.
func (r Reply) Tokens() (Tokens, error) {
	if code, failed := r.failure(); failed {
		return Tokens{}, r.Fail(code)
	}
	if r.status < 200 || r.status > 299 {
		return Tokens{}, r.Fail("")
	}
	access, refresh := r.Text("access_token"), r.Text("refresh_token")
	switch {
	case access == "":
		return Tokens{}, r.Unreadable("holds no access token")
	case !visible(access) || !visible(refresh):
		return Tokens{}, r.Unreadable("holds a token that is not printable ASCII")
	}
	t := Tokens{
		Access:           secret.New([]byte(access)),
		ExpiresAt:        r.expiry(),
		RefreshExpiresAt: r.refreshExpiry(),
		Scopes:           r.scopes(),
	}
	if refresh != "" {
		t.Refresh = secret.New([]byte(refresh))
	}
	return t, nil
}

// Bounds of what a reply may make us keep. A reply may be a mebibyte, a record may not: tokens are
// thirty times longer than any that has been seen, and scopes more than any provider has.
const (
	maxTokenBytes  = 64 << 10
	maxScopes      = 200
	maxScopeBytes  = 500
	maxScopesBytes = 32 << 10
)

// bounded refuses tokens that are too long, and drops scopes that are no scopes: a token must not be
// lost for what its list of scopes says. Times become whole milliseconds, rounded down: that is the grain
// of the clock that they are compared with, to which a token of no lifetime would live on for the rest of
// its millisecond.
func (r Reply) bounded(t Tokens) (Tokens, error) {
	tokens := []secret.Bytes{t.Access, t.Refresh}
	for _, named := range []map[string]secret.Bytes{t.Named, t.NamedRefresh} {
		for _, token := range named {
			tokens = append(tokens, token)
		}
	}
	for _, token := range tokens {
		if token.Len() > maxTokenBytes {
			return Tokens{}, r.Unreadable("holds a token of more than 64 KiB")
		}
	}
	t.ExpiresAt, t.RefreshExpiresAt = t.ExpiresAt.Truncate(time.Millisecond), t.RefreshExpiresAt.Truncate(time.Millisecond)
	for name, at := range t.NamedExpiresAt {
		t.NamedExpiresAt[name] = at.Truncate(time.Millisecond)
	}
	if t.Scopes != nil {
		t.Scopes = boundedScopes(t.Scopes)
	}
	return t, nil
}

// boundedScopes are those of a list that are scopes, once each and within bounds.
func boundedScopes(list []string) []string {
	kept, seen, size := []string{}, map[string]bool{}, 0
	for _, scope := range list {
		if len(kept) < maxScopes && len(scope) <= maxScopeBytes && size+len(scope) <= maxScopesBytes && visible(scope) && !seen[scope] {
			kept, seen[scope] = append(kept, scope), true
			size += len(scope)
		}
	}
	return kept
}

// visible tells the characters of RFC 6749 appendix A.12 and A.17 (%x20-7E): anything else in a token
// would end up in somebody's Authorization header.
func visible(token string) bool {
	for i := range len(token) {
		if token[i] < ' ' || token[i] > '~' {
			return false
		}
	}
	return true
}

// scopes is the granted list: a string or an array, under the RFC's name or the plural. An empty one
// says that nothing was granted, an absent one nothing at all.
func (r Reply) scopes() []string {
	for _, name := range []string{"scope", "scopes"} {
		if list, said := r.list(name); said {
			return list
		}
	}
	return nil
}

// expiry is when the access token ends; the zero time if it does not.
func (r Reply) expiry() time.Time {
	if r.there("expires_in") {
		lifetime, ok := seconds(r.Text("expires_in"))
		switch {
		case ok && lifetime == 0 && r.conn.ZeroNeverEnds:
			return time.Time{}
		case ok:
			return r.sent.Add(lifetime)
		}
		return r.guess()
	}
	if r.there("expires_at") {
		if at, ok := instant(r.Text("expires_at")); ok {
			return r.ours(at)
		}
		return r.guess()
	}
	if r.conn.Lifetime > 0 {
		return r.sent.Add(r.conn.Lifetime)
	}
	return time.Time{}
}

// guess serves where a token ends at a time that could not be read: taking it for endless would be
// wrong for longer.
func (r Reply) guess() time.Time {
	if r.conn.Lifetime > 0 {
		return r.sent.Add(r.conn.Lifetime)
	}
	return r.sent.Add(guessedLifetime)
}

// refreshExpiry is when the refresh token ends, by the names that GitHub, Keycloak and QuickBooks use. 0
// is no time but "does not end", or "not said".
func (r Reply) refreshExpiry() time.Time {
	for _, name := range []string{"refresh_token_expires_in", "refresh_expires_in", "x_refresh_token_expires_in"} {
		if lifetime, ok := seconds(r.Text(name)); ok && lifetime > 0 {
			return r.sent.Add(lifetime)
		}
	}
	return time.Time{}
}

// ours turns a time of the provider's clock into one of ours. Where the two differ by more than
// maxSkew, only the distance from the reply's Date counts.
func (r Reply) ours(at time.Time) time.Time {
	if at.After(r.sent.Add(maxLifetime)) {
		return r.sent.Add(maxLifetime)
	}
	if r.date.IsZero() || r.date.Sub(r.received).Abs() <= maxSkew {
		return at
	}
	return r.sent.Add(at.Sub(r.date))
}

// there tells a member that is neither absent nor null.
func (r Reply) there(name string) bool {
	v := r.member(name)
	return v != nil && v.Kind() != 'n'
}

// seconds reads a lifetime, which comes as a number or as a string of one. What has ended already has
// a lifetime of 0.
func seconds(text string) (time.Duration, bool) {
	n, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsNaN(n) {
		return 0, false
	}
	n = min(max(n, 0), maxLifetime.Seconds())
	return time.Duration(n * float64(time.Second)), true
}

// instant reads an absolute time: seconds or milliseconds since 1970, or RFC 3339.
func instant(text string) (time.Time, bool) {
	if at, err := time.Parse(time.RFC3339, text); err == nil {
		return at.UTC(), true
	}
	n, err := strconv.ParseFloat(text, 64)
	if err != nil || !(n > 0 && n < 1e15) {
		return time.Time{}, false
	}
	const millisSince = 1e11 // as seconds it is the year 5138
	if n >= millisSince {
		return time.UnixMilli(int64(n)).UTC(), true
	}
	return time.Unix(int64(n), 0).UTC(), true
}
