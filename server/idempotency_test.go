package server_test

import (
	"strings"
	"sync"
	"testing"

	"culvert/keys/keystest"
	"culvert/pipes/pipestest"
)

// withoutKey are the POSTs that have no use for an Idempotency-Key, and why.
func withoutKey() map[string]string {
	const (
		secret  = "the answer has a secret, which cannot be given again"
		reads   = "it changes nothing"
		browser = "a browser sends it, whose credential is used up by it"
		twice   = "what a second one makes takes the first one's place, and nothing is lost by it"
		same    = "a second one finds the first one's work done and changes nothing"
	)
	return map[string]string{
		"/vault/v1/keys/data-key": secret, "/vault/v1/keys/decrypt": secret, "/vault/v1/keys/rekey": secret,
		"/data-integrations/:slug/token": secret, "/data-integrations/:slug/credentials": secret,
		"/data-integrations/:slug/authorize": secret, "/culvert/v1/data-integrations/:slug/token-refused": secret,
		"/culvert/v1/environments": secret, "/culvert/v1/api-keys": secret, "/culvert/v1/api-keys/:id/rotate": secret,
		"/organizations/:organization_id/api_keys": secret, "/webhook_endpoints": secret, "/culvert/v1/webhooks/:id/rotate-secret": secret,
		"/culvert/v1/authorizations/finish": same, "/culvert/v1/jobs/:id/cancel": same, "/culvert/v1/jobs/:id/resume": same,
		"/culvert/v1/audit/streams/:name/rewind": same,
		"/culvert/v1/api-keys/:id/expire":        same, "/api_keys/:id/expire": same, "/culvert/v1/webhooks/:id/replay": same,
		"/culvert/v1/audit/key/rotate": twice,
		"/culvert/v1/cmks/:id/verify":  reads, "/culvert/v1/access/explain": reads, "/api_keys/validations": reads,
		"/audit_logs/exports":                           "a second one is another file of the same records, and ends by itself",
		"/data-integrations/:ticket/authorize-redirect": browser, "/data-integrations/:ticket/cancel": browser,
		"/data-integrations/:slug/:dik/callback": browser, "/data-integrations/:flow/account-choice": browser, "/pipes/authorize": browser,
	}
}

// once is what a test of one route repeats: another body under the key is other, "" where no body is read.
type once struct{ path, body, other string }

// onces has an entry for every row of the table that honours an Idempotency-Key.
func (d *door) onces(t *testing.T, arn string) map[string]once {
	t.Helper()
	d.mustKeys(t)
	d.mustMachines(t)
	d.mustIntegration(t, pipestest.Slug, "")
	d.mustIntegration(t, pipestest.Slug, "organization")
	kek := d.mustCreate(t, "first", "value")["key_id"].(string)
	key := func(secret string) string {
		return `{"user_id":"user_7","secret":"` + secret + `","connection_intent":"add"}`
	}
	client := func(user string) string {
		return `{"user_id":"` + user + `","client_id":"` + pipestest.ClientID + `","client_secret":"` + pipestest.ClientSecret + `","connection_intent":"add"}`
	}
	custom := func(description string) string {
		return `{"provider":"mine","enabled":true,"auth_methods":["api_key"],"custom_provider":{"name":"Mine"},"description":"` + description +
			`","api_key":{"user_id":"u","secret":"sk-of-the-integration"}}`
	}
	role := func(description string) string {
		return strings.Replace(roleBody, "{", `{"description":"`+description+`",`, 1)
	}
	return map[string]once{
		kv:                              {kv, createBody("once", "v"), createBody("once", "w")},
		integrations:                    {integrations, custom("a"), custom("b")},
		integrations + "/:slug/api-key": {keyPath, key("sk-1234567890"), key("sk-0987654321")},
		integrations + "/:slug/client-credentials": {clientPath, client("user_7"), client("user_8")},
		"/user_management/users/:user_id/connected_accounts/:slug": {
			"/user_management/users/user_9/connected_accounts/" + pipestest.Slug, `{"access_token":"at-1"}`, `{"access_token":"at-2"}`,
		},
		"/organizations/:organization_id/connected_accounts/:slug": {
			"/organizations/org_9/connected_accounts/" + pipestest.Slug, `{"user_id":"u","access_token":"at-1"}`, `{"user_id":"u","access_token":"at-2"}`,
		},
		"/culvert/v1/keks/:id/rotate": {"/culvert/v1/keks/" + kek + "/rotate", "", ""},
		jobs:                          {jobs, `{"kind":"rewrap","all":true}`, `{"kind":"rewrap","all":true,"rate":7}`},
		cmks:                          {cmks, attachBody("org_once", arn), attachBody("org_other", arn)},
		roles:                         {roles, role("a"), role("b")},
	}
}

// TestOnce: every POST either honours an Idempotency-Key or says why not. Of requests under one key that come at
// once, one makes something, and all get the same; another body is refused; another key is another request.
func TestOnce(t *testing.T) {
	kms, source := newKMS(t)
	d := newPipesDoor(t, pipestest.Config{CMKs: source})
	planned, without := d.onces(t, kms.NewKey(t, keystest.AWSAccount)), withoutKey()
	for _, row := range d.server.Routes() {
		reason, excused := without[row.Path]
		switch one, ok := planned[row.Path]; {
		case row.Method != "POST":
			if row.Once {
				t.Errorf("%s %s honours a key, and is no create", row.Method, row.Path)
			}
		case row.Once && !ok || row.Once && excused || !row.Once && reason == "":
			t.Errorf("POST %s honours a key: %v, is tried: %v, is excused: %q", row.Path, row.Once, ok, reason)
		case row.Once:
			t.Run(row.Path, func(t *testing.T) { one.run(t, d) })
		}
	}
}

func (o once) run(t *testing.T, d *door) {
	answers := make([]answer, 4)
	var group sync.WaitGroup
	for i := range answers {
		group.Go(func() {
			var err error
			answers[i], err = d.try(t.Context(), post(o.path, o.body).with("Idempotency-Key", "one"))
			if err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	first := o.made(t, answers[0])
	for _, a := range answers[1:] {
		if got := o.made(t, a); got != first || a.status != answers[0].status {
			t.Errorf("%d %q, and %d %q under the same key", answers[0].status, first, a.status, got)
		}
	}
	if o.other != "" {
		d.do(t, post(o.path, o.other).with("Idempotency-Key", "one")).mustRefuse(t, 409, "idempotency_error")
	}
	// The twin: another request has an effect of its own, or meets that of the first.
	if a := d.do(t, post(o.path, o.body).with("Idempotency-Key", "two")); a.status != 409 && (a.status >= 300 || o.made(t, a) == first) {
		t.Errorf("under another key: %d %s", a.status, a.body)
	}
}

// TestOncePlaces: the same key for another path or query is another request, and what was made and is gone is not
// made again.
func TestOncePlaces(t *testing.T) {
	d := newPipesDoor(t, pipestest.Config{})
	d.mustIntegration(t, pipestest.Slug, "")
	const path = "/user_management/users/%/connected_accounts/" + pipestest.Slug
	account := func(user, query string) answer {
		return d.do(t, post(strings.Replace(path, "%", user, 1)+query, `{"access_token":"at"}`).with("Idempotency-Key", "k"))
	}
	seen := map[any]bool{}
	for _, a := range []answer{account("user_1", ""), account("user_2", ""), account("user_1", "?organization_id=org_1")} {
		seen[a.want(t, 201).object(t)["id"]] = true
	}
	if len(seen) != 3 {
		t.Errorf("%d accounts of three", len(seen))
	}
	account("user_1", "").want(t, 201)
	d.do(t, remove(strings.Replace(path, "%", "user_1", 1))).want(t, 204)
	account("user_1", "").mustRefuse(t, 404, "entity_not_found")
	d.do(t, get(strings.Replace(path, "%", "user_1", 1))).want(t, 404)
}

// made is what an answer says that there is: its id, or its name, and of a KEK how often it was rotated.
func (o once) made(t *testing.T, a answer) string {
	t.Helper()
	made := a.object(t)
	var b strings.Builder
	for _, name := range []string{"id", "name", "versions", "installation"} {
		if text, ok := made[name].(string); ok {
			b.WriteString(text + " ")
		}
		if number, ok := made[name].(float64); ok {
			b.WriteString(strings.Repeat("+", int(number)))
		}
		if nested, ok := made[name].(map[string]any); ok {
			b.WriteString(nested["id"].(string))
		}
	}
	if a.status >= 300 || b.Len() == 0 {
		t.Fatalf("%d %s", a.status, a.body)
	}
	return b.String()
}
