package server_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"culvert/internal/audit"
)

const auditPath = "/culvert/v1/audit"

// auditVisits is what TestCanary sends to the routes of the audit log.
func auditVisits() map[string]visit {
	records, inclusion, consistency := auditPath+"/records", auditPath+"/proofs/inclusion", auditPath+"/proofs/consistency"
	streams := auditPath + "/streams"
	return map[string]visit{
		"GET " + streams: {good: []request{get(streams + "?" + canary)}, bad: []request{get(streams + "?" + canary + "=%z")}},
		"POST " + streams + "/:name/rewind": {
			good: []request{post(streams+"/disk/rewind", `{"index":0,"`+canary+`":1}`), post(streams+"/disk/rewind", `{"since":"2026-01-01T00:00:00Z"}`)},
			bad: []request{post(streams+"/"+canary+"/rewind", `{"index":0}`), post(streams+"/disk/rewind", `{"index":"`+canary+`"}`),
				post(streams+"/disk/rewind", `{"since":"`+canary+`"}`), post(streams+"/disk/rewind", canary), post(streams+"/disk/rewind", `{}`)},
		},
		"GET " + records: {
			good: []request{get(records + "?limit=1"), get(records + "?actor_id=" + canary), get(records + "?action=" + canary), get(records + "?" + canary)},
			bad: []request{get(records + "?after=" + canary), get(records + "?outcome=" + canary), get(records + "?range_start=" + canary),
				get(records + "?last=" + canary), get(records + "?limit=" + canary)},
		},
		"GET " + auditPath + "/checkpoints": {good: []request{get(auditPath + "/checkpoints?" + canary)}, bad: []request{get(auditPath + "/checkpoints?node=" + canary)}},
		"POST " + auditPath + "/key/rotate": {good: []request{post(auditPath+"/key/rotate", canary)}},
		"GET " + inclusion:                  {good: []request{get(inclusion + "?index=0&size=1")}, bad: []request{get(inclusion + "?index=" + canary), get(inclusion + "?index=0&size=" + canary)}},
		"GET " + consistency:                {good: []request{get(consistency + "?from=1&to=1")}, bad: []request{get(consistency + "?from=" + canary), get(consistency)}},
	}
}

// TestRecords: an auditor finds what was done, page by page, and nothing of other environments.
func TestRecords(t *testing.T) {
	d := newDoor(t)
	id := d.mustCreate(t, "one", "value")["id"].(string)
	d.do(t, get(kv+"/"+id)).want(t, 200)
	d.do(t, get(kv+"/nowhere")).want(t, 404)
	_, err := d.stack.Audit.Append(t.Context(), audit.Record{EnvironmentID: "another", Action: "vault.data.read", Phase: audit.Access, Result: audit.Allowed})
	must(t, err)

	actions := func(query string) (all []string) {
		for _, r := range d.do(t, get(auditPath+"/records?"+query)).want(t, 200).object(t)["data"].([]any) {
			r := r.(map[string]any)
			if r["environment_id"] != nil && r["environment_id"] != string(d.stack.Environment.ID()) {
				t.Errorf("%s: a record of another environment: %v", query, r)
			}
			all = append(all, fmt.Sprint(r["action"], " ", r["phase"], " ", r["result"]))
		}
		return all
	}
	for query, want := range map[string]string{
		"limit=1":                                                 "audit.log.begun internal allowed",
		"action=vault.data.create":                                "vault.data.create intent allowed,vault.data.create outcome allowed",
		"action=vault.data.read":                                  "vault.data.read access allowed,vault.data.read access failed",
		"action=vault.data.read&outcome=failed":                   "vault.data.read access failed",
		"action=vault.data.read&actor_id=key_nobody":              "",
		"action=vault.data.read&range_start=2100-01-01T00:00:00Z": "",
		"action=vault.data.read&range_end=2000-01-01T00:00:00Z":   "",
	} {
		if got := strings.Join(actions(query), ","); got != want {
			t.Errorf("%s: got %s, want %s", query, got, want)
		}
	}
	// Page by page, every one once.
	seen, after := 0, ""
	for {
		page := d.do(t, get(auditPath+"/records?limit=2&range_end=2100-01-01T00:00:00Z"+after)).want(t, 200).object(t)
		for _, r := range page["data"].([]any) {
			if index := r.(map[string]any)["index"].(float64); int(index) < seen {
				t.Fatalf("record %v comes again", index)
			} else {
				seen = int(index) + 1
			}
		}
		next := page["list_metadata"].(map[string]any)["after"]
		if next == nil || seen > 12 {
			break
		}
		after = "&after=" + next.(string)
	}
	if last := actions("last=1"); len(last) == 0 || len(last) > 2 {
		t.Errorf("the last: got %v", last)
	}
	for _, query := range []string{"outcome=maybe", "after=x", "last=-1", "range_start=soon", "limit=0"} {
		d.do(t, get(auditPath+"/records?"+query)).want(t, 400)
	}
}

// TestProofs: what the API proves of a record and of two sizes holds against a checkpoint that was signed, with
// nothing but the public key.
func TestProofs(t *testing.T) {
	d := newDoor(t)
	notary, err := audit.StartNotary(audit.NotaryConfig{
		Log: d.stack.Audit, Store: d.stack.Store.Checkpoints(d.stack.Environment.ID()), Every: 10 * time.Millisecond,
		Signer: func(context.Context) (audit.Signer, error) { return d.stack.Environment.Signer(), nil },
	})
	must(t, err)
	for i := range 9 {
		d.mustCreate(t, fmt.Sprint("object ", i), "value")
	}
	must(t, notary.Close()) // signs all of it

	proven := d.do(t, get(auditPath+"/proofs/inclusion?index=5")).want(t, 200).object(t)
	verifier, err := note.NewVerifier(d.stack.Environment.Signer().VerifierKey())
	must(t, err)
	key := audit.NewKeys(verifier)
	signed, err := audit.OpenCheckpoint([]byte(proven["checkpoint"].(string)), key)
	must(t, err)
	page := d.do(t, get(auditPath+"/records?limit=1&after=4")).want(t, 200)
	var lines struct{ Data []json.RawMessage }
	must(t, json.Unmarshal([]byte(page.body), &lines))
	leaf := tlog.RecordHash(lines.Data[0])
	must(t, tlog.CheckRecord(hashes(t, proven), int64(signed.Size), signed.Root, 5, leaf))
	if tlog.CheckRecord(hashes(t, proven), int64(signed.Size), signed.Root, 5, tlog.RecordHash(append(lines.Data[0], ' '))) == nil {
		t.Error("the proof does for another record")
	}

	consistent := d.do(t, get(auditPath+fmt.Sprintf("/proofs/consistency?from=7&to=%d", signed.Size))).want(t, 200).object(t)
	must(t, tlog.CheckTree(hashes(t, consistent), int64(signed.Size), signed.Root, 7, hash(t, consistent["from_root_hash"])))
	for _, query := range []string{"inclusion?index=5&size=5", "inclusion?index=5&size=100000", "consistency?from=0", "consistency?from=9&to=8"} {
		d.do(t, get(auditPath+"/proofs/"+query)).want(t, 422)
	}
	d.do(t, get(auditPath+"/checkpoints?node=nowhere")).want(t, 422)
	told := d.do(t, get(auditPath+"/checkpoints")).want(t, 200).object(t)
	if told["public_key"] != d.stack.Environment.Signer().VerifierKey() {
		t.Errorf("public key: got %v", told["public_key"])
	}
	rotated := d.do(t, post(auditPath+"/key/rotate", "")).want(t, 200).object(t)
	if rotated["public_key"] != "another key" || rotated["previous_public_key"] != told["public_key"] {
		t.Errorf("rotated: got %v", rotated)
	}
}

func hashes(t *testing.T, proof map[string]any) (all []tlog.Hash) {
	t.Helper()
	for _, h := range proof["hashes"].([]any) {
		all = append(all, hash(t, h))
	}
	return all
}

func hash(t *testing.T, text any) tlog.Hash {
	t.Helper()
	b, err := base64.StdEncoding.DecodeString(text.(string))
	must(t, err)
	return tlog.Hash(b)
}
