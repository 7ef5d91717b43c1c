package audit_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"culvert/internal/access"
	"culvert/internal/audit"
)

// golden are records of every kind, in the order of testdata/records.jsonl. That file is never
// edited, only added to: a log written by an old version must stay readable, and the hashes of its
// lines must stay what they were.
func golden() []audit.Record {
	call := audit.Record{
		EnvironmentID: "01JD8Z6Q5RN5T4M0A1B2C3D4E5", RequestID: "req_1", ActorID: "key_01JD8Z6Q5RN5T4M0A1B2C3D4E6",
		ActorName: "root", ActorSource: "api",
	}
	with := func(change func(r *audit.Record)) audit.Record {
		r := call
		change(&r)
		return r
	}
	return []audit.Record{
		{Action: "audit.log.begun", Phase: audit.Internal, Result: audit.Allowed},
		read(),
		with(func(r *audit.Record) {
			r.Action, r.Phase, r.Result = access.DataUpdate, audit.Intent, audit.Allowed
			r.ObjectID, r.ObjectName, r.KeyContext = "o", "name", map[string]string{}
			r.Route = "/vault/v1/kv/:id"
		}),
		with(func(r *audit.Record) {
			r.Action, r.Phase, r.Result = access.DataUpdate, audit.Outcome, audit.Allowed
			r.Intent, r.Status, r.ObjectID, r.VersionID, r.Revision = 2, 201, "o", "v", 17
		}),
		with(func(r *audit.Record) {
			r.Action, r.Phase, r.Result = access.DataDelete, audit.Outcome, audit.Failed
			r.Code, r.Status = "version_check_failed", 409
		}),
		with(func(r *audit.Record) {
			r.Action, r.Phase, r.Result, r.Code, r.Status = access.NamesList, audit.Access, audit.Denied, "forbidden", 403
		}),
		{Action: "access.key.check", Phase: audit.Internal, Result: audit.Failed, Code: "integrity_failure", KeyID: "k"},
		{Action: "audit.log.cut", Phase: audit.Internal, Result: audit.Failed, Code: "torn_tail", Cut: 4711},
		{Action: "audit.log.resumed", Phase: audit.Internal, Result: audit.Failed, Code: "disk_full"},
		with(func(r *audit.Record) {
			r.Action, r.Phase, r.Result = access.DataRead, audit.Access, audit.Allowed
			r.ObjectName = "a\nb\"c\\d\x00é\u2028\U0001f512<&>\xff"
			r.KeyContext = map[string]string{"z": "1", "a": "\n", "B": "", "": "empty"}
		}),
		with(func(r *audit.Record) {
			r.Action, r.Phase, r.Result, r.Status = access.TokenVend, audit.Access, audit.Allowed, 200
			r.Provider, r.IntegrationID, r.AccountID = "github", "data_integration_1", "data_installation_1"
			r.GrantID, r.FlowID, r.UserID, r.OrganizationID = "g", "f", "user_1", "org_1"
		}),
	}
}

const goldenTime = "2026-11-23T10:00:00.000042Z"

func TestGoldenRecords(t *testing.T) {
	f, err := os.Open("testdata/records.jsonl")
	must(t, err)
	defer func() { _ = f.Close() }()
	lines := bufio.NewScanner(f)
	for i, r := range golden() {
		got := audit.Line(nil, uint64(i), goldenTime, `"node-a"`, &r)
		if !lines.Scan() {
			t.Fatalf("the file has no line %d; add:\n%s", i, got)
		}
		if diff := cmp.Diff(lines.Text()+"\n", string(got)); diff != "" {
			t.Errorf("line %d (-want +got):\n%s", i, diff)
		}

		// Every JSON decoder reads it, not only ours.
		var decoded audit.Record
		must(t, json.Unmarshal(lines.Bytes(), &decoded))
		r.V, r.Index, r.Node = audit.Version, uint64(i), "node-a"
		r.Time = time.Date(2026, 11, 23, 10, 0, 0, 42000, time.UTC)
		r.ObjectName = strings.ToValidUTF8(r.ObjectName, "\uFFFD")
		if diff := cmp.Diff(r, decoded); diff != "" {
			t.Errorf("decoded line %d (-want +got):\n%s", i, diff)
		}
	}
	if lines.Scan() {
		t.Errorf("the file has a line that nothing makes: %s", lines.Bytes())
	}
}

// TestAllowlist makes a new member of records a decision: this list, the golden file and the
// documentation of Record change together.
func TestAllowlist(t *testing.T) {
	want := []string{
		"v", "index", "time", "node", "environment_id", "request_id", "actor_id", "actor_name", "actor_source",
		"action", "phase", "intent", "result", "code", "status", "object_id", "object_name", "version_id",
		"key_id", "key_context", "provider", "integration_id", "account_id", "grant_id", "flow_id", "user_id",
		"organization_id", "revision", "route", "cut", "subject", "checkpoint",
	}
	full := audit.Record{
		V: audit.Version, Index: 7, Time: time.Date(2026, 1, 2, 3, 4, 5, 6000, time.UTC), Node: "n", EnvironmentID: "e",
		RequestID: "r", ActorID: "ai", ActorName: "an", ActorSource: "as", Action: "a", Phase: audit.Outcome, Intent: 5,
		Result: audit.Denied, Code: "c", Status: 1, ObjectID: "oi", ObjectName: "on", VersionID: "vi", KeyID: "ki",
		KeyContext: map[string]string{"k": "v"}, Provider: "p", IntegrationID: "i", AccountID: "a", GrantID: "g", FlowID: "f",
		UserID: "u", OrganizationID: "o", Revision: 2, Route: "/r", Cut: 3, Subject: "s", Checkpoint: "cp",
	}
	line := audit.Line(nil, 7, "2026-01-02T03:04:05.000006Z", `"n"`, &full)

	// Case 1: these fields, in this order, and every one of them is written.
	var got []string
	value := reflect.ValueOf(full)
	for i := range value.NumField() {
		got = append(got, value.Type().Field(i).Tag.Get("json"))
		if value.Field(i).IsZero() {
			t.Errorf("the test leaves %s zero", value.Type().Field(i).Name)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("fields (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(want, members(t, line)); diff != "" {
		t.Errorf("members of a line (-want +got):\n%s", diff)
	}
	var decoded audit.Record
	must(t, json.Unmarshal(line, &decoded))
	if diff := cmp.Diff(full, decoded); diff != "" {
		t.Errorf("decoded (-want +got):\n%s", diff)
	}

	// Case 2: what is zero is left out.
	small := audit.Record{Action: "a", Phase: audit.Access, Result: audit.Allowed}
	want = []string{"v", "index", "time", "node", "action", "phase", "result"}
	if diff := cmp.Diff(want, members(t, audit.Line(nil, 0, goldenTime, `"n"`, &small))); diff != "" {
		t.Errorf("members of the smallest line (-want +got):\n%s", diff)
	}
}

// members lists the member names of a JSON object in their order.
func members(t *testing.T, line []byte) []string {
	t.Helper()
	decoder := json.NewDecoder(bytes.NewReader(line))
	var names []string
	for depth, isName := 0, false; ; {
		token, err := decoder.Token()
		if err != nil {
			return names
		}
		switch {
		case token == json.Delim('{'):
			depth++
			isName = true
			continue
		case token == json.Delim('}'):
			depth--
		case isName && depth == 1:
			text, _ := token.(string)
			names = append(names, text)
		}
		isName = depth == 1 && !isName || token == json.Delim('}')
	}
}

// TestNoTextEscapesItsMember: whatever a client puts into a name or context, a record stays one line
// that decodes to what was put in.
func TestNoTextEscapesItsMember(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.Custom(func(t *rapid.T) string { return string(rapid.SliceOfN(rapid.Byte(), 0, 20).Draw(t, "bytes")) })
		r := audit.Record{
			Action: "a", Phase: audit.Outcome, Result: audit.Failed, Index: rapid.Uint64().Draw(t, "index"),
			Intent: rapid.Uint64().Draw(t, "intent"), Revision: rapid.Int64().Draw(t, "revision"),
			ActorName: text.Draw(t, "actor"), ObjectName: text.Draw(t, "name"), Route: text.Draw(t, "route"),
			KeyContext: rapid.MapOfN(text, text, 0, 12).Draw(t, "context"),
		}
		line := audit.Line(nil, r.Index, goldenTime, `"n"`, &r)
		if bytes.IndexByte(line, '\n') != len(line)-1 || !utf8.Valid(line) {
			t.Fatalf("not one line of UTF-8: %q", line)
		}
		var got audit.Record
		if err := json.Unmarshal(line, &got); err != nil {
			t.Fatalf("decode %q: %v", line, err)
		}
		if strict, err := audit.Parse(line[:len(line)-1]); err != nil || !cmp.Equal(got, strict) {
			t.Fatalf("parse %q: got %+v and %v, want %+v", line, strict, err, got)
		}
		for field, pair := range map[string][2]string{
			"actor": {r.ActorName, got.ActorName}, "name": {r.ObjectName, got.ObjectName}, "route": {r.Route, got.Route},
		} {
			if want := string([]rune(pair[0])); pair[1] != want {
				t.Fatalf("%s: got %q, want %q", field, pair[1], want)
			}
		}
		if got.Index != r.Index || got.Intent != r.Intent || got.Revision != r.Revision {
			t.Fatalf("numbers: got %+v, want %+v", got, r)
		}
	})
}

func TestNamesThatAreNotUTF8DoNotMeet(t *testing.T) {
	r := audit.Record{Action: "a", Phase: audit.Access, Result: audit.Denied}
	r.KeyContext = map[string]string{"\xff": "1", "\xfe": "2", "\uFFFD": "3"}
	line := audit.Line(nil, 1, goldenTime, `"n"`, &r)
	got, err := audit.Parse(line[:len(line)-1])
	if err != nil {
		t.Fatalf("parse %s: %v", line, err)
	}
	if diff := cmp.Diff(map[string]string{"\uFFFD": "3"}, got.KeyContext); diff != "" {
		t.Errorf("key context (-want +got):\n%s", diff)
	}
}

func TestForACall(t *testing.T) {
	r := audit.For(access.Call{RequestID: "req_1", Route: "/r"}, access.DataRead)
	want := audit.Record{RequestID: "req_1", Route: "/r", Action: access.DataRead, ActorSource: "api"}
	if diff := cmp.Diff(want, r); diff != "" {
		t.Errorf("record (-want +got):\n%s", diff)
	}
}

// TestCellsAreNoFormulas: in whatever script the sign is that begins one.
func TestCellsAreNoFormulas(t *testing.T) {
	at := slices.Index(audit.Columns(), "object_name")
	for _, name := range []string{"=1", "+1", "-1", "@a", "\ta", "＝1", "＋1", "－1", "＠a"} {
		if got := audit.Cells(&audit.Record{ObjectName: name})[at]; got != "'"+name {
			t.Errorf("%q: the cell is %q", name, got)
		}
	}
	for _, name := range []string{"", "a=1", "é", "'a"} {
		if got := audit.Cells(&audit.Record{ObjectName: name})[at]; got != name {
			t.Errorf("%q: the cell is %q", name, got)
		}
	}
}
