package server_test

import (
	"strings"
	"testing"
	"time"

	"culvert/connectors"
	"culvert/connectors/connectorstest"
	"culvert/pipes"
	"culvert/pipes/pipestest"
)

const (
	tokenPath      = "/data-integrations/provider/token"
	refusedPath    = "/culvert/v1/data-integrations/provider/token-refused"
	credentialPath = "/data-integrations/provider/credentials"
	user1          = `{"user_id":"user_1"}`
)

// inactive is the answer for an account that needs reauthorization.
func inactive(reason string) map[string]any {
	return map[string]any{
		"active": false, "error": "needs_reauthorization", "reason": reason, "reason_hint": pipes.ReasonHint(reason),
	}
}

// TestVend: both answers of both routes, member by member.
func TestVend(t *testing.T) {
	d := newPipesDoor(t, pipestest.Config{Provider: connectorstest.Config{Scopes: []string{"read"}}})
	d.mustIntegration(t, pipestest.Slug, "")
	d.do(t, put(integrations+"/provider", `{"scopes":["read","write"]}`)).want(t, 200)
	for _, path := range []string{tokenPath, credentialPath} {
		shape(t, d.do(t, post(path, user1)).want(t, 200).object(t), map[string]any{"active": false, "error": "not_installed"})
	}
	d.mustConnect(t)
	a := d.do(t, post(tokenPath, `{"user_id":"user_1","organization_id":null,"supports_multiple_connections":false,"x":1}`)).want(t, 200)
	token := a.object(t)["access_token"].(map[string]any)["access_token"].(string)
	if !d.pipes.Provider.Alive(token) {
		t.Error("the token does not work")
	}
	shape(t, a.object(t), map[string]any{"active": true, "access_token": map[string]any{
		"object": "access_token", "access_token": token, "expires_at": eventTimeShape, "scopes": []any{"read"}, "missing_scopes": []any{"write"},
	}})
	credential := d.do(t, post(credentialPath, user1)).want(t, 200)
	shape(t, credential.object(t), map[string]any{"active": true, "credential": map[string]any{
		"object": "credential", "auth_method": "oauth", "value": token, "expires_at": eventTimeShape,
		"scopes": []any{"read"}, "missing_scopes": []any{"write"}, "config": map[string]any{},
	}})
	for _, answer := range []answer{a, credential} {
		if got := answer.header.Get("Cache-Control"); got != "no-store" {
			t.Errorf("Cache-Control %q on a token", got)
		}
	}
	// A token that does not end has no end.
	d.do(t, put(account, `{"access_token":"for ever"}`)).want(t, 200)
	if got := d.do(t, post(tokenPath, user1)).want(t, 200).object(t)["access_token"].(map[string]any); got["expires_at"] != nil || got["access_token"] != "for ever" {
		t.Errorf("token %v", got)
	}
	d.do(t, put(account, `{"state":"needs_reauthorization"}`)).want(t, 200)
	for _, path := range []string{tokenPath, credentialPath} {
		shape(t, d.do(t, post(path, user1)).want(t, 200).object(t), inactive("set_by_caller"))
	}
}

// TestVendMetadata: what a provider says besides stands beside the token, and nothing where it says nothing.
func TestVendMetadata(t *testing.T) {
	const host = "https://acme.provider.example"
	d := newPipesDoor(t, pipestest.Config{Provider: connectorstest.Config{InstanceURL: host}, Connector: func(c *connectors.Connector) {
		c.Metadata = []connectors.ReplyField{{Name: "instance_url", Pattern: `^(?:https://[a-z.]+)$`, Domains: []string{"provider.example"}}}
	}})
	d.mustIntegration(t, pipestest.Slug, "")
	d.mustConnect(t)
	for path, member := range map[string]string{tokenPath: "access_token", credentialPath: "credential"} {
		got := d.do(t, post(path, user1)).want(t, 200).object(t)[member].(map[string]any)["metadata"]
		if said, ok := got.(map[string]any); !ok || len(said) != 1 || said["instance_url"] != host {
			t.Errorf("%s: %v", path, got)
		}
	}
}

// TestVendRefused: requests for a token that are no question of the account's state.
func TestVendRefused(t *testing.T) {
	d := newPipesDoor(t, pipestest.Config{})
	d.mustIntegration(t, pipestest.Slug, "")
	d.mustConnect(t)
	for name, c := range map[string]struct {
		path, body string
		status     int
		code       string
	}{
		"no such provider":     {"/data-integrations/nobody/token", user1, 404, "entity_not_found"},
		"no such account":      {tokenPath, `{"user_id":"user_1","connected_account_id":"data_installation_01KAR8Z3S3Z0C5M2N1V7W9X4YQ"}`, 404, "entity_not_found"},
		"not JSON":             {tokenPath, `user_id=user_1`, 400, "invalid_json"},
		"another case":         {tokenPath, `{"user_id":"user_1","User_Id":"` + marker + `"}`, 400, "invalid_json"},
		"two users":            {tokenPath, `{"user_id":"user_1","user_id":"user_2"}`, 400, "invalid_json"},
		"another type of body": {tokenPath, "", 400, "invalid_json"},
		"malformed selector":   {tokenPath, `{"user_id":"user_1","connected_account_id":"` + marker + `"}`, 400, "invalid_value"},
	} {
		t.Run(name, func(t *testing.T) { d.do(t, post(c.path, c.body)).mustRefuse(t, c.status, c.code) })
	}
	for name, c := range map[string]struct{ body, code string }{
		"no user":                    {`{}`, "required"},
		"null":                       {`{"user_id":null}`, "required"},
		"empty":                      {`{"user_id":""}`, "required"},
		"control character":          {`{"user_id":"` + marker + `\u0007"}`, "invalid_value"},
		"long":                       {`{"user_id":"` + strings.Repeat("u", 256) + `"}`, "invalid_value"},
		"number":                     {`{"user_id":7}`, "invalid_type"},
		"flag as text":               {`{"user_id":"user_1","supports_multiple_connections":"true"}`, "invalid_type"},
		"owner":                      {`{"user_id":"user_1","connection_owner":"` + marker + `"}`, "invalid_value"},
		"organization without an id": {`{"user_id":"user_1","connection_owner":"organization"}`, "required"},
	} {
		t.Run(name, func(t *testing.T) {
			a := d.do(t, post(tokenPath, c.body)).want(t, 422)
			mustList(t, a, c.code)
			if strings.Contains(a.body, marker) {
				t.Errorf("the input is repeated: %s", a.body)
			}
		})
	}
	d.do(t, post(tokenPath, user1)).want(t, 200)
	d.do(t, put(integrations+"/provider", `{"enabled":false}`)).want(t, 200)
	d.do(t, post(tokenPath, user1)).mustRefuse(t, 400, "integration_disabled")
	d.do(t, post(integrations+"/provider/authorize", user1)).mustRefuse(t, 400, "integration_disabled")
}

// TestVendWhileProviderIsDown: a living token is served, an ended one is a 503 that names no account, and
// everything works again by itself.
func TestVendWhileProviderIsDown(t *testing.T) {
	d := newPipesDoor(t, pipestest.Config{Provider: connectorstest.Config{Rotate: true}})
	d.mustIntegration(t, pipestest.Slug, "")
	d.mustConnect(t)
	d.pipes.Provider.Always(connectorstest.HTML(502))
	d.do(t, post(tokenPath, user1)).want(t, 200)
	d.pipes.Clock.Advance(2 * time.Hour)
	a := d.do(t, post(tokenPath, user1)).want(t, 503)
	if a.code(t) != "provider_unavailable" || a.header.Get("Retry-After") == "" {
		t.Errorf("%v %s", a.header, a.body)
	}
	d.mustRecord(t, a)
	d.pipes.Provider.Heal()
	d.pipes.Clock.Advance(10 * time.Minute)
	token := d.do(t, post(tokenPath, user1)).want(t, 200).object(t)
	if token["active"] != true || !d.pipes.Provider.Alive(token["access_token"].(map[string]any)["access_token"].(string)) {
		t.Errorf("token %v", token["error"])
	}
	// A grant that the provider has revoked is the account's state, and no error.
	d.pipes.Provider.RevokeAll()
	d.pipes.Clock.Advance(2 * time.Hour)
	shape(t, d.do(t, post(tokenPath, user1)).want(t, 200).object(t), inactive("revoked"))
}

// TestReturnTo: only origins of the list, compared whole.
func TestReturnTo(t *testing.T) {
	d := newPipesDoor(t, pipestest.Config{})
	d.mustIntegration(t, pipestest.Slug, "")
	ask := func(returnTo string) answer {
		return d.do(t, post(integrations+"/provider/authorize", `{"user_id":"user_1","return_to":"`+returnTo+`"}`))
	}
	for _, bad := range []string{
		"//" + marker, "/" + marker, "https://" + marker, pipestest.ReturnTo + "." + marker, pipestest.ReturnTo + "@" + marker,
		"https://x@app.example/", "http://app.example/", pipestest.ReturnTo + ":8443/", `https:\\\\app.example`, "javascript:" + marker,
		"data:text/html," + marker, pipestest.ReturnTo + "/#" + marker, `https://app.example/\t`, "https://app.example/" + strings.Repeat("x", 2048),
		"http://127.0.0.1/", "https:app.example", "HTTPS//app.example",
	} {
		ask(bad).mustRefuse(t, 422, "return_to_not_allowed")
	}
	for _, good := range []string{pipestest.ReturnTo, pipestest.ReturnTo + ":443/x?y=" + marker, "HTTPS://APP.example/"} {
		ask(good).want(t, 200)
	}
	d.do(t, post(integrations+"/provider/authorize", `{"user_id":"user_1","config":{"subdomain":"`+marker+`"}}`)).want(t, 422)
	d.do(t, post(integrations+"/provider/authorize", `{"user_id":"user_1","config":{},"return_to":null,"organization_id":null,"user_label":null}`)).want(t, 200)
}

// TestAttempts lists the flows that have not come back, at once and when they never will.
func TestAttempts(t *testing.T) {
	d := newPipesDoor(t, pipestest.Config{})
	made := d.mustIntegration(t, pipestest.Slug, "")
	const path = "/culvert/v1/data-integrations/provider/attempts"
	shape(t, d.do(t, get(path)).want(t, 200).object(t), map[string]any{
		"object": "list", "data": []any{}, "list_metadata": map[string]any{"before": nil, "after": nil},
	})
	d.mustAuthorize(t, "")
	d.pipes.Clock.Advance(time.Second) // ids of one millisecond have no order
	d.browser(t).depart(t, d.mustAuthorize(t, `,"organization_id":"org_1"`))
	for _, pending := range d.do(t, get(path)).want(t, 200).object(t)["data"].([]any) {
		if a := pending.(map[string]any); a["state"] != "pending" || a["code"] != nil || a["cause"] == nil {
			t.Errorf("at once: %v", a)
		}
	}
	d.do(t, get("/culvert/v1/data-integrations/"+pipestest.Second+"/attempts")).mustRefuse(t, 404, "entity_not_found")
	d.pipes.Clock.Advance(pipes.TicketTTL + pipes.FlowStateTTL)
	attempt := func(members map[string]any) map[string]any {
		picture := map[string]any{
			"object": "attempt", "id": flowShape, "data_integration_id": made["id"], "provider_slug": "provider", "user_id": "user_1",
			"organization_id": nil, "connection_owner": "user", "created_at": eventTimeShape, "opened_at": nil, "departed_at": nil,
			"departures": 0.0, "state": "never_returned", "code": "authorization_expired", "redirect_uri": nil,
		}
		for name, value := range members {
			picture[name] = value
		}
		return picture
	}
	list := d.do(t, get(path+"?limit=1")).want(t, 200).object(t)
	departed := list["data"].([]any)[0].(map[string]any)
	if cause, _ := departed["cause"].(string); !strings.Contains(cause, "redirect URI") {
		t.Errorf("cause %q", cause)
	}
	delete(departed, "cause")
	shape(t, departed, attempt(map[string]any{
		"organization_id": "org_1", "opened_at": eventTimeShape, "departed_at": eventTimeShape, "departures": 1.0, "redirect_uri": made["redirect_uri"],
	}))
	after, _ := list["list_metadata"].(map[string]any)["after"].(string)
	if after != departed["id"] {
		t.Errorf("cursor %q", after)
	}
	list = d.do(t, get(path+"?limit=1&after="+after)).want(t, 200).object(t)
	never := list["data"].([]any)[0].(map[string]any)
	delete(never, "cause")
	shape(t, never, attempt(nil))
	if list["list_metadata"].(map[string]any)["after"] != nil {
		t.Errorf("cursors %v", list["list_metadata"])
	}
	for query, code := range map[string]string{
		"after=" + marker: "invalid_cursor", "after=flow_" + marker: "invalid_cursor", "limit=0": "invalid_query", "limit=" + marker: "invalid_query",
	} {
		d.do(t, get(path+"?"+query)).mustRefuse(t, 400, code)
	}
}

// TestTokenRefused: what a caller is told whose token an API refused.
func TestTokenRefused(t *testing.T) {
	d := newPipesDoor(t, pipestest.Config{Provider: connectorstest.Config{Rotate: true}})
	d.mustIntegration(t, pipestest.Slug, "")
	report := func(token string) answer {
		return d.do(t, post(refusedPath, `{"user_id":"user_1","access_token":"`+token+`"}`))
	}
	report("x").mustRefuse(t, 404, "entity_not_found")
	d.mustConnect(t)
	mustList(t, d.do(t, post(refusedPath, user1)).want(t, 422), "required")
	mustList(t, report("").want(t, 422), "required")
	shape(t, report("not "+marker).want(t, 200).object(t), map[string]any{"outcome": "newer_token", "retry_after": nil})
	vend := func() string {
		return d.do(t, post(tokenPath, user1)).want(t, 200).object(t)["access_token"].(map[string]any)["access_token"].(string)
	}
	old := vend()
	shape(t, report(old).want(t, 200).object(t), map[string]any{"outcome": "refreshed", "retry_after": nil})
	present := vend()
	if present == old {
		t.Error("the refused token is vended again")
	}
	// Within the minute the provider is not asked again; after it, its word ends the account.
	again := report(present).want(t, 200).object(t)
	if wait, _ := again["retry_after"].(float64); again["outcome"] != "unknown" || wait < 1 || wait > 60 {
		t.Errorf("a report within the minute: %v", again)
	}
	d.pipes.Provider.RevokeAll()
	d.pipes.Clock.Advance(time.Minute)
	shape(t, report(present).want(t, 200).object(t), map[string]any{
		"outcome": "needs_reauthorization", "reason": "revoked", "reason_hint": pipes.ReasonHint("revoked"), "retry_after": nil,
	})
}
