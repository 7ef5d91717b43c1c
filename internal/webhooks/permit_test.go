package webhooks_test

import (
	"context"
	"errors"
	"reflect"
	"testing"
	"time"

	"culvert/internal/access"
	"culvert/internal/audit"
	"culvert/internal/webhooks"
	"culvert/vault/vaulttest"
)

// TestPermits calls every exported method with no rights and wants a denial and its record; the same call of an
// administrator succeeds.
func TestPermits(t *testing.T) {
	r := newReplica(t, vaulttest.New(t), nil)
	target := r.mustEndpoint(t, "http://127.0.0.1:1/target").ID
	nothing := struct{}{}
	cases := map[string]struct {
		action access.Action
		status int
		call   func(context.Context, access.Call) (any, error)
	}{
		"Create": {access.WebhooksCreate, 201, func(ctx context.Context, c access.Call) (any, error) {
			return r.hooks.Create(ctx, c, webhooks.CreateRequest{URL: "http://127.0.0.1:1/made", Events: []string{"vault.data.read"}})
		}},
		"Update": {access.WebhooksUpdate, 200, func(ctx context.Context, c access.Call) (any, error) {
			return r.hooks.Update(ctx, c, webhooks.UpdateRequest{ID: target})
		}},
		"RotateSecret": {access.WebhooksRotate, 200, func(ctx context.Context, c access.Call) (any, error) {
			return r.hooks.RotateSecret(ctx, c, webhooks.RotateRequest{ID: target})
		}},
		"Replay": {access.WebhooksReplay, 200, func(ctx context.Context, c access.Call) (any, error) {
			return r.hooks.Replay(ctx, c, webhooks.ReplayRequest{ID: target, Since: time.Now()})
		}},
		"Endpoints": {access.WebhooksRead, 200, func(ctx context.Context, c access.Call) (any, error) {
			return r.hooks.Endpoints(ctx, c, webhooks.Query{})
		}},
		"Endpoint": {access.WebhooksRead, 200, func(ctx context.Context, c access.Call) (any, error) {
			return r.hooks.Endpoint(ctx, c, target)
		}},
		"Deliveries": {access.WebhooksRead, 200, func(ctx context.Context, c access.Call) (any, error) {
			return r.hooks.Deliveries(ctx, c, webhooks.AttemptQuery{ID: target})
		}},
		"DeadLetters": {access.WebhooksRead, 200, func(ctx context.Context, c access.Call) (any, error) {
			return r.hooks.DeadLetters(ctx, c, webhooks.AttemptQuery{ID: target})
		}},
		"Delete": {access.WebhooksDelete, 204, func(ctx context.Context, c access.Call) (any, error) {
			return nothing, r.hooks.Delete(ctx, c, target)
		}},
	}
	methods := reflect.TypeFor[*webhooks.Webhooks]()
	for i := range methods.NumMethod() {
		if _, ok := cases[methods.Method(i).Name]; !ok {
			t.Errorf("%s is not tried", methods.Method(i).Name)
		}
	}
	try := func(name string, call access.Call) (any, audit.Record, error) {
		t.Helper()
		result, err := cases[name].call(t.Context(), call)
		records := r.MustAuditOf(t, call.RequestID)
		if len(records) == 0 || records[0].Action != cases[name].action {
			t.Fatalf("%s left the records %+v", name, records)
		}
		return result, records[len(records)-1], err
	}
	for name := range cases {
		result, record, err := try(name, r.MustCallAs(t, "nobody"))
		if !errors.Is(err, access.ErrDenied) || record.Result != audit.Denied || record.Status != 403 || !reflect.ValueOf(result).IsZero() {
			t.Errorf("%s without rights: %v, %v, recorded as %s %d", name, result, err, record.Result, record.Status)
		}
	}
	for _, name := range []string{"Create", "Update", "RotateSecret", "Replay", "Endpoints", "Endpoint", "Deliveries", "DeadLetters", "Delete"} {
		if _, record, err := try(name, r.Call()); err != nil || record.Result != audit.Allowed || record.Status != cases[name].status {
			t.Errorf("%s of an administrator: %v, recorded as %s %d", name, err, record.Result, record.Status)
		}
	}
}
