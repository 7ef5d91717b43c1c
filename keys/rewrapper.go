package keys

import (
	"context"
	"fmt"
)

// Rewrapper is a [RootKey] whose provider moves a share from one of its keys to another by itself, so
// that the share in clear does not leave it. A provider that cannot has no need to implement it: see
// [Rewrap].
type Rewrapper interface {
	RootKey
	// RewrapFrom wraps under this key, under the same binding, what from has wrapped; from may be this
	// key itself, whose material was rotated. ok is false, and nothing was asked, if the provider does
	// not reach from. A refusal may be that of either key.
	RewrapFrom(ctx context.Context, from RootKey, wrapped []byte, b Binding) (rewrapped []byte, ok bool, err error)
}

// Rewrap wraps under to what from has wrapped: within the provider where to can do that, else by
// unwrapping and wrapping here. The old form stays valid for as long as from does, so nothing is lost
// when it fails. Errors are as of [RootKey].
//
// What a provider answers is proven only by unwrapping it: who replaces the old form does that first.
func Rewrap(ctx context.Context, from, to RootKey, wrapped []byte, b Binding) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, rootTimeout)
	defer cancel()
	if r, ok := to.(Rewrapper); ok {
		rewrapped, ok, err := r.RewrapFrom(ctx, from, wrapped, b)
		switch {
		case err != nil:
			return nil, fmt.Errorf("rewrap from %s: %w", from.URI(), rootError(to, err))
		case ok:
			return rewrapped, nil
		}
	}
	share, err := from.Unwrap(ctx, wrapped, b)
	if err != nil {
		return nil, rootError(from, err)
	}
	if share.Len() != ShareSize {
		return nil, fmt.Errorf("root key %s: %w", from.URI(), ErrTampered)
	}
	rewrapped, err := to.Wrap(ctx, share, b)
	if err != nil {
		return nil, rootError(to, err)
	}
	return rewrapped, nil
}
