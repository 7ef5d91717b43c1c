package etcd

import (
	"context"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"culvert/internal/access"
	"culvert/internal/audit"
)

// checkpointDays is how long the checkpoint of a day is kept: who audits once a year finds those since the last
// time.
const checkpointDays = 400

// checkpointRecord is a signed checkpoint as stored. The signature tells what it is worth; the MAC is there
// because every record has one.
type checkpointRecord struct {
	Node   string    `cbor:"1,keyasint"`
	At     time.Time `cbor:"2,keyasint"`
	Signed []byte    `cbor:"3,keyasint"`
}

// Checkpoints keeps the checkpoints of all nodes in one environment.
type Checkpoints struct {
	store *Store
	env   access.EnvironmentID
}

var _ audit.CheckpointStore = (*Checkpoints)(nil)

// Checkpoints are those that are kept in an environment.
func (s *Store) Checkpoints(env access.EnvironmentID) *Checkpoints {
	return &Checkpoints{store: s, env: env}
}

// Put implements audit.CheckpointStore. There is always room for a checkpoint: it takes the place of another.
func (c *Checkpoints) Put(ctx context.Context, node string, at time.Time, signed []byte) error {
	key := keyCheckpoint(c.env, node, at)
	op, err := c.store.put(c.env, key, checkpointRecord{Node: node, At: at.UTC(), Signed: signed})
	if err != nil {
		return err
	}
	old := keyCheckpoint(c.env, node, at.AddDate(0, 0, -checkpointDays))
	ctx, cancel := bounded(ctx, writeTimeout)
	defer cancel()
	_, err = c.store.client.kv.Txn(ctx).Then(op, clientv3.OpDelete(
		c.store.client.abs(prefixCheckpoints(c.env, node)), clientv3.WithRange(c.store.client.abs(old)))).Commit()
	if err != nil {
		return unsure(err)
	}
	return nil
}

// Newest implements audit.CheckpointStore. One that is not what was stored is empty: it will not pass for signed,
// and must not keep the others from being made.
func (c *Checkpoints) Newest(ctx context.Context) (map[string][]byte, error) {
	days, err := c.store.keysIn(ctx, c.store.client.abs(prefixCheckpoints(c.env, "")), c.store.client.end(prefixCheckpoints(c.env, "")), 0)
	if err != nil {
		return nil, err
	}
	newest := map[string][]byte{}
	for i, key := range days {
		node := nodeOf(key)
		if i < len(days)-1 && nodeOf(days[i+1]) == node {
			continue
		}
		signed, err := c.List(ctx, node, 1)
		if err != nil {
			return nil, err
		}
		if len(signed) > 0 {
			newest[node] = signed[0]
		}
	}
	return newest, nil
}

// nodeOf is the third field of a relative key.
func nodeOf(key string) string {
	if field := strings.Split(key, "/"); len(field) > 2 {
		return field[2]
	}
	return ""
}

// List returns what a node signed, the newest first: the last of each day. One that is not what was stored is empty.
func (c *Checkpoints) List(ctx context.Context, node string, limit int) ([][]byte, error) {
	ctx, cancel := bounded(ctx, readTimeout)
	defer cancel()
	resp, err := c.store.client.get(ctx, c.store.client.abs(prefixCheckpoints(c.env, node)), clientv3.WithPrefix(),
		clientv3.WithSort(clientv3.SortByKey, clientv3.SortDescend), clientv3.WithLimit(int64(limit)))
	if err != nil {
		return nil, down(err)
	}
	all := make([][]byte, len(resp.Kvs))
	for i, kv := range resp.Kvs {
		var r checkpointRecord
		if err := c.store.authenticate(c.env, c.store.client.rel(kv.Key), kv.Value, &r); err != nil {
			r.Signed = []byte{}
		}
		all[i] = r.Signed
	}
	return all, nil
}

// Nodes implements audit.CheckpointStore.
func (c *Checkpoints) Nodes(ctx context.Context) ([]string, error) {
	all, err := c.store.Registrations(ctx, c.env)
	if err != nil {
		return nil, err
	}
	nodes := make([]string, len(all))
	for i, r := range all {
		nodes[i] = r.Node
	}
	return nodes, nil
}
