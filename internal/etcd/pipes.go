package etcd

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"
	clientv3 "go.etcd.io/etcd/client/v3"

	"culvert/internal/access"
	"culvert/keys"
	"culvert/pipes"
)

var _ pipes.Store = (*Store)(nil)

// grantPointer leads from a refresh token to its grant.
type grantPointer struct {
	Grant pipes.GrantID `cbor:"1,keyasint"`
}

// member says that an account belongs to an integration; its key says which.
type member struct {
	Slug string `cbor:"1,keyasint"`
}

// Integration implements pipes.Reader.
func (s *Store) Integration(ctx context.Context, env access.EnvironmentID, slug string, o pipes.Ownership) (pipes.At[pipes.Integration], error) {
	return readAt[pipes.Integration](ctx, s, env, keyIntegration(env, slug, o), slug, string(o))
}

// Integrations implements pipes.Reader: from memory while the watch is current.
func (s *Store) Integrations(ctx context.Context, env access.EnvironmentID) ([]pipes.At[pipes.Integration], error) {
	prefix := kindIntegration + "/" + string(env) + "/"
	current := s.feed.current() // asked first: what is listed before may be older
	items := s.mirror.list(prefix)
	if !current {
		var err error
		if items, err = s.fetchRange(ctx, s.client.abs(prefix), s.client.end(prefix), 0); err != nil {
			return nil, err
		}
	}
	all, err := openAll[pipes.Integration](s, env, items)
	slices.SortFunc(all, func(a, b pipes.At[pipes.Integration]) int {
		return strings.Compare(string(a.Record.ID), string(b.Record.ID))
	})
	return all, err
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

// Flow implements pipes.Reader.
func (s *Store) Flow(ctx context.Context, env access.EnvironmentID, id pipes.FlowID) (pipes.At[pipes.Flow], error) {
	return readAt[pipes.Flow](ctx, s, env, keyFlow(env, id), string(id))
}

// Flows implements pipes.Reader. A flow's id begins with its time of creation.
func (s *Store) Flows(ctx context.Context, env access.EnvironmentID, from, to time.Time) ([]pipes.At[pipes.Flow], error) {
	bound := func(t time.Time) string {
		var id ulid.ULID
		_ = id.SetTime(ulid.Timestamp(t)) // fails in the year 10889
		return s.client.abs(keyFlow(env, pipes.FlowID(id.String())))
	}
	items, err := s.fetchRange(ctx, bound(from), bound(to), 0)
	if err != nil {
		return nil, err
	}
	return openAll[pipes.Flow](s, env, items)
}

// Memberships implements pipes.Reader: from one integration's first member to the next one's, so that
// the work is bounded by the number of integrations and not by that of accounts.
func (s *Store) Memberships(ctx context.Context, env access.EnvironmentID) ([]pipes.IntegrationID, error) {
	all := prefixMembers(env, "")
	all = all[:len(all)-1]
	var found []pipes.IntegrationID
	for from := s.client.abs(all); ; {
		first, err := s.fetchRange(ctx, from, s.client.end(all), 1)
		if err != nil || len(first) == 0 {
			return found, err
		}
		if _, err := open[member](s, env, first[0]); err != nil {
			return nil, err
		}
		id, _, _ := strings.Cut(first[0].key[len(all):], "/")
		found = append(found, pipes.IntegrationID(id))
		from = s.client.end(prefixMembers(env, pipes.IntegrationID(id)))
	}
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

// Apply implements pipes.Store.
func (s *Store) Apply(ctx context.Context, p pipes.Change) error {
	if err := s.room.forWrite(); err != nil && !frees(p) {
		return err
	}
	e, err := s.environments.Environment(p.Environment)
	if err != nil {
		return err
	}
	b := changeBuilder{store: s, env: p.Environment, change: change{env: p.Environment, events: p.Events}}
	if i := p.Integration; i != nil {
		addPut(&b, keyIntegration(p.Environment, i.Record.Slug, i.Record.Ownership), i)
	}
	if p.Account != nil {
		b.account(p.Account)
	}
	for i := range p.Others {
		b.account(&p.Others[i])
	}
	if c := p.Connections; c != nil {
		addPut(&b, keyOwner(p.Environment, ownerIndex(e, c.Record.Owner, c.Record.Slug)), c)
	}
	if g := p.Grant; g != nil {
		addPut(&b, keyGrant(p.Environment, g.Record.ID), g)
		b.tokenIndex(g, p.Previous)
	}
	if g := p.Left; g != nil {
		addPut(&b, keyGrant(p.Environment, g.Record.ID), g)
		b.tokenIndex(g, g.Record.TokenMAC)
	}
	if f := p.Flow; f != nil {
		addPut(&b, keyFlow(p.Environment, f.Record.ID), f)
	}
	return b.commit(ctx, p.Conditions)
}

// frees reports a change that must go through also when there is little room: one that removes, or that
// saves tokens a provider has already handed out.
func frees(p pipes.Change) bool {
	return p.Account != nil && p.Account.Remove || p.Integration != nil && p.Integration.Remove ||
		p.Flow != nil && p.Flow.Remove || p.Grant != nil && p.Grant.Revision > 0
}

// changeBuilder gathers the parts of a pipes.Change; the first error ends it.
type changeBuilder struct {
	store  *Store
	env    access.EnvironmentID
	change change
	// revisions are those that the probes at the front are compared with, in their order.
	revisions []int64
	err       error
}

// addPut adds one record with its compare and the probe that tells whether it was the one that failed.
func addPut[T any](b *changeBuilder, key string, p *pipes.Put[T]) {
	abs := b.store.client.abs(key)
	b.change.when = append(b.change.when, clientv3.Compare(clientv3.ModRevision(abs), "=", p.Revision))
	b.change.probes = append(b.change.probes, clientv3.OpGet(abs, clientv3.WithKeysOnly()))
	b.revisions = append(b.revisions, p.Revision)
	b.index(key, &p.Record, p.Remove)
}

// account adds an account, and its place in its integration's list.
func (b *changeBuilder) account(a *pipes.Put[pipes.Account]) {
	addPut(b, keyAccount(b.env, a.Record.ID), a)
	b.index(prefixMembers(b.env, a.Record.Integration)+string(a.Record.ID), member{Slug: a.Record.Slug}, a.Remove)
}

// index puts or removes a key that follows from a record.
func (b *changeBuilder) index(key string, record any, remove bool) {
	if remove {
		b.change.then = append(b.change.then, clientv3.OpDelete(b.store.client.abs(key)))
		return
	}
	op, err := b.store.put(b.env, key, record)
	if err != nil {
		b.err = err
		return
	}
	b.change.then = append(b.change.then, op)
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

func (b *changeBuilder) commit(ctx context.Context, conditions []keys.Conditions) error {
	seen := map[keys.ID]bool{}
	for _, c := range conditions {
		if b.err == nil && !seen[c.KeyID] {
			seen[c.KeyID] = true
			b.err = b.store.expectKEK(&b.change, c)
		}
	}
	if b.err != nil {
		return b.err
	}
	done, err := b.store.commit(ctx, b.change)
	if err != nil || done.committed {
		return err
	}
	if len(conditions) == 0 || len(done.probes) < len(b.revisions) {
		return pipes.ErrConflict
	}
	for i, revision := range b.revisions {
		if kv := firstOf(done.probes[i]); (kv == nil && revision != 0) || (kv != nil && kv.ModRevision != revision) {
			return pipes.ErrConflict
		}
	}
	return keys.ErrConflict
}

// readAt looks up one record. parts are what a caller's text contributes to the key.
func readAt[T any](ctx context.Context, s *Store, env access.EnvironmentID, key string, parts ...string) (pipes.At[T], error) {
	for _, part := range parts {
		if !plainPart(part) {
			return pipes.At[T]{}, pipes.ErrNotFound
		}
	}
	it, err := s.lookup(ctx, key)
	if err != nil {
		return pipes.At[T]{}, err
	}
	if !it.exists() {
		return pipes.At[T]{}, pipes.ErrNotFound
	}
	record, err := open[T](s, env, it)
	return pipes.At[T]{Record: record, Revision: it.revision}, err
}

func openAll[T any](s *Store, env access.EnvironmentID, items []*item) ([]pipes.At[T], error) {
	all := make([]pipes.At[T], 0, len(items))
	for _, it := range items {
		record, err := open[T](s, env, it)
		if err != nil {
			return nil, err
		}
		all = append(all, pipes.At[T]{Record: record, Revision: it.revision})
	}
	return all, nil
}

// fetchRange reads [from, end) of absolute keys from etcd, linearizably; limit 0 reads all.
func (s *Store) fetchRange(ctx context.Context, from, end string, limit int64) ([]*item, error) {
	ctx, cancel := bounded(ctx, readTimeout)
	defer cancel()
	resp, err := s.client.kv.Get(ctx, from, clientv3.WithRange(end), clientv3.WithLimit(limit))
	if err != nil {
		return nil, down(err)
	}
	items := make([]*item, 0, len(resp.Kvs))
	for _, kv := range resp.Kvs {
		items = append(items, newItem(s.client.rel(kv.Key), kv))
	}
	return items, nil
}

func ownerIndex(e *keys.Environment, o pipes.Owner, slug string) string {
	return e.OwnerIndex(string(o.Kind), o.User, o.Organization, slug)
}

// plainPart keeps a caller's text out of keys: slugs and ids are letters, digits, dashes, underscores.
func plainPart(text string) bool {
	if text == "" || len(text) > 64 {
		return false
	}
	for _, r := range text {
		if (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && r != '-' && r != '_' {
			return false
		}
	}
	return true
}
