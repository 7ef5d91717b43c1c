package attack_test

import (
	"errors"
	"net/http"
	"testing"
	"time"

	"culvert/internal/access"
	"culvert/internal/events"
	"culvert/internal/id"
	"culvert/internal/webhooks"
	"culvert/keys"
)

// fillWebhooks makes an endpoint with progress, an attempt and a dead letter, and the lock of another one.
func (e *estate) fillWebhooks(t *testing.T, env *keys.Environment) {
	t.Helper()
	e.mustDo(t, request{key: e.keyOf(env.ID()), method: http.MethodPost, path: "/webhook_endpoints",
		body: `{"endpoint_url":"http://127.0.0.1:1/","events":["vault.data.created"]}`})
	must(t, e.stack.Store.Fence(t.Context()))
	all, _, err := e.stack.Store.Endpoints(t.Context(), env.ID())
	must(t, err)
	endpoint, now := all.List[0].ID, time.Now().UTC()
	p, revision, err := e.stack.Store.Progress(t.Context(), env.ID(), endpoint)
	must(t, err)
	event := id.Event(now, 1)
	_, err = e.stack.Store.Step(t.Context(), webhooks.Step{
		Progress: p, Revision: revision,
		Deliveries: []webhooks.Delivery{{Number: 1, EventID: event, Event: events.DataCreated, At: now, Reason: webhooks.ReasonTimeout}},
		Letters:    []webhooks.Letter{{EventID: event, Event: events.DataCreated, EventAt: now, At: now, Attempts: 1, Reason: webhooks.ReasonTimeout}},
	})
	must(t, err)
	e.writer.MustPut(t, "webhooklock/"+string(env.ID())+"/we_"+id.ULID(now), []byte("another"))
}

// subjectOfWebhooks is the part of subjectOf for records of webhooks; nil for any other kind.
func (e *estate) subjectOfWebhooks(key string, env access.EnvironmentID, field []string) *subject {
	if field[0] == "webhook" {
		return e.request(key, request{key: e.keyOf(env), method: http.MethodGet, path: "/webhook_endpoints"})
	}
	if len(field) < 3 {
		return nil
	}
	endpoint := webhooks.EndpointID(field[2])
	switch field[0] {
	case "webhookat":
		return e.stored(key, func(t testing.TB) error {
			_, _, err := e.stack.Store.Progress(t.Context(), env, endpoint)
			return err
		})
	case "delivery":
		return e.stored(key, func(t testing.TB) error {
			_, err := e.stack.Store.Deliveries(t.Context(), env, endpoint)
			return err
		})
	case "deadletter":
		return e.stored(key, func(t testing.TB) error {
			_, err := e.stack.Store.Letters(t.Context(), env, endpoint, "", 10)
			return err
		})
	case "webhooklock":
		return e.unproven(key, func(t testing.TB) error {
			mine, err := e.stack.Store.LockEndpoint(t.Context(), env, endpoint, "nobody else")
			if mine {
				return errors.New("the lock of another is mine")
			}
			return err
		})
	}
	return nil
}
