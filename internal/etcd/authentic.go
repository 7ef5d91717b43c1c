package etcd

import (
	"fmt"
	"sync/atomic"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"culvert/internal/access"
	"culvert/keys"
)

// item is one key as it was read: the raw bytes, and the record in them once its MAC was checked.
// It is immutable but for the memo, and shared between readers.
type item struct {
	key string
	// value is nil if the key does not exist.
	value    []byte
	revision int64
	// memo is the verified and decoded record, so that a cached record is verified once.
	memo atomic.Pointer[memo]
}

// memo is the outcome of opening an item: a record, or the error, for a broken record stays broken.
type memo struct {
	record any
	err    error
}

// preparer is a record that has something to work out once for all who will read it.
type preparer interface{ Prepare() }

func newItem(key string, kv *mvccpb.KeyValue) *item {
	if kv == nil {
		return &item{key: key}
	}
	it := &item{key: key, value: kv.Value, revision: kv.ModRevision}
	if it.value == nil {
		// A key that somebody emptied is there: its record is broken, not absent.
		it.value = []byte{}
	}
	return it
}

func (it *item) exists() bool { return it != nil && it.value != nil }

// open returns the record in an item after its MAC was checked. The error is keys.ErrTampered for
// anything that is not, byte for byte and at this very key, what this environment stored.
func open[T any](s *Store, env access.EnvironmentID, it *item) (*T, error) {
	if m := it.memo.Load(); m != nil {
		if m.err != nil {
			return nil, m.err
		}
		return m.record.(*T), nil
	}
	if _, err := s.environments.Environment(env); err != nil {
		return nil, keys.ErrTampered // not remembered: the environment may be one that was just made
	}
	record := new(T)
	err := s.authenticate(env, it.key, it.value, record)
	if p, ok := any(record).(preparer); ok && err == nil {
		p.Prepare()
	}
	it.memo.Store(&memo{record: record, err: err})
	if err != nil {
		return nil, err
	}
	return record, nil
}

// authenticate checks value = tag length ‖ tag ‖ body against the key, then decodes the body.
func (s *Store) authenticate(env access.EnvironmentID, key string, value []byte, record any) error {
	e, err := s.environments.Environment(env)
	if err != nil {
		return keys.ErrTampered
	}
	return verify(s.codec, e, key, value, record)
}

// vouch checks the MAC of a record whose content is not needed. The error is keys.ErrTampered.
func (s *Store) vouch(env access.EnvironmentID, it *item) error {
	var content any
	return s.authenticate(env, it.key, it.value, &content)
}

func verify(c codec, e *keys.Environment, key string, value []byte, record any) error {
	tag, body, ok := split(value)
	if !ok || e.VerifyMAC(key, body, tag) != nil {
		return keys.ErrTampered
	}
	if err := c.Decode(body, record); err != nil {
		return keys.ErrTampered
	}
	return nil
}

// split parts tag length ‖ tag ‖ body. The length is whatever a writer of etcd put there: as a byte, 255
// and one more is zero.
func split(value []byte) (tag, body []byte, ok bool) {
	if len(value) < 1 || len(value) < 1+int(value[0]) {
		return nil, nil, false
	}
	end := 1 + int(value[0])
	return value[1:end], value[end:], true
}

// codec is what this package needs of record.Codec.
type codec interface {
	Lend(v any, use func(body []byte) error) error
	Decode(b []byte, v any) error
}

// put is the operation that stores a record under its MAC.
func (s *Store) put(env access.EnvironmentID, key string, record any) (clientv3.Op, error) {
	value, err := s.authentic(env, key, record)
	if err != nil {
		return clientv3.Op{}, err
	}
	return opPut(s.client.abs(key), value), nil
}

// opPut takes the value over, where clientv3.OpPut would copy it twice.
func opPut(key string, value []byte) clientv3.Op {
	op := clientv3.OpPut(key, "")
	op.WithValueBytes(value)
	return op
}

// authentic is a record with its MAC.
func (s *Store) authentic(env access.EnvironmentID, key string, record any) ([]byte, error) {
	e, err := s.environments.Environment(env)
	if err != nil {
		return nil, err
	}
	return authentic(s.codec, e, key, record)
}

// authentic is the stored form of a record: tag length, tag, body.
func authentic(c codec, e *keys.Environment, key string, record any) (value []byte, err error) {
	err = c.Lend(record, func(body []byte) error {
		tag, err := e.MAC(key, body)
		if err != nil {
			return fmt.Errorf("mac of %s record: %w", kindOf(key), err)
		}
		value = make([]byte, 0, 1+len(tag)+len(body))
		value = append(value, byte(len(tag)))
		value = append(value, tag...)
		value = append(value, body...)
		return nil
	})
	return value, err
}
