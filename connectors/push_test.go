package connectors_test

import (
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"culvert/connectors"
	"culvert/connectors/connectorstest"
)

// A request is pushed whole, by a client that authenticates as everywhere, and nothing but its name and the client's
// is left for the browser. The provider's own query is part of its address.
func TestPush(t *testing.T) {
	for _, auth := range []connectors.ClientAuth{connectors.ClientAuthBody, connectors.ClientAuthBasic, connectors.ClientAuthNone} {
		t.Run(string(auth), func(t *testing.T) {
			s := connectorstest.Start(t, connectorstest.Config{Push: true, ClientAuth: auth})
			conn, client := s.Connector("idp"), s.Client(t)
			conn.AuthorizationURL += "?request=evil&request_uri=evil"
			conn.AuthorizeParams = map[string]string{"prompt": "consent"}
			verifier, challenge := connectors.GenerateVerifier()
			r := connectors.AuthorizationRequest{
				ClientID: connectorstest.DefaultClientID, RedirectURI: "https://culvert.example/cb", State: "the state", Challenge: challenge, Scopes: []string{"a", "b"},
			}
			before := time.Now()
			p, err := client.Push(t.Context(), &conn, s.Credentials(), r)
			if err != nil || p.Until.Before(before.Add(30*time.Second)) || p.Until.After(time.Now().Add(time.Minute)) {
				t.Fatalf("pushed: %+v, %v", p, err)
			}
			sent := s.Requests()[0].Params
			sent.Del("client_secret")
			if diff := cmp.Diff(sent, url.Values{
				"response_type": {"code"}, "client_id": {r.ClientID}, "redirect_uri": {r.RedirectURI}, "state": {r.State}, "prompt": {"consent"},
				"code_challenge": {challenge}, "code_challenge_method": {"S256"}, "scope": {"a b"},
			}); diff != "" {
				t.Errorf("pushed: %s", diff)
			}
			to, err := client.PushedURL(&conn, r.ClientID, p)
			if err != nil {
				t.Fatal(err)
			}
			if want := s.URL + connectorstest.AuthorizePath + "?client_id=" + r.ClientID + "&request_uri=" + url.QueryEscape(p.RequestURI); to != want {
				t.Errorf("the browser goes to %s, want %s", to, want)
			}
			back := s.Visit(t, to).Query()
			if back.Get("state") != r.State {
				t.Fatalf("back with %v", back)
			}
			if _, err := client.Exchange(t.Context(), &conn, s.Credentials(), connectors.ExchangeRequest{
				Code: hidden(back.Get("code")), Verifier: verifier, RedirectURI: r.RedirectURI,
			}); err != nil {
				t.Error(err)
			}
		})
	}
}

// What comes instead of a request_uri that lives.
func TestPushFailures(t *testing.T) {
	s := connectorstest.Start(t, connectorstest.Config{Push: true, NoPKCE: true})
	conn, client := s.Connector("idp"), s.Client(t)
	push := func(creds connectors.Credentials) error {
		_, err := client.Push(t.Context(), &conn, creds, connectors.AuthorizationRequest{ClientID: creds.ID, RedirectURI: "https://culvert.example/cb", State: "state-of-this-flow"})
		return err
	}
	if diff := cmp.Diff(MustFail(t, push(connectors.Credentials{ID: connectorstest.DefaultClientID, Secret: hidden("another")})), failure{connectors.ClientRejected, "invalid_client", 401, 0}); diff != "" {
		t.Error(diff)
	}
	for body, want := range map[string]failure{
		`{"request_uri":"urn:x"}`:                                             {connectors.Ambiguous, "", 201, 0},
		`{"request_uri":"urn:x","expires_in":0}`:                              {connectors.Ambiguous, "", 201, 0},
		`{"expires_in":60}`:                                                   {connectors.Ambiguous, "", 201, 0},
		`{"request_uri":"urn:\u0007","expires_in":60}`:                        {connectors.Ambiguous, "", 201, 0},
		`{"request_uri":"` + strings.Repeat("x", 2000) + `","expires_in":60}`: {connectors.Ambiguous, "", 201, 0},
		`{"error":"invalid_scope"}`:                                           {connectors.Refused, "invalid_scope", 201, 0},
		`{"error":"state-of-this-flow"}`:                                      {connectors.Refused, "", 201, 0},
	} {
		s.Next(connectorstest.JSON(201, body))
		if diff := cmp.Diff(MustFail(t, push(s.Credentials())), want); diff != "" {
			t.Errorf("%.60s: %s", body, diff)
		}
	}
	s.Next(connectorstest.HTML(503))
	if diff := cmp.Diff(MustFail(t, push(s.Credentials())).Class, connectors.Transient); diff != "" {
		t.Error(diff)
	}
	conn.PushURL = "http://192.0.2.1/par"
	if diff := cmp.Diff(MustFail(t, push(s.Credentials())).Class, connectors.Blocked); diff != "" {
		t.Error(diff)
	}
	d := s.Definition()
	for at, fine := range map[string]bool{s.URL + connectorstest.PushPath: true, "https://elsewhere.example/par": false} {
		d.PushURL = at
		if _, err := connectors.Custom("mine", d); (err == nil) != fine {
			t.Errorf("%s: %v", at, err)
		}
	}
}
