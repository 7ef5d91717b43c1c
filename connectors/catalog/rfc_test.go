package catalog_test

import (
	"slices"
	"testing"
	"time"

	"culvert/connectors"
	"culvert/connectors/catalog"
	"culvert/connectors/connectorstest"
	"culvert/internal/secret"

	"github.com/google/go-cmp/cmp"
)

// TestEveryFlow takes each connector from the authorization URL to a refreshed token, at a server that
// accepts only what the block says: one way to authenticate, one content type, challenges or none.
func TestEveryFlow(t *testing.T) {
	type kind struct {
		auth connectors.ClientAuth
		body connectors.Body
		pkce bool
	}
	servers := map[kind]*connectorstest.Server{}
	for _, c := range byOAuth(t) {
		k := kind{c.ClientAuth, c.Body, c.PKCE}
		if servers[k] == nil {
			servers[k] = connectorstest.Start(t, connectorstest.Config{
				ClientAuth: k.auth, Body: k.body, NoPKCE: !k.pkce, Rotate: true,
			})
		}
		provider := servers[k]
		c.AuthorizationURL, c.TokenURL = provider.URL+connectorstest.AuthorizePath, provider.URL+connectorstest.TokenPath
		c.RefreshURL = ""
		c.Quirks, c.LongLived = connectors.Quirks{}, connectors.LongLived{} // see TestOddRequests
		if err := flow(t, provider, &c); err != nil {
			t.Errorf("%s: %v", c.Slug, err)
		}
	}
}

// byOAuth is the connectors that get tokens, with the examples of their config in their URLs.
func byOAuth(t *testing.T) (list []connectors.Connector) {
	t.Helper()
	for _, c := range catalog.All() {
		if !slices.Contains(c.Methods, connectors.MethodOAuth) {
			continue
		}
		filled, err := c.With(c.ExampleConfig())
		if err != nil {
			t.Fatalf("%s: %v", c.Slug, err)
		}
		list = append(list, *filled)
	}
	return list
}

// flow connects and refreshes once.
func flow(t *testing.T, provider *connectorstest.Server, c *connectors.Connector) error {
	t.Helper()
	client, creds := provider.Client(t), provider.Credentials()
	const redirect = "https://culvert.example/callback"
	verifier, challenge := connectors.GenerateVerifier()
	to, err := client.AuthorizationURL(c, connectors.AuthorizationRequest{
		ClientID: creds.ID, RedirectURI: redirect, State: "st", Challenge: challenge, Scopes: c.DefaultScopes,
	})
	if err != nil {
		return err
	}
	request := connectors.ExchangeRequest{
		Code: secret.New([]byte(provider.Visit(t, to).Query().Get("code"))), RedirectURI: redirect,
	}
	if c.PKCE {
		request.Verifier = verifier
	}
	tokens, err := client.Exchange(t.Context(), c, creds, request)
	if err != nil {
		return err
	}
	if tokens, err = client.Refresh(t.Context(), c, creds, tokens.Refresh); err != nil {
		return err
	}
	if !provider.Alive(string(tokens.Access.Reveal())) {
		t.Errorf("%s: the refreshed token is not the provider's", c.Slug)
	}
	return nil
}

// TestRFCReplies sends to every connector without a reader of its own what RFC 6749 sections 5.1 and 5.2
// describe, and what stands before any server, and wants the same of all but for what their blocks say.
func TestRFCReplies(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	provider := connectorstest.Start(t, connectorstest.Config{Now: func() time.Time { return now }})
	client := provider.Client(t)
	for _, c := range byOAuth(t) {
		if c.Reply != nil {
			continue
		}
		c.TokenURL = provider.URL + connectorstest.TokenPath
		c.LongLived = connectors.LongLived{}
		for _, v := range rfcVectors(&c) {
			provider.Next(connectorstest.JSON(v.status, v.body))
			tokens, err := client.Exchange(t.Context(), &c, provider.Credentials(), connectors.ExchangeRequest{
				Code: secret.New([]byte("code")), Verifier: secret.New([]byte("verifier")),
			})
			if diff := cmp.Diff(reveal(tokens, err, now), v.want); diff != "" {
				t.Errorf("%s: %s (-got +want):\n%s", c.Slug, v.name, diff)
			}
		}
	}
}

func rfcVectors(c *connectors.Connector) []vector {
	zero := ended
	if c.ZeroNeverEnds {
		zero = 0
	}
	return []vector{
		{"", "tokens", 200, "", `{"access_token":"a1","token_type":"Bearer","expires_in":1800,"refresh_token":"r1","scope":"x y"}`,
			outcome{Access: "a1", Refresh: "r1", Lifetime: 1800, Scopes: []string{"x", "y"}}},
		{"", "tokens whose end is not said", 200, "", `{"access_token":"a1","token_type":"Bearer","refresh_token":"r1"}`,
			outcome{Access: "a1", Refresh: "r1", Lifetime: int(c.Lifetime / time.Second)}},
		{"", "tokens of no lifetime", 200, "", `{"access_token":"a1","token_type":"Bearer","expires_in":0,"scope":"x"}`,
			outcome{Access: "a1", Lifetime: zero, Scopes: []string{"x"}}},
		{"", "a dead grant", 400, "", `{"error":"invalid_grant"}`, outcome{Class: dead, Code: "invalid_grant"}},
		{"", "a dead grant with another status", 403, "", `{"error":"invalid_grant"}`, outcome{Class: dead, Code: "invalid_grant"}},
		{"", "a wrong secret", 401, "", `{"error":"invalid_client"}`, outcome{Class: client, Code: "invalid_client"}},
		{"", "a request that lacks something", 400, "", `{"error":"invalid_request"}`, outcome{Class: refused, Code: "invalid_request"}},
		{"", "a gateway", 502, "text/html", "<html>", outcome{Class: ambiguous}},
		{"", "too many requests", 429, "", `{"error":"rate_limited"}`, outcome{Class: transient, Code: "rate_limited"}},
	}
}
