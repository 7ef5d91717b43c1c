package server_test

import (
	"strings"
	"testing"

	"culvert/connectors"
	"culvert/connectors/connectorstest"
	"culvert/internal/events"
	"culvert/pipes/pipestest"
)

// TestFlow takes a browser from the application and back, and vends the token.
func TestFlow(t *testing.T) {
	d := newPipesDoor(t, pipestest.Config{Provider: connectorstest.Config{Rotate: true, Issuer: true}})
	d.mustIntegration(t, pipestest.Slug, "")
	url := d.mustAuthorize(t, returnTo+`,"user_label":"alice@example.com <b>"`)
	b := d.browser(t)

	page := b.open(t, url).mustPage(t, 200)
	for _, part := range []string{
		"<title>Connect Test provider?</title>", "alice@example.com &lt;b&gt;", "user_1", d.stack.Environment.ID().OnWire(),
		pipestest.ReturnTo, d.pipes.Provider.URL, "<code>read</code>", "If you did not start this, close this page.",
		`<button type="submit">Continue to Test provider</button>`, `formaction="cancel" formnovalidate>Cancel</button>`,
		`<input type="checkbox" name="confirmed" value="yes" required>`,
	} {
		if !strings.Contains(page.body, part) {
			t.Errorf("the confirmation page lacks %q:\n%s", part, page.body)
		}
	}
	cookie := page.header.Values("Set-Cookie")
	if len(cookie) != 1 || !strings.HasPrefix(cookie[0], "__Host-culvert-flow=") || !strings.HasSuffix(cookie[0], "; Path=/; Max-Age=3600; HttpOnly; Secure; SameSite=Lax") {
		t.Errorf("cookies %q", cookie)
	}
	// Who looks twice has the same cookie, so that two tabs work.
	if again := b.open(t, url).mustPage(t, 200); again.header.Values("Set-Cookie")[0] != cookie[0] {
		t.Error("the second look at the page set another cookie")
	}
	b.send(t, "POST", url, "form="+formOf(page), map[string]string{"Content-Type": "application/x-www-form-urlencoded"}).mustPage(t, 400)

	callback := d.pipes.Provider.Visit(t, b.press(t, page, url).mustRedirect(t)).String()
	back := b.open(t, callback).mustRedirect(t)
	if !strings.HasPrefix(back, pipestest.ReturnTo+"/done?a=1&status=connected&connected_account_id=data_installation_") {
		t.Fatalf("the browser ended at %s", back)
	}
	// The same callback once more, by the back button or a scanner, gives the same result.
	if again := b.open(t, callback).mustRedirect(t); again != back {
		t.Errorf("the second callback led to %s", again)
	}
	if got := d.pipes.Provider.Exchanges(); got != 1 {
		t.Errorf("the code was exchanged %d times", got)
	}
	token := d.do(t, request{method: "POST", path: "/data-integrations/provider/token", body: `{"user_id":"user_1"}`}).want(t, 200).object(t)
	if token["active"] != true || !d.pipes.Provider.Alive(token["access_token"].(map[string]any)["access_token"].(string)) {
		t.Errorf("token %v", token["error"])
	}
	// The ticket is used up.
	b.open(t, url).mustPage(t, 410)
}

// TestFlowWithoutReturnTo ends on a page of ours, at a URL that holds nothing.
func TestFlowWithoutReturnTo(t *testing.T) {
	d := newPipesDoor(t, pipestest.Config{})
	made := d.mustIntegration(t, pipestest.Slug, "")
	b := d.browser(t)
	end := b.open(t, b.arrive(t, d.mustAuthorize(t, ""))).mustRedirect(t)
	if end != made["redirect_uri"] {
		t.Fatalf("the browser ended at %s, not at %s", end, made["redirect_uri"])
	}
	for range 2 { // a reload shows it again
		if page := b.open(t, end).mustPage(t, 200); !strings.Contains(page.body, "<h1>Test provider is connected</h1>") {
			t.Errorf("page\n%s", page.body)
		}
	}
	// In another browser, and at another integration's path, there is nothing to show.
	d.browser(t).open(t, end).mustPage(t, 400)
	b.open(t, end[:strings.LastIndex(end, "/dik_")]+"/dik_01KAR8Z3S3Z0C5M2N1V7W9X4YQ/callback").mustPage(t, 400)

	// Case 2: the person says no.
	d.pipes.Provider.Deny("access_denied")
	end = b.open(t, b.arrive(t, d.mustAuthorize(t, ""))).mustRedirect(t)
	page := b.open(t, end).mustPage(t, 200)
	if !strings.Contains(page.body, "<h1>Test provider was not connected</h1>") || !strings.Contains(page.body, "declined") || !strings.Contains(page.body, "req_") {
		t.Errorf("page\n%s", page.body)
	}

	// Case 3: the person cancels on our page.
	url := d.mustAuthorize(t, "")
	page = b.press(t, b.open(t, url), strings.TrimSuffix(url, "authorize-redirect")+"cancel").mustPage(t, 200)
	if !strings.Contains(page.body, "You canceled") {
		t.Errorf("page\n%s", page.body)
	}
	b.open(t, url).mustPage(t, 410)
}

// TestOrganizationsAccount is connected by one of its users and belongs to the organization.
func TestOrganizationsAccount(t *testing.T) {
	d := newPipesDoor(t, pipestest.Config{})
	d.mustIntegration(t, pipestest.Slug, "organization")
	const body = `{"user_id":"user_1","organization_id":"org_1","connection_owner":"organization"}`
	url := d.mustAuthorize(t, `,"organization_id":"org_1","connection_owner":"organization"`+returnTo)
	b := d.browser(t)
	if page := b.open(t, url).mustPage(t, 200); !strings.Contains(page.body, "The account will belong to the organization") {
		t.Errorf("page\n%s", page.body)
	}
	b.open(t, b.arrive(t, url)).mustRedirect(t)
	for _, vend := range []string{body, strings.Replace(body, "user_1", "user_2", 1)} {
		if token := d.do(t, post(tokenPath, vend)).want(t, 200).object(t); token["active"] != true {
			t.Errorf("token %v", token)
		}
	}
	// It is neither the user's nor another organization's.
	d.do(t, post(tokenPath, user1)).mustRefuse(t, 404, "entity_not_found")
	other := d.do(t, post(tokenPath, strings.Replace(body, "org_1", "org_2", 1))).want(t, 200).object(t)
	shape(t, other, map[string]any{"active": false, "error": "not_installed"})
}

// TestFormTargets: the confirmation page lets the trip through that follows its form, and plain http only
// where the trip is known to touch it.
func TestFormTargets(t *testing.T) {
	for origin, want := range map[string]string{"https://p.example": "'self' https:", "http://127.0.0.1:1": "'self' https: http:"} {
		d := newPipesDoor(t, pipestest.Config{
			Connector:           func(c *connectors.Connector) { c.AuthorizationURL = origin + "/authorize" },
			AnyLoopbackReturnTo: true,
		})
		d.mustIntegration(t, pipestest.Slug, "")
		for returnTo, want := range map[string]string{"": want, returnTo: want, `,"return_to":"http://localhost:1/"`: "'self' https: http:"} {
			page := d.browser(t).open(t, d.mustAuthorize(t, returnTo)).mustPage(t, 200)
			if got := policyShape.FindStringSubmatch(page.header.Get("Content-Security-Policy"))[2]; got != want {
				t.Errorf("provider at %s, %s: form-action %s, want %s", origin, returnTo, got, want)
			}
		}
	}
}

// TestFlowsThatFail return to the application with a code, and leave an event.
func TestFlowsThatFail(t *testing.T) {
	d := newPipesDoor(t, pipestest.Config{})
	d.mustIntegration(t, pipestest.Slug, "")
	b := d.browser(t)
	provider := d.pipes.Provider
	for _, c := range []struct {
		name, code string
		before     func()
	}{
		{"denied", "access_denied", func() { provider.Deny("access_denied") }},
		{"another error", "provider_error", func() { provider.Deny("server_error") }},
		{"exchange refused", "authorization_code_exchange_error", func() {
			provider.Next(connectorstest.JSON(400, `{"error":"invalid_grant"}`))
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.before()
			defer func() { provider.Deny(""); provider.Heal() }()
			back := b.open(t, b.arrive(t, d.mustAuthorize(t, returnTo))).mustRedirect(t)
			if want := pipestest.ReturnTo + "/done?a=1&error=" + c.code; back != want {
				t.Errorf("the browser ended at %s, want %s", back, want)
			}
			told := d.pipes.MustEvents(t, events.ConnectionFailed)
			if len(told) == 0 || !strings.Contains(string(told[len(told)-1].Data), `"error_code":"`+c.code+`"`) {
				t.Errorf("events %v", told)
			}
		})
	}
	url := d.mustAuthorize(t, returnTo)
	back := b.press(t, b.open(t, url), strings.TrimSuffix(url, "authorize-redirect")+"cancel").mustRedirect(t)
	if want := pipestest.ReturnTo + "/done?a=1&error=canceled"; back != want {
		t.Errorf("the browser ended at %s, want %s", back, want)
	}
	d.mustConnect(t)
}

// TestLinkOfSwitchedOffIntegration: a link whose integration was switched off leads back to the application, and to a page
// where there is no return_to; nobody is told that the link is used up.
func TestLinkOfSwitchedOffIntegration(t *testing.T) {
	d := newPipesDoor(t, pipestest.Config{})
	d.mustIntegration(t, pipestest.Slug, "")
	enable := func(on string) { d.do(t, put("/data-integrations/provider", `{"enabled":`+on+`}`)).want(t, 200) }
	b, target, silent := d.browser(t), d.mustAuthorize(t, returnTo), d.mustAuthorize(t, "")
	page := b.open(t, target)
	enable("false")
	const want = pipestest.ReturnTo + "/done?a=1&error=integration_unavailable"
	for range 2 {
		if back := b.open(t, target).mustRedirect(t); back != want {
			t.Errorf("the link leads to %s, want %s", back, want)
		}
	}
	if page := b.open(t, silent).mustPage(t, 200); !strings.Contains(page.body, "has switched the connection to Test provider off") {
		t.Errorf("page\n%s", page.body)
	}
	enable("true")
	b.open(t, target).mustPage(t, 200)
	enable("false")
	if back := b.press(t, page, target).mustRedirect(t); back != want {
		t.Errorf("the button leads to %s, want %s", back, want)
	}
	enable("true")
	b.open(t, target).mustPage(t, 410)
	d.mustConnect(t)
}

// TestPagesWhenDown: a dependency that is down is a page to reload, not the end of the flow.
func TestPagesWhenDown(t *testing.T) {
	d := newPipesDoor(t, pipestest.Config{})
	d.mustIntegration(t, pipestest.Slug, "")
	url := d.mustAuthorize(t, returnTo)
	must(t, d.stack.Audit.Close())
	page := d.browser(t).open(t, url).mustPage(t, 503)
	if page.header.Get("Retry-After") == "" || !strings.Contains(page.body, "reload this page") {
		t.Errorf("%v\n%s", page.header, page.body)
	}
}

// between is what stands between two texts, or to the end.
func between(s, before, behind string) string {
	_, s, _ = strings.Cut(s, before)
	s, _, _ = strings.Cut(s, behind)
	return s
}
