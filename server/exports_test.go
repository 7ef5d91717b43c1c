package server_test

import (
	"encoding/csv"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"culvert/internal/access"
	"culvert/internal/audit"
)

const exports = "/audit_logs/exports"

// wholeDay is the range of every export of these tests.
const wholeDay = `"range_start":"2000-01-01T00:00:00Z","range_end":"2100-01-01T00:00:00Z"`

// exportVisits is what TestCanary sends to the routes of exports.
func (d *door) exportVisits(t *testing.T) map[string]visit {
	t.Helper()
	id := d.mustExport(t, `{`+wholeDay+`}`)["id"].(string)
	return map[string]visit{
		"POST " + exports: {
			good: []request{post(exports, `{`+wholeDay+`,"actions":["vault.data.read"],"`+canary+`":1}`)},
			bad: []request{post(exports, canary), post(exports, `{`+wholeDay+`,"actions":["`+canary+`"]}`), post(exports, `{"range_start":"`+canary+`","range_end":"2100-01-01T00:00:00Z"}`),
				post(exports, `{`+wholeDay+`,"targets":["`+canary+`"]}`), post(exports, `{`+wholeDay+`,"format":"`+canary+`"}`)},
		},
		"GET " + exports + "/:id":      {good: []request{get(exports + "/" + id)}, bad: []request{get(exports + "/" + canary)}},
		"GET " + exports + "/:id/file": {good: []request{get(exports + "/" + id + "/file")}, bad: []request{get(exports + "/" + canary + "/file")}},
	}
}

// mustExport makes an export and waits until it is ready, or has failed.
func (d *door) mustExport(t testing.TB, body string) map[string]any {
	t.Helper()
	made := d.do(t, post(exports, body)).want(t, 201).object(t)
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		e := d.do(t, get(exports+"/"+made["id"].(string))).want(t, 200).object(t)
		if e["state"] != "pending" {
			return e
		}
		if time.Now().After(end) {
			t.Fatalf("not made: %v", e)
		}
	}
}

// TestExports: an export has what was asked for, of the environment of who asks, and is fetched by who may.
func TestExports(t *testing.T) {
	d := newDoor(t)
	d.do(t, post(kv, createBody("=1+1", "value", "organization_id", "org_1"))).want(t, 201)
	d.mustCreate(t, "two", "value")
	_, err := d.stack.Audit.Append(t.Context(), audit.Record{EnvironmentID: "another", Action: access.DataCreate, Phase: audit.Access, Result: audit.Allowed})
	must(t, err)

	fetch := func(body string) string {
		t.Helper()
		e := d.mustExport(t, body)
		if e["state"] != "ready" || e["node"] != d.stack.Audit.Node() || e["missing_records"] != 0.0 {
			t.Fatalf("got %v", e)
		}
		a := d.do(t, get(exports+"/"+e["id"].(string)+"/file")).want(t, 200)
		if !strings.HasSuffix(e["url"].(string), exports+"/"+e["id"].(string)+"/file") || float64(len(a.body)) != e["bytes"] || a.header.Get("Cache-Control") != "no-store" {
			t.Errorf("url %v, %d bytes of %v", e["url"], len(a.body), e["bytes"])
		}
		return a.body
	}
	rows, err := csv.NewReader(strings.NewReader(fetch(`{` + wholeDay + `,"actions":["vault.data.create"]}`))).ReadAll()
	must(t, err)
	if want := 5; len(rows) != want { // a head, and intent and outcome of each
		t.Errorf("%d rows, want %d: %v", len(rows), want, rows)
	}
	if !strings.Contains(strings.Join(rows[1], "|"), "|'=1+1|") {
		t.Errorf("a formula: %v", rows[1])
	}
	for body, want := range map[string]int{
		`"actions":["vault.data.create"]`:                            4,
		`"actions":["vault.data.create"],"organization_id":"org_1"`:  2,
		`"targets":["kek","object"]`:                                 4,
		`"targets":["flow"]`:                                         0,
		`"actions":["vault.data.create"],"actor_ids":["key_nobody"]`: 0,
		`"actions":["vault.data.create"],"actors":["nobody"]`:        0,
		`"actions":["audit.log.begun"]`:                              0, // of no environment
	} {
		lines := strings.Split(fetch(`{`+wholeDay+`,"format":"json",`+body+`}`), "\n")
		for _, line := range lines[:len(lines)-1] {
			if !json.Valid([]byte(line)) {
				t.Errorf("not JSON: %s", line)
			}
		}
		if got := len(lines) - 1; got != want {
			t.Errorf("%s: %d records, want %d", body, got, want)
		}
	}
	d.do(t, post(exports, `{"range_start":"2100-01-01T00:00:00Z","range_end":"2000-01-01T00:00:00Z"}`)).mustRefuse(t, 422, "invalid_request_parameters")
	d.do(t, get(exports+"/audit_log_export_none")).mustRefuse(t, 404, "entity_not_found")
	d.do(t, get(exports+"/audit_log_export_none/file")).mustRefuse(t, 404, "entity_not_found")

	// Who reads values reads no trail; an auditor does, and it stands there that he did.
	ready := d.mustExport(t, `{`+wholeDay+`}`)["id"].(string)
	reader := "Bearer " + string(d.stack.MustAPIKey(t, access.RoleReader).Text().Reveal())
	auditor := "Bearer " + string(d.stack.MustAPIKey(t, access.RoleAuditor).Text().Reveal())
	d.do(t, get(exports+"/"+ready+"/file").with("Authorization", reader)).mustRefuse(t, 403, "forbidden")
	d.do(t, get(exports+"/"+ready+"/file").with("Authorization")).mustRefuse(t, 401, "unauthorized")
	fetched := d.do(t, get(exports+"/"+ready+"/file").with("Authorization", auditor)).want(t, 200)
	if r := d.stack.MustAuditOf(t, fetched.header.Get("X-Request-Id")); len(r) != 1 || r[0].Subject != ready || r[0].Result != audit.Allowed {
		t.Errorf("recorded %+v", r)
	}
}
