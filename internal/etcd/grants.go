package etcd

import (
	"context"
	"slices"

	"culvert/internal/access"
	"culvert/pipes"
)

// grantPointer leads from a refresh token to its grant.
type grantPointer struct {
	Grant pipes.GrantID `cbor:"1,keyasint"`
}

// Grant implements pipes.Reader.
func (s *Store) Grant(ctx context.Context, env access.EnvironmentID, id pipes.GrantID) (pipes.At[pipes.Grant], error) {
	return readAt[pipes.Grant](ctx, s, env, keyGrant(env, id), string(id))
}

// GrantOf implements pipes.Reader.
func (s *Store) GrantOf(ctx context.Context, env access.EnvironmentID, tokenMAC []byte) (pipes.GrantID, error) {
	found, err := readAt[grantPointer](ctx, s, env, keyToken(env, tokenMAC))
	if err != nil {
		return "", err
	}
	return found.Record.Grant, nil
}

// grant puts a grant with the way to it from its refresh token, and its place among those that are due.
// The place that it had stays: whoever finds it there looks at the record, and takes it out.
func (b *changeBuilder) grant(g *pipes.Put[pipes.Grant], previous []byte) {
	addPut(b, keyGrant(b.env, g.Record.ID), g)
	b.tokenIndex(g, previous)
	if at := g.Record.DueAt; !at.IsZero() {
		b.index(keyDue(b.env, at, g.Record.ID), dueEntry{}, g.Remove)
	}
}

// tokenIndex keeps the way from refresh tokens to grants. A token that another grant has already is a
// conflict: the same refresh token is the same grant.
func (b *changeBuilder) tokenIndex(g *pipes.Put[pipes.Grant], previous []byte) {
	now := g.Record.TokenMAC
	if g.Remove {
		previous, now = now, nil
	}
	if slices.Equal(previous, now) {
		return
	}
	if len(previous) > 0 {
		b.index(keyToken(b.env, previous), nil, true)
	}
	if len(now) > 0 {
		key := keyToken(b.env, now)
		b.change.when = append(b.change.when, b.store.absent(key))
		b.index(key, grantPointer{Grant: g.Record.ID}, false)
	}
}
