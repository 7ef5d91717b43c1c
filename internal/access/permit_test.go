package access_test

import (
	"errors"
	"testing"

	"culvert/internal/access"
)

func TestPermits(t *testing.T) {
	h := newHouse(t)

	// Case 1: an incomplete permit covers nothing, not even the empty context.
	permit := h.permit(t)
	if permit.Action() != access.DataRead || permit.Actor().ID() != "key_"+h.APIKey.ID || permit.Environment() != h.APIKey.Environment {
		t.Errorf("permit: got %s for %s", permit.Action(), permit.Actor().ID())
	}
	if permit.Covers("") || permit.Covers("context") {
		t.Error("an incomplete permit covers something")
	}

	// Case 2: a complete one covers its own context alone; the one it was made from still nothing.
	complete, err := permit.Complete(access.Resource{Name: "name", Context: "context"})
	if err != nil {
		t.Fatalf("complete: %v", err)
	}
	if !complete.Covers("context") || complete.Covers("") || complete.Covers("context2") || permit.Covers("context") {
		t.Error("coverage of the complete permit")
	}

	// Case 3: no rights, no permit: the zero actor, an unknown role, an action without name.
	admin := permit.Actor()
	nobody := h.MustCallAs(t, "nobody").Actor
	for name, err := range map[string]error{
		"zero actor":        second(h.gate.Authorize(access.Actor{}, access.DataRead)),
		"unknown role":      second(h.gate.Authorize(nobody, access.DataRead)),
		"no action":         second(h.gate.Authorize(admin, "")),
		"zero permit":       second(access.Permit{}.Complete(access.Resource{})),
		"flow reads":        second(h.gate.Authorize(access.FlowActor(env, "f"), access.DataRead)),
		"system reads":      second(h.gate.Authorize(access.SystemActor(env, "keeper"), access.DataRead)),
		"system vends":      second(h.gate.Authorize(access.SystemActor(env, "keeper"), access.TokenVend)),
		"zero kind of flow": second(h.gate.Authorize(access.Actor{}, access.FlowConfirm)),
	} {
		if !errors.Is(err, access.ErrDenied) {
			t.Errorf("%s: got %v, want denied", name, err)
		}
	}
	for _, action := range []access.Action{access.DataCreate, access.DEKRekey, access.EventsList} {
		if _, err := h.gate.Authorize(admin, action); err != nil {
			t.Errorf("administrator, %s: %v", action, err)
		}
	}
	if _, err := h.gate.Authorize(access.FlowActor(env, "f"), access.FlowConfirm); err != nil {
		t.Errorf("a browser leg: %v", err)
	}
	if _, err := h.gate.Authorize(access.SystemActor(env, "keeper"), access.TokenRefresh); err != nil {
		t.Errorf("the server's own work: %v", err)
	}
}

func second[T any](_ T, err error) error { return err }

func TestNamesOnTheWire(t *testing.T) {
	if got := env.OnWire(); got != "environment_"+string(env) {
		t.Errorf("environment: got %s", got)
	}
	if got := (access.Actor{}).ID(); got != "" {
		t.Errorf("zero actor: got id %q", got)
	}
	if got := access.FlowActor(env, "f").ID(); got != "flow_f" {
		t.Errorf("flow: got id %q", got)
	}
	if got := access.SystemActor(env, "keeper"); got.ID() != "system" || got.Name() != "keeper" || got.Source() != "system" {
		t.Errorf("system: got %q %q %q", got.ID(), got.Name(), got.Source())
	}
}
