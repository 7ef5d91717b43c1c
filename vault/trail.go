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

// verdict is what an audit record says of how a call ended. The codes are those of the error bodies and
// a closed list, so that no error's text ever enters the trail.
func verdict(err error) (result audit.Result, code string) {
	switch {
	case err == nil:
		return audit.Allowed, ""
	case errors.Is(err, access.ErrDenied):
		return audit.Denied, "forbidden"
	case errors.Is(err, access.ErrUnauthenticated):
		return audit.Denied, "unauthorized"
	}
	return audit.Failed, failure(err)
}

func failure(err error) string {
	// An outage wraps its cause, often a deadline: it is asked for first.
	if o := outage.Of(err); o != nil {
		return outageCode(o)
	}
	var invalid *InvalidError
	if errors.As(err, &invalid) {
		return "invalid_value"
	}
	for _, known := range []struct {
		err  error
		code string
	}{
		{ErrNotFound, "entity_not_found"},
		{ErrExists, "item_already_exists"},
		{ErrVersion, "version_conflict"},
		{ErrConflict, "concurrent_request"},
		{ErrIdempotency, "idempotency_error"},
		{ErrUnknownCursor, "invalid_cursor"},
		{ErrSearchUnavailable, "search_unavailable"},
		{keys.ErrTampered, "integrity_failure"},
		{keys.ErrShredded, "key_shredded"},
		{keys.ErrShredding, "shred_in_progress"},
		{keys.ErrRefused, "root_key_refused"},
		{keys.ErrCreateRate, "rate_limit_exceeded"},
		{keys.ErrNotOurs, "invalid_encrypted_keys"},
		{context.Canceled, "client_closed_request"},
		{context.DeadlineExceeded, "timeout"},
	} {
		if errors.Is(err, known.err) {
			return known.code
		}
	}
	return "internal_error"
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
