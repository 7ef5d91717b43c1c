package etcd

import (
	"context"
	"errors"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"culvert/internal/access"
	"culvert/keys"
	"culvert/pipes"
	"culvert/vault"
)

// moment is one revision of the store. A record and what belongs to it are looked at there, so that a change
// in between makes no contradiction of them.
type moment struct {
	*Store
	env      access.EnvironmentID
	revision int64
}

// get reads one key as it was then.
func (m *moment) get(ctx context.Context, key string) (*item, error) {
	ctx, cancel := bounded(ctx, readTimeout)
	defer cancel()
	resp, err := m.client.get(ctx, m.client.abs(key), clientv3.WithRev(m.revision))
	if errors.Is(err, rpctypes.ErrCompacted) {
		return nil, keys.ErrConflict
	}
	if err != nil {
		return nil, down(err)
	}
	if len(resp.Kvs) == 0 {
		return newItem(key, nil), nil
	}
	return newItem(key, resp.Kvs[0]), nil
}

// Evidence implements keys.EvidenceStore. It asks etcd itself: memory has checked what it holds before.
func (s *Store) Evidence(ctx context.Context, env access.EnvironmentID, key string) (*keys.Evidence, error) {
	readCtx, cancel := bounded(ctx, readTimeout)
	defer cancel()
	resp, err := s.client.get(readCtx, s.client.abs(key))
	if err != nil {
		return nil, down(err)
	}
	if len(resp.Kvs) == 0 {
		return nil, nil
	}
	m := &moment{Store: s, env: env, revision: resp.Header.Revision}
	it := newItem(key, resp.Kvs[0])
	switch kindOf(key) {
	case kindEnv:
		return m.environment(it)
	case kindKEK:
		return m.kek(ctx, it)
	case kindObject:
		return m.object(ctx, it)
	case kindAccount:
		return m.account(ctx, it)
	case kindGrant:
		return m.grant(ctx, it)
	case kindRevocation:
		return m.revocation(ctx, it)
	case kindIntegration, kindRetired:
		return m.integration(it)
	case kindConfiguration:
		return m.configuration(it)
	case kindFlow:
		return m.flow(it)
	}
	return &keys.Evidence{}, s.vouch(env, it)
}

// leads opens the record at a key that another record has to lead to. One that is missing was taken away.
func leads[T any](ctx context.Context, m *moment, key string) (*T, error) {
	it, err := m.get(ctx, key)
	if err != nil {
		return nil, err
	}
	if !it.exists() {
		return nil, keys.ErrTampered
	}
	return open[T](m.Store, m.env, it)
}

func (m *moment) environment(it *item) (*keys.Evidence, error) {
	record, err := open[keys.EnvironmentRecord](m.Store, m.env, it)
	if err != nil || keyEnv(record.ID) != it.key {
		return nil, keys.ErrTampered
	}
	return &keys.Evidence{Environment: record}, nil
}

// kek compares a KEK with the way to it from its context, and from each item of it, and with the map of CMKs. A
// shredded one has given up all but the second.
func (m *moment) kek(ctx context.Context, it *item) (*keys.Evidence, error) {
	record, err := open[keys.KEKRecord](m.Store, m.env, it)
	if err != nil || keyKEK(record.Environment, record.KeyID) != it.key {
		return nil, keys.ErrTampered
	}
	e, err := m.environments.Environment(m.env)
	if err != nil {
		return nil, err
	}
	if record.ShreddedAt.IsZero() {
		to, err := leads[kekPointer](ctx, m, keyKEKOf(m.env, e.ContextIndex(record.Context())))
		if err != nil {
			return nil, err
		}
		if to.KeyID != record.KeyID {
			return nil, keys.ErrTampered
		}
		if err := m.underCMKs(ctx, record); err != nil {
			return nil, err
		}
	}
	for name, value := range record.Items {
		entry, err := leads[kekEntry](ctx, m, prefixKEKs(m.env, e.ItemIndex(name, value))+string(record.KeyID))
		if err != nil {
			return nil, err
		}
		if entry.KeyID != record.KeyID {
			return nil, keys.ErrTampered
		}
	}
	return &keys.Evidence{KEK: record}, nil
}

// underCMKs compares a KEK with the map of CMKs as it was then. Each is genuine by itself: an older one of either
// shows here, where it would let somebody do without a customer's key.
func (m *moment) underCMKs(ctx context.Context, record *keys.KEKRecord) error {
	it, err := m.get(ctx, keyCMKMap(m.env))
	if err != nil {
		return err
	}
	if last := m.mirror.get(it.key); last.exists() && last.revision == it.revision {
		it = last // decoded once for all KEKs; the map is looked at by itself as well
	}
	cmks := &keys.CMKMap{}
	if it.exists() {
		if cmks, err = open[keys.CMKMap](m.Store, m.env, it); err != nil {
			return err
		}
	}
	if !cmks.Fits(record) {
		return keys.ErrTampered
	}
	return nil
}

// object compares an object's header with the index of names, and has its versions opened.
func (m *moment) object(ctx context.Context, it *item) (*keys.Evidence, error) {
	h, err := open[vault.Header](m.Store, m.env, it)
	if err != nil || keyObject(h.Environment, h.ID) != it.key || len(h.Versions) == 0 {
		return nil, keys.ErrTampered
	}
	e, err := m.environments.Environment(m.env)
	if err != nil {
		return nil, err
	}
	name, err := leads[nameRecord](ctx, m, keyName(m.env, e.NameIndex(h.Name)))
	if err != nil {
		return nil, err
	}
	if name.Name != h.Name || name.ID != h.ID {
		return nil, keys.ErrTampered
	}
	found := &keys.Evidence{}
	for i := range h.Versions {
		v := &h.Versions[i]
		found.Values = append(found.Values, keys.SealedValue{
			Context: h.Context(), Binding: h.Binding(v),
			Read: func(ctx context.Context) (keys.Sealed, error) { return m.version(ctx, h, v) },
		})
	}
	return found, nil
}

func (m *moment) version(ctx context.Context, h *vault.Header, v *vault.VersionHeader) (keys.Sealed, error) {
	it, err := m.get(ctx, keyVersion(m.env, h.ID, v.Sequence))
	if err != nil {
		return keys.Sealed{}, err
	}
	if !it.exists() || len(it.value) != v.Size || vault.ETag(it.value) != v.ETag {
		return keys.Sealed{}, keys.ErrTampered
	}
	return keys.Sealed{KeyID: h.KeyID, WrappedDEK: v.WrappedDEK, Ciphertext: it.value}, nil
}

// account compares an account with its integration's list and its owner's connections.
func (m *moment) account(ctx context.Context, it *item) (*keys.Evidence, error) {
	a, err := open[pipes.Account](m.Store, m.env, it)
	if err != nil || keyAccount(a.Environment, a.ID) != it.key {
		return nil, keys.ErrTampered
	}
	if _, err := leads[member](ctx, m, prefixMembers(m.env, a.Integration)+string(a.ID)); err != nil {
		return nil, err
	}
	e, err := m.environments.Environment(m.env)
	if err != nil {
		return nil, err
	}
	c, err := leads[pipes.Connections](ctx, m, keyOwner(m.env, ownerIndex(e, a.Owner, a.Slug)))
	if err != nil {
		return nil, err
	}
	if c.Owner != a.Owner || c.Slug != a.Slug || !c.Has(a.ID) {
		return nil, keys.ErrTampered
	}
	return &keys.Evidence{}, nil
}

// grant compares a grant with the way to it from its refresh token, and has its tokens opened.
func (m *moment) grant(ctx context.Context, it *item) (*keys.Evidence, error) {
	g, err := open[pipes.Grant](m.Store, m.env, it)
	if err != nil || keyGrant(g.Environment, g.ID) != it.key {
		return nil, keys.ErrTampered
	}
	if len(g.TokenMAC) > 0 {
		to, err := leads[grantPointer](ctx, m, keyToken(m.env, g.TokenMAC))
		if err != nil {
			return nil, err
		}
		if to.Grant != g.ID {
			return nil, keys.ErrTampered
		}
	}
	return tokensOf(g, g.Binding()), nil
}

func tokensOf(g *pipes.Grant, b keys.DEKBinding) *keys.Evidence {
	if len(g.WrappedDEK) == 0 {
		return &keys.Evidence{}
	}
	sealed := keys.Sealed{KeyID: g.KeyID, WrappedDEK: g.WrappedDEK, Ciphertext: g.Sealed}
	return &keys.Evidence{Values: []keys.SealedValue{
		at((&keys.KEKRecord{Items: g.Items}).Context(), b, sealed),
	}}
}

// revocation compares a revocation with the queue, and has the tokens that it holds opened.
func (m *moment) revocation(ctx context.Context, it *item) (*keys.Evidence, error) {
	r, err := open[pipes.Revocation](m.Store, m.env, it)
	if err != nil || keyRevocation(r.Environment, r.ID) != it.key {
		return nil, keys.ErrTampered
	}
	if r.State != pipes.RevocationPending {
		return &keys.Evidence{}, nil
	}
	if _, err := leads[revokingEntry](ctx, m, keyRevoking(m.env, r.ID)); err != nil {
		return nil, err
	}
	if r.Grant == nil {
		return nil, keys.ErrTampered
	}
	return tokensOf(r.Grant, r.Binding()), nil
}

func (m *moment) integration(it *item) (*keys.Evidence, error) {
	i, err := open[pipes.Integration](m.Store, m.env, it)
	if err != nil || keyIntegration(i.Environment, i.Slug, i.Ownership) != it.key && keyRetired(i.Environment, i.ID) != it.key {
		return nil, keys.ErrTampered
	}
	return secretsOf(i.Client, keys.Context{}, i.SecretBinding), nil
}

// secretsOf are a client's secrets, the previous one of a rotation too.
func secretsOf(c *pipes.Client, kctx keys.Context, binding func(*pipes.SealedSecret) keys.ClientSecretBinding) *keys.Evidence {
	found := &keys.Evidence{}
	for _, s := range c.Secrets() {
		found.Values = append(found.Values, at(kctx, binding(s), s.Sealed()))
	}
	return found
}

func (m *moment) flow(it *item) (*keys.Evidence, error) {
	f, err := open[pipes.Flow](m.Store, m.env, it)
	if err != nil || keyFlow(f.Environment, f.ID) != it.key {
		return nil, keys.ErrTampered
	}
	found := &keys.Evidence{}
	for i := range f.Departures {
		if d := &f.Departures[i]; d.Verifier != nil {
			found.Values = append(found.Values, at(keys.Context{}, f.VerifierBinding(d), d.Verifier.Sealed()))
		}
	}
	if w := f.Waiting; w != nil {
		found.Values = append(found.Values, at((&keys.KEKRecord{Items: w.Items}).Context(), f.WaitingBinding(), w.SealedTokens()))
	}
	return found, nil
}

// at is a sealed value that stands in its record.
func at(c keys.Context, b keys.DEKBinding, sealed keys.Sealed) keys.SealedValue {
	return keys.SealedValue{Context: c, Binding: b, Read: func(context.Context) (keys.Sealed, error) { return sealed, nil }}
}
