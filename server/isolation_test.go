package server_test

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"culvert/connectors/connectorstest"
	"culvert/internal/events"
	"culvert/keys/keystest"
	"culvert/pipes/pipestest"
	"culvert/server"
)

// as is the same door for requests with another API key.
func (d *door) as(key string) *door {
	other := *d
	other.other = key
	return &other
}

// estate is what one environment has. Both environments of TestIsolation have the same, under the same names.
type estate struct {
	*door
	env, key                               string
	object, version, kek, blob             string
	account, shared, dik, revocation       string
	export                                 string
	keyed, machine, cmk, arn               string
	job, ended, hook, apiKey, orgKey, text string
	event                                  string
	looks, departs, cancels, returns       leg
	callback, state, resultID, verifier    string
	popup                                  handoff
	asked                                  answer
	choice, choiceCookie                   string
}

// mustFurnish makes everything in an environment: of is what values say, and nothing else differs.
func (d *door) mustFurnish(t *testing.T, env, key, of string) *estate {
	t.Helper()
	e := &estate{door: d.as(key), env: env, key: key}
	made := func(q request) map[string]any {
		t.Helper()
		a := e.do(t, q)
		if a.status >= 300 {
			t.Fatalf("%s %s: %d %s", q.method, q.path, a.status, a.body)
		}
		return a.object(t)
	}
	id := func(q request) string { return made(q)["id"].(string) }
	object := made(post(kv, createBody("thing", of, "organization_id", "org_1")).with("Idempotency-Key", "same"))
	e.object, e.version, e.kek = object["id"].(string), object["version_id"].(string), object["key_id"].(string)
	e.blob = made(post("/vault/v1/keys/data-key", `{"context":{"organization_id":"org_1"}}`))["encrypted_keys"].(string)
	e.hook = e.mustEndpoint(t, "http://127.0.0.1:1/same")["id"].(string)
	e.mustKeys(t)
	e.mustMachines(t)
	e.dik = e.mustIntegration(t, pipestest.Slug, "")["id"].(string)
	e.mustIntegration(t, pipestest.Slug, "organization")
	e.account = e.mustConnect(t)
	e.shared = id(post("/organizations/org_1/connected_accounts/provider", `{"user_id":"user_1","access_token":"of-`+of+`"}`))
	e.revocation = e.mustRevoke(t, "user_4", "gone-"+of)
	e.keyed = id(put(keyPath, `{"user_id":"user_1","secret":"sk-of-`+of+`-1234"}`))
	e.machine = id(put(clientPath, `{"user_id":"user_1","client_id":"`+pipestest.ClientID+`","client_secret":"`+pipestest.ClientSecret+`"}`))
	e.job, e.ended = id(post(jobs, `{"kind":"rewrap","all":true}`)), id(post(jobs, `{"kind":"rewrap","all":true}`))
	made(post(jobs+"/"+e.ended+"/cancel", ""))
	made(put(schedule, `{"older_than":"2160h"}`))
	e.apiKey, _ = e.mustKey(t, apiKeys, `{"name":"same","role":"reader"}`)
	e.orgKey, e.text = e.mustKey(t, orgKeys, `{"name":"same"}`)
	made(post(roles, roleBody))
	e.furnishFlows(t)
	e.event = made(get("/events?events=vault.data.created"))["data"].([]any)[0].(map[string]any)["id"].(string)
	return e
}

// furnishFlows has a flow at every leg.
func (e *estate) furnishFlows(t *testing.T) {
	t.Helper()
	e.looks, e.departs, e.cancels, e.returns = e.mustLeg(t, ""), e.mustLeg(t, returnTo), e.mustLeg(t, ""), e.mustLeg(t, "")
	provider := e.do(t, e.returns.press("authorize-redirect")).mustRedirect(t)
	e.callback = strings.TrimPrefix(e.pipes.Provider.Visit(t, provider).String(), pipestest.PublicURL)
	e.state = between(e.callback, "state=", "&")
	e.popup = e.mustHandoff(t)
	e.resultID, e.verifier = e.mustWait(t)
	e.asked, e.choice, e.choiceCookie = e.mustAskedBrowser(t)
}

// only gives an environment things of names that the other one does not have.
func (e *estate) only(t *testing.T) {
	t.Helper()
	e.do(t, post(kv, createBody("only-theirs", "v"))).want(t, 201)
	e.do(t, post(roles, strings.Replace(roleBody, "made", "only-theirs", 1))).want(t, 201)
	for slug, ownership := range map[string]string{"only-theirs": "user", "only-theirs-org": "organization"} {
		e.do(t, post(integrations, `{"provider":"`+slug+`","enabled":true,"ownership":"`+ownership+`","credentials":{"type":"custom","client_id":"c","client_secret":"s"},
			"custom_provider":{"name":"Only","authorization_url":"https://p.example/a","token_url":"https://p.example/t"}}`)).want(t, 201)
	}
}

// crossing is a request by an API key of another environment that names something of the first one, and the same about
// something that nobody has. Without nobody it is about what the other environment has itself.
type crossing struct{ theirs, nobody request }

// of makes a crossing of a request that names one thing.
func of(ask func(string) request, theirs, nobody string) crossing {
	return crossing{ask(theirs), ask(nobody)}
}

// Ids that nobody has.
const (
	noUUID = "018f0000-0000-7000-8000-000000000000"
	noULID = "01KAR8Z3S3Z0C5M2N1V7W9X4YQ"
)

// TestIsolation: over every row of the table, what belongs to one environment is for an API key of another one as if
// nobody had it, and nothing of it is in any answer; in its own it works. A new row without a crossing fails.
func TestIsolation(t *testing.T) {
	kms, source := newKMS(t)
	d := newPipesDoor(t, pipestest.Config{Provider: connectorstest.Config{Rotate: true}, Connector: identified, CMKs: source})
	env, key := d.mustEnvironment(t, "sandbox")
	ours := d.mustFurnish(t, env, key, "ours")
	theirs := d.mustFurnish(t, d.stack.Environment.ID().OnWire(), d.key(), "theirs")
	theirs.only(t)
	theirs.export = theirs.mustExport(t, `{`+wholeDay+`}`)["id"].(string)
	theirs.arn = kms.NewKey(t, keystest.AWSAccount)
	theirs.cmk = theirs.mustAttach(t, theirs.arn, "org_9")
	theirs.job = theirs.mustJob(t, `{"kind":"rewrap","all":true}`)["id"].(string) // the attachment's runner has done the other
	theirs.wantOwn(t, "theirs")
	ours.wantOwn(t, "ours")
	theirs.wantOwn(t, "theirs") // no cache has learned from the other

	foreign := theirs.names(t)
	for named := range ours.names(t) {
		delete(foreign, named)
	}
	planned := crossings(ours, theirs)
	rows := d.server.Routes()
	slices.SortStableFunc(rows, func(a, b server.Route) int {
		return cmp.Compare(strings.Count(a.Method, "DELETE"), strings.Count(b.Method, "DELETE"))
	})
	for _, row := range rows {
		name := row.Method + " " + row.Path
		if len(planned[name]) == 0 {
			t.Errorf("%s has no crossing", name)
		}
		for _, c := range planned[name] {
			c.run(t, ours, name, foreign)
		}
	}
	for _, row := range rows {
		for _, c := range planned[row.Method+" "+row.Path] {
			if c.nobody.path == "" || row.Browser || strings.Contains(c.theirs.path, ours.hook) {
				continue // it names nothing of theirs, or more than that
			}
			if a := theirs.do(t, c.theirs); a.status >= 300 {
				t.Errorf("%s in its own environment: %d %s", row.Method+" "+c.theirs.path, a.status, a.body)
			}
		}
	}
}

// run holds the answer about the other's thing to that about nobody's.
func (c crossing) run(t *testing.T, ours *estate, name string, foreign map[string]bool) {
	t.Helper()
	got := ours.do(t, c.theirs)
	// The log of a node is one for all environments, and its key is named after the first.
	text := strings.ReplaceAll(got.body+headerText(got), "culvert-audit-"+string(ours.stack.Environment.ID()), "")
	for word := range foreign {
		if strings.Contains(text, word) && !strings.Contains(c.theirs.path+c.theirs.body, word) {
			t.Errorf("%s: the answer has %q of the other environment: %d %s", name, word, got.status, text)
		}
	}
	if c.nobody.path == "" {
		if got.status >= 400 {
			t.Errorf("%s in its own environment: %d %s", name, got.status, got.body)
		}
		return
	}
	want := ours.do(t, c.nobody)
	if got.status != want.status || quiet(got.body) != quiet(want.body) {
		t.Errorf("%s:\n%d %s\nbut about what nobody has\n%d %s", name, got.status, got.body, want.status, want.body)
	}
}

var requestID = regexp.MustCompile(`req_[0-9A-HJKMNP-TV-Z]{26}`)

// quiet is an answer without its request id.
func quiet(body string) string { return requestID.ReplaceAllString(body, "req") }

// wantOwn reads what has the same name in both environments.
func (e *estate) wantOwn(t *testing.T, of string) {
	t.Helper()
	for path, want := range map[string]string{
		kv + "/name/thing": `"value":"` + of + `"`, kv + "/" + e.object: `"value":"` + of + `"`,
	} {
		if a := e.do(t, get(path)).want(t, 200); !strings.Contains(a.body, want) {
			t.Errorf("%s of %s: %s", path, of, a.body)
		}
	}
	vended := e.do(t, post("/data-integrations/keys/credentials", user1)).want(t, 200)
	if !strings.Contains(vended.body, "sk-of-"+of+"-1234") {
		t.Errorf("credential of %s: %s", of, vended.body)
	}
	if got := e.do(t, post(tokenPath, user1)).want(t, 200).object(t)["connected_account_id"]; got != nil && got != e.account {
		t.Errorf("token of %s is of %v", of, got)
	}
}

// names are the ids and values that an environment has.
func (e *estate) names(t *testing.T) map[string]bool {
	t.Helper()
	all := map[string]bool{}
	ids := regexp.MustCompile(`[0-9A-HJKMNP-TV-Z]{26}|[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}|only-theirs|"theirs"`)
	for _, path := range []string{
		kv, keks, jobs, apiKeys, roles, integrations, hooks, orgKeys, "/culvert/v1/revocations", kv + "/" + e.object, "/events?limit=100&" + strings.TrimPrefix(eventTypes(), "&"),
		"/user_management/users/user_1/data_providers", "/organizations/org_1/data_providers", environmentsPath + "/" + e.env,
	} {
		body := strings.ReplaceAll(quiet(e.do(t, get(path)).want(t, 200).body), e.stack.Root.URI(), "")
		for _, found := range ids.FindAllString(body, -1) {
			all[found] = true
		}
	}
	if len(all) < 20 {
		t.Fatalf("%d names", len(all))
	}
	return all
}

// eventTypes asks for the events of every type.
func eventTypes() string {
	var all strings.Builder
	for _, e := range events.Types() {
		_, _ = fmt.Fprintf(&all, "&events=%s", e)
	}
	return all.String()
}
