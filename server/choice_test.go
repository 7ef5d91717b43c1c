package server_test

import (
	"net/url"
	"strings"
	"testing"

	"culvert/connectors"
	"culvert/pipes/pipestest"
)

// identified makes the provider say who its users are.
func identified(c *connectors.Connector) {
	c.Identity = connectors.Identity{ID: []string{"sub"}, Name: []string{"name"}}
}

// mustAsk has user_1, who is connected, come back from the provider signed in as somebody else: the URL of the
// page on which he is asked.
func (d *door) mustAsk(t testing.TB, b *browser, more string) string {
	t.Helper()
	d.pipes.Provider.SignIn("user-2", "Other <User>")
	defer d.pipes.Provider.SignIn("user-1", "Test User")
	to := b.open(t, b.arrive(t, d.mustAuthorize(t, more))).mustRedirect(t)
	if !strings.HasPrefix(to, pipestest.PublicURL+"/data-integrations/") || !strings.HasSuffix(to, "/account-choice") {
		t.Fatalf("the browser ended at %s", to)
	}
	return to
}

// mustAskedBrowser is mustAsk for requests without a browser: the page, its path, and the cookie.
func (d *door) mustAskedBrowser(t testing.TB) (page answer, path, cookie string) {
	t.Helper()
	b := d.browser(t)
	to := d.mustAsk(t, b, returnTo)
	public, err := url.Parse(pipestest.PublicURL)
	must(t, err)
	for _, c := range b.client.Jar.Cookies(public) {
		cookie = c.Name + "=" + c.Value
	}
	return b.open(t, to).mustPage(t, 200), strings.TrimPrefix(to, pipestest.PublicURL), cookie
}

// answer presses a button of the page of a choice.
func (b *browser) answer(t testing.TB, page answer, to, choice string) answer {
	t.Helper()
	return b.send(t, "POST", to, "choice="+choice+"&form="+url.QueryEscape(formOf(page)), map[string]string{
		"Content-Type": "application/x-www-form-urlencoded", "Sec-Fetch-Site": "same-origin", "Origin": "null",
	})
}

// TestAccountChoice: who signed in as another account is shown both, and nothing changes before he has said
// so, in the browser that came back and by a button of the page.
func TestAccountChoice(t *testing.T) {
	d := newPipesDoor(t, pipestest.Config{Connector: identified})
	d.mustIntegration(t, pipestest.Slug, "")
	d.mustConnect(t)
	const account = "/user_management/users/user_1/connected_accounts/provider"
	before := d.do(t, get(account)).want(t, 200).object(t)
	if before["account_identifier"] != "user-1" || before["account_display_name"] != "Test User" {
		t.Errorf("account %v", before)
	}
	b, other := d.browser(t), d.browser(t)
	target := d.mustAsk(t, b, returnTo)
	page := b.open(t, target).mustPage(t, 200)
	for _, named := range []string{"Test User", "user-1", "Other &lt;User&gt;", "user-2", "user_1"} {
		if !strings.Contains(page.body, named) {
			t.Errorf("%s is not on the page\n%s", named, page.body)
		}
	}
	own := "form=" + url.QueryEscape(formOf(page))
	other.open(t, target).mustPage(t, 403)
	other.open(t, d.mustAuthorize(t, "")).mustPage(t, 200) // a cookie of its own
	other.open(t, target).mustPage(t, 403)
	other.answer(t, page, target, "replace").mustPage(t, 403)
	h := map[string]string{"Content-Type": "application/x-www-form-urlencoded"}
	for body, status := range map[string]int{
		own: 400, own + "&choice=": 400, own + "&choice=" + marker: 400, own + "&choice=keep&choice=replace": 400,
		"choice=replace": 400, "choice=replace&form=" + marker: 403, own + "&choice=replace&x=" + strings.Repeat(marker, 500): 413,
	} {
		b.send(t, "POST", target, body, h).mustPage(t, status)
	}
	b.send(t, "POST", target, own+"&choice=replace", map[string]string{
		"Content-Type": h["Content-Type"], "Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example",
	}).mustPage(t, 403)
	for _, forged := range []string{marker, "-", strings.Repeat(marker, 500), "%00"} {
		b.open(t, pipestest.PublicURL+"/data-integrations/"+forged+"/account-choice").mustPage(t, 410)
	}
	shape(t, d.do(t, get(account)).want(t, 200).object(t), before)

	if back := b.answer(t, page, target, "keep").mustRedirect(t); back != pipestest.ReturnTo+"/done?a=1&error=account_mismatch" {
		t.Errorf("the browser ended at %s", back)
	}
	shape(t, d.do(t, get(account)).want(t, 200).object(t), before)

	target = d.mustAsk(t, b, "")
	done := b.answer(t, b.open(t, target).mustPage(t, 200), target, "replace").mustPage(t, 200)
	if !strings.Contains(done.body, "is connected") {
		t.Errorf("page\n%s", done.body)
	}
	after := d.do(t, get(account)).want(t, 200).object(t)
	if after["id"] != before["id"] || after["account_identifier"] != "user-2" || after["account_display_name"] != "Other <User>" {
		t.Errorf("account %v", after)
	}
	b.open(t, target).mustPage(t, 200) // how it went, as often as one likes
}
