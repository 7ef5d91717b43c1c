package etcd

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"culvert/internal/access"
	"culvert/keys"
	"culvert/pipes"
	"culvert/vault"
)

// holderKinds are the kinds of records that hold wrapped DEKs, in the order of the walk. Flows hold the
// DEKs of PKCE verifiers and of waiting tokens, which are of use for minutes: a change of the record in
// between would cost somebody his flow.
func holderKinds() []string {
	return []string{kindIntegration, kindConfiguration, kindRetired, kindGrant, kindRevocation, kindObject}
}

// holderLine is a run of one kind in time; false for integrations and what organizations set of them, whose
// keys are not ids and which are few.
func holderLine(kind string, env access.EnvironmentID) (timeline, bool) {
	switch kind {
	case kindGrant:
		return ulids(keyGrant(env, "grant_")), true
	case kindRevocation:
		return ulids(keyRevocation(env, "data_installation_")), true
	case kindObject:
		return uuids(keyObject(env, "")), true
	}
	return timeline{}, false
}

// Holders implements keys.HolderStore. The cursor is a relative key: its first field is the kind at which
// the walk stands.
func (s *Store) Holders(ctx context.Context, env access.EnvironmentID, after string, limit int) ([]keys.Holder, error) {
	ctx, cancel := bounded(ctx, readTimeout)
	defer cancel()
	kinds := holderKinds()
	if at := slices.Index(kinds, kindOf(after)); at >= 0 {
		kinds = kinds[at:]
	}
	for _, kind := range kinds {
		items, err := s.walkHolders(ctx, kind, env, after, limit)
		if err != nil {
			return nil, err
		}
		if len(items) == 0 {
			continue
		}
		found := make([]keys.Holder, len(items))
		for i, it := range items {
			found[i] = s.holder(env, it)
		}
		return found, nil
	}
	return nil, nil
}

func (s *Store) walkHolders(ctx context.Context, kind string, env access.EnvironmentID, after string, limit int) ([]*item, error) {
	line, timed := holderLine(kind, env)
	if timed {
		id, within := strings.CutPrefix(after, line.prefix)
		if !within {
			id = ""
		}
		return s.walk(ctx, line, id, limit)
	}
	prefix := kind + "/" + string(env) + "/"
	from := s.client.abs(prefix)
	if strings.HasPrefix(after, prefix) {
		from = s.client.abs(after) + "\x00"
	}
	return s.fetchRange(ctx, from, s.client.end(prefix), int64(limit))
}

// holdersAtOnce is how many records one read of [Store.EachHolder] takes: as many as of the list index.
const holdersAtOnce = loadPage

// EachHolder implements keys.HolderStore. It goes by plain ranges: windows of time would be dozens of reads for
// a dozen records.
func (s *Store) EachHolder(ctx context.Context, env access.EnvironmentID, each func(keys.Holder)) error {
	for _, kind := range holderKinds() {
		from, end := s.client.abs(kind+"/"+string(env)+"/"), s.client.end(kind+"/"+string(env)+"/")
		for {
			items, err := s.fetchRange(ctx, from, end, holdersAtOnce)
			if err != nil {
				return err
			}
			for _, it := range items {
				each(s.holder(env, it))
			}
			if len(items) < holdersAtOnce {
				break
			}
			from = s.client.abs(items[len(items)-1].key) + "\x00"
		}
	}
	return nil
}

// CountHolders implements keys.HolderStore.
func (s *Store) CountHolders(ctx context.Context, env access.EnvironmentID) (uint64, error) {
	var all uint64
	for _, kind := range holderKinds() {
		n, err := s.countRange(ctx, kind+"/"+string(env)+"/")
		if err != nil {
			return 0, err
		}
		all += n
	}
	return all, nil
}

// Holder implements keys.HolderStore.
func (s *Store) Holder(ctx context.Context, env access.EnvironmentID, key string) (keys.Holder, error) {
	it, err := s.fetch(ctx, key)
	if err != nil {
		return keys.Holder{}, err
	}
	return s.holder(env, it), nil
}

// holder reads the DEKs out of a record. What is at the wrong key was put there by somebody else.
func (s *Store) holder(env access.EnvironmentID, it *item) keys.Holder {
	h := keys.Holder{Key: it.key, Revision: it.revision}
	if !it.exists() {
		return h
	}
	switch kindOf(it.key) {
	case kindObject:
		record, err := open[vault.Header](s, env, it)
		if err == nil && keyObject(record.Environment, record.ID) != it.key {
			err = keys.ErrTampered
		}
		if h.Err = err; err == nil {
			h.Record, h.DEKs = record, objectDEKs(record)
		}
	case kindGrant:
		record, err := open[pipes.Grant](s, env, it)
		if err == nil && keyGrant(record.Environment, record.ID) != it.key {
			err = keys.ErrTampered
		}
		if h.Err = err; err == nil && len(record.WrappedDEK) > 0 {
			h.Record = record
			h.DEKs = []keys.HeldDEK{{
				KeyID: record.KeyID, Wrapped: record.WrappedDEK, Binding: record.Binding(), SealedAt: record.ObtainedAt, ReencryptedAt: record.ReencryptedAt,
			}}
		}
	case kindRevocation:
		record, err := open[pipes.Revocation](s, env, it)
		if err == nil && keyRevocation(record.Environment, record.ID) != it.key {
			err = keys.ErrTampered
		}
		if h.Err = err; err == nil && record.Grant != nil {
			g := record.Grant
			h.Record = record
			h.DEKs = []keys.HeldDEK{{
				KeyID: g.KeyID, Wrapped: g.WrappedDEK, Binding: record.Binding(), SealedAt: g.ObtainedAt, ReencryptedAt: g.ReencryptedAt,
			}}
		}
	case kindIntegration, kindRetired:
		record, err := open[pipes.Integration](s, env, it)
		if err == nil && keyIntegration(record.Environment, record.Slug, record.Ownership) != it.key && keyRetired(record.Environment, record.ID) != it.key {
			err = keys.ErrTampered
		}
		if h.Err = err; err == nil {
			h.Record, h.DEKs = record, secretDEKs(record.Client, record.SecretBinding)
		}
	case kindConfiguration:
		record, err := open[pipes.Configuration](s, env, it)
		if err == nil && !s.isConfiguration(env, record, it.key) {
			err = keys.ErrTampered
		}
		if h.Err = err; err == nil {
			h.Record, h.DEKs = record, secretDEKs(record.Client, record.SecretBinding)
		}
	}
	return h
}

// secretDEKs are those of a record that holds a client. A secret that another one takes the place of moves within
// the record, so its place is when it was sealed.
func secretDEKs(c *pipes.Client, binding func(*pipes.SealedSecret) keys.ClientSecretBinding) []keys.HeldDEK {
	var deks []keys.HeldDEK
	for _, s := range c.Secrets() {
		deks = append(deks, keys.HeldDEK{
			KeyID: s.KeyID, Wrapped: s.WrappedDEK, Place: s.SealedAt.Format(time.RFC3339Nano), Binding: binding(s), SealedAt: s.SealedAt, ReencryptedAt: s.ReencryptedAt,
		})
	}
	return deks
}

func objectDEKs(h *vault.Header) []keys.HeldDEK {
	deks := make([]keys.HeldDEK, len(h.Versions))
	for i := range h.Versions {
		v := &h.Versions[i]
		deks[i] = keys.HeldDEK{
			KeyID: h.KeyID, Wrapped: v.WrappedDEK, Place: string(v.ID), Binding: h.Binding(v), SealedAt: v.CreatedAt, ReencryptedAt: v.ReencryptedAt,
		}
	}
	return deks
}

// Rewrap implements keys.HolderStore.
func (s *Store) Rewrap(ctx context.Context, env access.EnvironmentID, h keys.Holder, deks [][]byte, conditions []keys.Conditions) error {
	if err := s.room.forWrite(); err != nil {
		return err
	}
	op, err := s.put(env, h.Key, withDEKs(h.Record, deks))
	if err != nil {
		return err
	}
	w := &rewrap{env: env, at: []placeAt{{h.Key, h.Revision}}, put: op}
	for _, condition := range conditions {
		if condition.Create != nil {
			return errors.New("etcd: a rewrap under a KEK that does not exist yet")
		}
		if at := (placeAt{keyKEK(env, condition.KeyID), condition.Generation}); !slices.Contains(w.at, at) {
			w.at = append(w.at, at)
		}
	}
	return s.rewraps.do(ctx, w)
}

// withDEKs is a copy of a record with other DEKs: the one that was read is shared.
func withDEKs(record any, deks [][]byte) any {
	rewrapped := func(n int, s *pipes.SealedSecret) { s.WrappedDEK = deks[n] }
	switch r := record.(type) {
	case *vault.Header:
		next := *r
		next.Versions = slices.Clone(r.Versions)
		for i := range next.Versions {
			next.Versions[i].WrappedDEK = deks[i]
		}
		return &next
	case *pipes.Grant:
		next := *r
		next.WrappedDEK = deks[0]
		return &next
	case *pipes.Revocation:
		next, held := *r, *r.Grant
		held.WrappedDEK = deks[0]
		next.Grant = &held
		return &next
	case *pipes.Integration:
		next := *r
		next.Client = r.Client.WithSecrets(rewrapped)
		return &next
	case *pipes.Configuration:
		next := *r
		next.Client = r.Client.WithSecrets(rewrapped)
		return &next
	}
	return nil
}
