package main_test

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"culvert/connectors/connectorstest"
)

// MustStartPipes starts a server whose GitHub is a provider of the test.
func MustStartPipes(t *testing.T, dir string, provider *connectorstest.Server, settings ...string) (*Process, *API) {
	t.Helper()
	addrs, err := freeAddrs(1)
	if err != nil {
		t.Fatal(err)
	}
	flags := []string{
		"--set", "pipes.connectors.github.authorization_url=" + provider.URL + connectorstest.AuthorizePath,
		"--set", "pipes.connectors.github.token_url=" + provider.URL + connectorstest.TokenPath,
	}
	for _, setting := range settings {
		flags = append(flags, "--set", setting)
	}
	p := MustStartDev(t, dir, addrs[0], flags...)
	return p, MustAPI(t, p.Base, dir)
}

// MustSay sends a request and checks its status.
func (a *API) MustSay(t *testing.T, status int, method, path string, in, out any) {
	t.Helper()
	if out == nil {
		out = &map[string]any{}
	}
	if got, err := a.Call(method, path, nil, in, out); err != nil || got != status {
		t.Fatalf("%s %s: status %d, %v, want %d", method, path, got, err, status)
	}
}

type object = map[string]any

// integration is the body that configures GitHub with the client that the provider accepts.
func integration() object {
	return object{"provider": "github", "enabled": true, "credentials": object{
		"type": "custom", "client_id": connectorstest.DefaultClientID, "client_secret": connectorstest.DefaultClientSecret,
	}}
}

var formField = regexp.MustCompile(`name="form" value="([^"]+)"`)

// MustConnect takes a browser through the flow of user_1 and returns where it ends.
func MustConnect(t *testing.T, api *API, provider *connectorstest.Server, returnTo string) *url.URL {
	t.Helper()
	var started struct {
		URL string `json:"url"`
	}
	api.MustSay(t, 200, "POST", "/data-integrations/github/authorize", object{"user_id": "user_1", "return_to": returnTo}, &started)
	var cookie string
	step := func(method, to, body string) (*http.Response, string) {
		req, err := http.NewRequestWithContext(t.Context(), method, to, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Cookie", cookie)
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		resp, err := http.DefaultTransport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = resp.Body.Close() }()
		text, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp, string(text)
	}
	page, text := step("GET", started.URL, "")
	cookie, _, _ = strings.Cut(page.Header.Get("Set-Cookie"), ";")
	form := formField.FindStringSubmatch(text)
	if form == nil {
		t.Fatalf("status %d without a form:\n%s", page.StatusCode, text)
	}
	departed, _ := step("POST", started.URL, "confirmed=yes&form="+url.QueryEscape(form[1]))
	callback := provider.Visit(t, departed.Header.Get("Location"))
	if origin := callback.Scheme + "://" + callback.Host; origin != api.base {
		t.Fatalf("the provider sent the browser to %s, not to %s", origin, api.base)
	}
	arrived, _ := step("GET", callback.String(), "")
	end, err := arrived.Location()
	if err != nil {
		t.Fatalf("callback: status %d, %v", arrived.StatusCode, err)
	}
	return end
}

// MustVend asks for the token of user_1.
func (a *API) MustVend(t *testing.T) string {
	t.Helper()
	var answer struct {
		Active bool   `json:"active"`
		Error  string `json:"error"`
		Token  struct {
			Text string `json:"access_token"`
		} `json:"access_token"`
	}
	a.MustSay(t, 200, "POST", "/data-integrations/github/token", object{"user_id": "user_1"}, &answer)
	if !answer.Active {
		t.Fatalf("no token: %s", answer.Error)
	}
	return answer.Token.Text
}

// TestPipesOfTheProgram: settings reach the broker: where GitHub is, where flows may end, what may be
// called, and what redirect URIs begin with.
func TestPipesOfTheProgram(t *testing.T) {
	t.Parallel()
	provider := connectorstest.Start(t, connectorstest.Config{})
	_, api := MustStartPipes(t, filepath.Join(t.TempDir(), "data"), provider,
		"pipes.return_to=https://app.example.com", "pipes.egress.allow=10.1.0.0/16")
	var made struct {
		RedirectURI string `json:"redirect_uri"`
	}
	api.MustSay(t, 201, "POST", "/data-integrations", integration(), &made)
	if !strings.HasPrefix(made.RedirectURI, api.base+"/data-integrations/github/dik_") {
		t.Errorf("redirect URI %s", made.RedirectURI)
	}
	// Development lets flows end on loopback, besides the origins in the settings.
	for _, returnTo := range []string{"http://localhost:1/done", "https://app.example.com/done"} {
		end := MustConnect(t, api, provider, returnTo)
		if !strings.HasPrefix(end.String(), returnTo+"?status=connected&") {
			t.Errorf("the browser ended at %s", end)
		}
	}
	if token := api.MustVend(t); !provider.Alive(token) {
		t.Error("the token does not work")
	}
	api.MustSay(t, 422, "POST", "/data-integrations/github/authorize", object{"user_id": "user_1", "return_to": "https://evil.example"}, nil)
	custom := func(slug, tokenURL string) object {
		o := integration()
		o["provider"] = slug
		o["custom_provider"] = object{"name": "P", "authorization_url": "https://p.example/a", "token_url": tokenURL}
		return o
	}
	api.MustSay(t, 201, "POST", "/data-integrations", custom("listed", "https://10.1.2.3/t"), nil)
	api.MustSay(t, 201, "POST", "/data-integrations", custom("local", "http://127.0.0.1:1/t"), nil)
	api.MustSay(t, 422, "POST", "/data-integrations", custom("private", "https://10.2.0.1/t"), nil)
}

// TestStopWaitsForRefresh: a refresh that nobody waits for any more is finished and stored before the
// process ends. Its refresh token is used up at the provider: otherwise the account would be lost.
func TestStopWaitsForRefresh(t *testing.T) {
	t.Parallel()
	const lifetime = 5 * time.Second
	provider := connectorstest.Start(t, connectorstest.Config{Rotate: true, Lifetime: lifetime})
	dir := filepath.Join(t.TempDir(), "data")
	p, api := MustStartPipes(t, dir, provider)
	api.MustSay(t, 201, "POST", "/data-integrations", integration(), nil)
	MustConnect(t, api, provider, "http://localhost:1/")
	time.Sleep(lifetime)

	provider.Hold()
	ctx, hangUp := context.WithCancel(t.Context())
	req, err := http.NewRequestWithContext(ctx, "POST", api.base+"/data-integrations/github/token", strings.NewReader(`{"user_id":"user_1"}`))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+api.key)
	asked := make(chan struct{})
	go func() {
		defer close(asked)
		if resp, err := http.DefaultClient.Do(req); err == nil {
			_ = resp.Body.Close()
			t.Errorf("an answer with status %d, before the provider's", resp.StatusCode)
		}
	}()
	for deadline := time.Now().Add(10 * time.Second); provider.Refreshes() == 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("no refresh began")
		}
	}
	hangUp()
	<-asked
	time.AfterFunc(time.Second, provider.Release)
	p.MustStop(t)

	_, api = MustStartPipes(t, dir, provider)
	time.Sleep(lifetime)
	if token := api.MustVend(t); !provider.Alive(token) {
		t.Error("the token does not work")
	}
	if got := provider.Refreshes(); got != 2 {
		t.Errorf("%d refreshes, want the one before the stop and one after it", got)
	}
}
