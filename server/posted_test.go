package server_test

import (
	"html"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"culvert/pipes/pipestest"
)

var hiddenField = regexp.MustCompile(`<input type="hidden" name="([^"]*)" value="([^"]*)">`)

// crossSite is how a browser posts the form of a provider: without our cookie, which is Lax.
func crossSite() map[string]string {
	return map[string]string{"Content-Type": "application/x-www-form-urlencoded", "Sec-Fetch-Site": "cross-site", "Origin": "https://provider.example"}
}

// TestPostedCallback: a response that the provider has posted is posted once more from a page of ours, in the
// browser that has the cookie, and no URL holds its code.
func TestPostedCallback(t *testing.T) {
	d := newPipesDoor(t, pipestest.Config{})
	d.mustIntegration(t, pipestest.Slug, "")
	b, blank := d.browser(t), d.browser(t)
	at, response, _ := strings.Cut(b.arrive(t, d.mustAuthorize(t, returnTo)), "?")
	response += "&user=" + url.QueryEscape(`{"name":"<script>"}`) + "&id_token=" + strings.Repeat("x", 2000)

	page := blank.send(t, "POST", at, response, crossSite()).want(t, 200)
	policy := page.header.Get("Content-Security-Policy")
	if !strings.HasPrefix(policy, "default-src 'none'; ") || !strings.Contains(policy, "; form-action 'self' https:; frame-ancestors 'none'") || len(page.header.Values("Set-Cookie")) > 0 {
		t.Errorf("page %v", page.header)
	}
	again := url.Values{}
	for _, field := range hiddenField.FindAllStringSubmatch(page.body, -1) {
		again.Add(html.UnescapeString(field[1]), html.UnescapeString(field[2]))
	}
	want, err := url.ParseQuery(response)
	must(t, err)
	want.Del("id_token") // nobody reads it
	want.Set("form", "posted")
	shape(t, toMembers(again), toMembers(want))
	if strings.Contains(page.body, "<script>\"") {
		t.Errorf("page\n%s", page.body)
	}
	own := map[string]string{"Content-Type": "application/x-www-form-urlencoded", "Sec-Fetch-Site": "same-origin", "Origin": "null"}
	// Without the cookie, and from another site with our field, nothing comes of it.
	blank.send(t, "POST", at, again.Encode(), own).mustPage(t, 403)
	b.send(t, "POST", at, again.Encode(), crossSite()).mustPage(t, 403)
	if n := d.pipes.Provider.Exchanges(); n != 0 {
		t.Fatalf("%d exchanges", n)
	}
	back := b.send(t, "POST", at, again.Encode(), own).mustRedirect(t)
	if !strings.HasPrefix(back, pipestest.ReturnTo+"/done?a=1&status=connected&") {
		t.Errorf("the browser ended at %s", back)
	}
}

// TestPostedCallbackRefusals: what is no response of a provider's is no page to press on.
func TestPostedCallbackRefusals(t *testing.T) {
	d := newPipesDoor(t, pipestest.Config{})
	d.mustIntegration(t, pipestest.Slug, "")
	b := d.browser(t)
	at, response, _ := strings.Cut(b.arrive(t, d.mustAuthorize(t, returnTo)), "?")
	for body, status := range map[string]int{
		response + "&" + response: 400, "state=a&code=%zz": 400, "state=" + strings.Repeat("x", 600): 400, "code=" + strings.Repeat("x", 20<<10): 413,
		response: 200,
	} {
		if a := b.send(t, "POST", at, body, crossSite()); a.status != status {
			t.Errorf("%.40s: %d, want %d", body, a.status, status)
		}
	}
	other := crossSite()
	other["Content-Type"] = "text/plain"
	b.send(t, "POST", at, response, other).mustPage(t, 415)
	b.send(t, "POST", at+"?"+response, response, crossSite()).mustPage(t, 400)
}

func toMembers(v url.Values) map[string]any {
	all := map[string]any{}
	for name, values := range v {
		list := []any{}
		for _, value := range values {
			list = append(list, value)
		}
		all[name] = list
	}
	return all
}
