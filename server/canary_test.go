package server_test

import (
	"cmp"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"maps"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"culvert/connectors/connectorstest"
	"culvert/keys/keystest"
	"culvert/pipes/pipestest"
	"culvert/server"
)

// canary is a value that must be nowhere but in the answers that are meant to hold it.
const canary = "c4naryF7e1d0b2a9e8c6"

// visit is what the canary test sends to one route: requests that succeed, and requests that fail with
// the canary wherever a client could have put it. Names and key contexts are not secret by design, so
// it is no well-formed name and no context.
type visit struct{ good, bad []request }

// visits has an entry for every row of the table; data keys are filled in as they are made.
func visits(id, version, blob string) map[string]visit {
	object := kv + "/" + id
	return map[string]visit{
		"POST /vault/v1/kv": {
			good: []request{post(kv, createBody("good", canary, "o", "1")), post(kv, createBody("keyed", canary)).with("Idempotency-Key", "k")},
			bad: []request{
				post(kv, createBody("good", canary, "o", "1")),
				post(kv, createBody("keyed", canary+"2")).with("Idempotency-Key", "k"),
				post(kv, `{"name":"x","value":"`+canary), post(kv, `"`+canary+`"`), post(kv, canary),
				post(kv, `{"name":"x","value":"v","value":"`+canary+`"}`),
				post(kv, `{"name":{"`+canary+`":"`+canary+`"},"value":["`+canary+`"],"key_context":{}}`),
				post(kv, `{"name":"x","value":"`+canary+`","key_context":{"o":["`+canary+`"]}}`),
				post(kv, `{"name":"`+canary+`\u0000","value":"`+canary+`","key_context":{}}`),
				post(kv, `{"name":"x","value":"v","key_context":{"`+canary+`\u0000":"v"}}`),
				post(kv, `{"name":"x","value":"`+strings.Repeat(canary, 60_000)+`","key_context":{}}`),
				post(kv, `{"`+canary+`":"`+"\xff"+`"}`),
				post(kv, createBody("y", canary)).with("Content-Type", "text/"+canary),
				post(kv, createBody("y", canary)).with("Content-Encoding", canary),
				post(kv, createBody("y", canary)).with("Idempotency-Key", canary+"é"),
				post(kv+"?"+canary+"=%zz", createBody("y", canary)),
			},
		},
		"GET /vault/v1/kv": {
			good: []request{get(kv), get(kv + "?search=" + canary + "&" + canary + "=1")},
			bad: []request{get(kv + "?limit=" + canary), get(kv + "?after=" + canary), get(kv + "?order=" + canary),
				get(kv + "?updatedAfter=" + canary), get(kv + "?search=" + canary + "%FF"), get(kv + "?search=" + canary + "%z")},
		},
		"GET /vault/v1/kv/name/:name": {
			good: []request{get(kv + "/name/first")},
			bad:  []request{get(kv + "/name/" + canary + "%FF"), get(kv + "/name/" + canary + "%00"), get(kv + "/name/x?" + canary + "=%z")},
		},
		"GET /vault/v1/kv/:id":          {good: []request{get(object)}, bad: []request{get(kv + "/" + canary), get(object + "?" + canary + "=%z")}},
		"GET /vault/v1/kv/:id/metadata": {good: []request{get(object + "/metadata")}, bad: []request{get(kv + "/" + canary + "/metadata")}},
		"GET /vault/v1/kv/:id/versions": {good: []request{get(object + "/versions")}, bad: []request{get(kv + "/" + canary + "/versions")}},
		"PUT /vault/v1/kv/:id": {
			good: []request{put(object, `{"value":"`+canary+`-second","version_check":"`+version+`"}`)},
			bad: []request{
				put(object, `{"value":"`+canary+`","version_check":"`+canary+`"}`), put(object, `{"value":["`+canary+`"]}`),
				put(object, `{"Value":"`+canary+`"}`), put(object, `{"value":"`+canary+`"`), put(kv+"/"+canary, `{"value":"`+canary+`"}`),
			},
		},
		"DELETE /vault/v1/kv/:id": {
			good: []request{remove(object).with("X-Last", canary)},
			bad:  []request{remove(object + "?version_check=" + canary), remove(kv + "/" + canary)},
		},
		"POST /vault/v1/keys/data-key": {
			good: []request{post("/vault/v1/keys/data-key", `{"context":{"o":"1"},"`+canary+`":"`+canary+`"}`)},
			bad: []request{post("/vault/v1/keys/data-key", `{"context":{"o":["`+canary+`"]}}`), post("/vault/v1/keys/data-key", canary),
				post("/vault/v1/keys/data-key", `{"context":{"`+canary+`\n":"v"}}`)},
		},
		"POST /vault/v1/keys/decrypt": {
			good: []request{post("/vault/v1/keys/decrypt", `{"keys":"`+blob+`"}`)},
			bad: []request{post("/vault/v1/keys/decrypt", `{"keys":"`+canary+`!"}`), post("/vault/v1/keys/decrypt", `{"Keys":"`+canary+`"}`),
				post("/vault/v1/keys/decrypt", `{"keys":"`+base64.StdEncoding.EncodeToString([]byte(canary))+`"}`)},
		},
		"POST /vault/v1/keys/rekey": {
			good: []request{post("/vault/v1/keys/rekey", `{"context":{"o":"2"},"encrypted_keys":"`+blob+`"}`)},
			bad: []request{post("/vault/v1/keys/rekey", `{"context":{"o":"2"},"encrypted_keys":"`+canary+`!"}`),
				post("/vault/v1/keys/rekey", `{"context":"`+canary+`","encrypted_keys":"`+blob+`"}`)},
		},
		"GET /events": {
			good: []request{get(allEvents), get(allEvents + "&" + canary + "=1")},
			bad:  []request{get("/events?events=" + canary), get(allEvents + "&after=" + canary), get(allEvents + "&range_start=" + canary)},
		},
		"GET /culvert/v1/usage": {good: []request{get("/culvert/v1/usage?" + canary)}, bad: []request{get("/culvert/v1/usage?" + canary + "=%z")}},
		"GET /healthz":          {good: []request{get("/healthz?" + canary)}},
		"GET /readyz":           {good: []request{get("/readyz?" + canary)}},
	}
}

// TestCanary sends a canary through every row of the server's own table, and then looks for it in
// everything that is left behind. A row without a visit fails.
func TestCanary(t *testing.T) {
	kms, cmks := newKMS(t)
	d := newPipesDoor(t, pipestest.Config{Provider: connectorstest.Config{Rotate: true}, Connector: identified, CMKs: cmks})
	first := d.mustCreate(t, "first", canary)
	made := d.do(t, request{method: "POST", path: "/vault/v1/keys/data-key", body: `{"context":{"o":"1"}}`}).want(t, 200).object(t)
	planned := visits(first["id"].(string), first["version_id"].(string), made["encrypted_keys"].(string))
	broker, minted := d.pipesVisits(t)
	maps.Copy(planned, broker)
	maps.Copy(planned, cmkVisits(d.mustAttach(t, kms.NewKey(t, keystest.AWSAccount), "org_9"), kms.NewKey(t, keystest.AWSAccount)))
	maps.Copy(planned, scheduleVisits())
	maps.Copy(planned, auditVisits())
	maps.Copy(planned, d.exportVisits(t))
	maps.Copy(planned, environmentVisits())
	maps.Copy(planned, webhookVisits(d.mustEndpoint(t, "http://127.0.0.1:1/seen")["id"].(string)))
	ofKeys, value := d.admissionVisits(t)
	maps.Copy(planned, ofKeys)
	maps.Copy(planned, keyVisits(first["key_id"].(string), d.mustJob(t, `{"kind":"rewrap","all":true}`)["id"].(string)))

	rows := d.server.Routes()
	// Deletes come last: what they delete is needed by the others.
	slices.SortStableFunc(rows, func(a, b server.Route) int {
		return cmp.Compare(strings.Count(a.Method, "DELETE"), strings.Count(b.Method, "DELETE"))
	})
	for _, row := range rows {
		name := row.Method + " " + row.Path
		v, ok := planned[name]
		if !ok {
			t.Errorf("%s has no visit", name)
		}
		for _, q := range v.good {
			a := d.do(t, q)
			if a.status < 200 || a.status > 399 || strings.Contains(headerText(a), canary) {
				t.Errorf("%s: %d %v %s", name, a.status, a.header, a.body)
			}
			minted = append(minted, givenOut(a.body)...)
			if row.Action != "" && !row.Browser {
				v.bad = append(v.bad, q.with("Authorization", "Bearer "+canary))
			}
		}
		for _, q := range v.bad {
			d.mustHide(t, name, q)
		}
	}
	for _, q := range []request{get("/" + canary), get("/vault/" + canary), get(kv + "/name/" + strings.Repeat(canary, 1000)), {method: canary, path: kv}} {
		d.mustHide(t, "no route", q)
	}
	d.mustHideRaw(t, "GET "+kv+"/%zz"+canary+" HTTP/1.1\r\nHost: x\r\n\r\n")

	secrets := []string{canary, made["data_key"].(string), d.key(), strings.Split(d.key(), "_")[3]}
	secrets = append(append(secrets, minted...), d.mustRefresh(t)...)
	secrets = append(secrets, value, strings.Split(value, "_")[3])
	d.search(t, secrets)
}

// givenOut are the secrets that an answer gives to whoever asked, this once: keys, and what webhooks are signed with.
func givenOut(body string) (secrets []string) {
	var o map[string]any
	if json.Unmarshal([]byte(body), &o) != nil {
		return nil
	}
	for _, member := range []string{"value", "secret", "data_key"} {
		if text, ok := o[member].(string); ok && len(text) > 30 && !strings.Contains(text, "*") && !strings.Contains(text, canary) {
			secrets = append(secrets, text)
		}
	}
	return secrets
}

// mustHide sends a request that must fail, and without a trace of the canary in the answer.
func (d *door) mustHide(t *testing.T, name string, q request) {
	t.Helper()
	a := d.do(t, q)
	if a.status < 400 || a.status > 499 || strings.Contains(a.body+headerText(a), canary) {
		t.Errorf("%s %s %.200s: %d %v %.500s", name, q.path, q.body, a.status, a.header, a.body)
	}
}

func (d *door) mustHideRaw(t *testing.T, text string) {
	t.Helper()
	if a := d.raw(t, text); a.status != 400 || strings.Contains(a.body+headerText(a), canary) {
		t.Errorf("%d %v %s", a.status, a.header, a.body)
	}
}

// search looks for secrets in everything that outlives a request: the log, the metrics, and every file
// below the test's directory: audit log, etcd's database and its write-ahead log.
func (d *door) search(t *testing.T, secrets []string) {
	t.Helper()
	metrics := httptest.NewRecorder()
	d.server.AdminHandler().ServeHTTP(metrics, httptest.NewRequest("GET", "/metrics", nil))
	files := filesUnder(t, filepath.Dir(filepath.Dir(d.stack.AuditDir)))
	for place, text := range map[string]string{"log": d.log.String(), "metrics": metrics.Body.String(), "files": files} {
		for _, secret := range secrets {
			for form, needle := range forms(secret) {
				if at := strings.Index(text, needle); at >= 0 {
					t.Errorf("%s holds a secret as %s: …%q…", place, form, text[max(0, at-100):at])
				}
			}
		}
	}
	// The search can find something: what is not secret stands in each of the places.
	for place, found := range map[string]bool{
		"log": strings.Contains(d.log.String(), "/vault/v1/kv/:id"), "metrics": strings.Contains(metrics.Body.String(), "/vault/v1/kv/:id"),
		"audit log": strings.Contains(auditText(t, d), `"object_name":"first"`), "write-ahead log": strings.Contains(files, ".wal\n") && strings.Count(files, "first") > 2,
	} {
		if !found {
			t.Errorf("the %s was not searched", place)
		}
	}
}

// forms are the ways in which a secret may have been written down. Base 64 has three, by where in a
// group of three bytes the secret begins; the ends, which mix with neighbours, are left out.
func forms(secret string) map[string]string {
	forms := map[string]string{
		"itself": secret, "hex": hex.EncodeToString([]byte(secret)), "reversed case": strings.ToUpper(secret),
	}
	for shift, name := range []string{"base64", "base64 shifted", "base64 shifted twice"} {
		encoded := base64.RawStdEncoding.EncodeToString([]byte(strings.Repeat("x", shift) + secret))
		forms[name] = encoded[4 : len(encoded)-3]
	}
	return forms
}
