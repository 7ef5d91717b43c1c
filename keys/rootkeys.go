package keys

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// RootKeys are the root keys at hand: the current one, which wraps what is new, and others that records are
// still under, or already. While all KEKs move from one root key to another, every replica has both. It is
// immutable.
type RootKeys struct {
	// all begins with the current one. No two have one URI.
	all []RootKey
}

// NewRootKeys collects root keys. Of two with one URI the first is kept.
func NewRootKeys(current RootKey, others ...RootKey) *RootKeys {
	rs := &RootKeys{all: []RootKey{current}}
	for _, other := range others {
		if rs.find(other.URI()) == nil {
			rs.all = append(rs.all, other)
		}
	}
	return rs
}

// Current is the root key that wraps the share of slot root in whatever is made or changed from now on.
func (rs *RootKeys) Current() RootKey { return rs.all[0] }

// All are the root keys at hand, the current one first.
func (rs *RootKeys) All() []RootKey { return slices.Clone(rs.all) }

// Key is the root key with that URI, which stands in a record. The error wraps [ErrRefused] and names the
// key, if it is not at hand.
func (rs *RootKeys) Key(_ context.Context, uri string) (RootKey, error) {
	if found := rs.find(uri); found != nil {
		return found, nil
	}
	uris := make([]string, len(rs.all))
	for i, root := range rs.all {
		uris[i] = root.URI()
	}
	atHand := "the one at hand is "
	if len(uris) > 1 {
		atHand = "those at hand are "
	}
	return nil, fmt.Errorf("%w: it needs root key %q, and %s%s", ErrRefused, uri, atHand, strings.Join(uris, ", "))
}

func (rs *RootKeys) find(uri string) RootKey {
	for _, root := range rs.all {
		if root.URI() == uri {
			return root
		}
	}
	return nil
}
