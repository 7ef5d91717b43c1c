package vault

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"culvert/internal/access"
	"culvert/internal/audit"
	"culvert/internal/events"
	"culvert/internal/outage"
	"culvert/keys"
)

// verdict is what an audit record says of how a call ended: the code and status of the answer. The codes
// are a closed list, so that no error's text ever enters the trail.
type verdict struct {
	result audit.Result
	code   string
	status int
}

// judge knows the statuses only to record them: answers are made in server/errors.go, which this list
// follows.
func judge(action access.Action, err error) verdict {
	if err == nil {
		if action == access.DataCreate || action == access.DataUpdate {
			return verdict{audit.Allowed, "", createdStatus}
		}
		return verdict{audit.Allowed, "", 200}
	}
	// An outage wraps its cause, often a deadline: it is asked for first.
	if o := outage.Of(err); o != nil {
		return verdict{audit.Failed, outageCode(o), 503}
	}
	var invalid *InvalidError
	if errors.As(err, &invalid) {
		return verdict{audit.Failed, "invalid_value", 422}
	}
	for _, known := range []struct {
		err error
		verdict
	}{
		{access.ErrDenied, verdict{audit.Denied, "forbidden", 403}},
		{access.ErrUnauthenticated, verdict{audit.Denied, "unauthorized", 401}},
		{ErrNotFound, verdict{audit.Failed, "entity_not_found", 404}},
		{ErrExists, verdict{audit.Failed, "item_already_exists", 409}},
		{ErrVersion, verdict{audit.Failed, "version_conflict", 409}},
		{ErrConflict, verdict{audit.Failed, "concurrent_request", 503}},
		{ErrIdempotency, verdict{audit.Failed, "idempotency_error", 409}},
		{ErrUnknownCursor, verdict{audit.Failed, "invalid_cursor", 400}},
		{ErrSearchUnavailable, verdict{audit.Failed, "search_unavailable", 422}},
		{keys.ErrTampered, verdict{audit.Failed, "integrity_failure", 500}},
		{keys.ErrShredded, verdict{audit.Failed, "key_shredded", 403}},
		{keys.ErrShredding, verdict{audit.Failed, "shred_in_progress", 409}},
		{keys.ErrRefused, verdict{audit.Failed, "root_key_refused", 403}},
		{keys.ErrCreateRate, verdict{audit.Failed, "rate_limit_exceeded", 429}},
		{keys.ErrNotOurs, verdict{audit.Failed, "invalid_encrypted_keys", 400}},
		{context.Canceled, verdict{audit.Failed, "client_closed_request", 499}},
		{context.DeadlineExceeded, verdict{audit.Failed, "timeout", 503}},
	} {
		if errors.Is(err, known.err) {
			return known.verdict
		}
	}
	return verdict{audit.Failed, "internal_error", 500}
}

func outageCode(o *outage.Error) string {
	switch {
	case o.Kind == outage.Unknown:
		return "outcome_unknown"
	case o.Kind == outage.Full:
		return "storage_full"
	case o.Dependency == outage.RootKey:
		return "root_key_unavailable"
	case o.Dependency == outage.Audit:
		return "audit_unavailable"
	}
	return "storage_unavailable"
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
	data.Actor = o.actor()
	encoded, err := json.Marshal(data)
	if err != nil {
		return events.Event{}, fmt.Errorf("encode event: %w", err)
	}
	return events.Event{
		Type:  t,
		Data:  encoded,
		At:    at.Truncate(time.Millisecond),
		Node:  o.vault.audit.Node(),
		Index: o.intent,
	}, nil
}
