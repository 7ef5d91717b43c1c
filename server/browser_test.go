package server_test

import (
	"crypto/sha256"
	"encoding/base64"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"culvert/pipes/pipestest"
)

// browser is a person's: it keeps cookies, and reaches the door under its public URL, as behind a proxy
// that ends TLS. It goes one step at a time.
type browser struct {
	door   *door
	client *http.Client
}

func (d *door) browser(t testing.TB) *browser {
	t.Helper()
	jar, err := cookiejar.New(nil)
	must(t, err)
	return &browser{d, &http.Client{
		Jar: jar, Timeout: client.Timeout, CheckRedirect: client.CheckRedirect, Transport: proxy{d.addr},
	}}
}

// proxy sends requests to the public URL to the door, which sees the public host and plain HTTP.
type proxy struct{ addr string }

func (p proxy) RoundTrip(r *http.Request) (*http.Response, error) {
	if "https://"+r.URL.Host == pipestest.PublicURL {
		r = r.Clone(r.Context())
		r.Host = r.URL.Host
		r.URL.Scheme, r.URL.Host = "http", p.addr
	}
	return http.DefaultTransport.RoundTrip(r)
}

// open goes to a URL as by a link.
func (b *browser) open(t testing.TB, url string) answer {
	t.Helper()
	return b.send(t, "GET", url, "", map[string]string{"Sec-Fetch-Site": "none"})
}

// press sends the form of the page at a URL to another one, as Chromium does from a page whose referrer
// policy is no-referrer.
func (b *browser) press(t testing.TB, page answer, to string) answer {
	t.Helper()
	return b.send(t, "POST", to, "confirmed=yes&form="+url.QueryEscape(formOf(page)), map[string]string{
		"Content-Type": "application/x-www-form-urlencoded", "Sec-Fetch-Site": "same-origin", "Origin": "null",
	})
}

func (b *browser) send(t testing.TB, method, url, body string, header map[string]string) answer {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	must(t, err)
	for name, value := range header {
		r.Header.Set(name, value)
	}
	response, err := b.client.Do(r)
	must(t, err)
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	must(t, err)
	return answer{response.StatusCode, response.Header, string(text)}
}

var formField = regexp.MustCompile(`<input type="hidden" name="form" value="([^"]+)">`)

// formOf is the hidden field of the confirmation page; "" if there is none.
func formOf(page answer) string {
	if found := formField.FindStringSubmatch(page.body); found != nil {
		return found[1]
	}
	return ""
}

// depart opens a URL of authorize, presses Continue, and returns where the browser is sent.
func (b *browser) depart(t testing.TB, authorized string) string {
	t.Helper()
	page := b.open(t, authorized).mustPage(t, 200)
	return b.press(t, page, authorized).mustRedirect(t)
}

// arrive goes on through the provider, where the person says yes, and returns the callback's URL.
func (b *browser) arrive(t testing.TB, authorized string) string {
	t.Helper()
	return b.door.pipes.Provider.Visit(t, b.depart(t, authorized)).String()
}

// mustRedirect checks a redirect and returns where to.
func (a answer) mustRedirect(t testing.TB) string {
	t.Helper()
	a.want(t, 303)
	a.mustKeepQuiet(t)
	if a.body != "" || a.header.Get("Location") == "" {
		t.Errorf("redirect %v with the body %q", a.header, a.body)
	}
	return a.header.Get("Location")
}

// mustKeepQuiet checks the headers that keep the URL of a leg to itself.
func (a answer) mustKeepQuiet(t testing.TB) {
	t.Helper()
	for name, want := range map[string]string{
		"Cache-Control": "no-store", "Referrer-Policy": "no-referrer", "X-Content-Type-Options": "nosniff",
		"Cross-Origin-Opener-Policy": "same-origin",
	} {
		if got := a.header.Values(name); len(got) != 1 || got[0] != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if !requestShape.MatchString(a.header.Get("X-Request-Id")) {
		t.Errorf("X-Request-ID %q", a.header.Get("X-Request-Id"))
	}
}

var (
	policyShape = regexp.MustCompile(`^default-src 'none'; style-src '(sha256-[A-Za-z0-9+/]{43}=)'; form-action ([^;]+); frame-ancestors 'none'; base-uri 'none'$`)
	styleShape  = regexp.MustCompile(`(?s)<style>(.*?)</style>`)
	// loading is markup that would fetch or run something, or that a policy without exceptions forbids.
	loading = regexp.MustCompile(`(?i)<script|<img|<link|<iframe|<object|<base|http-equiv| on\w+=|javascript:|url\(|@import| style=`)
)

// mustPage checks a page: readable, quiet, and harmless.
func (a answer) mustPage(t testing.TB, status int) answer {
	t.Helper()
	a.want(t, status)
	a.mustKeepQuiet(t)
	if got := a.header.Get("Content-Type"); got != "text/html; charset=utf-8" {
		t.Errorf("Content-Type %q", got)
	}
	policy := policyShape.FindStringSubmatch(a.header.Get("Content-Security-Policy"))
	style := styleShape.FindStringSubmatch(a.body)
	if policy == nil || style == nil {
		t.Fatalf("policy %q over\n%s", a.header.Get("Content-Security-Policy"), a.body)
	}
	if digest := sha256.Sum256([]byte(style[1])); "sha256-"+base64.StdEncoding.EncodeToString(digest[:]) != policy[1] {
		t.Error("the policy is for another style sheet")
	}
	wantTargets := "'none'"
	if formOf(a) != "" {
		wantTargets = "'self' https:"
	}
	if !strings.HasPrefix(policy[2], wantTargets) {
		t.Errorf("form-action %s", policy[2])
	}
	for _, part := range []string{"<!DOCTYPE html>", `<html lang="en">`, `name="viewport"`, "<title>", "<h1>", "</html>"} {
		if strings.Count(a.body, part) != 1 {
			t.Errorf("the page has %s not once", part)
		}
	}
	if found := loading.FindString(a.body); found != "" {
		t.Errorf("the page has %q", found)
	}
	if status >= 400 && !strings.Contains(a.body, a.header.Get("X-Request-Id")) {
		t.Error("the page does not say its request id")
	}
	if strings.Contains(a.body+headerText(a), marker) || strings.Contains(a.body+headerText(a), canary) {
		t.Errorf("the input is repeated: %v\n%s", a.header, a.body)
	}
	return a
}

// mustIntegration configures a slug with the client that the provider accepts; owner is "" for users.
func (d *door) mustIntegration(t testing.TB, slug, owner string) map[string]any {
	t.Helper()
	body := `{"provider":"` + slug + `","enabled":true,"credentials":{"type":"custom","client_id":"` + pipestest.ClientID +
		`","client_secret":"` + pipestest.ClientSecret + `"}`
	if owner != "" {
		body += `,"ownership":"` + owner + `"`
	}
	return d.do(t, request{method: "POST", path: "/data-integrations", body: body + "}"}).want(t, 201).object(t)
}

// mustAuthorize begins a flow of user_1 and returns its URL; more are further members of the body.
func (d *door) mustAuthorize(t testing.TB, more string) string {
	t.Helper()
	a := d.do(t, request{method: "POST", path: "/data-integrations/provider/authorize", body: `{"user_id":"user_1"` + more + `}`})
	if got := a.header.Get("Cache-Control"); got != "no-store" {
		t.Errorf("Cache-Control %q on a ticket", got)
	}
	o := a.want(t, 200).object(t)
	url, _ := o["url"].(string)
	if len(o) != 1 || !authorizeShape.MatchString(url) {
		t.Fatalf("authorize answered %v", o)
	}
	return url
}

var authorizeShape = regexp.MustCompile(`^https://culvert\.example/data-integrations/[0-9A-HJKMNP-TV-Z]{26}-[0-9A-HJKMNP-TV-Z]{26}-[0-9A-Za-z]{43}/authorize-redirect$`)

// returnTo is a member of the body of authorize.
const returnTo = `,"return_to":"` + pipestest.ReturnTo + `/done?a=1"`

// mustConnect takes user_1 through the whole flow and returns the account's id.
func (d *door) mustConnect(t testing.TB) string {
	t.Helper()
	b := d.browser(t)
	back, err := url.Parse(b.open(t, b.arrive(t, d.mustAuthorize(t, returnTo))).mustRedirect(t))
	must(t, err)
	id := back.Query().Get("connected_account_id")
	if back.Query().Get("status") != "connected" || !accountShape.MatchString(id) {
		t.Fatalf("the browser ended at %s", back)
	}
	return id
}

var (
	accountShape     = regexp.MustCompile(`^data_installation_` + ulidShape)
	integrationShape = regexp.MustCompile(`^data_integration_` + ulidShape)
	flowShape        = regexp.MustCompile(`^flow_` + ulidShape)
)
