package vault_test

import (
	"context"
	"errors"
	"reflect"
	"strings"
	"testing"

	"culvert/internal/access"
	"culvert/internal/audit"
	"culvert/internal/outage"
	"culvert/keys"
	"culvert/vault"
	"culvert/vault/vaulttest"
)

// operation is one exported method of Vault, called in a way that succeeds for an administrator.
type operation struct {
	action access.Action
	// changes tells a method that leaves an intent and an outcome, or may.
	changes bool
	call    func(ctx context.Context, v *vault.Vault, call access.Call) (result any, err error)
}

// operations lists every exported method of Vault by name. object is a living object, blob a data key.
func operations(object vault.ObjectID, name string, c keys.Context, blob []byte) map[string]operation {
	return map[string]operation{
		"Create": {access.DataCreate, true, func(ctx context.Context, v *vault.Vault, call access.Call) (any, error) {
			return v.Create(ctx, call, vault.CreateRequest{Name: name + " created", Value: vaulttest.Value("v"), Context: c})
		}},
		"Get": {access.DataRead, false, func(ctx context.Context, v *vault.Vault, call access.Call) (any, error) {
			return v.Get(ctx, call, object)
		}},
		"GetByName": {access.DataRead, false, func(ctx context.Context, v *vault.Vault, call access.Call) (any, error) {
			return v.GetByName(ctx, call, name)
		}},
		"Describe": {access.MetadataRead, false, func(ctx context.Context, v *vault.Vault, call access.Call) (any, error) {
			return v.Describe(ctx, call, object)
		}},
		"Versions": {access.MetadataRead, false, func(ctx context.Context, v *vault.Vault, call access.Call) (any, error) {
			return v.Versions(ctx, call, object)
		}},
		"List": {access.NamesList, false, func(ctx context.Context, v *vault.Vault, call access.Call) (any, error) {
			return v.List(ctx, call, vault.Query{Limit: 10})
		}},
		"Usage": {access.UsageRead, false, func(ctx context.Context, v *vault.Vault, call access.Call) (any, error) {
			return v.Usage(ctx, call)
		}},
		"Update": {access.DataUpdate, true, func(ctx context.Context, v *vault.Vault, call access.Call) (any, error) {
			return v.Update(ctx, call, vault.UpdateRequest{ID: object, Value: vaulttest.Value("v")})
		}},
		"Delete": {access.DataDelete, true, func(ctx context.Context, v *vault.Vault, call access.Call) (any, error) {
			return v.Delete(ctx, call, vault.DeleteRequest{ID: object})
		}},
		"CreateDataKey": {access.DEKCreate, true, func(ctx context.Context, v *vault.Vault, call access.Call) (any, error) {
			return v.CreateDataKey(ctx, call, c)
		}},
		"DecryptDataKey": {access.DEKDecrypt, false, func(ctx context.Context, v *vault.Vault, call access.Call) (any, error) {
			return v.DecryptDataKey(ctx, call, blob)
		}},
		"Rekey": {access.DEKRekey, true, func(ctx context.Context, v *vault.Vault, call access.Call) (any, error) {
			return v.Rekey(ctx, call, vault.RekeyRequest{Context: c, Blob: blob})
		}},
	}
}

// eachOperation runs a subtest for every exported method of Vault, each with an object and a data key
// of its own. A method that is missing from the list fails the test.
func eachOperation(t *testing.T, s *vaulttest.Stack, run func(t *testing.T, o operation)) {
	t.Helper()
	methods := reflect.TypeFor[*vault.Vault]()
	if got, want := methods.NumMethod(), len(operations("", "", keys.Context{}, nil)); got != want {
		t.Errorf("Vault has %d exported methods, %d are listed", got, want)
	}
	for i := range methods.NumMethod() {
		method := methods.Method(i).Name
		t.Run(method, func(t *testing.T) {
			c := vaulttest.MustContext(t, "method", method)
			m, err := s.Vault.Create(t.Context(), s.Call(), vault.CreateRequest{Name: t.Name(), Value: vaulttest.Value("v"), Context: c})
			if err != nil {
				t.Fatal(err)
			}
			key, err := s.Vault.CreateDataKey(t.Context(), s.Call(), c)
			if err != nil {
				t.Fatal(err)
			}
			o, ok := operations(m.ID, t.Name(), c, key.Blob)[method]
			if !ok {
				t.Fatal("this method has no entry in operations: add one")
			}
			run(t, o)
		})
	}
}

// Every exported method begins with the permit: who has no rights gets a denial, one record of it, and
// nothing else, whatever is asked for.
func TestEveryMethodIsAuthorized(t *testing.T) {
	s := vaulttest.New(t)
	guest := s.MustCallAs(t, "guest")
	eachOperation(t, s, func(t *testing.T, o operation) {
		call := access.Call{Actor: guest.Actor, RequestID: "req_" + t.Name()}
		result, err := o.call(t.Context(), s.Vault, call)
		if !errors.Is(err, access.ErrDenied) {
			t.Errorf("got %v, want ErrDenied", err)
		}
		if v := reflect.ValueOf(result); !v.IsZero() {
			t.Errorf("a denied call answered %v", result)
		}
		records := s.MustAuditOf(t, call.RequestID)
		if len(records) != 1 {
			t.Fatalf("%d audit records, want one", len(records))
		}
		r := records[0]
		if r.Phase != audit.Access || r.Result != audit.Denied || r.Action != o.action || r.Code != "forbidden" ||
			r.Status != 403 || r.ActorID != guest.Actor.ID() || r.EnvironmentID != s.Environment.ID() {
			t.Errorf("the audit record is %+v", r)
		}
		if r.ObjectID != "" || r.KeyID != "" || r.KeyContext != nil {
			t.Errorf("the record of a denial tells what was not looked at: %+v", r)
		}
		// Who may everything elsewhere is shown nothing, and told that this is not for him.
		mustSeeNothing(t, o, s, s.MustCallWithin(t, access.Scope{Context: map[string]string{"method": "another"}}))
		// The twin: the same call of who may everything just there succeeds, as does an administrator's.
		_, method, _ := strings.Cut(t.Name(), "/")
		there := s.MustCallWithin(t, access.Scope{Context: map[string]string{"method": method}})
		if o.action == access.UsageRead {
			there = s.Call() // it is about all that an environment holds, which no part of one may know
		}
		result, err = o.call(t.Context(), s.Vault, there)
		if page, ok := result.(vault.Page); err != nil || ok && len(page.Data) != 1 {
			t.Errorf("a call within the scope: %v, %v", result, err)
		}
		if method == "Create" || method == "Delete" {
			return // the name is taken, the object gone
		}
		if _, err := o.call(t.Context(), s.Vault, s.Call()); err != nil {
			t.Errorf("an administrator's call: %v", err)
		}
	})
}

// mustSeeNothing makes a call whose actor may everything, but not here.
func mustSeeNothing(t *testing.T, o operation, s *vaulttest.Stack, call access.Call) {
	t.Helper()
	before := s.MustEvents(t)
	result, err := o.call(t.Context(), s.Vault, call)
	if page, ok := result.(vault.Page); ok && err == nil {
		if len(page.Data) > 0 || page.After != "" || page.Before != "" {
			t.Errorf("out of scope, a list showed %v", page)
		}
		return
	}
	if v := reflect.ValueOf(result); !errors.Is(err, access.ErrDenied) || !v.IsZero() {
		t.Errorf("out of scope: %v, %v", result, err)
	}
	if after := s.MustEvents(t); len(after) != len(before) {
		t.Error("a call out of scope changed something")
	}
}

// Without an audit log nothing is read and nothing is changed; the error names the log.
func TestEveryMethodNeedsTheAuditLog(t *testing.T) {
	s := vaulttest.New(t)
	guest := s.MustCallAs(t, "guest")
	eachOperation(t, s, func(t *testing.T, o operation) {
		broken := s.Replica(t)
		if err := broken.Audit.Close(); err != nil {
			t.Fatal(err)
		}
		before := s.MustEvents(t)
		for _, call := range []access.Call{broken.Call(), guest} {
			result, err := o.call(t.Context(), broken.Vault, call)
			if down := outage.Of(err); down == nil || down.Dependency != outage.Audit {
				t.Errorf("got %v, want an outage of the audit log", err)
			}
			if v := reflect.ValueOf(result); !v.IsZero() {
				t.Error("the call answered something without its audit record")
			}
		}
		if after := s.MustEvents(t); len(after) != len(before) {
			t.Errorf("%d events were written without an audit record", len(after)-len(before))
		}
		if _, err := o.call(t.Context(), s.Vault, s.Call()); err != nil {
			t.Errorf("the twin with an audit log: %v", err)
		}
	})
}
