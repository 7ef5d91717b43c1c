package pipes_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/url"
	"testing"
	"time"

	"culvert/connectors"
	"culvert/connectors/connectorstest"
	"culvert/internal/secret"
	"culvert/pipes"
	"culvert/pipes/pipestest"

	"github.com/google/go-cmp/cmp"
)

// telling is a stack whose provider says in each of its answers what callers need besides the token.
func telling(t *testing.T) *pipestest.Stack {
	t.Helper()
	return identified(t, func(c *connectors.Connector) {
		const pattern, domain = `^(?:https://[a-z.]+)$`, "provider.example"
		c.Metadata = []connectors.ReplyField{
			{Name: "instance_url", Pattern: pattern, Domains: []string{domain}},
			{Name: "api", From: connectors.FromIdentity, Path: "accounts.?is_default.host", Pattern: pattern, Domains: []string{domain}},
			{Name: "installation_id", From: connectors.FromCallback, Pattern: `^(?:[0-9]+)$`},
		}
	})
}

const (
	instanceReply = `{"access_token":"access-1","refresh_token":"refresh-1","expires_in":3600,"instance_url":"https://one.provider.example"}`
	hostsAnswer   = `{"sub":"user-1","name":"Test User","accounts":[{"host":"https://a.provider.example"},{"is_default":true,"host":"https://b.provider.example"}]}`
)

// What a provider says besides the token is kept with the account and vended with the token: from its reply,
// its callback and its identity call, through a wait for the session. A refresh that says it anew counts, and
// one that names a host of somebody else's does not.
func TestSaidBesidesTheToken(t *testing.T) {
	s := telling(t)
	s.Clock.Stop()
	s.Provider.AlwaysIdentity(connectorstest.JSON(200, hostsAnswer))
	want := map[string]string{"instance_url": "https://one.provider.example", "api": "https://b.provider.example", "installation_id": "4711"}
	vended := func(what, user string) {
		t.Helper()
		if diff := cmp.Diff(s.MustToken(t, user).Metadata, want); diff != "" {
			t.Errorf("%s (-got +want):\n%s", what, diff)
		}
	}
	others := map[string]string{"installation_id": "4711", "other": "x"}

	s.Provider.Next(connectorstest.JSON(200, instanceReply))
	callback := s.Browser().MustReturn(t, s.MustAuthorize(t, "user_1"))
	callback.Others = others
	must(t, errOf(s.Broker.Callback(t.Context(), callback)))
	vended("connected", "user_1")

	ticket, verifier := s.MustAuthorizeBound(t, "user_2")
	s.Provider.Next(connectorstest.JSON(200, `{"access_token":"access-2","expires_in":3600,"instance_url":"https://one.provider.example"}`))
	callback = s.Browser().MustReturnBound(t, ticket)
	callback.Others = others
	result, err := s.Broker.Callback(t.Context(), callback)
	must(t, err)
	must(t, errOf(s.Broker.Finish(t.Context(), s.Call(), pipes.FinishRequest{ResultID: pipestest.ResultID(t, result.ReturnTo), Verifier: verifier})))
	vended("finished by its session", "user_2")

	for _, refresh := range []struct{ says, is string }{
		{"https://two.provider.example", "https://two.provider.example"},
		{"https://two.provider.example.evil.example", "https://two.provider.example"},
	} {
		s.Clock.Advance(2 * time.Hour)
		s.Provider.Next(connectorstest.JSON(200, `{"access_token":"access-3","refresh_token":"refresh-3","expires_in":3600,"instance_url":"`+refresh.says+`"}`))
		want["instance_url"] = refresh.is
		vended("refreshed as at "+refresh.says, "user_1")
	}
}

// A provider that does not answer when the account is connected is asked behind a vend, also for what it says
// besides.
func TestSaidBehindAVend(t *testing.T) {
	s := telling(t)
	s.Provider.AlwaysIdentity(connectorstest.HTML(503))
	s.MustConnect(t, "user_1")
	if got := s.MustToken(t, "user_1").Metadata; len(got) != 0 {
		t.Fatalf("it said %v", got)
	}
	s.Provider.AlwaysIdentity(connectorstest.JSON(200, hostsAnswer))
	eventually(t, "what it says", func() bool {
		s.Clock.Advance(time.Minute)
		return s.MustToken(t, "user_1").Metadata["api"] == "https://b.provider.example"
	})
	if a := s.MustAccount(t, "user_1"); a.Identifier != "user-1" {
		t.Errorf("the account is %q", a.Identifier)
	}
}

// A code of a callback that its provider has not signed goes nowhere.
func TestUnsignedCallback(t *testing.T) {
	s := pipestest.WithConfig(t, pipestest.Config{Connector: func(c *connectors.Connector) { c.Quirks.CallbackMAC = "hmac" }})
	s.MustIntegration(t, pipestest.Slug)
	for what, v := range map[string]struct {
		secret, shop string
		connects     bool
	}{
		"another's secret": {"not the secret", "acme.example", false},
		"another shop":     {pipestest.ClientSecret, "evil.example", false},
		"as it is":         {pipestest.ClientSecret, "acme.example", true},
	} {
		before := s.Provider.Exchanges()
		r := s.Browser().MustReturn(t, s.MustAuthorize(t, "user_1"))
		query := url.Values{"code": {string(r.Code.Reveal())}, "state": {r.State}, "shop": {"acme.example"}, "host": {"YWNtZQ=="}}
		mac := hmac.New(sha256.New, []byte(v.secret))
		mac.Write([]byte(query.Encode()))
		r.Others = map[string]string{"shop": v.shop, "host": "YWNtZQ==", "hmac": hex.EncodeToString(mac.Sum(nil))}
		result, err := s.Broker.Callback(t.Context(), r)
		must(t, err)
		if connected := result.Code == ""; connected != v.connects || s.Provider.Exchanges()-before != map[bool]int{true: 1}[v.connects] {
			t.Errorf("%s: got %+v and %d exchanges", what, result, s.Provider.Exchanges()-before)
		}
		if !v.connects && result.Code != pipes.CodeInvalidCallback {
			t.Errorf("%s: got %+v", what, result)
		}
	}
	r := s.Browser().MustReturn(t, s.MustAuthorize(t, "user_2"))
	if result, err := s.Broker.Callback(t.Context(), r); err != nil || result.Code != pipes.CodeInvalidCallback {
		t.Errorf("not signed at all: %+v, %v", result, err)
	}
	r = s.Browser().MustReturn(t, s.MustAuthorize(t, "user_2"))
	r.Code, r.ProviderError = secret.Bytes{}, "access_denied"
	if result, err := s.Broker.Callback(t.Context(), r); err != nil || result.Code != pipes.CodeAccessDenied {
		t.Errorf("a no, which has no code to protect: %+v, %v", result, err)
	}
}

// Scopes that the callback alone names are those that were granted.
func TestGrantedInTheCallback(t *testing.T) {
	s := pipestest.WithConfig(t, pipestest.Config{Connector: func(c *connectors.Connector) { c.Quirks.CallbackScopes = "scope" }})
	s.MustIntegration(t, pipestest.Slug)
	for _, v := range []struct {
		reply, callback string
		want            []string
	}{
		{`{"access_token":"a1"}`, "other,more", []string{"other", "more"}},
		{`{"access_token":"a1","scope":"read"}`, "other", []string{"read"}},
		{`{"access_token":"a1"}`, "", []string{"read"}},
	} {
		s.Provider.Next(connectorstest.JSON(200, v.reply))
		r := s.Browser().MustReturn(t, s.MustAuthorize(t, "user_1"))
		r.Others = map[string]string{"scope": v.callback}
		must(t, errOf(s.Broker.Callback(t.Context(), r)))
		if a := s.MustAccount(t, "user_1"); !cmp.Equal(a.Scopes, v.want) {
			t.Errorf("%s and %q: granted are %q, want %q", v.reply, v.callback, a.Scopes, v.want)
		}
	}
}
