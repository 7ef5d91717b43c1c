package etcd

import (
	"context"
	"errors"

	"culvert/internal/access"
	"culvert/keys"
	"culvert/pipes"
)

// member says that an account belongs to an integration; its key says which.
type member struct {
	Slug string `cbor:"1,keyasint"`
}

// Account implements pipes.Reader.
func (s *Store) Account(ctx context.Context, env access.EnvironmentID, id pipes.AccountID) (pipes.At[pipes.Account], error) {
	return readAt[pipes.Account](ctx, s, env, keyAccount(env, id), string(id))
}

// Connections implements pipes.Reader.
func (s *Store) Connections(ctx context.Context, env access.EnvironmentID, o pipes.Owner, slug string) (pipes.At[pipes.Connections], error) {
	e, err := s.environments.Environment(env)
	if err != nil {
		return pipes.At[pipes.Connections]{}, err
	}
	found, err := readAt[pipes.Connections](ctx, s, env, keyOwner(env, ownerIndex(e, o, slug)))
	if err == nil && (found.Record.Owner != o || found.Record.Slug != slug) {
		return pipes.At[pipes.Connections]{}, keys.ErrTampered
	}
	return found, err
}

// Memberships implements pipes.Reader.
func (s *Store) Memberships(ctx context.Context, env access.EnvironmentID) ([]pipes.IntegrationID, error) {
	return firsts(ctx, s, prefixMembers(env, ""), func(it *item) error {
		_, err := open[member](s, env, it)
		return err
	})
}

// AccountsOf implements pipes.Reader.
func (s *Store) AccountsOf(ctx context.Context, env access.EnvironmentID, id pipes.IntegrationID, after pipes.AccountID, limit int) ([]pipes.At[pipes.Account], error) {
	prefix := prefixMembers(env, id)
	from := s.client.abs(prefix)
	if after != "" {
		from = s.client.abs(prefix+string(after)) + "\x00"
	}
	members, err := s.fetchRange(ctx, from, s.client.end(prefix), int64(limit))
	if err != nil {
		return nil, err
	}
	var all []pipes.At[pipes.Account]
	for _, m := range members {
		if _, err := open[member](s, env, m); err != nil {
			return nil, err
		}
		account, err := s.Account(ctx, env, pipes.AccountID(lastOf(m.key)))
		if errors.Is(err, pipes.ErrNotFound) {
			continue // the range is newer than the memory that accounts are read from, or older
		}
		if err != nil {
			return nil, err
		}
		if account.Record.Integration != id {
			return nil, keys.ErrTampered
		}
		all = append(all, account)
	}
	return all, nil
}

// account adds an account, and its place in its integration's list.
func (b *changeBuilder) account(a *pipes.Put[pipes.Account]) {
	addPut(b, keyAccount(b.env, a.Record.ID), a)
	b.index(prefixMembers(b.env, a.Record.Integration)+string(a.Record.ID), member{Slug: a.Record.Slug}, a.Remove)
}

func ownerIndex(e *keys.Environment, o pipes.Owner, slug string) string {
	return e.OwnerIndex(string(o.Kind), o.User, o.Organization, slug)
}
