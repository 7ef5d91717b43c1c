package connectors_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"culvert/connectors"
)

// scripted is a provider whose token endpoint takes any method, and answers as it is told.
type scripted struct {
	url     string
	answers []answer
}

type answer struct {
	status int
	body   string
}

func newScripted(t *testing.T) *scripted {
	t.Helper()
	s := &scripted{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		next := s.answers[0]
		s.answers = s.answers[1:]
		w.WriteHeader(next.status)
		_, _ = io.WriteString(w, next.body)
	}))
	t.Cleanup(server.Close)
	s.url = server.URL + "/token"
	return s
}

// longLived is a provider of tokens that are their own refresh tokens, if they can be renewed.
func (s *scripted) longLived(renewable bool) *connectors.Connector {
	c := &connectors.Connector{
		Slug: "long", TokenURL: s.url, ClientAuth: connectors.ClientAuthBody, Body: connectors.BodyForm, ScopeSeparator: " ",
		LongLived: connectors.LongLived{URL: s.url, Grant: "long_exchange", TokenParam: "access_token"},
	}
	if renewable {
		c.LongLived.RefreshGrant = "long_refresh"
	}
	return c
}

// TestLongLived: what is stored after a trade, and that a trade which fails costs nothing that there was.
func TestLongLived(t *testing.T) {
	provider, client := newScripted(t), MustClient(t, connectors.ClientConfig{Now: start})
	creds := connectors.Credentials{ID: "id", Secret: hidden("secret")}
	const short, long = `{"access_token":"short-token-1","expires_in":3600,"scope":"a"}`, `{"access_token":"long-token-1","expires_in":5184000}`
	exchange := func(conn *connectors.Connector) (plainTokens, error) {
		tokens, err := client.Exchange(t.Context(), conn, creds, connectors.ExchangeRequest{Code: hidden("code")})
		if err != nil {
			return plainTokens{}, err
		}
		return reveal(tokens), nil
	}
	// Case 1: the token is its own refresh token; scopes are those of the first reply.
	provider.answers = append(provider.answers, answer{200, short}, answer{200, long})
	got, err := exchange(provider.longLived(true))
	if err != nil || got.Access != "long-token-1" || got.Refresh != "long-token-1" || got.Lifetime != 60*24*time.Hour || len(got.Scopes) != 1 {
		t.Errorf("%+v, %v", got, err)
	}
	// Case 2: one that only the user can renew.
	provider.answers = append(provider.answers, answer{200, short}, answer{200, long})
	if got, err = exchange(provider.longLived(false)); err != nil || got.Access != "long-token-1" || got.Refresh != "" {
		t.Errorf("%+v, %v", got, err)
	}
	// Case 3: the trade fails, and the short token is what there is.
	provider.answers = append(provider.answers, answer{200, short}, answer{502, "<html>"})
	if got, err = exchange(provider.longLived(true)); err != nil || got.Access != "short-token-1" || got.Refresh != "" || got.Lifetime != time.Hour {
		t.Errorf("%+v, %v", got, err)
	}
	// Case 4: the code is refused; no trade is sent.
	provider.answers = append(provider.answers, answer{400, `{"error":"invalid_grant"}`})
	if _, err = exchange(provider.longLived(true)); MustFail(t, err).Class != connectors.DeadGrant {
		t.Error(err)
	}
	// Case 5: a renewal, and one that is refused; no error holds the token.
	provider.answers = append(provider.answers, answer{200, `{"access_token":"long-token-2","expires_in":5184000}`}, answer{400, `{"error":"invalid_grant"}`})
	tokens, err := client.Refresh(t.Context(), provider.longLived(true), creds, hidden("long-token-1"))
	if err != nil || reveal(tokens).Refresh != "long-token-2" {
		t.Errorf("%+v, %v", reveal(tokens), err)
	}
	_, err = client.Refresh(t.Context(), provider.longLived(true), creds, hidden("long-token-1"))
	if MustFail(t, err).Class != connectors.DeadGrant || strings.Contains(err.Error(), "long-token") {
		t.Error(err)
	}
	// Case 6: nobody is there. The token in the URL is in no error.
	gone := provider.longLived(true)
	gone.RefreshURL = "http://127.0.0.1:1/token"
	if _, err = client.Refresh(t.Context(), gone, creds, hidden("long-token-1")); MustFail(t, err).Class != connectors.Transient || strings.Contains(err.Error(), "long-token") {
		t.Error(err)
	}
}
