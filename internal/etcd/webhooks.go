package etcd

import (
	"cmp"
	"context"
	"errors"
	"slices"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"culvert/internal/access"
	"culvert/internal/events"
	"culvert/internal/id"
	"culvert/internal/webhooks"
	"culvert/keys"
)

// webhookList is written by every change of an endpoint: its revision is that of all of them together, so that a URL
// is there once, and no more endpoints than there may be. Before endpoints had a record each, it had them.
type webhookList struct {
	Environment access.EnvironmentID `cbor:"1,keyasint"`
	Endpoints   []webhooks.Endpoint  `cbor:"2,keyasint,omitempty"`
}

// webhookList is the list of an environment with its revision. One that is not what was stored counts as one without
// endpoints: that it is the one that was changed last is all that is asked of it, and the next change writes it anew.
func (s *Store) webhookList(ctx context.Context, env access.EnvironmentID) (*webhookList, int64, error) {
	it, err := s.lookup(ctx, keyWebhooks(env))
	if err != nil || !it.exists() {
		return &webhookList{}, 0, err
	}
	found, err := open[webhookList](s, env, it)
	if err != nil || found.Environment != env {
		return &webhookList{}, it.revision, nil
	}
	return found, it.revision, nil
}

// Endpoints implements webhooks.Store. The list is read first, and written last by a change: who sees its revision
// sees the endpoints as they were then, or later.
func (s *Store) Endpoints(ctx context.Context, env access.EnvironmentID) (*webhooks.Endpoints, int64, error) {
	list, revision, err := s.webhookList(ctx, env)
	if err != nil {
		return nil, 0, err
	}
	items, err := s.steering(ctx, keyWebhook(env, ""))
	if err != nil {
		return nil, 0, err
	}
	all := &webhooks.Endpoints{Environment: env, List: slices.Clone(list.Endpoints)}
	for _, it := range items {
		e, err := s.endpointIn(env, it)
		switch {
		case err == nil:
			all.List = append(all.List, *e)
		case plainPart(lastOf(it.key)): // what somebody else put under another name is nobody's endpoint
			all.Damaged = append(all.Damaged, webhooks.EndpointID(lastOf(it.key)))
		}
	}
	slices.SortStableFunc(all.List, func(a, b webhooks.Endpoint) int { return a.CreatedAt.Compare(b.CreatedAt) })
	return all, revision, nil
}

// Endpoint implements webhooks.Store, from memory while the watch is current: workers look before each attempt.
func (s *Store) Endpoint(ctx context.Context, env access.EnvironmentID, id webhooks.EndpointID) (*webhooks.Endpoint, error) {
	if !plainPart(string(id)) {
		return nil, webhooks.ErrNoEndpoint
	}
	it, err := s.lookup(ctx, keyWebhook(env, id))
	if err != nil {
		return nil, err
	}
	if it.exists() {
		return s.endpointIn(env, it)
	}
	list, _, err := s.webhookList(ctx, env)
	if err != nil {
		return nil, err
	}
	if i := slices.IndexFunc(list.Endpoints, func(e webhooks.Endpoint) bool { return e.ID == id }); i >= 0 {
		return &list.Endpoints[i], nil
	}
	return nil, webhooks.ErrNoEndpoint
}

func (s *Store) endpointIn(env access.EnvironmentID, it *item) (*webhooks.Endpoint, error) {
	e, err := open[webhooks.Endpoint](s, env, it)
	if err == nil && keyWebhook(env, e.ID) != it.key {
		err = keys.ErrTampered
	}
	return e, err
}

// Change implements webhooks.Store.
func (s *Store) Change(ctx context.Context, w webhooks.Change) error {
	if w.Removed == "" {
		if err := s.room.forWrite(); err != nil {
			return err
		}
	}
	env := w.Environment
	c := change{env: env, events: []events.Event{w.Event}, when: []clientv3.Cmp{s.unchanged(keyWebhooks(env), w.Revision)}}
	records, err := s.changedEndpoints(ctx, &w)
	if err != nil {
		return err
	}
	if w.Progress != nil {
		at := keyWebhookAt(env, w.Progress.Endpoint)
		records[at] = w.Progress
		c.when = append(c.when, s.unchanged(at, w.ProgressAt))
	}
	for key, record := range records {
		op, err := s.put(env, key, record)
		if err != nil {
			return err
		}
		c.then = append(c.then, op)
	}
	if w.Removed != "" {
		for _, key := range []string{keyWebhook(env, w.Removed), keyWebhookAt(env, w.Removed), keyWebhookLock(env, w.Removed)} {
			c.then = append(c.then, clientv3.OpDelete(s.client.abs(key)))
		}
		c.then = append(c.then, s.deletePrefix(prefixDeliveries(env, w.Removed)), s.deletePrefix(prefixLetters(env, w.Removed)))
	}
	last, err := s.put(env, keyWebhooks(env), webhookList{Environment: env})
	if err != nil {
		return err
	}
	c.then = append(c.then, last)
	_, err = s.commitUnchanged(ctx, c)
	return err
}

// changedEndpoints are the records of a change's endpoint, and of those that have none of their own yet.
func (s *Store) changedEndpoints(ctx context.Context, w *webhooks.Change) (map[string]any, error) {
	records := map[string]any{}
	list, _, err := s.webhookList(ctx, w.Environment) // of another revision the change is a conflict
	if err != nil {
		return nil, err
	}
	for _, e := range list.Endpoints {
		if e.ID != w.Removed {
			records[keyWebhook(w.Environment, e.ID)] = e
		}
	}
	if w.Endpoint != nil {
		records[keyWebhook(w.Environment, w.Endpoint.ID)] = *w.Endpoint
	}
	return records, nil
}

func (s *Store) deletePrefix(prefix string) clientv3.Op {
	return clientv3.OpDelete(s.client.abs(prefix), clientv3.WithRange(s.client.end(prefix)))
}

// Progress implements webhooks.Store.
func (s *Store) Progress(ctx context.Context, env access.EnvironmentID, id webhooks.EndpointID) (webhooks.Progress, int64, error) {
	if !plainPart(string(id)) {
		return webhooks.Progress{}, 0, webhooks.ErrNoEndpoint
	}
	it, err := s.fetch(ctx, keyWebhookAt(env, id))
	if err != nil {
		return webhooks.Progress{}, 0, err
	}
	if !it.exists() {
		return webhooks.Progress{}, 0, webhooks.ErrNoEndpoint
	}
	found, err := open[webhooks.Progress](s, env, it)
	if err == nil && (found.Environment != env || found.Endpoint != id) {
		err = keys.ErrTampered
	}
	if err != nil {
		return webhooks.Progress{}, it.revision, err
	}
	return *found, it.revision, nil
}

// Step implements webhooks.Store.
func (s *Store) Step(ctx context.Context, w webhooks.Step) (int64, error) {
	if err := s.room.forWrite(); err != nil {
		return 0, err
	}
	env, endpoint := w.Progress.Environment, w.Progress.Endpoint
	at := keyWebhookAt(env, endpoint)
	c := change{env: env, when: []clientv3.Cmp{s.unchanged(at, w.Revision)}}
	records := map[string]any{at: w.Progress}
	for _, d := range w.Deliveries {
		records[keyDelivery(env, endpoint, d.Number)] = d
	}
	for _, l := range w.Letters {
		records[keyLetter(env, endpoint, l.EventID)] = l
	}
	for key, record := range records {
		op, err := s.put(env, key, record)
		if err != nil {
			return 0, err
		}
		c.then = append(c.then, op)
	}
	left, err := s.leftLetters(ctx, &w)
	if err != nil {
		return 0, err
	}
	for key := range left {
		c.then = append(c.then, clientv3.OpDelete(s.client.abs(key)))
	}
	if w.Event != nil {
		c.events = []events.Event{*w.Event}
	}
	return s.commitUnchanged(ctx, c)
}

// leftLetters are the keys of the dead letters that leave the list in a step: those of events that were accepted
// after all, and the oldest, for new ones.
func (s *Store) leftLetters(ctx context.Context, w *webhooks.Step) (map[string]bool, error) {
	env, endpoint := w.Progress.Environment, w.Progress.Endpoint
	left := map[string]bool{}
	for _, d := range w.Deliveries {
		if d.Reason == "" {
			left[keyLetter(env, endpoint, d.EventID)] = true
		}
	}
	if len(w.Letters) == 0 {
		return left, nil
	}
	oldest, err := s.oldestLetters(ctx, env, endpoint, len(w.Letters))
	for _, key := range oldest {
		left[key] = true
	}
	for _, l := range w.Letters {
		delete(left, keyLetter(env, endpoint, l.EventID)) // a key is written once in a transaction
	}
	return left, err
}

// oldestLetters are the keys of the dead letters that leave the list for more of them.
func (s *Store) oldestLetters(ctx context.Context, env access.EnvironmentID, endpoint webhooks.EndpointID, more int) ([]string, error) {
	count, err := s.CountLetters(ctx, env, endpoint)
	if err != nil || int(count)+more <= webhooks.MaxLetters {
		return nil, err
	}
	prefix := prefixLetters(env, endpoint)
	return s.keysIn(ctx, s.client.abs(prefix), s.client.end(prefix), int(count)+more-webhooks.MaxLetters)
}

// CountLetters implements webhooks.Store.
func (s *Store) CountLetters(ctx context.Context, env access.EnvironmentID, endpoint webhooks.EndpointID) (uint64, error) {
	if !plainPart(string(endpoint)) {
		return 0, webhooks.ErrNoEndpoint
	}
	return s.countRange(ctx, prefixLetters(env, endpoint))
}

// Deliveries implements webhooks.Store.
func (s *Store) Deliveries(ctx context.Context, env access.EnvironmentID, endpoint webhooks.EndpointID) ([]webhooks.Delivery, error) {
	if !plainPart(string(endpoint)) {
		return nil, webhooks.ErrNoEndpoint
	}
	prefix := prefixDeliveries(env, endpoint)
	all, err := openRange[webhooks.Delivery](ctx, s, env, s.client.abs(prefix), prefix, 0)
	slices.SortFunc(all, func(a, b webhooks.Delivery) int { return cmp.Compare(b.Number, a.Number) })
	return all, err
}

// Letters implements webhooks.Store.
func (s *Store) Letters(ctx context.Context, env access.EnvironmentID, endpoint webhooks.EndpointID, after string, limit int) ([]webhooks.Letter, error) {
	if !plainPart(string(endpoint)) {
		return nil, webhooks.ErrNoEndpoint
	}
	prefix := prefixLetters(env, endpoint)
	from := s.client.abs(prefix)
	if after != "" {
		if _, ok := id.EventEpoch(after); !ok {
			return nil, events.ErrUnknownCursor
		}
		from = s.client.abs(keyLetter(env, endpoint, after)) + "\x00"
	}
	return openRange[webhooks.Letter](ctx, s, env, from, prefix, limit)
}

// openRange opens the records from an absolute key to the end of a prefix.
func openRange[T any](ctx context.Context, s *Store, env access.EnvironmentID, from, prefix string, limit int) ([]T, error) {
	items, err := s.fetchRange(ctx, from, s.client.end(prefix), int64(limit))
	if err != nil {
		return nil, err
	}
	all := make([]T, 0, len(items))
	for _, it := range items {
		record, err := open[T](s, env, it)
		if err != nil {
			return nil, err
		}
		all = append(all, *record)
	}
	return all, nil
}

// LockEndpoint implements webhooks.Store. Who has it is known from memory; one that looks free is tried for.
func (s *Store) LockEndpoint(ctx context.Context, env access.EnvironmentID, endpoint webhooks.EndpointID, holder string) (bool, error) {
	key := keyWebhookLock(env, endpoint)
	if held := s.mirror.get(key); s.feed.current() && held.exists() {
		return string(held.value) == holder, nil
	}
	lease, err := s.session.current(ctx)
	if err != nil {
		return false, err
	}
	ctx, cancel := bounded(ctx, readTimeout)
	defer cancel()
	lock := s.client.abs(key)
	resp, err := s.client.kv.Txn(ctx).If(s.absent(key)).
		Then(clientv3.OpPut(lock, holder, clientv3.WithLease(lease))).
		Else(clientv3.OpGet(lock)).Commit()
	switch {
	case errors.Is(err, rpctypes.ErrLeaseNotFound):
		s.session.forget(lease)
		return false, nil
	case err != nil:
		return false, down(err)
	case resp.Succeeded:
		return true, nil
	}
	held := firstOf(resp.Responses[0].GetResponseRange())
	return held != nil && string(held.Value) == holder, nil
}

// UnlockEndpoint implements webhooks.Store.
func (s *Store) UnlockEndpoint(ctx context.Context, env access.EnvironmentID, endpoint webhooks.EndpointID, holder string) error {
	lock := s.client.abs(keyWebhookLock(env, endpoint))
	_, err := s.client.kv.Txn(ctx).If(clientv3.Compare(clientv3.Value(lock), "=", holder)).Then(clientv3.OpDelete(lock)).Commit()
	if err != nil {
		return down(err)
	}
	return nil
}
