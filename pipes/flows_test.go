package pipes_test

import (
	"encoding/json"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"culvert/internal/events"
	"culvert/pipes"
	"culvert/pipes/pipestest"
)

// errOf keeps the error of a call.
func errOf[T any](_ T, err error) error { return err }

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// A user connects an account, and a token that works is vended.
func TestFlow(t *testing.T) {
	s := pipestest.New(t)
	i := s.MustIntegration(t, pipestest.Slug)
	browser := s.Browser()
	ticket := s.MustAuthorize(t, "user_1")

	page := browser.MustOpen(t, ticket)
	if page.Provider != "Test provider" || page.UserID != "user_1" || page.UserLabel != "user_1@example.com" ||
		page.ReturnToOrigin != pipestest.ReturnTo || page.ProviderOrigin != s.Provider.URL ||
		page.Environment != s.Environment.ID().OnWire() || !cmp.Equal(page.Scopes, []string{"read"}) {
		t.Errorf("the confirmation page is %+v", page)
	}
	callback := browser.MustReturn(t, ticket)
	if callback.Slug != i.Slug || callback.DIK != i.DIK {
		t.Errorf("callback at %s/%s, want %s/%s", callback.Slug, callback.DIK, i.Slug, i.DIK)
	}
	result, err := s.Broker.Callback(t.Context(), callback)
	must(t, err)
	back, err := url.Parse(result.ReturnTo)
	must(t, err)
	want := url.Values{"a": {"1"}, "status": {"connected"}, "connected_account_id": {string(result.Account)}}
	if diff := cmp.Diff(back.Query(), want); diff != "" || !strings.HasPrefix(result.ReturnTo, pipestest.ReturnTo+"/done?") {
		t.Errorf("return_to %s: %s", result.ReturnTo, diff)
	}
	if result.Provider != "Test provider" || result.UserLabel != "user_1@example.com" {
		t.Errorf("result: %+v", result)
	}

	a := s.MustAccount(t, "user_1")
	if a.ID != result.Account || a.State != pipes.Connected || a.Owner.User != "user_1" || a.Integration != i.ID ||
		!cmp.Equal(a.Scopes, []string{"read"}) || a.Method != pipes.MethodOAuth {
		t.Errorf("account: %+v", a)
	}
	v := s.MustToken(t, "user_1")
	if !s.Provider.Alive(string(v.AccessToken.Reveal())) || v.ExpiresAt.IsZero() || len(v.MissingScopes) != 0 {
		t.Errorf("vended: %+v", v)
	}
	if n := s.Provider.Exchanges(); n != 1 {
		t.Errorf("%d exchanges, want one", n)
	}
	wantConnectedEvent(t, s, a)
}

// wantConnectedEvent checks the event against the contract's members, one by one.
func wantConnectedEvent(t *testing.T, s *pipestest.Stack, a pipes.Account) {
	t.Helper()
	all := s.MustEvents(t, events.AccountConnected)
	if len(all) != 1 {
		t.Fatalf("%d connected events, want one", len(all))
	}
	var got map[string]any
	must(t, json.Unmarshal(all[0].Data, &got))
	const layout = "2006-01-02T15:04:05.000Z"
	want := map[string]any{
		"object": "connected_account", "id": string(a.ID), "data_integration_id": string(a.Integration), "provider_slug": a.Slug,
		"user_id": a.Owner.User, "organization_id": nil, "scopes": []any{"read"}, "state": "connected",
		"created_at": a.CreatedAt.Format(layout), "updated_at": a.UpdatedAt.Format(layout),
	}
	if diff := cmp.Diff(got, want); diff != "" {
		t.Errorf("event: %s", diff)
	}
}

// Reconnecting keeps the account's id and its grant, whose generation rises.
func TestReconnect(t *testing.T) {
	s := pipestest.New(t)
	s.MustIntegration(t, pipestest.Slug)
	first := s.MustConnect(t, "user_1")
	before := s.MustAccount(t, "user_1")
	old := s.MustToken(t, "user_1")
	if second := s.MustConnect(t, "user_1"); second != first {
		t.Errorf("reconnected as %s, was %s", second, first)
	}
	after := s.MustAccount(t, "user_1")
	if after.Grant != before.Grant || !after.CreatedAt.Equal(before.CreatedAt) {
		t.Errorf("account was %+v and is %+v", before, after)
	}
	must(t, s.Store.Fence(t.Context()))
	g, err := s.Store.Grant(t.Context(), s.Environment.ID(), after.Grant)
	must(t, err)
	if g.Record.Generation != 2 {
		t.Errorf("generation %d, want 2", g.Record.Generation)
	}
	if v := s.MustToken(t, "user_1"); v.AccessToken.Equal(old.AccessToken) {
		t.Error("the old token is vended after a reconnect")
	}
}
