package server_test

import (
	"crypto/sha256"
	"encoding/base64"
	"regexp"
	"strings"
	"testing"

	"culvert/pipes/pipestest"
)

// popupOrigin is where the pages of the application are that open pop-ups.
const popupOrigin = "https://app.example:8443"

const popupPath = "/pipes/authorize"

// handoff is the two tokens of a flow.
type handoff struct{ redirect, handoff string }

// mustHandoff begins a flow of user_1 that a pop-up is handed.
func (d *door) mustHandoff(t testing.TB) handoff {
	t.Helper()
	a := d.do(t, post("/data-integrations/provider/authorize", `{"user_id":"user_1","require_handoff":true}`))
	o := a.want(t, 200).object(t)
	h := handoff{}
	h.redirect, _ = o["redirect_token"].(string)
	h.handoff, _ = o["handoff_token"].(string)
	if len(o) != 3 || h.redirect == "" || len(h.handoff) != 43 || o["url"] != pipestest.PublicURL+popupPath+"?token="+h.redirect ||
		a.header.Get("Cache-Control") != "no-store" {
		t.Fatalf("authorize answered %v, %v", a.header, o)
	}
	return h
}

func (h handoff) body(from string) string {
	return `{"redirect_token":"` + h.redirect + `","handoff_token":"` + h.handoff + `","origin":"` + from + `"}`
}

// hand is what the script of our page sends when a page at that origin has handed it the tokens.
func (h handoff) hand(from string) request {
	return post(popupPath, h.body(from)).with("Origin", pipestest.PublicURL).with("Sec-Fetch-Site", "same-origin").with("Content-Type", "application/json")
}

func (b *browser) hand(t testing.TB, h handoff, from string) answer {
	t.Helper()
	return b.send(t, "POST", pipestest.PublicURL+popupPath, h.body(from), map[string]string{
		"Content-Type": "application/json", "Sec-Fetch-Site": "same-origin", "Origin": pipestest.PublicURL,
	})
}

var scriptShape = regexp.MustCompile(`(?s)<script>(.*?)</script>`)

// mustScript checks a page with one script: the policy lets that run, connects where it says, and the window
// keeps its opener.
func (a answer) mustScript(t testing.TB, connects bool) {
	t.Helper()
	a.want(t, 200)
	found := scriptShape.FindAllStringSubmatch(a.body, -1)
	if len(found) != 1 || strings.Count(a.body, "<script") != 1 {
		t.Fatalf("the page has %d scripts\n%s", len(found), a.body)
	}
	digest := sha256.Sum256([]byte(found[0][1]))
	script := "script-src 'sha256-" + base64.StdEncoding.EncodeToString(digest[:]) + "'; "
	if connects {
		script += "connect-src 'self'; "
	}
	policy := a.header.Get("Content-Security-Policy")
	if !strings.HasPrefix(policy, "default-src 'none'; style-src 'sha256-") || strings.Contains(policy, "unsafe") ||
		!strings.HasSuffix(policy, script+"form-action 'none'; frame-ancestors 'none'; base-uri 'none'") {
		t.Errorf("policy %s", policy)
	}
	if a.header.Get("Cross-Origin-Opener-Policy") != "" || a.header.Get("Cache-Control") != "no-store" || a.header.Get("Referrer-Policy") != "no-referrer" {
		t.Errorf("headers %v", a.header)
	}
	if strings.Contains(a.body, marker) {
		t.Error("the input is repeated")
	}
}

// TestHandoff: the way of a pop-up, from its first page over the message to the page that closes it.
func TestHandoff(t *testing.T) {
	d := newPipesDoor(t, pipestest.Config{})
	d.mustIntegration(t, pipestest.Slug, "")
	b := d.browser(t)
	first := b.open(t, pipestest.PublicURL+"/pipes/redirecting").want(t, 200)
	if strings.Contains(first.body, "<script") || first.header.Get("Cross-Origin-Opener-Policy") != "" ||
		policyShape.FindString(first.header.Get("Content-Security-Policy")) == "" {
		t.Errorf("first page %v\n%s", first.header, first.body)
	}
	h := d.mustHandoff(t)
	b.open(t, pipestest.PublicURL+popupPath+"?token="+h.redirect).mustScript(t, true)
	handed := b.hand(t, h, popupOrigin).want(t, 200)
	to, _ := handed.object(t)["url"].(string)
	if cookie := handed.header.Get("Set-Cookie"); !strings.HasPrefix(cookie, "__Host-culvert-flow=") || !strings.Contains(cookie, "HttpOnly") ||
		!strings.Contains(cookie, "SameSite=Lax") || !strings.HasPrefix(to, d.pipes.Provider.URL) || strings.Contains(to, h.handoff) {
		t.Errorf("to %s with the cookie %s", to, cookie)
	}
	callback := d.pipes.Provider.Visit(t, to).String()
	d.browser(t).open(t, callback).mustPage(t, 403) // the cookie is that browser's
	back := b.open(t, callback).want(t, 303)
	if back.header.Get("Cross-Origin-Opener-Policy") != "" {
		t.Error("the window loses its opener, and cannot close itself")
	}
	end := b.open(t, back.header.Get("Location"))
	end.mustScript(t, false)
	if !strings.Contains(end.body, "is connected") || !strings.Contains(end.body, "You can close this page") || !strings.Contains(end.body, "window.close()") {
		t.Errorf("page\n%s", end.body)
	}
	d.do(t, get("/user_management/users/user_1/connected_accounts/provider")).want(t, 200)

	// What went wrong stays to be read.
	h = d.mustHandoff(t)
	d.pipes.Provider.Deny("access_denied")
	to = b.hand(t, h, popupOrigin).want(t, 200).object(t)["url"].(string)
	denied := b.open(t, b.open(t, d.pipes.Provider.Visit(t, to).String()).want(t, 303).header.Get("Location")).want(t, 200)
	if strings.Contains(denied.body, "<script") || !strings.Contains(denied.body, "was not connected") {
		t.Errorf("page\n%s", denied.body)
	}
}

// TestHandoffRefused: tokens that came from a page of another site, or by another way than the script of our
// page, go nowhere and use nothing up; nor do tokens that are none. Each is a handoff once.
func TestHandoffRefused(t *testing.T) {
	d := newPipesDoor(t, pipestest.Config{})
	d.mustIntegration(t, pipestest.Slug, "")
	h, other := d.mustHandoff(t), d.mustHandoff(t)
	good := h.hand(popupOrigin)
	for name, c := range map[string]struct {
		request
		status int
	}{
		"another site":            {h.hand("https://evil.example"), 403},
		"another port":            {h.hand("https://app.example"), 403},
		"another scheme":          {h.hand("http://app.example:8443"), 403},
		"an opaque origin":        {h.hand("null"), 403},
		"no origin":               {h.hand(""), 403},
		"a prefix":                {h.hand(popupOrigin + ".evil.example"), 403},
		"our own origin":          {h.hand(pipestest.PublicURL), 403},
		"sent by another site":    {good.instead("Origin", popupOrigin), 403},
		"sent from nowhere":       {good.instead("Origin", "null"), 403},
		"sent without an origin":  {post(popupPath, h.body(popupOrigin)).with("Content-Type", "application/json"), 403},
		"sent across sites":       {good.instead("Sec-Fetch-Site", "cross-site"), 403},
		"a form":                  {good.instead("Content-Type", "application/x-www-form-urlencoded"), 415},
		"plain text":              {good.instead("Content-Type", "text/plain"), 415},
		"no JSON":                 {request{method: "POST", path: popupPath, body: marker, header: good.header}, 400},
		"no handoff token":        {handoff{h.redirect, ""}.hand(popupOrigin), 410},
		"another flow's":          {handoff{h.redirect, other.handoff}.hand(popupOrigin), 410},
		"a handoff token flipped": {handoff{h.redirect, flipLast(h.handoff)}.hand(popupOrigin), 410},
		"a redirect token":        {handoff{marker, h.handoff}.hand(popupOrigin), 410},
	} {
		a := d.do(t, c.request)
		if a.mustPage(t, c.status); a.header.Get("Set-Cookie") != "" {
			t.Errorf("%s: a cookie was set", name)
		}
	}
	for _, token := range []string{"", marker, h.redirect + "x", flipLast(h.redirect), h.handoff} {
		a := d.do(t, get(popupPath+"?token="+token)).want(t, 410)
		if strings.Contains(a.body, "<script") || strings.Contains(a.body, marker) {
			t.Errorf("page of %q\n%s", token, a.body)
		}
	}
	d.do(t, good).want(t, 200)
	d.do(t, good).mustPage(t, 410)
	d.do(t, other.hand(popupOrigin)).want(t, 200)
}
