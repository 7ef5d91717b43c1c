package etcd

import (
	"context"
	"slices"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"culvert/internal/access"
	"culvert/keys"
	"culvert/pipes"
	"culvert/vault"
)

// HeldCiphertext implements keys.HolderStore. The value of an object stands at a key of its own, which changes
// only together with the header.
func (s *Store) HeldCiphertext(ctx context.Context, env access.EnvironmentID, h keys.Holder, at int) ([]byte, error) {
	switch r := h.Record.(type) {
	case *vault.Header:
		return s.versionOf(ctx, env, h, keyVersion(env, r.ID, r.Versions[at].Sequence))
	case *pipes.Grant:
		return r.Sealed, nil
	case *pipes.Revocation:
		return r.Grant.Sealed, nil
	case *pipes.Integration:
		return r.Client.Secrets()[at].Ciphertext, nil
	case *pipes.Configuration:
		return r.Client.Secrets()[at].Ciphertext, nil
	}
	return nil, keys.ErrTampered
}

// versionOf reads a version as it stood with its header.
func (s *Store) versionOf(ctx context.Context, env access.EnvironmentID, h keys.Holder, version string) ([]byte, error) {
	ctx, cancel := bounded(ctx, readTimeout)
	defer cancel()
	resp, err := s.client.kv.Txn(ctx).
		If(clientv3.Compare(clientv3.ModRevision(s.client.abs(h.Key)), "=", h.Revision)).
		Then(clientv3.OpGet(s.client.abs(version))).Commit()
	switch {
	case err != nil:
		return nil, down(err)
	case !resp.Succeeded:
		return nil, keys.ErrConflict
	}
	kv := firstOf(resp.Responses[0].GetResponseRange())
	if kv == nil {
		return nil, keys.ErrTampered // one that was removed by us is not in its header either
	}
	return kv.Value, nil
}

// Reencrypt implements keys.HolderStore. It needs room like a write of a new value: the old one stays in the
// store's history for a while.
func (s *Store) Reencrypt(ctx context.Context, env access.EnvironmentID, h keys.Holder, at int, sealed keys.Sealed, job time.Time, condition keys.Conditions) error {
	if err := s.forGrowth(); err != nil {
		return err
	}
	c := change{
		env:  env,
		when: []clientv3.Cmp{clientv3.Compare(clientv3.ModRevision(s.client.abs(h.Key)), "=", h.Revision)},
	}
	op, err := s.put(env, h.Key, withValue(h.Record, at, sealed, job))
	if err != nil {
		return err
	}
	c.then = append(c.then, op)
	if r, ok := h.Record.(*vault.Header); ok {
		c.then = append(c.then, opPut(s.client.abs(keyVersion(env, r.ID, r.Versions[at].Sequence)), sealed.Ciphertext))
	}
	if err := s.expectKEK(&c, condition); err != nil {
		return err
	}
	done, err := s.commit(ctx, c)
	if err != nil || done.committed {
		return err
	}
	return keys.ErrConflict
}

// withValue is a copy of a record with another value in its place: the one that was read is shared.
func withValue(record any, at int, sealed keys.Sealed, job time.Time) any {
	again := func(n int, s *pipes.SealedSecret) {
		if n == at {
			s.WrappedDEK, s.Ciphertext, s.ReencryptedAt = sealed.WrappedDEK, sealed.Ciphertext, job
		}
	}
	switch r := record.(type) {
	case *vault.Header:
		next := *r
		next.Versions = slices.Clone(r.Versions)
		v := &next.Versions[at]
		v.WrappedDEK, v.ETag, v.Size = sealed.WrappedDEK, vault.ETag(sealed.Ciphertext), len(sealed.Ciphertext)
		v.ReencryptedAt = job
		return &next
	case *pipes.Grant:
		next := *r
		next.WrappedDEK, next.Sealed, next.ReencryptedAt = sealed.WrappedDEK, sealed.Ciphertext, job
		return &next
	case *pipes.Revocation:
		next, held := *r, *r.Grant
		held.WrappedDEK, held.Sealed, held.ReencryptedAt = sealed.WrappedDEK, sealed.Ciphertext, job
		next.Grant = &held
		return &next
	case *pipes.Integration:
		next := *r
		next.Client = r.Client.WithSecrets(again)
		return &next
	case *pipes.Configuration:
		next := *r
		next.Client = r.Client.WithSecrets(again)
		return &next
	}
	return nil
}
