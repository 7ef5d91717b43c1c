package pipes_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"culvert/connectors"
	"culvert/connectors/connectorstest"
	"culvert/internal/events"
	"culvert/internal/secret"
	"culvert/pipes"
	"culvert/pipes/pipestest"
)

// wantFailure checks the one connection_failed event, member by member.
func wantFailure(t *testing.T, s *pipestest.Stack, i pipes.IntegrationView, want map[string]any) {
	t.Helper()
	all := s.MustEvents(t, events.ConnectionFailed)
	if len(all) != 1 {
		t.Fatalf("%d connection_failed events, want one", len(all))
	}
	var got map[string]any
	must(t, json.Unmarshal(all[0].Data, &got))
	at, _ := got["created_at"].(string)
	if !strings.HasSuffix(at, "Z") || len(at) != len("2006-01-02T15:04:05.000Z") {
		t.Errorf("created_at is %q", at)
	}
	full := map[string]any{
		"object": "connection_failed", "data_integration_id": string(i.ID), "provider_slug": i.Slug, "user_id": "user_1",
		"organization_id": nil, "error_reason": nil, "provider_error": nil, "provider_error_description": nil, "created_at": at,
	}
	for name, value := range want {
		full[name] = value
	}
	if diff := cmp.Diff(got, full); diff != "" {
		t.Errorf("event: %s", diff)
	}
}

// What the provider sends the browser back with, when it is not a code: the flow ends with a typed error,
// at return_to, with an event; and a later callback is answered the same.
func TestCallbackErrors(t *testing.T) {
	for what, c := range map[string]struct {
		change func(*pipes.CallbackRequest)
		code   string
		event  map[string]any
	}{
		"denial": {
			func(r *pipes.CallbackRequest) {
				r.ProviderError, r.ProviderErrorDescription = "access_denied", "The user said no."
			},
			pipes.CodeAccessDenied,
			map[string]any{"provider_error": "access_denied", "provider_error_description": "The user said no."},
		},
		"another error": {
			func(r *pipes.CallbackRequest) { r.ProviderError = "invalid_scope" },
			pipes.CodeProviderError, map[string]any{"provider_error": "invalid_scope"},
		},
		"an error beside a code": {
			func(r *pipes.CallbackRequest) { r.ProviderError, r.Code = "server_error", pipestest.Secret("code") },
			pipes.CodeProviderError, map[string]any{"provider_error": "server_error"},
		},
		"an error that is no code": {
			func(r *pipes.CallbackRequest) {
				r.ProviderError, r.ProviderErrorDescription = "<script>", "a\x00b"
			},
			pipes.CodeProviderError, nil,
		},
		"a long description": {
			func(r *pipes.CallbackRequest) {
				r.ProviderError, r.ProviderErrorDescription = "access_denied", strings.Repeat("ä", 300)
			},
			pipes.CodeAccessDenied,
			map[string]any{"provider_error": "access_denied", "provider_error_description": strings.Repeat("ä", 255)},
		},
		"nothing": {
			func(*pipes.CallbackRequest) {}, pipes.CodeInvalidCallback,
			map[string]any{"error_reason": "the callback has neither a code nor an error"},
		},
	} {
		t.Run(what, func(t *testing.T) {
			s := pipestest.New(t)
			i := s.MustIntegration(t, pipestest.Slug)
			callback := s.Browser().MustReturn(t, s.MustAuthorize(t, "user_1"))
			callback.Code = secret.Bytes{}
			c.change(&callback)
			result, err := s.Broker.Callback(t.Context(), callback)
			must(t, err)
			if want := pipestest.ReturnTo + "/done?a=1&error=" + c.code; result.ReturnTo != want || result.Code != c.code || result.Account != "" {
				t.Errorf("got %+v, want %s", result, want)
			}
			if again, err := s.Broker.Callback(t.Context(), callback); err != nil || again != result {
				t.Errorf("again: got %+v, %v", again, err)
			}
			want := map[string]any{"error_code": c.code}
			for name, value := range c.event {
				want[name] = value
			}
			wantFailure(t, s, i, want)
			if n := s.Provider.Exchanges(); n != 0 {
				t.Errorf("%d codes were sent", n)
			}
		})
	}
}

// The provider says no on its own page.
func TestDenialAtTheProvider(t *testing.T) {
	s := pipestest.New(t)
	s.MustIntegration(t, pipestest.Slug)
	s.Provider.Deny("access_denied")
	result, err := s.Broker.Callback(t.Context(), s.Browser().MustReturn(t, s.MustAuthorize(t, "user_1")))
	must(t, err)
	if result.Code != pipes.CodeAccessDenied {
		t.Errorf("got %+v", result)
	}
	s.Provider.Deny("")
	s.MustConnect(t, "user_1")
}

// Every way in which an exchange fails ends the flow with one code, says why in the event, and leaves no
// account.
func TestExchangeFailures(t *testing.T) {
	for what, c := range map[string]struct {
		fault    connectorstest.Fault
		reason   string
		provider any
	}{
		"a refused code":    {connectorstest.JSON(400, `{"error":"invalid_grant"}`), "the provider does not accept the code", "invalid_grant"},
		"200 with an error": {connectorstest.JSON(200, `{"error":"invalid_grant"}`), "the provider does not accept the code", "invalid_grant"},
		"a refused client":  {connectorstest.JSON(401, `{"error":"invalid_client"}`), "the provider rejects the client credentials", "invalid_client"},
		"busy":              {connectorstest.Busy(7e9), "the provider is unavailable", nil},
		"a dropped reply":   {connectorstest.LostReply(), "the provider gave no readable answer", nil},
		"another refusal":   {connectorstest.JSON(400, `{"error":"invalid_request"}`), "the provider refused the exchange", "invalid_request"},
	} {
		t.Run(what, func(t *testing.T) {
			s := pipestest.New(t)
			i := s.MustIntegration(t, pipestest.Slug)
			s.Provider.Next(c.fault)
			callback := s.Browser().MustReturn(t, s.MustAuthorize(t, "user_1"))
			result, err := s.Broker.Callback(t.Context(), callback)
			must(t, err)
			if result.Code != pipes.CodeExchangeError || !strings.HasSuffix(result.ReturnTo, "error="+pipes.CodeExchangeError) {
				t.Errorf("got %+v", result)
			}
			wantFailure(t, s, i, map[string]any{
				"error_code": pipes.CodeExchangeError, "error_reason": c.reason, "provider_error": c.provider,
			})
			if err := errOf(s.Broker.Account(t.Context(), s.Call(), pipestest.Request("user_1"))); !errors.Is(err, pipes.ErrNoAccount) {
				t.Errorf("account: %v", err)
			}
			// A failed flow does not stand in the way of the next one.
			s.MustConnect(t, "user_1")
		})
	}
}

// What was granted: what the reply says, or what was asked for where it says nothing (RFC 6749 section
// 5.1). An empty list says that nothing was.
func TestGrantedScopes(t *testing.T) {
	for reply, want := range map[string]struct{ granted, missing []string }{
		`{"access_token":"a"}`:                           {[]string{"read", "write"}, nil},
		`{"access_token":"a","scope":"write,more"}`:      {[]string{"write", "more"}, []string{"read"}},
		`{"access_token":"a","scope":""}`:                {[]string{}, []string{"read", "write"}},
		`{"access_token":"a","scope":["write", "read"]}`: {[]string{"write", "read"}, nil},
	} {
		s := pipestest.New(t)
		s.MustIntegration(t, pipestest.Slug)
		scopes := []string{"read", "write"}
		must(t, errOf(s.Broker.UpdateIntegration(t.Context(), s.Call(), pipes.UpdateIntegration{Slug: pipestest.Slug, Scopes: &scopes})))
		s.Provider.Next(connectorstest.JSON(200, reply))
		s.MustConnect(t, "user_1")
		v := s.MustToken(t, "user_1")
		if !cmp.Equal(v.Scopes, want.granted) || !cmp.Equal(v.MissingScopes, want.missing) {
			t.Errorf("%s: granted %v, missing %v", reply, v.Scopes, v.MissingScopes)
		}
	}
}

// A failed reconnect never degrades the account there is.
func TestFailedReconnectLeavesTheAccount(t *testing.T) {
	s := pipestest.New(t)
	s.MustIntegration(t, pipestest.Slug)
	s.MustConnect(t, "user_1")
	before, token := s.MustAccount(t, "user_1"), s.MustToken(t, "user_1")
	s.Provider.Next(connectorstest.JSON(400, `{"error":"invalid_grant"}`))
	must(t, errOf(s.Broker.Callback(t.Context(), s.Browser().MustReturn(t, s.MustAuthorize(t, "user_1")))))
	if diff := cmp.Diff(before, s.MustAccount(t, "user_1")); diff != "" {
		t.Errorf("the account changed: %s", diff)
	}
	if got := s.MustToken(t, "user_1"); !got.AccessToken.Equal(token.AccessToken) {
		t.Error("another token is vended")
	}
}

// PKCE is verified by the provider: a code that was asked for with another challenge is not exchanged.
func TestPKCE(t *testing.T) {
	s := pipestest.New(t)
	s.MustIntegration(t, pipestest.Slug)
	callback := s.Browser().MustReturn(t, s.MustAuthorize(t, "user_1"))
	// The attacker injects a code of his own (RFC 9700 section 4.5): from the same client and redirect URI.
	_, challenge := connectors.GenerateVerifier()
	redirect := pipestest.PublicURL + "/data-integrations/" + callback.Slug + "/" + callback.DIK + "/callback"
	callback.Code = pipestest.Secret(s.Provider.Code(redirect, challenge, "read"))
	result, err := s.Broker.Callback(t.Context(), callback)
	must(t, err)
	if result.Code != pipes.CodeExchangeError {
		t.Errorf("an injected code: got %+v", result)
	}
	for _, r := range s.Provider.Requests() {
		if v := r.Params.Get("code_verifier"); len(v) < 43 {
			t.Errorf("a verifier of %d characters", len(v))
		}
	}
	s.MustConnect(t, "user_1")
}

// What an administrator does while a browser is away ends the flow, and the code stays unsent.
func TestIntegrationChangesUnderAFlow(t *testing.T) {
	yes, no := true, false
	for what, change := range map[string]func(*testing.T, *pipestest.Stack){
		"disabled": func(t *testing.T, s *pipestest.Stack) {
			must(t, errOf(s.Broker.UpdateIntegration(t.Context(), s.Call(), pipes.UpdateIntegration{Slug: pipestest.Slug, Enabled: &no})))
		},
		"removed": func(t *testing.T, s *pipestest.Stack) {
			must(t, s.Broker.DeleteIntegration(t.Context(), s.Call(), pipestest.Slug, "", nil))
		},
		"removed and made anew": func(t *testing.T, s *pipestest.Stack) {
			must(t, s.Broker.DeleteIntegration(t.Context(), s.Call(), pipestest.Slug, "", nil))
			s.MustIntegration(t, pipestest.Slug)
		},
	} {
		t.Run(what, func(t *testing.T) {
			s := pipestest.New(t)
			i := s.MustIntegration(t, pipestest.Slug)
			browser := s.Browser()
			ticket := s.MustAuthorize(t, "user_1")
			callback := browser.MustReturn(t, ticket)
			change(t, s)
			page, err := s.Broker.Confirmation(t.Context(), browser.Request(ticket))
			must(t, err)
			wantUnavailable(t, page.Unavailable)
			if all := s.MustEvents(t, events.ConnectionFailed); len(all) != 0 {
				t.Errorf("looking at the page ended the flow: %d events", len(all))
			}
			result, err := s.Broker.Callback(t.Context(), callback)
			must(t, err)
			wantUnavailable(t, &result)
			if n := s.Provider.Exchanges(); n != 0 {
				t.Errorf("%d codes were sent", n)
			}
			wantFailure(t, s, i, map[string]any{"error_code": pipes.CodeIntegrationUnavailable})
		})
	}
	// The twin: a change that matters to no flow.
	s := pipestest.New(t)
	s.MustIntegration(t, pipestest.Slug)
	callback := s.Browser().MustReturn(t, s.MustAuthorize(t, "user_1"))
	must(t, errOf(s.Broker.UpdateIntegration(t.Context(), s.Call(), pipes.UpdateIntegration{Slug: pipestest.Slug, Enabled: &yes})))
	must(t, errOf(s.Broker.Callback(t.Context(), callback)))
}

// wantUnavailable checks what a flow ends with whose integration is not there for it any more.
func wantUnavailable(t *testing.T, r *pipes.Result) {
	t.Helper()
	const want = pipestest.ReturnTo + "/done?a=1&error=" + pipes.CodeIntegrationUnavailable
	if r == nil || r.Code != pipes.CodeIntegrationUnavailable || r.ReturnTo != want || r.Account != "" {
		t.Errorf("got %+v, want to be back at %s", r, want)
	}
}

// Who presses the button of a link whose integration was switched off goes back to the application, once
// and for all; who only looked finds the page again when it is switched on.
func TestDepartWithoutIntegration(t *testing.T) {
	yes, no := true, false
	s := pipestest.New(t)
	i := s.MustIntegration(t, pipestest.Slug)
	enable := func(on *bool) {
		t.Helper()
		must(t, errOf(s.Broker.UpdateIntegration(t.Context(), s.Call(), pipes.UpdateIntegration{Slug: pipestest.Slug, Enabled: on})))
	}
	browser, looked := s.Browser(), s.MustAuthorize(t, "user_2")
	pressed := s.MustAuthorize(t, "user_1")
	browser.MustOpen(t, pressed)
	enable(&no)
	page, err := s.Broker.Confirmation(t.Context(), browser.Request(looked))
	must(t, err)
	wantUnavailable(t, page.Unavailable)
	departed, err := s.Broker.Depart(t.Context(), browser.Request(pressed))
	must(t, err)
	wantUnavailable(t, departed.Ended)
	if departed.URL != "" {
		t.Error("the browser goes to the provider all the same")
	}
	wantFailure(t, s, i, map[string]any{"error_code": pipes.CodeIntegrationUnavailable})
	enable(&yes)
	if err := errOf(s.Broker.Depart(t.Context(), browser.Request(pressed))); !errors.Is(err, pipes.ErrTicket) {
		t.Errorf("a flow that ended: %v", err)
	}
	must(t, errOf(s.Broker.Callback(t.Context(), s.Browser().MustReturn(t, looked))))
}

// Authorize says at once what no flow could mend.
func TestAuthorizeRefusals(t *testing.T) {
	s := pipestest.New(t)
	s.MustIntegration(t, pipestest.Slug)
	good := pipes.AuthorizeRequest{Slug: pipestest.Slug, UserID: "user_1"}
	var invalid *pipes.InvalidError
	for what, c := range map[string]struct {
		change func(*pipes.AuthorizeRequest)
		want   error
		field  string
	}{
		"no such slug":           {func(r *pipes.AuthorizeRequest) { r.Slug = "nothing" }, pipes.ErrNoIntegration, ""},
		"not configured":         {func(r *pipes.AuthorizeRequest) { r.Slug = pipestest.Second }, pipes.ErrNoIntegration, ""},
		"a slug with a slash":    {func(r *pipes.AuthorizeRequest) { r.Slug = "provider/user" }, pipes.ErrNoIntegration, ""},
		"no user":                {func(r *pipes.AuthorizeRequest) { r.UserID = "" }, nil, "user_id"},
		"a control character":    {func(r *pipes.AuthorizeRequest) { r.UserID = "a\x00" }, nil, "user_id"},
		"not UTF-8":              {func(r *pipes.AuthorizeRequest) { r.UserID = "\xff" }, nil, "user_id"},
		"a long user":            {func(r *pipes.AuthorizeRequest) { r.UserID = strings.Repeat("ü", 256) }, nil, "user_id"},
		"a long organization":    {func(r *pipes.AuthorizeRequest) { r.OrganizationID = strings.Repeat("ü", 256) }, nil, "organization_id"},
		"a bidi label":           {func(r *pipes.AuthorizeRequest) { r.UserLabel = "a\u202eb" }, nil, "user_label"},
		"config":                 {func(r *pipes.AuthorizeRequest) { r.Config = map[string]string{"a": "b"} }, nil, "config"},
		"an owner without an id": {func(r *pipes.AuthorizeRequest) { r.ConnectionOwner = pipes.OwnedByOrganization }, nil, "organization_id"},
		"an unknown owner":       {func(r *pipes.AuthorizeRequest) { r.ConnectionOwner = "team" }, nil, "connection_owner"},
	} {
		r := good
		c.change(&r)
		begun, err := s.Broker.Authorize(t.Context(), s.Call(), r)
		if c.want != nil && !errors.Is(err, c.want) || c.field != "" && (!errors.As(err, &invalid) || invalid.Field != c.field) || begun.URL != "" {
			t.Errorf("%s: got %v", what, err)
		}
	}
	r := good
	r.UserID, r.OrganizationID, r.UserLabel = strings.Repeat("ü", 255), "org/🙂 with spaces", "Ünï"
	must(t, errOf(s.Broker.Authorize(t.Context(), s.Call(), r)))
}

// An organization's account has no user, and is another one than its members'.
func TestOrganizationOwned(t *testing.T) {
	s := pipestest.New(t)
	s.MustIntegration(t, pipestest.Slug)
	must(t, errOf(s.Broker.CreateIntegration(t.Context(), s.Call(), pipes.CreateIntegration{
		Slug: pipestest.Slug, Ownership: pipes.OwnedByOrganization, Enabled: true, Credentials: pipestest.Credentials(),
	})))
	begun, err := s.Broker.Authorize(t.Context(), s.Call(), pipes.AuthorizeRequest{
		Slug: pipestest.Slug, UserID: "user_1", OrganizationID: "org_1", ConnectionOwner: pipes.OwnedByOrganization,
	})
	must(t, err)
	browser := s.Browser()
	if page := browser.MustOpen(t, pipestest.Ticket(t, begun.URL)); page.ConnectionOwner != pipes.OwnedByOrganization || page.OrganizationID != "org_1" {
		t.Errorf("the page is %+v", page)
	}
	result, err := s.Broker.Callback(t.Context(), browser.MustReturn(t, pipestest.Ticket(t, begun.URL)))
	must(t, err)
	if result.ReturnTo != "" {
		t.Errorf("without a return_to the flow ends at %s", result.ReturnTo)
	}
	org := pipes.Request{Slug: pipestest.Slug, UserID: "user_2", OrganizationID: "org_1", ConnectionOwner: pipes.OwnedByOrganization}
	a, err := s.Broker.Account(t.Context(), s.Call(), org)
	must(t, err)
	if a.ID != result.Account || a.Owner.User != "" || a.Owner.Organization != "org_1" {
		t.Errorf("account: %+v", a)
	}
	member := pipes.Request{Slug: pipestest.Slug, UserID: "user_1", OrganizationID: "org_1"}
	if v, err := s.Broker.Token(t.Context(), s.Call(), member); err != nil || v.Error != pipes.NotInstalled {
		t.Errorf("the member's own: got %+v, %v", v, err)
	}
	v, err := s.Broker.Token(t.Context(), s.Call(), org)
	must(t, err)
	if !v.Active || !s.Provider.Alive(string(v.AccessToken.Reveal())) {
		t.Errorf("got %+v", v)
	}
}
