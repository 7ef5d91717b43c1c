package webhooks_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"culvert/internal/access"
	"culvert/internal/etcd/etcdtest"
	"culvert/internal/webhooks"
	"culvert/keys"
	"culvert/vault/vaulttest"
)

// reports collects what a deliverer says of damage.
type reports struct {
	mu  sync.Mutex
	ids []webhooks.EndpointID
}

func (r *reports) add(_ context.Context, _ access.EnvironmentID, id webhooks.EndpointID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ids = append(r.ids, id)
}

func (r *reports) mustBe(t *testing.T, want ...webhooks.EndpointID) {
	t.Helper()
	eventually(t, func() error {
		r.mu.Lock()
		defer r.mu.Unlock()
		if !slices.Equal(r.ids, want) {
			return fmt.Errorf("reported %q, want %q", r.ids, want)
		}
		return nil
	})
}

// estate is a stack whose etcd somebody else writes to.
func estate(t *testing.T) (*vaulttest.Stack, *etcdtest.Writer) {
	endpoint := etcdtest.Listening(t)
	return vaulttest.WithConfig(t, vaulttest.Config{Endpoints: []string{endpoint}}), etcdtest.NewWriter(t, "/culvert", endpoint)
}

func mustDamage(t *testing.T, w *etcdtest.Writer, key string) {
	t.Helper()
	value := bytes.Clone(w.MustAll(t)[key])
	value[len(value)-1] ^= 1
	w.MustPut(t, key, value)
}

// TestDamagedEndpoint: an endpoint whose record somebody edited is sent nothing, is told of and shown, and goes when it
// is deleted; all others are delivered to meanwhile.
func TestDamagedEndpoint(t *testing.T) {
	s, writer := estate(t)
	var reported reports
	r := newReplica(t, s, func(c *webhooks.DelivererConfig) { c.Report = reported.add })
	good, bad := newReceiver(t, ok), newReceiver(t, ok)
	doomed, whole := r.mustEndpoint(t, bad.URL).ID, r.mustEndpoint(t, good.URL).ID
	r.mustObjects(t, "first")
	good.mustReceive(t, "first")
	bad.mustReceive(t, "first")
	env := string(s.Environment.ID())
	mustDamage(t, writer, "webhook/"+env+"/"+string(doomed))
	reported.mustBe(t, doomed)

	// Case: what can be done with it.
	page, err := r.hooks.Endpoints(t.Context(), r.Call(), webhooks.Query{})
	must(t, err)
	if len(page.Data) != 2 || page.Data[0].ID != doomed || !page.Data[0].Damaged || page.Data[0].CreatedAt.IsZero() || page.Data[1].ID != whole || page.Data[1].Damaged {
		t.Errorf("the list shows %+v", page.Data)
	}
	status := webhooks.Enabled
	_, shown := r.hooks.Endpoint(t.Context(), r.Call(), doomed)
	_, changed := r.hooks.Update(t.Context(), r.Call(), webhooks.UpdateRequest{ID: doomed, Status: &status})
	_, rotated := r.hooks.RotateSecret(t.Context(), r.Call(), webhooks.RotateRequest{ID: doomed})
	for what, err := range map[string]error{"show": shown, "update": changed, "rotate": rotated} {
		if !errors.Is(err, keys.ErrTampered) {
			t.Errorf("%s of the damaged one: %v", what, err)
		}
	}
	r.mustObjects(t, "second")
	good.mustReceive(t, "first", "second")
	bad.mustReceive(t, "first")

	// Case: it is deleted, and made again.
	must(t, r.hooks.Delete(t.Context(), r.Call(), doomed))
	if err := r.hooks.Delete(t.Context(), r.Call(), doomed); !errors.Is(err, webhooks.ErrNoEndpoint) {
		t.Errorf("deleted again: %v", err)
	}
	r.mustEndpoint(t, bad.URL)
	r.mustObjects(t, "third")
	bad.mustReceive(t, "first", "third")

	// Case: the list, which says what was changed last and nothing else.
	mustDamage(t, writer, "webhook/"+env)
	must(t, s.Store.Fence(t.Context()))
	r.mustEndpoint(t, newReceiver(t, ok).URL)
	r.mustObjects(t, "fourth")
	good.mustReceive(t, "first", "second", "third", "fourth")

	// Case: the progress of an endpoint, which has another by a replay.
	after := r.view(t, whole).Progress.Cursor
	mustDamage(t, writer, "webhookat/"+env+"/"+string(whole))
	reported.mustBe(t, doomed, whole)
	r.mustObjects(t, "fifth")
	if _, err := r.hooks.Endpoint(t.Context(), r.Call(), whole); !errors.Is(err, keys.ErrTampered) {
		t.Errorf("an endpoint without its progress: %v", err)
	}
	_, err = r.hooks.Replay(t.Context(), r.Call(), webhooks.ReplayRequest{ID: whole, After: after})
	must(t, err)
	good.mustReceive(t, "first", "second", "third", "fourth", "fifth")
}

// TestEndpointsOfOneRecord: endpoints of a store in which all of an environment were one record are delivered to, and
// have their own once one of them is changed.
func TestEndpointsOfOneRecord(t *testing.T) {
	s, writer := estate(t)
	r := newReplica(t, s, nil)
	one, two := newReceiver(t, ok), newReceiver(t, ok)
	first, second := r.mustEndpoint(t, one.URL), r.mustEndpoint(t, two.URL)
	env := s.Environment
	key := "webhook/" + string(env.ID())
	body, err := s.Codec.Encode(map[int]any{1: string(env.ID()), 2: []webhooks.Endpoint{first.Endpoint, second.Endpoint}})
	must(t, err)
	tag, err := env.MAC(key, body)
	must(t, err)
	writer.MustPut(t, key, slices.Concat([]byte{byte(len(tag))}, tag, body))
	for _, e := range []webhooks.Revealed{first, second} {
		writer.MustDelete(t, key+"/"+string(e.ID))
	}
	must(t, s.Store.Fence(t.Context()))

	d := newReplica(t, s, asIs)
	d.mustObjects(t, "before")
	one.mustReceive(t, "before")
	two.mustReceive(t, "before")
	must(t, d.hooks.Delete(t.Context(), d.Call(), first.ID))
	if _, err := d.hooks.Create(t.Context(), d.Call(), webhooks.CreateRequest{URL: two.URL, Events: []string{"vault.data.created"}}); !errors.Is(err, webhooks.ErrDuplicate) {
		t.Errorf("the URL of one that is there: %v", err)
	}
	d.mustObjects(t, "after")
	two.mustReceive(t, "before", "after")
	one.mustReceive(t, "before")
	if all := writer.MustAll(t); all[key+"/"+string(second.ID)] == nil || all[key+"/"+string(first.ID)] != nil {
		t.Error("the endpoint that is left has no record of its own, or the other has one")
	}
}
