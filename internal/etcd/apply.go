package etcd

import (
	"context"

	clientv3 "go.etcd.io/etcd/client/v3"

	"culvert/internal/access"
	"culvert/keys"
	"culvert/pipes"
)

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
	if c := p.Configuration; c != nil {
		addPut(&b, configurationKey(e, c.Record.Integration, c.Record.Organization), c)
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
		b.grant(g, p.Previous)
		if p.Concludes {
			b.conclude(g.Record.ID, p.AttemptAt)
		}
	}
	if g := p.Left; g != nil {
		b.grant(g, g.Record.TokenMAC)
		if g.Remove {
			b.conclude(g.Record.ID, 0)
		}
	}
	if f := p.Flow; f != nil {
		addPut(&b, keyFlow(p.Environment, f.Record.ID), f)
	}
	if p.Revocation != nil {
		b.revocation(p.Revocation)
	}
	if i := p.Retired; i != nil {
		addPut(&b, keyRetired(p.Environment, i.Record.ID), i)
	}
	return b.commit(ctx, p.Conditions)
}

// frees reports a change that must go through also when there is little room: one that removes, or that
// saves tokens a provider has already handed out.
func frees(p pipes.Change) bool {
	return p.Account != nil && p.Account.Remove || p.Integration != nil && p.Integration.Remove ||
		p.Configuration != nil && p.Configuration.Remove ||
		p.Flow != nil && p.Flow.Remove || p.Revocation != nil || p.Retired != nil && p.Retired.Remove || p.Grant != nil && p.Grant.Revision > 0
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

// maxChangeBytes bounds keys and values of one change. etcd takes requests of 1.5 MiB unless it is told
// otherwise; the rest is for compares, probes and the envelopes of events. What etcd refuses for its size
// would look like an outage, and be tried again without end.
const maxChangeBytes = 1400 << 10

func (b *changeBuilder) fits() error {
	size := 0
	for _, op := range b.change.then {
		size += len(op.KeyBytes()) + len(op.ValueBytes())
	}
	for _, e := range b.change.events {
		size += len(e.Data)
	}
	if size > maxChangeBytes {
		return pipes.ErrTooLarge
	}
	return nil
}

func (b *changeBuilder) commit(ctx context.Context, conditions []keys.Conditions) error {
	seen := map[keys.ID]bool{}
	for _, c := range conditions {
		if b.err == nil && !seen[c.KeyID] {
			seen[c.KeyID] = true
			b.err = b.store.expectKEK(&b.change, c)
		}
	}
	if b.err == nil {
		b.err = b.fits()
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
