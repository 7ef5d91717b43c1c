package vault_test

import (
	"context"
	"encoding/json"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"culvert/internal/access"
	"culvert/internal/audit"
	"culvert/internal/events"
	"culvert/internal/outage"
	"culvert/keys"
	"culvert/vault"
	"culvert/vault/vaulttest"
)

// What succeeds leaves one access record, or an intent and an outcome that names it.
func TestEveryMethodIsRecorded(t *testing.T) {
	s := vaulttest.New(t)
	eachOperation(t, s, func(t *testing.T, o operation) {
		call := s.Call()
		if _, err := o.call(t.Context(), s.Vault, call); err != nil {
			t.Fatal(err)
		}
		records := s.MustAuditOf(t, call.RequestID)
		want := []audit.Phase{audit.Access}
		if o.changes {
			want = []audit.Phase{audit.Intent, audit.Outcome}
		}
		var got []audit.Phase
		for _, r := range records {
			got = append(got, r.Phase)
			if r.Result != audit.Allowed || r.Action != o.action || r.Code != "" || r.ActorID != call.Actor.ID() {
				t.Errorf("the record of a success is %+v", r)
			}
			ofAll := o.action == access.NamesList || o.action == access.UsageRead
			if (r.KeyContext["method"] == "") != ofAll {
				t.Errorf("the record has the key context %v", r.KeyContext)
			}
		}
		if diff := cmp.Diff(got, want); diff != "" {
			t.Fatalf("phases (-got +want):\n%s", diff)
		}
		if o.changes && records[1].Intent != records[0].Index {
			t.Errorf("the outcome names intent %d, the intent is %d", records[1].Intent, records[0].Index)
		}
	})
}

// unlike the rest of a record, these are the log's own.
func ignoreLogFields() cmp.Option {
	return cmpopts.IgnoreFields(audit.Record{}, "V", "Index", "Time", "Node", "Intent", "Revision")
}

// The trail of one object, record by record.
func TestTrailOfAnObject(t *testing.T) {
	s := vaulttest.New(t)
	call := s.Call() // one request id for all, so that they are found together
	want := func(action access.Action, phase audit.Phase, code string, status int, version vault.VersionID, m vault.Metadata) audit.Record {
		r := audit.For(call, action)
		r.Phase, r.Result, r.Code, r.Status = phase, audit.Allowed, code, status
		if code != "" {
			r.Result = audit.Failed
		}
		r.ObjectID, r.ObjectName, r.VersionID, r.KeyID = string(m.ID), "n", string(version), string(m.KeyID)
		r.KeyContext = map[string]string{"organization_id": "org_1"}
		return r
	}
	m, err := s.Vault.Create(t.Context(), call, vault.CreateRequest{
		Name: "n", Value: vaulttest.Value("v1"), Context: vaulttest.MustContext(t, "organization_id", "org_1"),
	})
	must(t, err)
	updated, err := s.Vault.Update(t.Context(), call, vault.UpdateRequest{ID: m.ID, Value: vaulttest.Value("v2")})
	must(t, err)
	_, err = s.Vault.Update(t.Context(), call, vault.UpdateRequest{ID: m.ID, Value: vaulttest.Value("v3"), IfVersion: &m.VersionID})
	if !errors.Is(err, vault.ErrVersion) {
		t.Fatal(err)
	}
	must(t, errOf(s.Vault.GetByName(t.Context(), call, "n")))
	must(t, errOf(s.Vault.Delete(t.Context(), call, vault.DeleteRequest{ID: m.ID})))
	if _, err = s.Vault.Get(t.Context(), call, m.ID); !errors.Is(err, vault.ErrNotFound) {
		t.Fatal(err)
	}

	second := updated.Metadata.VersionID
	intent := want(access.DataCreate, audit.Intent, "", 0, m.VersionID, m)
	intent.KeyID = "" // known once the value is sealed
	gone := audit.For(call, access.DataRead)
	gone.Phase, gone.Result, gone.Code, gone.Status, gone.ObjectID = audit.Access, audit.Failed, "entity_not_found", 404, string(m.ID)
	diff := cmp.Diff(s.MustAuditOf(t, call.RequestID), []audit.Record{
		intent,
		want(access.DataCreate, audit.Outcome, "", 201, m.VersionID, m),
		want(access.DataUpdate, audit.Intent, "", 0, m.VersionID, m), // what is about to be replaced
		want(access.DataUpdate, audit.Outcome, "", 201, second, m),
		want(access.DataUpdate, audit.Access, "version_conflict", 409, second, m),
		want(access.DataRead, audit.Access, "", 200, second, m),
		want(access.DataDelete, audit.Intent, "", 0, second, m),
		want(access.DataDelete, audit.Outcome, "", 200, second, m),
		gone,
	}, ignoreLogFields())
	if diff != "" {
		t.Errorf("audit records (-got +want):\n%s", diff)
	}
}

// Refusals of every kind are recorded with the code and status of the answer.
func TestTrailOfRefusals(t *testing.T) {
	s := vaulttest.New(t)
	m := s.MustCreate(t, "taken", "v")
	must(t, errOf(s.Vault.Create(t.Context(), s.Call(), request(t, "k", "n", "v"))))
	for what, c := range map[string]struct {
		code  string
		phase audit.Phase
		call  func(access.Call) error
	}{
		"refused name": {"invalid_value", audit.Access, func(call access.Call) error {
			return errOf(s.Vault.Create(t.Context(), call, vault.CreateRequest{Name: "a\nb"}))
		}},
		"name taken": {"item_already_exists", audit.Outcome, func(call access.Call) error {
			return errOf(s.Vault.Create(t.Context(), call, vault.CreateRequest{Name: "taken"}))
		}},
		"another body": {"idempotency_error", audit.Outcome, func(call access.Call) error {
			return errOf(s.Vault.Create(t.Context(), call, request(t, "k", "n", "other")))
		}},
		"replay": {"idempotent_replay", audit.Outcome, func(call access.Call) error {
			return errOf(s.Vault.Create(t.Context(), call, request(t, "k", "n", "v")))
		}},
		"no such name": {"entity_not_found", audit.Access, func(call access.Call) error {
			return errOf(s.Vault.GetByName(t.Context(), call, "nobody"))
		}},
		"stale delete": {"version_conflict", audit.Access, func(call access.Call) error {
			old := vault.VersionID(m.ID)
			return errOf(s.Vault.Delete(t.Context(), call, vault.DeleteRequest{ID: m.ID, IfVersion: &old}))
		}},
		"unknown cursor": {"invalid_cursor", audit.Access, func(call access.Call) error {
			return errOf(s.Vault.List(t.Context(), call, vault.Query{Limit: 1, After: "x"}))
		}},
		"garbage blob": {"invalid_encrypted_keys", audit.Access, func(call access.Call) error {
			return errOf(s.Vault.DecryptDataKey(t.Context(), call, []byte("garbage")))
		}},
	} {
		call := s.Call()
		err := c.call(call)
		if (err == nil) != (what == "replay") {
			t.Errorf("%s: got %v", what, err)
		}
		records := s.MustAuditOf(t, call.RequestID)
		if len(records) == 0 {
			t.Errorf("%s left no audit record", what)
			continue
		}
		last := records[len(records)-1]
		if last.Code != c.code || last.Phase != c.phase || (last.Status == 201) != (what == "replay") {
			t.Errorf("%s: recorded as %s %s %d, want %s %s", what, last.Phase, last.Code, last.Status, c.phase, c.code)
		}
	}
}

// A value that lands in a path by mistake must not end in the trail.
func TestTrailKeepsNoArbitraryText(t *testing.T) {
	s := vaulttest.New(t)
	for _, call := range []func(access.Call) error{
		func(call access.Call) error { return errOf(s.Vault.Get(t.Context(), call, "hunter2")) },
		func(call access.Call) error { return errOf(s.Vault.GetByName(t.Context(), call, "hunter2\n")) },
		func(call access.Call) error {
			return errOf(s.Vault.Create(t.Context(), call, vault.CreateRequest{Name: "hunter2\n"}))
		},
	} {
		c := s.Call()
		if call(c) == nil {
			t.Error("the call succeeded")
		}
		for _, r := range s.MustAuditOf(t, c.RequestID) {
			if r.ObjectID != "" || r.ObjectName != "" {
				t.Errorf("the trail holds %q and %q", r.ObjectID, r.ObjectName)
			}
		}
	}
}

// closing closes the audit log as soon as a create is committed.
type closing struct {
	vault.Store
	audit func() *audit.Log
}

func (c *closing) Create(ctx context.Context, w vault.Write, idem *vault.IdempotencyRecord) (*vault.Request, error) {
	replayed, err := c.Store.Create(ctx, w, idem)
	_ = c.audit().Close()
	return replayed, err
}

// A committed write is never answered as an error, even if its outcome cannot be recorded; a data key
// that could not be recorded is never answered.
func TestLostOutcome(t *testing.T) {
	var s *vaulttest.Stack
	s = vaulttest.WithConfig(t, vaulttest.Config{Wrap: func(store vault.Store) vault.Store {
		return &closing{Store: store, audit: func() *audit.Log { return s.Audit }}
	}})
	m := s.MustCreate(t, "n", "v1")
	if got := s.Replica(t).MustGet(t, m.ID); string(got.Value.Reveal()) != "v1" {
		t.Error("the create was acknowledged and is not there")
	}
	records := s.MustAuditRecords(t)
	last := records[len(records)-1]
	for _, e := range s.MustEvents(t) {
		if e.Type == events.DataCreated && (e.Node != s.Audit.Node() || e.Index != last.Index || last.Phase != audit.Intent) {
			t.Errorf("the event names record %d of %s; the intent is record %d of %s", e.Index, e.Node, last.Index, s.Audit.Node())
		}
	}
}

// closingKeys closes the audit log when a KEK is looked for.
type closingKeys struct {
	keys.Store
	audit func() *audit.Log
}

func (c *closingKeys) KEKOf(ctx context.Context, env access.EnvironmentID, kc keys.Context) (keys.ID, error) {
	_ = c.audit().Close()
	return c.Store.KEKOf(ctx, env, kc)
}

func TestLostOutcomeOfDataKey(t *testing.T) {
	var s *vaulttest.Stack
	s = vaulttest.WithConfig(t, vaulttest.Config{WrapKeys: func(store keys.Store) keys.Store {
		return &closingKeys{Store: store, audit: func() *audit.Log { return s.Audit }}
	}})
	key, err := s.Vault.CreateDataKey(t.Context(), s.Call(), keys.Context{})
	if down := outage.Of(err); down == nil || down.Dependency != outage.Audit {
		t.Errorf("got %v, want an outage of the audit log", err)
	}
	if key.Key.Len() != 0 || key.Blob != nil {
		t.Error("a data key left without its audit record")
	}
}

func TestEvents(t *testing.T) {
	s := vaulttest.New(t)
	call := s.Call()
	empty, err := s.Vault.Create(t.Context(), call, vault.CreateRequest{Name: "no context", Value: vaulttest.Value("v")})
	must(t, err)
	m := s.MustCreate(t, "n <&>", "v1")
	s.MustUpdate(t, m.ID, "v2")
	s.MustDelete(t, m.ID)

	actor := map[string]any{"actor_id": call.Actor.ID(), "actor_source": "api", "actor_name": call.Actor.Name()}
	with := func(more map[string]any) map[string]any {
		for k, v := range actor {
			more[k] = v
		}
		return more
	}
	kek := func(id keys.ID) map[string]any {
		return with(map[string]any{"key_name": string(id), "key_id": string(id)})
	}
	data := func(name string, id keys.ID, c map[string]any) map[string]any {
		return with(map[string]any{"kv_name": name, "key_id": string(id), "key_context": c})
	}
	org := map[string]any{"organization_id": "org_1"}
	type event struct {
		Type events.Type
		Data map[string]any
	}
	want := []event{
		{events.DataCreated, data("no context", empty.KeyID, map[string]any{})},
		{events.KEKCreated, kek(empty.KeyID)},
		{events.DataCreated, data("n <&>", m.KeyID, org)},
		{events.KEKCreated, kek(m.KeyID)},
		{events.DataUpdated, data("n <&>", m.KeyID, org)},
		{events.DataDeleted, with(map[string]any{"kv_name": "n <&>"})},
	}
	intents := map[uint64]bool{}
	for _, r := range s.MustAuditRecords(t) {
		intents[r.Index] = r.Phase == audit.Intent
	}
	var got []event
	for _, e := range s.MustEvents(t) {
		decoded := event{Type: e.Type}
		must(t, json.Unmarshal(e.Data, &decoded.Data))
		got = append(got, decoded)
		if e.Node != s.Audit.Node() || !intents[e.Index] {
			t.Errorf("%s names record %d of %s, which is no intent", e.Type, e.Index, e.Node)
		}
		if e.At.Nanosecond()%1e6 != 0 {
			t.Errorf("%s happened at %v: not a millisecond", e.Type, e.At)
		}
	}
	order := cmpopts.SortSlices(func(a, b event) bool { return a.Type < b.Type })
	if diff := cmp.Diff(got, want, order); diff != "" {
		t.Errorf("events (-got +want):\n%s", diff)
	}
}
