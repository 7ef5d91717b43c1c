package pipes_test

import (
	"errors"
	"strings"
	"testing"

	"culvert/pipes"
	"culvert/pipes/pipestest"
)

// Where a flow may end: each refused URL stands beside one that differs from it in the point alone.
func TestReturnTo(t *testing.T) {
	const app = "https://app.example"
	allowed := []string{app, "https://other.example:8443", "http://plain.example"}
	long := app + "/" + strings.Repeat("a", 2048-len(app)-1)
	for _, row := range []struct{ what, refused, twin string }{
		{"protocol-relative", "//evil.example", app},
		{"protocol-relative, own host", "//app.example/", app + "/"},
		{"userinfo", "https://app.example@evil.example/", app + "/@evil.example/"},
		{"userinfo of the right host", "https://user@app.example/", app + "/?user@"},
		{"empty userinfo", "https://@app.example/", app + "/"},
		{"suffix", "https://app.example.evil.example/", app + "/.evil.example/"},
		{"prefix", "https://evilapp.example/", app + "/"},
		{"subdomain", "https://evil.app.example/", app + "/evil"},
		{"dot at the end", "https://app.example./", app + "/."},
		{"javascript", "javascript:alert(1)//app.example", app + "/javascript:alert(1)"},
		{"javascript with an authority", "javascript://app.example/%0aalert(1)", app + "/%0aalert(1)"},
		{"data", "data:text/html,x", app + "/data:text/html,x"},
		{"backslash", `https://app.example\@evil.example/`, app + "/%5C@evil.example/"},
		{"backslashes for slashes", `https:\\app.example\`, app + "/"},
		{"backslash in the path", `https://app.example/\evil`, app + "/%5Cevil"},
		{"CRLF", app + "/\r\nSet-Cookie: a=b", app + "/%0D%0ASet-Cookie:%20a=b"},
		{"tab", "https://app.exam\tple/", app + "/"},
		{"newline before", "\n" + app, app},
		{"space", app + "/a b", app + "/a%20b"},
		{"other port", "https://app.example:8443/", "https://other.example:8443/"},
		{"the other's port left out", "https://other.example/", "https://other.example:8443"},
		{"port without a number", "https://app.example:/", "https://app.example:443/"},
		{"other scheme", "http://app.example/", "http://plain.example/"},
		{"the other's scheme", "https://plain.example/", "http://plain.example"},
		{"no slashes", "https:app.example/", app + "/"},
		{"one slash", "https:/app.example/", app + "/"},
		{"three slashes", "https:///app.example/", app + "///"},
		{"relative", "/done", app + "/done"},
		{"path alone", "done", app + "/done"},
		{"fragment", app + "/#a", app + "/?a"},
		{"empty fragment", app + "/#", app + "/%23"},
		{"percent in the host", "https://app%2eexample/", app + "/%2e"},
		{"wide characters", "https://ａpp.example/", app + "/%EF%BD%81"},
		{"not ASCII in the path", app + "/ä", app + "/%C3%A4"},
		{"too long", long + "a", long},
		{"evil host in upper case", "https://APP.EVIL.EXAMPLE/", "HTTPS://APP.EXAMPLE/"},
		{"loopback", "http://127.0.0.1:3000/", app},
		{"localhost", "http://localhost/", app},
	} {
		if err := pipes.CheckReturnTo(allowed, false, row.refused); !errors.Is(err, pipes.ErrReturnTo) {
			t.Errorf("%s: %q got %v, want ErrReturnTo", row.what, row.refused, err)
		}
		if err := pipes.CheckReturnTo(allowed, false, row.twin); err != nil {
			t.Errorf("twin of %s: %q got %v", row.what, row.twin, err)
		}
	}
	if err := pipes.CheckReturnTo(allowed, false, ""); err != nil {
		t.Errorf("none at all: %v", err)
	}
}

// For development every http origin on loopback is allowed, and nothing that looks like it.
func TestReturnToAnyLoopback(t *testing.T) {
	for _, row := range []struct{ refused, twin string }{
		{"http://localhost.evil.example/", "http://localhost/"},
		{"http://127.0.0.1.evil.example/", "http://127.0.0.1/"},
		{"http://127.0.0.1@evil.example/", "http://127.0.0.1:3000/@evil.example"},
		{"http://0.0.0.0:3000/", "http://127.8.9.1:3000/"},
		{"http://[::]/", "http://[::1]:3000/"},
		{"http://[::1%25lo]/", "http://[::1]/"},
		{"http://127.1/", "http://LOCALHOST:80/"},
		{"http://2130706433/", "http://localhost:65535"},
		{"https://localhost/", "http://localhost"},
		{"http://10.0.0.1/", "http://127.0.0.1"},
		{"http://app.localhost/", "http://localhost/app"},
	} {
		if err := pipes.CheckReturnTo(nil, true, row.refused); !errors.Is(err, pipes.ErrReturnTo) {
			t.Errorf("%q got %v, want ErrReturnTo", row.refused, err)
		}
		if err := pipes.CheckReturnTo(nil, true, row.twin); err != nil {
			t.Errorf("twin %q got %v", row.twin, err)
		}
		if err := pipes.CheckReturnTo(nil, false, row.twin); !errors.Is(err, pipes.ErrReturnTo) {
			t.Errorf("%q outside of development got %v, want ErrReturnTo", row.twin, err)
		}
	}
}

// Authorize itself refuses, and makes no flow.
func TestAuthorizeChecksReturnTo(t *testing.T) {
	s := pipestest.New(t)
	s.MustIntegration(t, pipestest.Slug)
	for returnTo, want := range map[string]error{"//evil.example": pipes.ErrReturnTo, pipestest.ReturnTo: nil} {
		begun, err := s.Broker.Authorize(t.Context(), s.Call(), pipes.AuthorizeRequest{Slug: pipestest.Slug, UserID: "u", ReturnTo: returnTo})
		if !errors.Is(err, want) || (begun.URL == "") != (want != nil) {
			t.Errorf("return_to %s: got %v, want %v", returnTo, err, want)
		}
	}
}

// An origin that was taken out of the settings while a browser was away is not returned to: the flow ends
// all the same, on a page of ours. Where it is still allowed the browser returns.
func TestReturnToIsCheckedAgain(t *testing.T) {
	s := pipestest.New(t)
	s.MustIntegration(t, pipestest.Slug)
	narrowed := s.ReplicaReturningTo(t, "https://other.example")
	ticket, browser := s.MustAuthorize(t, "user_1"), s.Browser()
	if page := browser.MustOpen(t, ticket); page.ReturnToOrigin != pipestest.ReturnTo {
		t.Errorf("the page returns to %q", page.ReturnToOrigin)
	}
	page, err := narrowed.Broker.Confirmation(t.Context(), browser.Request(ticket))
	must(t, err)
	if page.ReturnToOrigin != "" {
		t.Errorf("the page promises to return to %q", page.ReturnToOrigin)
	}
	callback := browser.MustReturn(t, ticket)
	for range 2 { // the second one is answered from the record
		result, err := narrowed.Broker.Callback(t.Context(), callback)
		must(t, err)
		if result.ReturnTo != "" || result.Account == "" {
			t.Errorf("got %+v", result)
		}
	}
	result, err := s.Broker.Callback(t.Context(), callback)
	must(t, err)
	if !strings.HasPrefix(result.ReturnTo, pipestest.ReturnTo+"/done?a=1&status=connected") {
		t.Errorf("where it is allowed: got %+v", result)
	}
	canceled := s.MustAuthorize(t, "user_2")
	browser.MustOpen(t, canceled)
	if result, err = narrowed.Broker.Cancel(t.Context(), browser.Request(canceled)); err != nil || result.ReturnTo != "" || result.Code != pipes.CodeCanceled {
		t.Errorf("cancel: got %+v, %v", result, err)
	}
}

// Origins in the settings are origins.
func TestReturnToSettings(t *testing.T) {
	for refused, twin := range map[string]string{
		"https://app.example/path": "https://app.example/", "https://app.example?": "https://app.example",
		"app.example": "https://APP.example:443", "https://*.example": "https://star.example", "": "http://[::1]:1",
	} {
		if err := pipes.CheckReturnTo([]string{refused}, false, ""); err == nil {
			t.Errorf("setting %q was accepted", refused)
		}
		if err := pipes.CheckReturnTo([]string{twin}, false, ""); err != nil {
			t.Errorf("setting %q: %v", twin, err)
		}
	}
}

// What is appended is the only parameter of its name, and everything else stays byte for byte.
func TestWithOutcome(t *testing.T) {
	connected := pipes.Outcome{Account: "data_installation_1"}
	const appended = "status=connected&connected_account_id=data_installation_1"
	for returnTo, want := range map[string]string{
		"https://a.example":                                           "https://a.example?" + appended,
		"https://a.example/?":                                         "https://a.example/?" + appended,
		"https://a.example/?x=%2F+y&z":                                "https://a.example/?x=%2F+y&z&" + appended,
		"https://a.example/?status=no&x=1":                            "https://a.example/?x=1&" + appended,
		"https://a.example/?st%61tus=no":                              "https://a.example/?" + appended,
		"https://a.example/?error=no&error&&y":                        "https://a.example/?y&" + appended,
		"https://a.example/?connected_account_id=data_installation_2": "https://a.example/?" + appended,
		"": "",
	} {
		if got := pipes.WithOutcome(returnTo, connected); got != want {
			t.Errorf("%s: got %s, want %s", returnTo, got, want)
		}
	}
	failed := pipes.Outcome{Code: pipes.CodeAccessDenied}
	if got, want := pipes.WithOutcome("https://a.example/?status=connected", failed), "https://a.example/?error=access_denied"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
