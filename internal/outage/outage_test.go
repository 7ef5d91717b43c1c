package outage_test

import (
	"errors"
	"fmt"
	"testing"

	"culvert/internal/outage"
)

func TestErrorNamesTheDependency(t *testing.T) {
	cause := errors.New("connection refused")
	for want, e := range map[string]*outage.Error{
		"etcd unavailable":                                                   {Dependency: outage.Etcd},
		"audit unavailable: connection refused":                              {Dependency: outage.Audit, Cause: cause},
		"etcd nearly full":                                                   {Dependency: outage.Etcd, Kind: outage.Full},
		"etcd unavailable, outcome of the write unknown":                     {Dependency: outage.Etcd, Kind: outage.Unknown},
		"root_key unavailable: connection refused":                           {Dependency: outage.RootKey, Cause: cause},
		"etcd unavailable, outcome of the write unknown: connection refused": {Dependency: outage.Etcd, Kind: outage.Unknown, Cause: cause},
	} {
		if got := e.Error(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestCode(t *testing.T) {
	for want, e := range map[string]*outage.Error{
		"storage_unavailable":  {Dependency: outage.Etcd},
		"storage_full":         {Dependency: outage.Etcd, Kind: outage.Full},
		"outcome_unknown":      {Dependency: outage.Etcd, Kind: outage.Unknown},
		"root_key_unavailable": {Dependency: outage.RootKey},
		"audit_unavailable":    {Dependency: outage.Audit},
	} {
		if got := e.Code(); got != want {
			t.Errorf("%+v: got %q, want %q", e, got, want)
		}
	}
}

func TestOf(t *testing.T) {
	cause := errors.New("connection refused")
	o := &outage.Error{Dependency: outage.Etcd, Cause: cause}
	wrapped := fmt.Errorf("read header: %w", fmt.Errorf("fence: %w", o))
	if got := outage.Of(wrapped); got != o {
		t.Errorf("got %v, want the outage in the chain", got)
	}
	if !errors.Is(wrapped, cause) {
		t.Error("the cause is lost")
	}
	for _, err := range []error{nil, cause, errors.New("etcd unavailable"), fmt.Errorf("sealed off: %v", o)} {
		if got := outage.Of(err); got != nil {
			t.Errorf("%v: got %v, want none", err, got)
		}
	}
}
