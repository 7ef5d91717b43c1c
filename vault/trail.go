package vault

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"culvert/internal/access"
	"culvert/internal/events"
	"culvert/internal/trail"
	"culvert/keys"
)

// judge is what an audit record says of how a call ended; it follows server/errors.go.
func judge(action access.Action, err error) trail.Verdict {
	if err == nil {
		if action == access.DataCreate || action == access.DataUpdate {
			return trail.Allow(createdStatus)
		}
		return trail.Allow(200)
	}
	var invalid *InvalidError
	if errors.As(err, &invalid) {
		return trail.Fail("invalid_value", 422)
	}
	return trail.Among(err, []trail.Case{
		{ErrNotFound, trail.Fail("entity_not_found", 404)},
		{ErrExists, trail.Fail("item_already_exists", 409)},
		{ErrVersion, trail.Fail("version_conflict", 409)},
		{ErrConflict, trail.Fail("concurrent_request", 503)},
		{ErrIdempotency, trail.Fail("idempotency_error", 409)},
		{ErrTooManyObjects, trail.Fail("quota_exceeded", 403)},
		{ErrTooManyBytes, trail.Fail("quota_exceeded", 403)},
		{ErrUnknownCursor, trail.Fail("invalid_cursor", 400)},
		{ErrSearchUnavailable, trail.Fail("search_unavailable", 422)},
		{keys.ErrTampered, trail.Fail("integrity_failure", 500)},
		{keys.ErrShredded, trail.Fail("key_shredded", 403)},
		{keys.ErrShredding, trail.Fail("shred_in_progress", 409)},
		{keys.ErrCMKRefused, trail.Fail("cmk_refused", 403)}, // before ErrRefused, which it is too
		{keys.ErrRefused, trail.Fail("root_key_refused", 403)},
		{keys.ErrCreateRate, trail.Fail("rate_limit_exceeded", 429)},
		{keys.ErrNotOurs, trail.Fail("invalid_encrypted_keys", 400)},
	})
}

// changed is the data object of vault.data.created, updated and deleted (contract section 3). A
// deletion says the name alone.
type changed struct {
	events.Actor
	Name       string            `json:"kv_name"`
	KeyID      keys.ID           `json:"key_id,omitzero"`
	KeyContext map[string]string `json:"key_context,omitzero"`
}

// event is what the store commits together with a change; it names the intent. An empty key context is
// "{}" on the wire, so the map of a created or updated event is never nil.
func (o *operation) event(t events.Type, data changed, at time.Time) (events.Event, error) {
	data.Actor = events.ActorOf(o.Permit.Actor())
	encoded, err := json.Marshal(data)
	if err != nil {
		return events.Event{}, fmt.Errorf("encode event: %w", err)
	}
	node, index := o.Intent()
	return events.Event{Type: t, Data: encoded, At: at.Truncate(time.Millisecond), Node: node, Index: index}, nil
}
