package etcd

import (
	"context"
	"errors"
	"fmt"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"culvert/internal/access"
	"culvert/keys"
)

// Errors of an empty or foreign root. Starting on the wrong prefix must not silently begin an empty
// vault, nor write into somebody else's keys.
var (
	// ErrUninitialized means that nothing of Culvert's stands under the root.
	ErrUninitialized = errors.New("etcd: no vault under this prefix")
	// ErrInitialized means that a vault stands under the root already.
	ErrInitialized = errors.New("etcd: there is a vault under this prefix already")
	// ErrForeign means that the root holds something that is not Culvert's, or of a later format.
	ErrForeign = errors.New("etcd: the prefix belongs to another program or a later version")
)

// Initialize writes the format marker, the first environment and its API keys, if there are any, into an
// empty root, by one compare-and-swap: of two processes that start at once, one gets [ErrInitialized] and
// loads what the other wrote. After an outage of kind Unknown it may be called again: ErrInitialized then
// means that the first one, or another process, got through.
func (c *Client) Initialize(
	ctx context.Context, codec codec, record keys.EnvironmentRecord, env *keys.Environment, apiKeys ...access.KeyRecord,
) error {
	if err := c.checkRoot(ctx); !errors.Is(err, ErrUninitialized) {
		if err == nil {
			return ErrInitialized
		}
		return err
	}
	marker := c.abs(kindFormat)
	first := []clientv3.Op{clientv3.OpPut(marker, formatMarker), clientv3.OpPut(c.abs(keyEpoch(record.ID)), "1")}
	put := func(key string, record any) error {
		value, err := authentic(codec, env, key, record)
		first = append(first, opPut(c.abs(key), value))
		return err
	}
	if err := put(keyEnv(record.ID), record); err != nil {
		return err
	}
	for _, apiKey := range apiKeys {
		if err := put(keyAPIKey(apiKey.Environment, apiKey.ID), apiKey); err != nil {
			return err
		}
	}
	ctx, cancel := bounded(ctx, readTimeout)
	defer cancel()
	resp, err := c.kv.Txn(ctx).If(clientv3.Compare(clientv3.CreateRevision(marker), "=", 0)).Then(first...).Commit()
	if err != nil {
		return unsure(err)
	}
	if !resp.Succeeded {
		return ErrInitialized
	}
	return nil
}

// Initialized tells an empty root from one with a vault; the error is [ErrForeign] or an outage.
func (c *Client) Initialized(ctx context.Context) (bool, error) {
	err := c.checkRoot(ctx)
	if errors.Is(err, ErrUninitialized) {
		return false, nil
	}
	return err == nil, err
}

// Environments loads and opens every environment of the root. open unseals a record's keysets; the
// record's own MAC is checked with them.
func (c *Client) Environments(ctx context.Context, codec codec, open func(keys.EnvironmentRecord) (*keys.Environment, error)) (*keys.Environments, error) {
	if err := c.checkRoot(ctx); err != nil {
		return nil, err
	}
	ctx, cancel := bounded(ctx, readTimeout)
	defer cancel()
	resp, err := c.kv.Get(ctx, c.abs(kindEnv+"/"), clientv3.WithPrefix())
	if err != nil {
		return nil, down(err)
	}
	var all []*keys.Environment
	for _, kv := range resp.Kvs {
		env, err := openEnvironment(codec, c.rel(kv.Key), kv.Value, open)
		if err != nil {
			return nil, fmt.Errorf("environment %s: %w", lastOf(c.rel(kv.Key)), err)
		}
		all = append(all, env)
	}
	if len(all) == 0 {
		return nil, keys.ErrTampered
	}
	return keys.NewEnvironments(all...), nil
}

// openEnvironment decodes before it verifies, because the MAC's key is inside: what it decodes is
// believed only where its seals, whose AAD holds every field, open.
func openEnvironment(codec codec, key string, value []byte, open func(keys.EnvironmentRecord) (*keys.Environment, error)) (*keys.Environment, error) {
	_, body, ok := split(value)
	if !ok {
		return nil, keys.ErrTampered
	}
	var record keys.EnvironmentRecord
	if err := codec.Decode(body, &record); err != nil || keyEnv(record.ID) != key {
		return nil, keys.ErrTampered
	}
	env, err := open(record)
	if err != nil {
		return nil, err
	}
	if err := verify(codec, env, key, value, &record); err != nil {
		return nil, err
	}
	return env, nil
}

// checkRoot tells an empty root from ours and from anything else. An etcd that is starting up, or
// without a leader for a moment, is waited for.
func (c *Client) checkRoot(ctx context.Context) error {
	ctx, cancel := bounded(ctx, 2*readTimeout)
	defer cancel()
	for {
		err := c.readRoot(ctx)
		if err == nil || errors.Is(err, ErrUninitialized) || errors.Is(err, ErrForeign) {
			return err
		}
		select {
		case <-ctx.Done():
			return down(err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func (c *Client) readRoot(ctx context.Context) error {
	ctx, cancel := bounded(ctx, readTimeout)
	defer cancel()
	marker, err := c.kv.Get(ctx, c.abs(kindFormat))
	if err != nil {
		return err
	}
	if len(marker.Kvs) == 1 {
		if string(marker.Kvs[0].Value) != formatMarker {
			return ErrForeign
		}
		return nil
	}
	// Limit 1 still visits the range, but a root without a marker is empty or not ours.
	any, err := c.kv.Get(ctx, c.root, clientv3.WithPrefix(), clientv3.WithLimit(1), clientv3.WithKeysOnly(),
		clientv3.WithRev(marker.Header.Revision)) // another process may be writing the first keys just now
	if err != nil {
		return err
	}
	if len(any.Kvs) > 0 {
		return ErrForeign
	}
	return ErrUninitialized
}

// EnvironmentRecord implements keys.OperationsStore.
func (s *Store) EnvironmentRecord(ctx context.Context, env access.EnvironmentID) (*keys.EnvironmentRecord, int64, error) {
	it, err := s.lookup(ctx, keyEnv(env))
	if err != nil {
		return nil, 0, err
	}
	if !it.exists() {
		return nil, 0, keys.ErrTampered // this process has its keys
	}
	record, err := open[keys.EnvironmentRecord](s, env, it)
	if err == nil && record.ID != env {
		err = keys.ErrTampered
	}
	if err != nil {
		return nil, 0, err
	}
	return record, it.revision, nil
}

// ReplaceEnvironment implements keys.OperationsStore. The MAC stays the environment's own: its key is in the
// record before and after.
func (s *Store) ReplaceEnvironment(ctx context.Context, r keys.EnvironmentRecord, revision int64) error {
	if err := s.room.forWrite(); err != nil {
		return err
	}
	key := keyEnv(r.ID)
	op, err := s.put(r.ID, key, r)
	if err != nil {
		return err
	}
	_, err = s.commitUnchanged(ctx, change{
		env: r.ID, then: []clientv3.Op{op},
		when: []clientv3.Cmp{s.unchanged(key, revision)},
	})
	return err
}
