package connectors_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"culvert/connectors"
	"culvert/connectors/connectorstest"

	"github.com/google/go-cmp/cmp"
)

// TestClientFlow goes from the authorization URL to a refreshed token, in every way that a client can
// authenticate and a request can be written.
func TestClientFlow(t *testing.T) {
	for _, auth := range []connectors.ClientAuth{
		connectors.ClientAuthBody, connectors.ClientAuthBasic, connectors.ClientAuthNone,
	} {
		for _, body := range []connectors.Body{connectors.BodyForm, connectors.BodyJSON} {
			t.Run(string(auth)+" "+string(body), func(t *testing.T) {
				provider := connectorstest.Start(t, connectorstest.Config{
					// Characters that mean something in a form, in Basic and in JSON.
					ClientID: "id:ä +&=%\"", ClientSecret: "s:ecret ä+&=%\"\\/",
					ClientAuth: auth, Body: body, Rotate: true, Now: start, Lifetime: 90 * time.Second,
				})
				client, conn, creds := provider.Client(t), provider.Connector("test"), provider.Credentials()

				verifier, challenge := connectors.GenerateVerifier()
				const redirect = "https://culvert.example/data-integrations/test/dik_1/callback"
				to, err := client.AuthorizationURL(&conn, connectors.AuthorizationRequest{
					ClientID: creds.ID, RedirectURI: redirect, State: "the state", Challenge: challenge, Scopes: []string{"x", "y"},
				})
				if err != nil {
					t.Fatal(err)
				}
				callback := provider.Visit(t, to)
				if got := callback.Query().Get("state"); got != "the state" {
					t.Errorf("state is %q", got)
				}
				tokens, err := client.Exchange(t.Context(), &conn, creds, connectors.ExchangeRequest{
					Code: hidden(callback.Query().Get("code")), Verifier: verifier, RedirectURI: redirect,
				})
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(tokens.Scopes, []string{"x", "y"}); diff != "" {
					t.Errorf("scopes (-got +want):\n%s", diff)
				}
				if got := tokens.ExpiresAt.Sub(start()); got != 90*time.Second {
					t.Errorf("lifetime is %v", got)
				}
				refreshed, err := client.Refresh(t.Context(), &conn, creds, tokens.Refresh)
				if err != nil {
					t.Fatal(err)
				}
				if refreshed.Access.Equal(tokens.Access) || refreshed.Refresh.Equal(tokens.Refresh) {
					t.Error("the refresh did not rotate")
				}
				if !provider.Alive(string(refreshed.Access.Reveal())) {
					t.Error("the new token does not work")
				}
			})
		}
	}
}

// TestClientRefusals: what the provider of the flow above refuses, and that each refusal is one request.
func TestClientRefusals(t *testing.T) {
	provider := connectorstest.Start(t, connectorstest.Config{Rotate: true})
	client, conn, creds := provider.Client(t), provider.Connector("test"), provider.Credentials()
	const redirect = "https://culvert.example/callback"
	verifier, challenge := connectors.GenerateVerifier()
	other, _ := connectors.GenerateVerifier()
	dead := failure{connectors.DeadGrant, "invalid_grant", 400, 0}

	// Case: a verifier of another flow.
	request := connectors.ExchangeRequest{Code: hidden(provider.Code(redirect, challenge)), Verifier: other, RedirectURI: redirect}
	_, err := client.Exchange(t.Context(), &conn, creds, request)
	if diff := cmp.Diff(MustFail(t, err), dead); diff != "" {
		t.Errorf("wrong verifier (-got +want):\n%s", diff)
	}
	// Case: another redirect URI.
	request = connectors.ExchangeRequest{Code: hidden(provider.Code(redirect, challenge)), Verifier: verifier, RedirectURI: redirect + "2"}
	_, err = client.Exchange(t.Context(), &conn, creds, request)
	if diff := cmp.Diff(MustFail(t, err), dead); diff != "" {
		t.Errorf("wrong redirect URI (-got +want):\n%s", diff)
	}
	// Case: a wrong client secret; no second try in the other way.
	wrong := connectors.Credentials{ID: creds.ID, Secret: hidden("wrong")}
	request = connectors.ExchangeRequest{Code: hidden(provider.Code(redirect, challenge)), Verifier: verifier, RedirectURI: redirect}
	_, err = client.Exchange(t.Context(), &conn, wrong, request)
	if diff := cmp.Diff(MustFail(t, err), failure{connectors.ClientRejected, "invalid_client", 401, 0}); diff != "" {
		t.Errorf("wrong secret (-got +want):\n%s", diff)
	}
	// Case: nothing to prove the flow with: nothing is sent.
	_, err = client.Exchange(t.Context(), &conn, creds, connectors.ExchangeRequest{Code: hidden("c"), RedirectURI: redirect})
	if diff := cmp.Diff(MustFail(t, err), failure{Class: connectors.Refused}); diff != "" {
		t.Errorf("no verifier (-got +want):\n%s", diff)
	}
	if got := provider.Exchanges(); got != 3 {
		t.Errorf("the provider saw %d requests, want 3", got)
	}
	// Case: the same code, with all that belongs to it.
	tokens, err := client.Exchange(t.Context(), &conn, creds, request)
	if err != nil {
		t.Fatal(err)
	}
	// Case: a refresh token that was used.
	if _, err := client.Refresh(t.Context(), &conn, creds, tokens.Refresh); err != nil {
		t.Fatal(err)
	}
	_, err = client.Refresh(t.Context(), &conn, creds, tokens.Refresh)
	if diff := cmp.Diff(MustFail(t, err), dead); diff != "" {
		t.Errorf("used refresh token (-got +want):\n%s", diff)
	}
}

// TestClientKeepsRefreshToken: a reply without a new refresh token leaves the old one good.
func TestClientKeepsRefreshToken(t *testing.T) {
	provider := connectorstest.Start(t, connectorstest.Config{})
	client, conn, creds := provider.Client(t), provider.Connector("test"), provider.Credentials()
	tokens := MustConnect(t, provider)
	refreshed, err := client.Refresh(t.Context(), &conn, creds, tokens.Refresh)
	if err != nil {
		t.Fatal(err)
	}
	if !refreshed.Refresh.Equal(tokens.Refresh) || refreshed.Access.Equal(tokens.Access) {
		t.Error("the old refresh token was not kept, or the access token was")
	}
}

// TestClientSendsOnce: whatever happens to a request, the provider sees it once.
func TestClientSendsOnce(t *testing.T) {
	provider := connectorstest.Start(t, connectorstest.Config{Rotate: true})
	conn, creds := provider.Connector("test"), provider.Credentials()
	patient, hasty := MustClient(t, connectors.ClientConfig{}), MustClient(t, connectors.ClientConfig{Timeout: 2 * time.Second})
	redirect := func(status int) connectorstest.Fault {
		return connectorstest.Fault{Status: status, Header: http.Header{"Location": {provider.URL + connectorstest.TokenPath}}}
	}
	for _, tc := range []struct {
		name  string
		fault connectorstest.Fault
		want  failure
	}{
		{"the reply is lost", connectorstest.LostReply(), failure{Class: connectors.Ambiguous}},
		{"the connection is cut", connectorstest.Fault{Drop: true}, failure{Class: connectors.Ambiguous}},
		{"the reply is cut", connectorstest.Fault{Status: 200, Truncate: 20, Body: `{"access_token":"a","expires_in":1}`}, failure{connectors.Ambiguous, "", 200, 0}},
		{"the reply is late", connectorstest.Fault{Granted: true, Delay: time.Minute}, failure{Class: connectors.Ambiguous}},
		{"the reply is HTML", connectorstest.HTML(200), failure{connectors.Ambiguous, "", 200, 0}},
		{"a gateway", connectorstest.HTML(502), failure{connectors.Ambiguous, "", 502, 0}},
		{"an outage", connectorstest.HTML(503), failure{connectors.Transient, "", 503, 0}},
		{"too many", connectorstest.Busy(7 * time.Second), failure{connectors.Transient, "", 429, 7 * time.Second}},
		{"too many, said otherwise", connectorstest.Fault{
			Status: 403, Header: http.Header{"Retry-After": {"60"}}, Body: `{"message":"You have exceeded a secondary rate limit."}`,
		}, failure{connectors.Transient, "", 403, time.Minute}},
		{"a redirect that asks to repeat", redirect(307), failure{connectors.Refused, "", 307, 0}},
		{"a permanent one", redirect(308), failure{connectors.Refused, "", 308, 0}},
		{"a redirect to elsewhere", redirect(302), failure{connectors.Refused, "", 302, 0}},
		{"another way to authenticate", connectorstest.Fault{
			Status: 401, Header: http.Header{"Www-Authenticate": {"Basic"}, "Content-Type": {"application/json"}},
			Body: `{"error":"invalid_client"}`,
		}, failure{connectors.ClientRejected, "invalid_client", 401, 0}},
		{"more than is read", connectorstest.JSON(200, `{"access_token":"a","x":"`+strings.Repeat("x", 1<<20)+`"}`), failure{connectors.Ambiguous, "", 200, 0}},
		{"a header without end", connectorstest.Fault{
			Status: 200, Header: http.Header{"X-Long": {strings.Repeat("x", 128<<10)}}, Body: `{"access_token":"a"}`,
		}, failure{Class: connectors.Ambiguous}},
		{"compressed unasked", connectorstest.Fault{
			Status: 200, Header: http.Header{"Content-Encoding": {"gzip"}}, Body: "\x1f\x8b\x08",
		}, failure{connectors.Ambiguous, "", 200, 0}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			client := patient
			if tc.fault.Delay > 0 {
				client = hasty
			}
			before := len(provider.Requests())
			provider.Next(tc.fault)
			_, err := client.Refresh(t.Context(), &conn, creds, hidden("refresh-token-of-"+tc.name))
			if diff := cmp.Diff(MustFail(t, err), tc.want); diff != "" {
				t.Errorf("failure (-got +want):\n%s", diff)
			}
			if got := len(provider.Requests()) - before; got != 1 {
				t.Errorf("the provider saw %d requests, want 1", got)
			}
		})
	}
	// The twin: a reply of nearly 1 MiB is read.
	provider.Next(connectorstest.JSON(200, `{"access_token":"a","x":"`+strings.Repeat("x", 1<<20-100)+`"}`))
	if _, err := patient.Refresh(t.Context(), &conn, creds, hidden("r")); err != nil {
		t.Errorf("a large reply: %v", err)
	}
}

// TestClientEndlessReply: a provider that does not stop is not listened to.
func TestClientEndlessReply(t *testing.T) {
	var written atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(`{"access_token":"`))
		chunk := []byte(strings.Repeat("x", 64<<10))
		for {
			n, err := w.Write(chunk)
			if written.Add(int64(n)) > 1<<30 || err != nil {
				return
			}
		}
	}))
	defer server.Close()
	conn := &connectors.Connector{TokenURL: server.URL, Body: connectors.BodyForm}
	_, err := MustClient(t, connectors.ClientConfig{}).Refresh(t.Context(), conn, connectors.Credentials{ID: "id"}, hidden("r"))
	if got := MustFail(t, err); got.Class != connectors.Ambiguous || !strings.Contains(err.Error(), "1 MiB") {
		t.Errorf("got %v (%v)", got.Class, err)
	}
	server.Close() // waits for the handler
	if n := written.Load(); n > 64<<20 {
		t.Errorf("%d bytes were taken", n)
	}
}

// TestClientWithoutSecret: a client that has no secret is public, whatever way secrets would go.
func TestClientWithoutSecret(t *testing.T) {
	provider := connectorstest.Start(t, connectorstest.Config{ClientAuth: connectors.ClientAuthNone})
	for _, auth := range []connectors.ClientAuth{connectors.ClientAuthBody, connectors.ClientAuthBasic} {
		conn := provider.Connector("test")
		conn.ClientAuth = auth
		_, err := provider.Client(t).Refresh(t.Context(), &conn, provider.Credentials(), hidden("unknown"))
		if got := MustFail(t, err); got.Class != connectors.DeadGrant {
			t.Errorf("%s: the client was not known: %v", auth, err)
		}
	}
}

// TestClientGivenUp: a caller that gives up while the provider works cannot know what happened.
func TestClientGivenUp(t *testing.T) {
	provider := connectorstest.Start(t, connectorstest.Config{Rotate: true})
	tokens := MustConnect(t, provider)
	conn := provider.Connector("test")
	provider.Hold()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		_, err := provider.Client(t).Refresh(ctx, &conn, provider.Credentials(), tokens.Refresh)
		done <- err
	}()
	for provider.Refreshes() == 0 {
		time.Sleep(time.Millisecond)
	}
	cancel()
	err := <-done
	if got := MustFail(t, err); got.Class != connectors.Ambiguous || !errors.Is(err, context.Canceled) {
		t.Errorf("got %v (%v), want ambiguous and canceled", got.Class, err)
	}
}

// TestClientCountsFromSending: a reply that takes its time does not make a token live longer.
func TestClientCountsFromSending(t *testing.T) {
	provider := connectorstest.Start(t, connectorstest.Config{})
	now := start()
	client := MustClient(t, connectors.ClientConfig{Now: func() time.Time {
		defer func() { now = now.Add(10 * time.Second) }()
		return now
	}})
	conn := provider.Connector("test")
	provider.Next(connectorstest.JSON(200, `{"access_token":"a","expires_in":60}`))
	tokens, err := client.Refresh(t.Context(), &conn, provider.Credentials(), hidden("r"))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := tokens.ExpiresAt, start().Add(time.Minute); !got.Equal(want) {
		t.Errorf("the token ends at %v, want %v", got, want)
	}
}

// TestClientRequest pins what is sent, to the byte where it matters.
func TestClientRequest(t *testing.T) {
	provider := connectorstest.Start(t, connectorstest.Config{
		ClientID: "id:ä", ClientSecret: "a b:c", ClientAuth: connectors.ClientAuthBasic,
	})
	MustConnect(t, provider)
	got := provider.Requests()[0]
	if diff := cmp.Diff(got.Params.Get("grant_type"), "authorization_code"); diff != "" {
		t.Error(diff)
	}
	// RFC 6749 section 2.3.1: form-encoded, then Basic: id%3A%C3%A4:a+b%3Ac.
	const want = "Basic aWQlM0ElQzMlQTQ6YStiJTNBYw=="
	for name, want := range map[string]string{
		"Authorization": want, "Accept": "application/json", "User-Agent": "culvert",
		"Content-Type": "application/x-www-form-urlencoded", "Accept-Encoding": "", "Connection": "close",
	} {
		if got := got.Header.Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	for _, name := range []string{"client_id", "client_secret"} {
		if got.Params.Has(name) {
			t.Errorf("%s is in the body besides", name)
		}
	}
	if n, err := strconv.Atoi(got.Header.Get("Content-Length")); err == nil && n != len(url.Values(got.Params).Encode()) {
		t.Errorf("length is %d", n)
	}
}

// MustConnect gets the tokens of a new grant.
func MustConnect(t *testing.T, provider *connectorstest.Server) connectors.Tokens {
	t.Helper()
	verifier, challenge := connectors.GenerateVerifier()
	const redirect = "https://culvert.example/callback"
	tokens, err := provider.Client(t).Exchange(t.Context(), pointer(provider.Connector("test")), provider.Credentials(),
		connectors.ExchangeRequest{Code: hidden(provider.Code(redirect, challenge)), Verifier: verifier, RedirectURI: redirect})
	if err != nil {
		t.Fatal(err)
	}
	return tokens
}

func pointer[T any](v T) *T { return &v }
