package server_test

import (
	"maps"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"culvert/pipes/pipestest"
)

// leg is a step of a flow as a request without a browser: its path, and what the browser would add.
type leg struct{ path, cookie, form string }

// mustLeg begins a flow and looks at its confirmation page.
func (d *door) mustLeg(t testing.TB, more string) leg {
	t.Helper()
	l := leg{path: strings.TrimPrefix(d.mustAuthorize(t, more), pipestest.PublicURL)}
	page := d.do(t, get(l.path)).mustPage(t, 200)
	l.cookie, _, _ = strings.Cut(page.header.Get("Set-Cookie"), ";")
	l.form = formOf(page)
	return l
}

// press is the form of the leg's page, sent to the leg's path or to the one beside it.
func (l leg) press(to string) request {
	path := strings.TrimSuffix(l.path, "authorize-redirect") + to
	return post(path, "confirmed=yes&form="+url.QueryEscape(l.form)).with("Content-Type", "application/x-www-form-urlencoded").with("Cookie", l.cookie)
}

// instead is a request with another value of a header that it has.
func (q request) instead(name, value string) request {
	q.header = maps.Clone(q.header)
	q.header[name] = []string{value}
	return q
}

// pipesVisits is the broker's part of what TestCanary sends, and the secrets that are minted for it: those
// of tickets, flow states and cookies. The canary stands for client secrets and tokens, and wherever a
// client could have put one by mistake.
func (d *door) pipesVisits(t *testing.T) (map[string]visit, []string) {
	t.Helper()
	d.mustIntegration(t, pipestest.Slug, "")
	d.mustIntegration(t, pipestest.Slug, "organization")
	const credentials = `"credentials":{"type":"custom","client_id":"id","client_secret":"` + canary + `"}`
	looked, departs, cancels, returns := d.mustLeg(t, ""), d.mustLeg(t, returnTo), d.mustLeg(t, ""), d.mustLeg(t, `,"organization_id":"org_1"`)
	provider := d.do(t, returns.press("authorize-redirect")).mustRedirect(t)
	callback := strings.TrimPrefix(d.pipes.Provider.Visit(t, provider).String(), pipestest.PublicURL)
	path, _, _ := strings.Cut(callback, "?")
	state := between(callback, "state=", "&")

	minted := []string{state[strings.LastIndex(state, "-")+1:], between(callback, "code=", "&")}
	for _, l := range []leg{looked, departs, cancels, returns} {
		ticket := pipestest.Ticket(t, pipestest.PublicURL+l.path)
		minted = append(minted, ticket[strings.LastIndex(ticket, "-")+1:], strings.TrimPrefix(l.cookie, "__Host-culvert-flow="))
	}
	popup := d.mustHandoff(t)
	minted = append(minted, popup.handoff, popup.redirect[strings.LastIndex(popup.redirect, "-")+1:])
	waits, verifier := d.mustWait(t)
	d.mustConnect(t)
	asked, choice, choiceCookie := d.mustAskedBrowser(t)
	minted = append(minted, verifier, strings.TrimPrefix(choiceCookie, "__Host-culvert-flow="))
	choose := func(body string) request {
		return post(choice, body).with("Content-Type", "application/x-www-form-urlencoded").with("Cookie", choiceCookie)
	}
	const second = "/user_management/users/user_2/connected_accounts/provider"
	d.do(t, post(second, `{"access_token":"`+canary+`-0"}`)).want(t, 201)
	d.mustIntegration(t, pipestest.Second, "organization")
	const shared = "/organizations/org_2/connected_accounts/second"
	d.do(t, post(shared, `{"user_id":"user_2","access_token":"`+canary+`-4"}`)).want(t, 201)
	posted := func(body string) request {
		return post(path, body).with("Content-Type", "application/x-www-form-urlencoded").with("Cookie", returns.cookie)
	}
	form := func(body string) request {
		return post(departs.path, body).with("Content-Type", "application/x-www-form-urlencoded").with("Cookie", departs.cookie)
	}
	slug := func(rest string) []request {
		return []request{get(integrations + "/" + canary + rest), get(integrations + "/%FF" + canary + rest), get(integrations + "/provider" + rest + "?" + canary + "=%z")}
	}
	change := func(rest string) visit {
		return visit{
			good: []request{put(integrations+"/provider"+rest, `{"enabled":true,"`+canary+`":"`+canary+`"}`)},
			bad: []request{
				put(integrations+"/provider"+rest, `{"credentials":{"type":"`+canary+`","client_secret":"`+canary+`"}}`),
				put(integrations+"/provider"+rest, `{"credentials":{"type":"custom","client_id":"new","client_secret":["`+canary+`"]}}`),
				put(integrations+"/provider"+rest, `{"scopes":["`+canary+` x"]}`), put(integrations+"/"+canary+rest, `{`+credentials+`}`),
				put(integrations+"/provider"+rest, `{`+credentials), put(integrations+"/provider"+rest, `{"api_key":{"secret":"`+canary+`"}}`),
			},
		}
	}
	vend := func(path string) visit {
		return visit{
			good: []request{post(path, user1), post(path, `{"user_id":"user_2","`+canary+`":1}`)},
			bad: []request{
				post(path, `{"user_id":"`+canary+`\u0000"}`), post(path, `{"user_id":"u","connected_account_id":"`+canary+`"}`),
				post(path, `{"User_id":"`+canary+`"}`), post(path, `{"user_id":"user_1","token_name":"`+canary+`"}`), post(path, canary), post(strings.Replace(path, "/provider/", "/"+canary+"/", 1), user1),
				post(path, `{"user_id":["`+canary+`"],"connection_owner":"`+canary+`"}`),
			},
		}
	}
	d.mustKeys(t)
	d.mustMachines(t)
	client := func(method, intent string) visit {
		with := func(path, user, id, secret, rest string) request {
			return request{method: method, path: path, body: `{"user_id":"` + user + `","client_id":"` + id + `","client_secret":"` + secret + `"` + intent + rest + `}`}
		}
		return visit{
			good: []request{with(clientPath, "user_"+method, pipestest.ClientID, pipestest.ClientSecret, `,"`+canary+`":1`)},
			bad: []request{
				with(clientPath, "u", pipestest.ClientID, canary, ""), with(clientPath, "u", canary, canary, ""), with(integrations+"/provider/client-credentials", "u", "c", canary, ""),
				with(clientPath, canary+`\u0000`, "c", canary, ""), with(clientPath, "u", canary+`\u0000`, canary, ""),
				with(clientPath, "u", "c", canary, `,"config":{"`+canary+`":"`+canary+`"}`), with(clientPath, "u", "c", canary, `,"Secret":"`+canary+`"`),
				{method: method, path: clientPath, body: `{"user_id":"u","client_id":7,"client_secret":["` + canary + `"]`},
			},
		}
	}
	install := func(method, intent string) visit {
		key := func(path, user, rest string) request {
			return request{method: method, path: path, body: `{"user_id":"` + user + `","secret":"` + canary + `-key"` + intent + rest + `}`}
		}
		return visit{
			good: []request{key(keyPath, "user_"+method, `,"`+canary+`":1`)},
			bad: []request{
				key(integrations+"/provider/api-key", "u", ""), key(integrations+"/"+canary+"/api-key", "u", ""), key(keyPath, canary+`\u0000`, ""),
				key(keyPath, "u", `,"connected_account_id":"`+canary+`"`), key(keyPath, "u", `,"connection_owner":"`+canary+`"`),
				key(keyPath, "u", `,"account_identifier":"`+canary+`\u0000"`), key(keyPath, "u", `,"Secret":"`+canary+`"`),
				{method: method, path: keyPath, body: `{"user_id":"u","secret":["` + canary + `"],"connection_intent":"` + canary + `"}`},
			},
		}
	}
	const configurations = "/organizations/org_2/data_integration_configurations"
	d.do(t, post(integrations, `{"provider":"theirs","enabled":true,"credentials":{"type":"organization"},"custom_provider":{"name":"Theirs","authorization_url":"https://p.example/a","token_url":"https://p.example/t"}}`)).want(t, 201)
	configure := func(rest string) visit {
		return visit{
			good: []request{put(configurations+"/theirs", `{"client_id":"id","client_secret":"`+canary+`"}`), put(configurations+"/second"+rest, `{"enabled":true}`)},
			bad: []request{
				put(configurations+"/second"+rest, `{"client_id":"`+canary+`","client_secret":"`+canary+`"}`), put(configurations+"/second"+rest, `{"client_secret":"`+canary+`"}`),
				put(configurations+"/second"+rest, `{"scopes":["`+canary+`"]}`), put(configurations+"/second"+rest, `{"config":{"`+canary+`":"`+canary+`"}}`),
				put(configurations+"/"+canary+rest, `{"enabled":true}`), put(configurations+"/second"+rest, `{"client_secret":"`+canary),
				put(strings.Replace(configurations, "org_2", canary+"%00", 1)+"/second"+rest, `{"enabled":true}`),
			},
		}
	}
	return map[string]visit{
		"PUT /data-integrations/:slug/client-credentials":  client("PUT", ""),
		"POST /data-integrations/:slug/client-credentials": client("POST", `,"connection_intent":"add"`),

		"PUT /data-integrations/:slug/api-key":  install("PUT", ""),
		"POST /data-integrations/:slug/api-key": install("POST", `,"connection_intent":"add"`),
		"GET /organizations/:organization_id/data_integration_configurations": {
			good: []request{get(configurations + "?" + canary)}, bad: []request{get(strings.Replace(configurations, "org_2", canary+"%00", 1))},
		},
		"PUT /organizations/:organization_id/data_integration_configurations/:slug":              configure(""),
		"PUT /organizations/:organization_id/data_integration_configurations/:slug/organization": configure("/organization"),
		"POST /data-integrations": {
			good: []request{
				post(integrations, `{"provider":"second",`+credentials+`}`),
				post(integrations, `{"provider":"mine",`+credentials+`,"custom_provider":{"name":"Mine","authorization_url":"https://p.example/a","token_url":"https://p.example/t"}}`),
			},
			bad: []request{
				post(integrations, `{"provider":"second",`+credentials+`}`), post(integrations, `{"provider":"`+canary+`/",`+credentials+`}`),
				post(integrations, `{"provider":"x",`+credentials+`,"custom_provider":{"name":"Mine","token_url":"https://`+canary+`@p.example/t"}}`),
				post(integrations, `{"provider":"x",`+credentials+`,"config":{"`+canary+`":"`+canary+`"}}`),
				post(integrations, `{"provider":"x",`+credentials+`,"api_key":{"secret":"`+canary+`"}}`), post(integrations, `{`+credentials),
			},
		},
		"GET /data-integrations": {
			good: []request{get(integrations + "?" + canary + "=1")},
			bad:  []request{get(integrations + "?after=" + canary), get(integrations + "?order=" + canary), get(integrations + "?ownership=" + canary)},
		},
		"GET /data-integrations/:slug":                 {good: []request{get(integrations + "/provider")}, bad: slug("")},
		"GET /data-integrations/:slug/organization":    {good: []request{get(integrations + "/provider/organization")}, bad: slug("/organization")},
		"PUT /data-integrations/:slug":                 change(""),
		"PUT /data-integrations/:slug/organization":    change("/organization"),
		"DELETE /data-integrations/:slug":              {good: []request{remove(integrations + "/mine")}, bad: []request{remove(integrations + "/" + canary)}},
		"DELETE /data-integrations/:slug/organization": {good: []request{remove(integrations + "/provider/organization")}, bad: []request{remove(integrations + "/" + canary + "/organization")}},
		"POST /data-integrations/:slug/token":          vend(tokenPath),
		"POST /data-integrations/:slug/credentials":    vend(credentialPath),
		"GET /user_management/users/:user_id/connected_accounts/:slug": {
			good: []request{get(second + "?" + canary + "=1")},
			bad:  []request{get(second + "?connected_account_id=" + canary), get(second + "?organization_id=" + canary + "%00"), get(strings.Replace(second, "user_2", canary+"%00", 1))},
		},
		"POST /user_management/users/:user_id/connected_accounts/:slug": {
			good: []request{post(strings.Replace(second, "user_2", "user_3", 1), `{"access_token":"`+canary+`-1"}`)},
			bad: []request{
				post(second, `{"refresh_token":"`+canary+`"}`), post(second, `{"access_token":"`+canary+`","expires_at":"`+canary+`"}`),
				post(second, `{"access_token":"`+canary+`","state":"`+canary+`"}`), post(second, `{"Access_token":"`+canary+`"}`),
				post(strings.Replace(second, "user_2", "user_3", 1), `{"access_token":"`+canary+`-1"}`), post(second, `{"access_token":"`+canary),
			},
		},
		"PUT /user_management/users/:user_id/connected_accounts/:slug": {
			good: []request{put(second, `{"access_token":"`+canary+`-2","refresh_token":"`+canary+`-3","expires_at":"2126-01-01T00:00:00Z"}`)},
			bad:  []request{put(second, `{"access_token":"`+canary+`","expires_at":"2126-01-01T00:00:00Z"}`), put(second, `{"scopes":["`+canary+` "]}`)},
		},
		"DELETE /user_management/users/:user_id/connected_accounts/:slug": {
			good: []request{remove(strings.Replace(second, "user_2", "user_3", 1))}, bad: []request{remove(second + "?connected_account_id=" + canary)},
		},
		"GET /user_management/users/:user_id/data_providers": {
			good: []request{get("/user_management/users/user_2/data_providers?" + canary)},
			bad:  []request{get("/user_management/users/" + canary + "%00/data_providers"), get("/user_management/users/u/data_providers?organization_id=" + canary + "%00")},
		},
		"GET /organizations/:organization_id/connected_accounts/:slug": {
			good: []request{get(shared + "?" + canary + "=1")},
			bad:  []request{get(shared + "?connected_account_id=" + canary), get(strings.Replace(shared, "org_2", canary+"%00", 1))},
		},
		"POST /organizations/:organization_id/connected_accounts/:slug": {
			good: []request{post(strings.Replace(shared, "org_2", "org_3", 1), `{"user_id":"u","access_token":"`+canary+`-5"}`)},
			bad: []request{
				post(shared, `{"user_id":"`+canary+`\u0000","access_token":"`+canary+`"}`), post(shared, `{"access_token":"`+canary+`"}`),
				post(shared, `{"user_id":"u","access_token":"`+canary+`"}`), post(shared, `{"user_id":["`+canary+`"]}`), post(shared, canary),
			},
		},
		"PUT /organizations/:organization_id/connected_accounts/:slug": {
			good: []request{put(shared, `{"user_id":"u","access_token":"`+canary+`-6","refresh_token":"`+canary+`-7","expires_at":"2126-01-01T00:00:00Z"}`)},
			bad:  []request{put(shared, `{"user_id":"u","scopes":["`+canary+` "]}`), put(shared, `{"scopes":["`+canary+`"]}`)},
		},
		"DELETE /organizations/:organization_id/connected_accounts/:slug": {
			good: []request{remove(strings.Replace(shared, "org_2", "org_3", 1))}, bad: []request{remove(shared + "?connected_account_id=" + canary)},
		},
		"GET /organizations/:organization_id/data_providers": {
			good: []request{get("/organizations/org_2/data_providers?" + canary)},
			bad:  []request{get("/organizations/" + canary + "%00/data_providers")},
		},
		"POST /data-integrations/:slug/authorize": {
			good: []request{post(integrations+"/provider/authorize", `{"user_id":"user_1","`+canary+`":"`+canary+`"}`)},
			bad: []request{
				post(integrations+"/provider/authorize", `{"user_id":"user_1","return_to":"https://`+canary+`"}`),
				post(integrations+"/provider/authorize", `{"user_id":"user_1","code_challenge":"`+canary+`","code_challenge_method":"`+canary+`"}`),
				post(integrations+"/provider/authorize", `{"user_id":"user_1","user_label":"`+canary+`\u202e"}`),
				post(integrations+"/provider/authorize", `{"user_id":"user_1","config":{"`+canary+`":"`+canary+`"}}`), post(integrations+"/"+canary+"/authorize", user1),
			},
		},
		"GET /data-integrations/:ticket/authorize-redirect": {
			good: []request{get(looked.path + "?" + canary + "=" + canary)},
			bad:  []request{get(integrations + "/" + canary + "/authorize-redirect"), get(integrations + "/%FF" + canary + "/authorize-redirect")},
		},
		"POST /data-integrations/:ticket/authorize-redirect": {
			good: []request{departs.press("authorize-redirect")},
			bad: []request{
				form("form=" + canary), form("form=" + canary + "&form=" + canary), form("form=%z" + canary), form(strings.Repeat(canary, 500)),
				departs.press("authorize-redirect").with("Origin", "https://"+canary), departs.press("authorize-redirect").instead("Content-Type", "text/"+canary),
				departs.press("authorize-redirect").instead("Cookie", "__Host-culvert-flow="+canary), post(integrations+"/"+canary+"/authorize-redirect", ""),
			},
		},
		"POST /data-integrations/:ticket/cancel": {good: []request{cancels.press("cancel")}, bad: []request{post(integrations+"/"+canary+"/cancel", "form="+canary)}},
		"GET /data-integrations/:slug/:dik/callback": {
			good: []request{get(callback).with("Cookie", returns.cookie), get(callback+"&"+canary+"="+canary).with("Cookie", returns.cookie)},
			bad: []request{
				get(path + "?state=" + canary + "&code=" + canary), get(path + "?state=" + state + "&code=" + canary), get(path + "?state=" + state + "&error=" + canary),
				get(path + "?code=" + canary + "&code=" + canary), get(path + "?%z" + canary), get(path).with("Cookie", "__Host-culvert-result="+canary),
				get(integrations + "/" + canary + "/" + canary + "/callback?state=" + state + "&code=" + canary),
			},
		},
		"POST /data-integrations/:slug/:dik/callback": {
			good: []request{posted("state=" + state + "&form=posted&code=x")},
			bad: []request{
				posted("state=" + canary + "&form=posted&code=" + canary), posted("code=" + canary + "&code=" + canary), posted("%z" + canary),
				posted("state="+state+"&form="+canary).instead("Content-Type", "text/"+canary), posted(strings.Repeat(canary, 2000)),
				posted("state="+state+"&form=posted&code="+canary).with("Origin", "https://"+canary),
			},
		},
		"GET /data-integrations/:flow/account-choice": {
			good: []request{get(choice+"?"+canary+"="+canary).with("Cookie", choiceCookie)},
			bad: []request{
				get(choice).with("Cookie", "__Host-culvert-flow="+canary), get(integrations + "/" + canary + "/account-choice"),
				get(integrations + "/%FF" + canary + "/account-choice"),
			},
		},
		"POST /data-integrations/:flow/account-choice": {
			good: []request{choose("choice=keep&form=" + url.QueryEscape(formOf(asked)))},
			bad: []request{
				choose("choice=" + canary + "&form=" + canary), choose("choice=replace&form=" + canary), choose("form=%z" + canary),
				choose(strings.Repeat(canary, 500)), post(integrations+"/"+canary+"/account-choice", "form="+canary),
			},
		},
		"GET /pipes/redirecting": {good: []request{get("/pipes/redirecting?" + canary + "=" + canary)}},
		"GET /pipes/authorize": {
			good: []request{get("/pipes/authorize?token=" + popup.redirect + "&" + canary + "=" + canary)},
			bad:  []request{get("/pipes/authorize?token=" + canary), get("/pipes/authorize?token=a&token=" + canary), get("/pipes/authorize?token=%z" + canary)},
		},
		"POST /pipes/authorize": {
			good: []request{popup.hand(popupOrigin)},
			bad: []request{
				popup.hand("https://" + canary), popup.hand(popupOrigin).instead("Origin", "https://"+canary), popup.hand(popupOrigin).instead("Content-Type", "text/"+canary),
				handoff{canary, canary}.hand(popupOrigin), handoff{popup.redirect, canary}.hand(popupOrigin), popup.hand(popupOrigin),
			},
		},
		"POST /culvert/v1/authorizations/finish": {
			good: []request{post(finishPath, `{"result_id":"`+waits+`","code_verifier":"`+verifier+`","`+canary+`":"`+canary+`"}`)},
			bad: []request{
				post(finishPath, `{"result_id":"`+canary+`","code_verifier":"`+verifier+`"}`), post(finishPath, `{"result_id":"`+waits+`","code_verifier":"`+canary+`"}`),
				post(finishPath, `{"result_id":"`+waits+`","code_verifier":"`+canary+strings.Repeat("x", 43)+`"}`), post(finishPath, `{"result_id":["`+canary+`"],"code_verifier":{"`+canary+`":1}}`),
				post(finishPath, `{"code_verifier":"`+canary),
			},
		},
		"GET /culvert/v1/connectors": {
			good: []request{get("/culvert/v1/connectors?" + canary + "=1")},
			bad:  []request{get("/culvert/v1/connectors?" + canary + "=%z"), get("/culvert/v1/connectors/" + canary)},
		},
		"GET /culvert/v1/revocations": {
			good: []request{get("/culvert/v1/revocations?" + canary)},
			bad:  []request{get("/culvert/v1/revocations?after=" + canary), get("/culvert/v1/revocations?limit=" + canary)},
		},
		"GET /culvert/v1/revocations/:id": {
			good: []request{get("/culvert/v1/revocations/" + d.mustRevoke(t, "user_4", canary+"-4"))},
			bad:  []request{get("/culvert/v1/revocations/" + canary), get("/culvert/v1/revocations/%FF" + canary)},
		},
		"POST /culvert/v1/data-integrations/:slug/token-refused": {
			good: []request{post(refusedPath, `{"user_id":"user_1","access_token":"`+canary+`"}`)},
			bad: []request{
				post(refusedPath, `{"user_id":"user_1","access_token":["`+canary+`"]}`), post(refusedPath, `{"access_token":"`+canary+`"}`),
				post(refusedPath, `{"user_id":"`+canary+`\u0000","access_token":"`+canary+`"}`), post(refusedPath, `{"user_id":"user_1","access_token":"`+canary),
				post(refusedPath, `{"user_id":"user_1","access_token":"`+canary+`","token_name":"`+canary+`"}`),
			},
		},
		"GET /culvert/v1/data-integrations/:slug/attempts": {
			good: []request{get("/culvert/v1/data-integrations/provider/attempts?" + canary)},
			bad:  []request{get("/culvert/v1/data-integrations/provider/attempts?after=" + canary), get("/culvert/v1/data-integrations/" + canary + "/attempts")},
		},
	}, minted
}

// mustRevoke imports an account with a token, removes it with its token to be revoked, and returns its id.
func (d *door) mustRevoke(t testing.TB, user, token string) string {
	t.Helper()
	path := strings.Replace(account, "user_1", user, 1)
	id := d.do(t, post(path, `{"access_token":"`+token+`"}`)).want(t, 201).object(t)["id"].(string)
	d.do(t, remove(path+"?revoke_at_provider=true")).want(t, 204)
	return id
}

// mustRefresh takes an account through the flow and a refresh. It returns every secret that the provider
// has seen, the verifiers among them, and every token that it gave out.
func (d *door) mustRefresh(t *testing.T) []string {
	t.Helper()
	var secrets []string
	take := func() {
		token := d.do(t, post(tokenPath, user1)).want(t, 200).object(t)
		secrets = append(secrets, token["access_token"].(map[string]any)["access_token"].(string))
	}
	d.mustConnect(t)
	take()
	for range 2 {
		d.pipes.Clock.Advance(2 * time.Hour)
		take()
	}
	kinds := map[string]bool{}
	for _, r := range d.pipes.Provider.Requests() {
		for _, name := range []string{"code", "code_verifier", "client_secret", "refresh_token"} {
			if value := r.Params.Get(name); value != "" {
				kinds[name] = true
				secrets = append(secrets, value)
			}
		}
	}
	slices.Sort(secrets)
	if secrets = slices.Compact(secrets); len(kinds) != 4 || slices.ContainsFunc(secrets, func(s string) bool { return len(s) < 16 }) {
		t.Errorf("%d secrets of the kinds %v", len(secrets), kinds)
	}
	return secrets
}
