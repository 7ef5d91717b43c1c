package attack_test

import (
	"errors"
	"net/http"
	"testing"
	"time"

	"culvert/internal/access"
	"culvert/internal/events"
	"culvert/internal/id"
	"culvert/internal/reads"
	"culvert/internal/webhooks"
	"culvert/keys"
)

// fillWebhooks makes an endpoint with progress, an attempt and a dead letter, the lock of another one, and the records
// of the log that webhooks read.
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
	// Nothing has moved yet: the record that says so, and one of a segment that no page needs.
	for at, record := range map[string]any{
		"archive/" + string(env.ID()):                       map[int]any{1: string(env.ID()), 2: 1, 3: 0},
		"segment/" + string(env.ID()) + "/ffffffffffffffff": map[int]any{1: string(env.ID())},
	} {
		body, err := e.stack.Codec.Encode(record)
		must(t, err)
		e.writer.MustPut(t, at, mac(t, env, at, body))
	}
	_, err = e.stack.Store.TellReads(t.Context(), reads.Place{Environment: env.ID(), Node: "node-1", Next: 1}, 0, nil)
	must(t, err)
	e.writer.MustPut(t, "rate/"+string(env.ID())+"/key_"+id.ULID(now), []byte("1 2"))
	e.writer.MustPut(t, "quota/"+string(env.ID()), []byte("1"))
	e.writer.MustPut(t, "webhooklock/"+string(env.ID())+"/we_"+id.ULID(now), []byte("another"))
}

// subjectOfWebhooks is the part of subjectOf for records of webhooks and of the log; nil for any other kind.
func (e *estate) subjectOfWebhooks(key string, env access.EnvironmentID, field []string) *subject {
	if field[0] == "webhook" && len(field) == 3 {
		return e.request(key, request{key: e.keyOf(env), method: http.MethodGet, path: "/culvert/v1/webhooks/" + field[2]})
	}
	if field[0] == "archive" {
		return e.request(key, request{key: e.keyOf(env), method: http.MethodGet, path: "/events?events=pipes.grant.refreshed"})
	}
	if field[0] == "quota" { // only its revision counts, and no more is done with it than to compare that
		return e.unproven(key, func(t testing.TB) error {
			_, err := e.stack.Store.Usage(t.Context(), env)
			return err
		})
	}
	if len(field) < 3 {
		return nil
	}
	if field[0] == "segment" {
		return e.proved(key, env)
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
	case "readsat":
		return e.stored(key, func(t testing.TB) error {
			_, _, err := e.stack.Store.ReadsPlace(t.Context(), env, field[2])
			return err
		})
	case "rate":
		return e.unproven(key, func(t testing.TB) error {
			_, _, err := e.stack.Store.TakeRate(t.Context(), env, field[2], 1, 0, 10)
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
