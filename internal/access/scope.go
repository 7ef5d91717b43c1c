package access

import (
	"maps"
	"strings"
	"time"
)

// OrganizationItem is the context item that says which organization a record is of, in vault and pipes alike.
const OrganizationItem = "organization_id"

// Scope narrows a rule, or everything an API key may do, to some records and some time. What is not set
// narrows nothing: the zero Scope is everything, always. All that is set has to hold.
type Scope struct {
	// Context are items that the record's key context has, compared as bytes. It may have others.
	Context map[string]string `cbor:"1,keyasint,omitempty"`
	// NamePrefix is what the object's name begins with. Records without a name are not in such a scope.
	NamePrefix string `cbor:"2,keyasint,omitempty"`
	// Connector is the slug of a record of pipes. Records of the vault are not in such a scope.
	Connector string `cbor:"3,keyasint,omitempty"`
	// Organization is short for its context item ([OrganizationItem]).
	Organization string `cbor:"4,keyasint,omitempty"`
	// NotBefore is the first moment of the scope, NotAfter the first one behind it.
	NotBefore time.Time `cbor:"5,keyasint,omitzero"`
	NotAfter  time.Time `cbor:"6,keyasint,omitzero"`
}

// IsZero tells the scope that narrows nothing.
func (s *Scope) IsZero() bool {
	return len(s.Context) == 0 && s.NamePrefix == "" && s.Connector == "" && s.Organization == "" &&
		s.NotBefore.IsZero() && s.NotAfter.IsZero()
}

// verdict says for how much of a region something holds.
type verdict int

const (
	never verdict = iota
	// partly is also what cannot be known of a region: it never allows by itself.
	partly
	always
)

// region is what a decision is about: one record if it is exact, else all records that have at least what is
// set here.
type region struct {
	items     map[string]string
	name      string // of an exact region the name, else what names begin with
	connector string
	exact     bool
	// from and until are the first and the last moment; a zero until is for ever.
	from, until time.Time
}

// everything is the region of all records, now.
func everything(at time.Time) *region { return &region{from: at, until: at} }

// record is the region of one record, now.
func record(r *Resource, at time.Time) *region {
	return &region{items: r.Items, name: r.Name, connector: r.Connector, exact: true, from: at, until: at}
}

// over is the region of all records in a scope, from a moment on until the scope ends.
func over(s Scope, from, until time.Time) *region {
	items := make(map[string]string, len(s.Context)+1)
	maps.Copy(items, s.Context)
	if s.Organization != "" {
		items[OrganizationItem] = s.Organization
	}
	if s.NotBefore.After(from) {
		from = s.NotBefore
	}
	if !s.NotAfter.IsZero() && (until.IsZero() || s.NotAfter.Before(until)) {
		until = s.NotAfter.Add(-1) // the last moment of the scope
	}
	return &region{items: items, name: s.NamePrefix, connector: s.Connector, from: from, until: until}
}

// narrow takes what a scope adds to the region. What contradicts the region is left out, so that the region is
// too large rather than too small.
func (r *region) narrow(s *Scope) {
	more := over(*s, r.from, r.until)
	for name, value := range more.items {
		if _, ok := r.items[name]; !ok {
			r.items[name] = value
		}
	}
	if strings.HasPrefix(more.name, r.name) {
		r.name = more.name
	}
	if r.connector == "" {
		r.connector = more.connector
	}
}

// within tells how much of the region a scope holds.
func (r *region) within(s *Scope) verdict {
	v := min(r.during(s), r.named(s.NamePrefix), r.at(s.Connector))
	for name, value := range s.Context {
		v = min(v, r.has(name, value))
	}
	if s.Organization != "" {
		v = min(v, r.has(OrganizationItem, s.Organization))
	}
	return v
}

func (r *region) has(name, value string) verdict {
	switch found, ok := r.items[name]; {
	case ok && found == value:
		return always
	case ok || r.exact:
		return never
	}
	return partly
}

func (r *region) named(prefix string) verdict {
	switch {
	case strings.HasPrefix(r.name, prefix):
		return always
	case !r.exact && strings.HasPrefix(prefix, r.name):
		return partly
	}
	return never
}

func (r *region) at(connector string) verdict {
	switch {
	case connector == "" || connector == r.connector:
		return always
	case r.exact || r.connector != "":
		return never
	}
	return partly
}

func (r *region) during(s *Scope) verdict {
	endless := r.until.IsZero()
	switch {
	case !endless && r.until.Before(s.NotBefore), !s.NotAfter.IsZero() && !r.from.Before(s.NotAfter):
		return never
	case r.from.Before(s.NotBefore), !s.NotAfter.IsZero() && (endless || !r.until.Before(s.NotAfter)):
		return partly
	}
	return always
}
