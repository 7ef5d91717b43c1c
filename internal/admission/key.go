package admission

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"culvert/internal/access"
	"culvert/internal/id"
	"culvert/internal/secret"
	"culvert/internal/text"
)

// State is what an API key can be used for.
type State string

// The states.
const (
	Active  State = "active"
	Expired State = "expired"
	Revoked State = "revoked"
)

// Key is what is told of an API key: never its text, nor what the store has of it.
type Key struct {
	access.KeyRecord
	State State
	// LastUsedAt is to the minute, and zero for a key that was never used.
	LastUsedAt time.Time
}

// NewKey is a key that was just made, with its text, which is told this once.
type NewKey struct {
	Key
	Text secret.Bytes
}

// Prefix is that of API keys' ids on the wire; actorPrefix is how the trail writes them, which is understood too.
const (
	Prefix      = "api_key_"
	actorPrefix = "key_"
)

// OnWire is a key's id as clients see it.
func OnWire(keyID string) string {
	if keyID == "" {
		return ""
	}
	return Prefix + keyID
}

// parseID is the ULID in an id that a caller named; ok is false for what can be none.
func parseID(text string) (keyID string, ok bool) {
	text = strings.TrimPrefix(strings.TrimPrefix(text, Prefix), actorPrefix)
	return text, id.IsULID(text)
}

func stateOf(r *access.KeyRecord, now time.Time) State {
	switch {
	case !r.RevokedAt.IsZero():
		return Revoked
	case !r.Usable(now):
		return Expired
	}
	return Active
}

// Limits of what is stored with a key. Lengths count Unicode code points.
const (
	MaxName        = 256
	MaxID          = 256
	MaxPermissions = 100
	MaxPermission  = 128
)

func checkText(field, value string, most int) error {
	if value == "" {
		return invalid(field, "must not be empty")
	}
	if utf8.RuneCountInString(value) > most || text.Unprintable(value) {
		return invalid(field, fmt.Sprintf("must be UTF-8 of at most %d characters, without control characters", most))
	}
	return nil
}

func checkPermissions(list []string) error {
	if len(list) > MaxPermissions {
		return invalid("permissions", fmt.Sprintf("must be at most %d", MaxPermissions))
	}
	seen := map[string]bool{}
	for _, p := range list {
		if err := checkText("permissions", p, MaxPermission); err != nil {
			return err
		}
		if p == string(access.Every) {
			return invalid("permissions", `must be named one by one; "*" is for rules of a role`)
		}
		if seen[p] {
			return invalid("permissions", "must not name anything twice")
		}
		seen[p] = true
	}
	return nil
}

// Lifetime says when a key ends: at a moment, after a time, or never.
type Lifetime struct {
	At time.Time
	In time.Duration
}

// end is the moment, from now; zero is never.
func (l Lifetime) end(now time.Time) (time.Time, error) {
	switch {
	case !l.At.IsZero() && l.In != 0:
		return time.Time{}, invalid("expires_at", "excludes expires_in")
	case l.In < 0 || l.In > maxLifetime:
		return time.Time{}, invalid("expires_in", "must be above zero and at most 100 years")
	case l.In > 0:
		return now.Add(l.In), nil
	case l.At.IsZero():
		return time.Time{}, nil
	case !l.At.After(now):
		return time.Time{}, invalid("expires_at", "must not have passed")
	}
	return l.At.UTC().Truncate(time.Millisecond), nil
}

const maxLifetime = 100 * 365 * 24 * time.Hour

// resource is what a key is to the evaluator: something of its organization, if it has one.
func resource(r *access.KeyRecord) access.Resource {
	if r.Organization == "" {
		return access.Resource{}
	}
	return access.Resource{Items: map[string]string{access.OrganizationItem: r.Organization}}
}

// about notes a key in the trail, and completes the permit with it.
func (o *operation) about(r *access.KeyRecord) error {
	o.Record.ObjectID, o.Record.ObjectName, o.Record.OrganizationID = OnWire(r.ID), r.Name, r.Organization
	return o.Complete(resource(r))
}
