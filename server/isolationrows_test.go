package server_test

import (
	"maps"
	"net/url"
	"regexp"
	"strings"
	"time"

	"culvert/internal/access"
	"culvert/pipes/pipestest"
)

// crossings has an entry for every row of the table.
func crossings(ours, theirs *estate) map[string][]crossing {
	all := vaultCrossings(theirs)
	for _, part := range []map[string][]crossing{
		keyCrossings(theirs), admissionCrossings(theirs), trailCrossings(ours, theirs), brokerCrossings(theirs), legCrossings(ours, theirs),
	} {
		maps.Copy(all, part)
	}
	return all
}

// own is a request about what the environment has itself.
func own(q request) []crossing { return []crossing{{theirs: q}} }

// byID is a crossing of a path with an id in it.
func byID(method, before, behind, body, theirs, nobody string) []crossing {
	return []crossing{of(func(id string) request {
		return request{method: method, path: before + "/" + id + behind, body: body}
	}, theirs, nobody)}
}

// after is a list of one's own, and one that goes on behind something of theirs. An id is a place in an order, so what
// nobody has is the id beside it.
func after(path, theirs string) []crossing {
	last := theirs[len(theirs)-1]
	if last++; last > '9' {
		last = '0'
	}
	beside := theirs[:len(theirs)-1] + string(last)
	return append(own(get(path)), of(func(id string) request { return get(path + sep(path) + "after=" + id) }, theirs, beside))
}

func sep(path string) string {
	if strings.Contains(path, "?") {
		return "&"
	}
	return "?"
}

func vaultCrossings(theirs *estate) map[string][]crossing {
	id := func(method, behind, body string) []crossing {
		return byID(method, kv, behind, body, theirs.object, noUUID)
	}
	blob := func(path, more string) []crossing {
		return []crossing{of(func(text string) request { return post("/vault/v1/keys/"+path, more+text+`"}`) }, theirs.blob, "AAAA")}
	}
	return map[string][]crossing{
		"POST /vault/v1/kv":             own(post(kv, createBody("fresh", "v")).with("Idempotency-Key", "same-2")),
		"GET /vault/v1/kv":              after(kv, theirs.object),
		"GET /vault/v1/kv/name/:name":   byID("GET", kv+"/name", "", "", "only-theirs", "nowhere"),
		"GET /vault/v1/kv/:id":          id("GET", "", ""),
		"PUT /vault/v1/kv/:id":          id("PUT", "", `{"value":"theirs"}`),
		"DELETE /vault/v1/kv/:id":       id("DELETE", "", ""),
		"GET /vault/v1/kv/:id/metadata": id("GET", "/metadata", ""),
		"GET /vault/v1/kv/:id/versions": id("GET", "/versions", ""),
		"POST /vault/v1/keys/data-key":  own(post("/vault/v1/keys/data-key", `{"context":{"organization_id":"org_1"}}`)),
		"POST /vault/v1/keys/decrypt":   blob("decrypt", `{"keys":"`),
		"POST /vault/v1/keys/rekey":     blob("rekey", `{"context":{"organization_id":"org_1"},"encrypted_keys":"`),
	}
}

func keyCrossings(theirs *estate) map[string][]crossing {
	job := func(id string) request { return post(jobs, `{"kind":"rewrap","key_id":"`+id+`"}`) }
	return map[string][]crossing{
		"GET /culvert/v1/keks":                 after(keks, theirs.kek),
		"GET /culvert/v1/keks/:id":             byID("GET", keks, "", "", theirs.kek, noUUID),
		"POST /culvert/v1/keks/:id/rotate":     byID("POST", keks, "/rotate", "", theirs.kek, noUUID),
		"POST /culvert/v1/jobs":                {of(job, theirs.kek, noUUID)},
		"GET /culvert/v1/jobs":                 after(jobs, theirs.job),
		"GET /culvert/v1/jobs/:id":             byID("GET", jobs, "", "", theirs.job, noUUID),
		"POST /culvert/v1/jobs/:id/cancel":     byID("POST", jobs, "/cancel", "", theirs.job, noUUID),
		"POST /culvert/v1/jobs/:id/resume":     byID("POST", jobs, "/resume", "", theirs.ended, noUUID),
		"GET /culvert/v1/rotation-schedule":    own(get(schedule)),
		"PUT /culvert/v1/rotation-schedule":    own(put(schedule, `{"older_than":"2161h"}`)),
		"DELETE /culvert/v1/rotation-schedule": own(remove(schedule)),
		"POST /culvert/v1/cmks":                own(post(cmks, `{"context_name":"o","context_value":"8","key":"`+theirs.arn+`","dry_run":true}`)),
		"GET /culvert/v1/cmks":                 after(cmks, theirs.cmk),
		"GET /culvert/v1/cmks/:id":             byID("GET", cmks, "", "", theirs.cmk, noUUID),
		"POST /culvert/v1/cmks/:id/verify":     byID("POST", cmks, "/verify", "", theirs.cmk, noUUID),
		"DELETE /culvert/v1/cmks/:id":          byID("DELETE", cmks, "", "", theirs.cmk, noUUID),
	}
}

func admissionCrossings(theirs *estate) map[string][]crossing {
	id := func(method, behind, body string) []crossing {
		return byID(method, apiKeys, behind, body, theirs.apiKey, "api_key_"+noULID)
	}
	owned := func(method, behind string) []crossing {
		return byID(method, "/api_keys", behind, "", theirs.orgKey, "api_key_"+noULID)
	}
	role := func(method, body string) []crossing {
		return byID(method, roles, "", body, "only-theirs", "nowhere")
	}
	explain := func(id string) request {
		return post("/culvert/v1/access/explain", `{"action":"vault.data.read","api_key_id":"`+id+`"}`)
	}
	// A text of the right form that is nobody's key.
	stranger, err := access.GenerateAPIKey(access.EnvironmentID(noULID), time.Now())
	if err != nil {
		panic(err)
	}
	validate := func(text string) request { return post(validations, `{"value":"`+text+`"}`) }
	return map[string][]crossing{
		"POST /culvert/v1/api-keys":                     own(post(apiKeys, `{"name":"same","role":"reader"}`)),
		"GET /culvert/v1/api-keys":                      after(apiKeys, theirs.apiKey),
		"GET /culvert/v1/api-keys/:id":                  id("GET", "", ""),
		"POST /culvert/v1/api-keys/:id/rotate":          id("POST", "/rotate", ""),
		"POST /culvert/v1/api-keys/:id/expire":          id("POST", "/expire", `{"expires_in":"1h"}`),
		"DELETE /culvert/v1/api-keys/:id":               id("DELETE", "", ""),
		"POST /culvert/v1/roles":                        own(post(roles, strings.Replace(roleBody, "made", "fresh", 1))),
		"GET /culvert/v1/roles":                         own(get(roles)),
		"GET /culvert/v1/roles/:name":                   role("GET", ""),
		"PUT /culvert/v1/roles/:name":                   role("PUT", roleBody),
		"DELETE /culvert/v1/roles/:name":                role("DELETE", ""),
		"POST /culvert/v1/access/explain":               {of(explain, theirs.apiKey, "api_key_"+noULID)},
		"GET /organizations/:organization_id/api_keys":  own(get(orgKeys)),
		"POST /organizations/:organization_id/api_keys": own(post(orgKeys, `{"name":"same"}`)),
		"POST /api_keys/validations":                    {of(validate, theirs.text, string(stranger.Text().Reveal()))},
		"POST /api_keys/:id/expire":                     owned("POST", "/expire"),
		"DELETE /api_keys/:id":                          owned("DELETE", ""),
		"POST /culvert/v1/environments":                 {{post(environmentsPath, `{"name":"sandbox-2"}`), post(environmentsPath, `{"name":"nowhere"}`)}},
		"GET /culvert/v1/environments":                  own(get(environmentsPath)),
		"GET /culvert/v1/environments/:id": append(byID("GET", environmentsPath, "", "", theirs.env, "environment_"+noULID),
			byID("GET", environmentsPath, "", "", "default", "nowhere")...),
	}
}

func trailCrossings(ours, theirs *estate) map[string][]crossing {
	id := func(method, path, behind, body string) []crossing {
		return byID(method, path, behind, body, theirs.hook, "we_"+noULID)
	}
	replay := func(event string) request { return post(ownHooks+"/"+ours.hook+"/replay", `{"after":"`+event+`"}`) }
	return map[string][]crossing{
		"GET /events":                                 after("/events?events=vault.data.created", theirs.event),
		"POST /webhook_endpoints":                     own(post(hooks, `{"endpoint_url":"http://127.0.0.1:1/other","events":["vault.data.created"]}`)),
		"GET /webhook_endpoints":                      own(get(hooks)),
		"PATCH /webhook_endpoints/:id":                id("PATCH", hooks, "", `{"status":"disabled"}`),
		"DELETE /webhook_endpoints/:id":               id("DELETE", hooks, "", ""),
		"GET /culvert/v1/webhooks/:id":                id("GET", ownHooks, "", ""),
		"POST /culvert/v1/webhooks/:id/rotate-secret": id("POST", ownHooks, "/rotate-secret", ""),
		"POST /culvert/v1/webhooks/:id/replay": append(id("POST", ownHooks, "/replay", `{"since":"2026-01-01T00:00:00Z"}`),
			crossing{replay(theirs.event), replay("event_" + noULID)}),
		"GET /culvert/v1/webhooks/:id/deliveries":   id("GET", ownHooks, "/deliveries", ""),
		"GET /culvert/v1/webhooks/:id/dead-letters": id("GET", ownHooks, "/dead-letters", ""),
		"GET /culvert/v1/audit/records":             own(get(auditPath + "/records?limit=100")),
		"GET /culvert/v1/audit/checkpoints":         own(get(auditPath + "/checkpoints")),
		"GET /culvert/v1/audit/proofs/inclusion":    own(get(auditPath + "/proofs/inclusion?index=0&size=1")),
		"GET /culvert/v1/audit/proofs/consistency":  own(get(auditPath + "/proofs/consistency?from=1&to=1")),
		"GET /culvert/v1/audit/streams":             {{get(auditPath + "/streams"), get(auditPath + "/streams?x=1")}},
		"POST " + exports:                           own(post(exports, `{`+wholeDay+`}`)),
		"GET " + exports + "/:id":                   byID("GET", exports, "", "", theirs.export, noUUID),
		"GET " + exports + "/:id/file":              byID("GET", exports, "/file", "", theirs.export, noUUID),
		// The key that signs is of the first environment.
		"POST /culvert/v1/audit/key/rotate":           {{post(auditPath+"/key/rotate", ""), post(auditPath+"/key/rotate?x=1", "")}},
		"POST /culvert/v1/audit/streams/:name/rewind": byID("POST", auditPath+"/streams", "/rewind", `{"index":0}`, "disk", "nowhere"),
		"GET /culvert/v1/usage":                       own(get("/culvert/v1/usage")),
		"GET /healthz":                                own(get("/healthz")),
		"GET /readyz":                                 own(get("/readyz")),
	}
}

func brokerCrossings(theirs *estate) map[string][]crossing {
	const users, organizations, none = "/user_management/users/user_1/connected_accounts/provider", "/organizations/org_1/connected_accounts/provider", "data_installation_" + noULID
	slug := func(method, behind, body string) []crossing {
		return byID(method, integrations, behind, body, "only-theirs", "nowhere")
	}
	organization := func(method, body string) []crossing {
		return byID(method, integrations, "/organization", body, "only-theirs-org", "nowhere")
	}
	// with names an account in the body, at in the query.
	with := func(method, path, account, more string) []crossing {
		return []crossing{of(func(id string) request {
			return request{method: method, path: path, body: `{"user_id":"user_1","connected_account_id":"` + id + `"` + more + `}`}
		}, account, none)}
	}
	at := func(method, path, account, body string) []crossing {
		return []crossing{of(func(id string) request {
			return request{method: method, path: path + "?connected_account_id=" + id, body: body}
		}, account, none)}
	}
	configure := func(rest string) []crossing {
		return byID("PUT", "/organizations/org_1/data_integration_configurations", rest, `{"enabled":true}`, "only-theirs-org", "nowhere")
	}
	return map[string][]crossing{
		"POST /data-integrations":                                                                own(post(integrations, `{"provider":"fresh","enabled":true,"auth_methods":["api_key"],"custom_provider":{"name":"Ours"}}`)),
		"GET /data-integrations":                                                                 after(integrations, theirs.dik),
		"GET /data-integrations/:slug":                                                           slug("GET", "", ""),
		"PUT /data-integrations/:slug":                                                           slug("PUT", "", `{"enabled":true}`),
		"DELETE /data-integrations/:slug":                                                        slug("DELETE", "", ""),
		"GET /data-integrations/:slug/organization":                                              organization("GET", ""),
		"PUT /data-integrations/:slug/organization":                                              organization("PUT", `{"enabled":true}`),
		"DELETE /data-integrations/:slug/organization":                                           organization("DELETE", ""),
		"POST /data-integrations/:slug/authorize":                                                slug("POST", "/authorize", user1),
		"POST /data-integrations/:slug/token":                                                    with("POST", tokenPath, theirs.account, ""),
		"POST /data-integrations/:slug/credentials":                                              with("POST", credentialPath, theirs.account, ""),
		"PUT /data-integrations/:slug/api-key":                                                   with("PUT", keyPath, theirs.keyed, `,"secret":"sk-12345678"`),
		"POST /data-integrations/:slug/api-key":                                                  own(post(keyPath, `{"user_id":"user_2","secret":"sk-12345678","connection_intent":"add"}`)),
		"PUT /data-integrations/:slug/client-credentials":                                        with("PUT", clientPath, theirs.machine, `,"client_id":"`+pipestest.ClientID+`","client_secret":"`+pipestest.ClientSecret+`"`),
		"POST /data-integrations/:slug/client-credentials":                                       own(post(clientPath, `{"user_id":"user_2","client_id":"`+pipestest.ClientID+`","client_secret":"`+pipestest.ClientSecret+`","connection_intent":"add"}`)),
		"GET /user_management/users/:user_id/connected_accounts/:slug":                           at("GET", users, theirs.account, ""),
		"POST /user_management/users/:user_id/connected_accounts/:slug":                          own(post(strings.Replace(users, "user_1", "user_9", 1), `{"access_token":"at"}`)),
		"PUT /user_management/users/:user_id/connected_accounts/:slug":                           at("PUT", users, theirs.account, `{"scopes":["read"]}`),
		"DELETE /user_management/users/:user_id/connected_accounts/:slug":                        at("DELETE", users, theirs.account, ""),
		"GET /user_management/users/:user_id/data_providers":                                     own(get("/user_management/users/user_1/data_providers")),
		"GET /organizations/:organization_id/connected_accounts/:slug":                           at("GET", organizations, theirs.shared, ""),
		"POST /organizations/:organization_id/connected_accounts/:slug":                          own(post(strings.Replace(organizations, "org_1", "org_9", 1), `{"user_id":"user_1","access_token":"at"}`)),
		"PUT /organizations/:organization_id/connected_accounts/:slug":                           at("PUT", organizations, theirs.shared, `{"user_id":"user_1","scopes":["read"]}`),
		"DELETE /organizations/:organization_id/connected_accounts/:slug":                        at("DELETE", organizations, theirs.shared, ""),
		"GET /organizations/:organization_id/data_providers":                                     own(get("/organizations/org_1/data_providers")),
		"GET /organizations/:organization_id/data_integration_configurations":                    own(get("/organizations/org_1/data_integration_configurations")),
		"PUT /organizations/:organization_id/data_integration_configurations/:slug":              configure(""),
		"PUT /organizations/:organization_id/data_integration_configurations/:slug/organization": configure("/organization"),
		"POST /culvert/v1/authorizations/finish":                                                 {{finish(theirs.resultID, theirs.verifier), finish(theirs.nobodys(theirs.resultID), theirs.verifier)}},
		"GET /culvert/v1/connectors":                                                             own(get("/culvert/v1/connectors")),
		"GET /culvert/v1/data-integrations/:slug/attempts":                                       byID("GET", "/culvert/v1/data-integrations", "/attempts", "", "only-theirs", "nowhere"),
		"POST /culvert/v1/data-integrations/:slug/token-refused":                                 with("POST", refusedPath, theirs.account, `,"access_token":"refused"`),
		"GET /culvert/v1/revocations":                                                            after("/culvert/v1/revocations", theirs.revocation),
		"GET /culvert/v1/revocations/:id":                                                        byID("GET", "/culvert/v1/revocations", "", "", theirs.revocation, none),
	}
}

// nobodys is a credential of a flow that names another flow, which nobody has: all of them are environment, flow, secret.
func (e *estate) nobodys(credential string) string {
	part := strings.Split(credential, "-")
	part[1] = noULID
	return strings.Join(part, "-")
}

// legCrossings are those of browsers, whose credential is in the URL: it is taken to our environment, where it is as
// good as one that nobody was given.
func legCrossings(ours, theirs *estate) map[string][]crossing {
	ulid := func(e *estate) string { return strings.TrimPrefix(e.env, "environment_") }
	here := func(text string) string { return strings.ReplaceAll(text, ulid(theirs), ulid(ours)) }
	moved := func(q request) crossing {
		flow := regexp.MustCompile(ulid(ours) + `-[0-9A-HJKMNP-TV-Z]{26}`)
		q.path, q.body = here(q.path), here(q.body)
		nobody := q
		nobody.path, nobody.body = flow.ReplaceAllString(q.path, ulid(ours)+"-"+noULID), flow.ReplaceAllString(q.body, ulid(ours)+"-"+noULID)
		return crossing{q, nobody}
	}
	form := func(path, body, cookie string) request {
		return post(path, body).with("Content-Type", "application/x-www-form-urlencoded").with("Cookie", cookie)
	}
	path, _, _ := strings.Cut(theirs.callback, "?")
	ourPath, _, _ := strings.Cut(ours.callback, "?")
	// A state that comes back at the redirect URI of the other environment is as good as an unknown one.
	strayed := func(state string) request {
		return get(ourPath+"?code=x&state="+state).with("Cookie", theirs.returns.cookie)
	}
	return map[string][]crossing{
		"GET /data-integrations/:ticket/authorize-redirect":  {moved(get(theirs.looks.path))},
		"POST /data-integrations/:ticket/authorize-redirect": {moved(theirs.departs.press("authorize-redirect"))},
		"POST /data-integrations/:ticket/cancel":             {moved(theirs.cancels.press("cancel"))},
		"GET /data-integrations/:slug/:dik/callback": {
			moved(get(theirs.callback).with("Cookie", theirs.returns.cookie)),
			{strayed(theirs.state), strayed(theirs.nobodys(theirs.state))},
		},
		"POST /data-integrations/:slug/:dik/callback":  {moved(form(path, "form=posted&code=x&state="+theirs.state, theirs.returns.cookie))},
		"GET /data-integrations/:flow/account-choice":  {moved(get(theirs.choice).with("Cookie", theirs.choiceCookie))},
		"POST /data-integrations/:flow/account-choice": {moved(form(theirs.choice, "choice=keep&form="+url.QueryEscape(formOf(theirs.asked)), theirs.choiceCookie))},
		"GET /pipes/redirecting":                       own(get("/pipes/redirecting")),
		"GET /pipes/authorize":                         {moved(get("/pipes/authorize?token=" + theirs.popup.redirect))},
		"POST /pipes/authorize":                        {moved(theirs.popup.hand(popupOrigin))},
	}
}
