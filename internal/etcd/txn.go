package etcd

import (
	"context"
	"errors"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"culvert/internal/access"
	"culvert/internal/events"
	"culvert/internal/id"
	"culvert/internal/idempotency"
	"culvert/internal/outage"
	"culvert/keys"
)

// commitRounds bounds how often a transaction is sent again because an epoch ended under it. An epoch
// ends about once a second, or every 4,000 events.
const commitRounds = 10

// change is a change that a caller asked for: what must hold, what is written, and the events that tell
// of it, in one transaction.
type change struct {
	env    access.EnvironmentID
	when   []clientv3.Cmp
	then   []clientv3.Op
	events []events.Event
	// writes are those of then whose keys the cache is to have.
	writes []written
	// probes are read instead if a condition does not hold, to find out which.
	probes []clientv3.Op
	// requests are the keys of an Idempotency-Key that comes with the context, whose probes are the last.
	requests []string
	// guard is that of a write near a quota; nil for all others.
	guard *guard
}

// outcome of a change: committed, or what the probes found, in their order.
type outcome struct {
	committed bool
	revision  int64
	probes    []*etcdserverpb.RangeResponse
	// guarded is a change whose guard did not hold.
	guarded bool
}

// eventRecord is an event as stored.
type eventRecord struct {
	Type  events.Type `cbor:"1,keyasint"`
	Data  []byte      `cbor:"2,keyasint"`
	At    time.Time   `cbor:"3,keyasint"`
	Node  string      `cbor:"4,keyasint"`
	Index uint64      `cbor:"5,keyasint"`
	// Ordinal orders the events of one transaction, which share a revision.
	Ordinal int `cbor:"6,keyasint"`
}

// commit carries out a change. When it returns without an error the outcome is certain. An outage of
// kind Unknown is the only case in which it is not: etcd could not be asked within the deadline.
//
// The caller's cancellation is not passed on: a client that hangs up must not turn a write whose
// answer is on its way into one nobody knows about.
func (s *Store) commit(ctx context.Context, c change) (done outcome, err error) {
	if err := s.requestOf(ctx, &c); err != nil {
		return outcome{}, err
	}
	for i := range c.writes {
		c.writes[i].begin(s.cache)
	}
	defer func() {
		for i := range c.writes {
			c.writes[i].settle(s.cache, done.revision)
		}
	}()
	done, err = s.retried(ctx, c)
	switch {
	case err != nil:
	case c.repeated(done):
		err = idempotency.ErrRepeated
	case done.guarded && !done.committed:
		err = errGuarded
	}
	return done, err
}

// commitUnchanged is commit for changes of which nobody asks what was in the way. It returns the revision of what
// was written; keys.ErrConflict if a condition did not hold.
func (s *Store) commitUnchanged(ctx context.Context, c change) (int64, error) {
	done, err := s.commit(ctx, c)
	switch {
	case err != nil:
		return 0, err
	case !done.committed:
		return 0, keys.ErrConflict
	}
	return done.revision, nil
}

// unchanged is the condition that a key is at a revision; 0: that it is not there.
func (s *Store) unchanged(key string, revision int64) clientv3.Cmp {
	return clientv3.Compare(clientv3.ModRevision(s.client.abs(key)), "=", revision)
}

// absent is the condition that a key is not there.
func (s *Store) absent(key string) clientv3.Cmp {
	return clientv3.Compare(clientv3.CreateRevision(s.client.abs(key)), "=", 0)
}

// errLate is a change that was not sent, because nobody would have waited for what becomes of it.
var errLate = errors.New("etcd took the caller's time before the change could be sent")

// retried sends a change until its epoch lasts.
func (s *Store) retried(ctx context.Context, c change) (outcome, error) {
	whole := outage.Within(ctx, writeTimeout+resolveTimeout)
	if whole <= resolveTimeout {
		return outcome{}, down(errLate)
	}
	deadline := time.Now().Add(whole - resolveTimeout)
	ctx, cancel := bounded(context.WithoutCancel(ctx), whole)
	defer cancel()
	at, err := s.epochs.current(ctx, c.env)
	if err != nil {
		return outcome{}, err
	}
	for range commitRounds {
		done, next, err := s.send(ctx, c, at, deadline)
		if err != nil {
			return outcome{}, err
		}
		if next == at && done.committed {
			return done, nil
		}
		if next == at {
			// Whoever is told of a conflict reads again: by then memory must show what it was with.
			return done, s.Fence(ctx)
		}
		at = next
	}
	return outcome{}, down(errors.New("epochs end faster than a transaction commits"))
}

// send tries a change in one epoch. If the epoch has ended meanwhile, nothing happened and the new one
// is returned.
func (s *Store) send(ctx context.Context, c change, at epoch, deadline time.Time) (outcome, epoch, error) {
	then, witness, err := s.withEvents(c, at)
	if err != nil {
		return outcome{}, at, err
	}
	epochKey := s.client.abs(keyEpoch(c.env))
	when := append([]clientv3.Cmp{clientv3.Compare(clientv3.ModRevision(epochKey), "=", at.revision)}, c.when...)
	probes := append([]clientv3.Op{clientv3.OpGet(epochKey)}, c.probes...)
	if c.guard != nil {
		key := s.client.abs(c.guard.key)
		when = append(when, s.unchanged(c.guard.key, c.guard.revision))
		then, probes = append(then, clientv3.OpPut(key, "1")), append(probes, clientv3.OpGet(key, clientv3.WithKeysOnly()))
	}

	sendCtx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	resp, err := s.client.kv.Txn(sendCtx).If(when...).Then(then...).Else(probes...).Commit()
	if err != nil {
		return s.resolve(ctx, c, at, witness, err)
	}
	if resp.Succeeded {
		s.epochs.count(c.env, len(c.events))
		return outcome{committed: true, revision: resp.Header.Revision}, at, nil
	}
	done := outcome{}
	for _, r := range resp.Responses[1:] {
		done.probes = append(done.probes, r.GetResponseRange())
	}
	if c.guard != nil {
		last := len(done.probes) - 1
		kv := firstOf(done.probes[last])
		done.guarded = kv == nil && c.guard.revision != 0 || kv != nil && kv.ModRevision != c.guard.revision
		done.probes = done.probes[:last]
	}
	now, err := s.epochs.learn(c.env, newItem(keyEpoch(c.env), firstOf(resp.Responses[0].GetResponseRange())))
	if err != nil {
		return outcome{}, at, err
	}
	return done, now, nil
}

// withEvents adds the events to a change, with ids that carry the epoch. The key of the first one is
// the witness of the transaction: it exists if and only if the transaction committed.
func (s *Store) withEvents(c change, at epoch) (then []clientv3.Op, witness string, err error) {
	then = c.then[:len(c.then):len(c.then)]
	for i, e := range c.events {
		key := keyEvent(c.env, at.number, id.Event(e.At, at.number))
		op, err := s.put(c.env, key, eventRecord{Type: e.Type, Data: e.Data, At: e.At, Node: e.Node, Index: e.Index, Ordinal: i})
		if err != nil {
			return nil, "", err
		}
		then = append(then, op)
		if i == 0 {
			witness = key
		}
	}
	return then, witness, nil
}

// resolve finds out what became of a transaction whose answer is an error. Some errors say that it was
// refused. After any other it may have been applied, or be applied later: so the epoch is ended, after
// which a late commit fails its compare, and then the witness is read.
func (s *Store) resolve(ctx context.Context, c change, at epoch, witness string, cause error) (outcome, epoch, error) {
	if errors.Is(cause, rpctypes.ErrLeaseNotFound) {
		return outcome{}, at, cause // it is looked for before anything is applied
	}
	noSpace := errors.Is(cause, rpctypes.ErrNoSpace)
	if !noSpace && refused(cause) {
		return outcome{}, at, down(cause)
	}
	unknown := &outage.Error{Dependency: outage.Etcd, Kind: outage.Unknown, Cause: cause}
	ctx, cancel := bounded(ctx, resolveTimeout)
	defer cancel()
	// The transaction that takes the last of the quota is applied and answered with "no space" (etcd
	// 3.7.3, the quota's applier). By the answer it is over, and no epoch could be ended either.
	if !noSpace && !insist(ctx, func(ctx context.Context) error {
		_, err := s.epochs.advance(ctx, c.env, at)
		return err
	}) {
		return outcome{}, at, unknown
	}
	if witness == "" {
		// A change that carries its progress in its own record: its caller reads that again. What counts
		// is that the transaction cannot commit after that.
		return outcome{}, at, nil
	}
	var it *item
	if !insist(ctx, func(ctx context.Context) (err error) {
		it, err = s.fetch(ctx, witness)
		return err
	}) {
		return outcome{}, at, unknown
	}
	switch {
	case it.exists():
		return outcome{committed: true, revision: it.revision}, at, nil
	case noSpace:
		return outcome{}, at, full(cause)
	}
	return outcome{}, at, down(cause)
}

// insist repeats a call until it succeeds or the context ends. An attempt is short, because the next one
// goes to another member: one that was stopped answers nothing and must not use up all the time.
func insist(ctx context.Context, call func(context.Context) error) bool {
	for {
		attempt, cancel := bounded(ctx, resolveAttempt)
		err := call(attempt)
		cancel()
		if err == nil {
			return true
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return false
		}
	}
}

// refused reports errors that etcd gives before it proposes anything; ErrNoSpace is not always one.
func refused(err error) bool {
	switch codeOf(err) {
	case codes.InvalidArgument, codes.ResourceExhausted, codes.PermissionDenied, codes.Unauthenticated, codes.OutOfRange:
		return true
	}
	return false
}

// codeOf is the gRPC code of an etcd error, which the in-process client carries in the same way.
func codeOf(err error) codes.Code {
	var e rpctypes.EtcdError
	if errors.As(err, &e) {
		return e.Code()
	}
	return status.Code(err)
}

// firstOf is the only key of a range over one key, or nil.
func firstOf(r *etcdserverpb.RangeResponse) *mvccpb.KeyValue {
	if r == nil || len(r.Kvs) == 0 {
		return nil
	}
	return r.Kvs[0]
}
