package pipes_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"culvert/connectors"
	"culvert/internal/events"
	"culvert/pipes"
	"culvert/pipes/pipestest"
)

// custom is the stack's provider as a caller defines it.
func custom(s *pipestest.Stack) *pipes.CustomProvider {
	d := s.Provider.Definition()
	return &pipes.CustomProvider{
		Name: "Mine", AuthorizationURL: d.AuthorizationURL, TokenURL: d.TokenURL, PKCE: true, SecretRequired: true,
	}
}

func TestIntegrationLife(t *testing.T) {
	s := pipestest.New(t)
	made, err := s.Broker.CreateIntegration(t.Context(), s.Call(), pipes.CreateIntegration{
		Slug: pipestest.Slug, Description: "For CI", Credentials: pipestest.Credentials(), Scopes: []string{"read", "write"},
	})
	must(t, err)
	if want := pipestest.PublicURL + "/data-integrations/" + made.Slug + "/" + made.DIK + "/callback"; made.RedirectURI != want {
		t.Errorf("redirect URI %s, want %s", made.RedirectURI, want)
	}
	if !strings.HasPrefix(string(made.ID), "data_integration_") || !strings.HasPrefix(made.DIK, "dik_") || made.Enabled ||
		made.State != "valid" || made.Client.Last4 != pipestest.ClientSecret[len(pipestest.ClientSecret)-4:] ||
		made.Client.Secret == nil || made.Ownership != pipes.OwnedByUser || !cmp.Equal(made.AuthMethods, []pipes.AuthMethod{pipes.MethodOAuth}) {
		t.Errorf("made %+v", made)
	}
	// A disabled integration begins nothing.
	if err := errOf(s.Broker.Authorize(t.Context(), s.Call(), pipes.AuthorizeRequest{Slug: pipestest.Slug, UserID: "u"})); !errors.Is(err, pipes.ErrDisabled) {
		t.Errorf("authorize: %v, want ErrDisabled", err)
	}
	if err := errOf(s.Broker.Token(t.Context(), s.Call(), pipestest.Request("u"))); !errors.Is(err, pipes.ErrDisabled) {
		t.Errorf("token: %v, want ErrDisabled", err)
	}
	if err := errOf(s.Broker.CreateIntegration(t.Context(), s.Call(), pipes.CreateIntegration{
		Slug: pipestest.Slug, Credentials: pipestest.Credentials(),
	})); !errors.Is(err, pipes.ErrIntegrationExists) {
		t.Errorf("again: %v, want ErrIntegrationExists", err)
	}
	yes, none, text := true, []string(nil), "other"
	s.Clock.Advance(time.Second)
	changed, err := s.Broker.UpdateIntegration(t.Context(), s.Call(), pipes.UpdateIntegration{
		Slug: pipestest.Slug, Enabled: &yes, Scopes: &none, Description: &text,
	})
	must(t, err)
	if !changed.Enabled || changed.Scopes != nil || changed.Description != text || changed.ID != made.ID || changed.DIK != made.DIK ||
		!changed.UpdatedAt.After(made.UpdatedAt) || !changed.CreatedAt.Equal(made.CreatedAt) {
		t.Errorf("changed to %+v", changed)
	}
	read, err := s.Broker.Integration(t.Context(), s.Call(), pipestest.Slug, "")
	must(t, err)
	if diff := cmp.Diff(read.Integration, changed.Integration); diff != "" {
		t.Errorf("read: %s", diff)
	}
	must(t, s.Broker.DeleteIntegration(t.Context(), s.Call(), pipestest.Slug, "", nil))
	if err := errOf(s.Broker.Integration(t.Context(), s.Call(), pipestest.Slug, "")); !errors.Is(err, pipes.ErrNoIntegration) {
		t.Errorf("after delete: %v", err)
	}
	if err := s.Broker.DeleteIntegration(t.Context(), s.Call(), pipestest.Slug, "", nil); !errors.Is(err, pipes.ErrNoIntegration) {
		t.Errorf("deleted twice: %v", err)
	}
	var types []events.Type
	for _, e := range s.MustEvents(t) {
		types = append(types, e.Type)
	}
	if diff := cmp.Diff(types, []events.Type{events.IntegrationCreated, events.IntegrationUpdated, events.IntegrationDeleted}); diff != "" {
		t.Errorf("events: %s", diff)
	}
}

// Each refused integration is the good one but for one thing.
func TestCreateIntegrationRefusals(t *testing.T) {
	s := pipestest.New(t)
	var refused *pipes.InvalidError
	for what, c := range map[string]struct {
		change func(*pipes.CreateIntegration)
		field  string
	}{
		"upper case":             {func(r *pipes.CreateIntegration) { r.Slug = "Mine" }, "provider"},
		"a dash first":           {func(r *pipes.CreateIntegration) { r.Slug = "-mine" }, "provider"},
		"an underscore":          {func(r *pipes.CreateIntegration) { r.Slug = "mi_ne" }, "provider"},
		"a slash":                {func(r *pipes.CreateIntegration) { r.Slug = "mine/user" }, "provider"},
		"64 characters":          {func(r *pipes.CreateIntegration) { r.Slug = strings.Repeat("a", 64) }, "provider"},
		"a catalogue slug":       {func(r *pipes.CreateIntegration) { r.Slug = pipestest.Slug }, "provider"},
		"no definition":          {func(r *pipes.CreateIntegration) { r.Custom = nil }, "custom_provider"},
		"no name":                {func(r *pipes.CreateIntegration) { r.Custom.Name = "" }, "custom_provider.name"},
		"no token URL":           {func(r *pipes.CreateIntegration) { r.Custom.TokenURL = "" }, "custom_provider.token_url"},
		"no authorization URL":   {func(r *pipes.CreateIntegration) { r.Custom.AuthorizationURL = "" }, "custom_provider.authorization_url"},
		"http":                   {func(r *pipes.CreateIntegration) { r.Custom.TokenURL = "http://provider.example/token" }, "custom_provider.token_url"},
		"a private address":      {func(r *pipes.CreateIntegration) { r.Custom.TokenURL = "https://10.0.0.1/token" }, "custom_provider.token_url"},
		"the metadata service":   {func(r *pipes.CreateIntegration) { r.Custom.TokenURL = "https://169.254.169.254/token" }, "custom_provider.token_url"},
		"javascript":             {func(r *pipes.CreateIntegration) { r.Custom.AuthorizationURL = "javascript:alert(1)" }, "custom_provider.authorization_url"},
		"refreshes elsewhere":    {func(r *pipes.CreateIntegration) { r.Custom.RefreshTokenURL = "https://other.example/token" }, "custom_provider.refresh_token_url"},
		"a parameter of ours":    {func(r *pipes.CreateIntegration) { r.Custom.AuthorizeParams = map[string]string{"state": "x"} }, "custom_provider.additional_authorization_parameters"},
		"unknown client auth":    {func(r *pipes.CreateIntegration) { r.Custom.ClientAuth = "mtls" }, "custom_provider.authenticate_via"},
		"scopes are required":    {func(r *pipes.CreateIntegration) { r.Custom.ScopesRequired = true }, "scopes"},
		"a scope with a space":   {func(r *pipes.CreateIntegration) { r.Scopes = []string{"a b"} }, "scopes"},
		"no credentials":         {func(r *pipes.CreateIntegration) { r.Credentials = nil }, "credentials"},
		"no client id":           {func(r *pipes.CreateIntegration) { r.Credentials.ID = "" }, "credentials.client_id"},
		"no secret":              {func(r *pipes.CreateIntegration) { r.Credentials.Secret = pipestest.Secret("") }, "credentials.client_secret"},
		"a client beside each's": {func(r *pipes.CreateIntegration) { r.Credentials.Type = "organization" }, "credentials.client_id"},
		"unknown credentials":    {func(r *pipes.CreateIntegration) { r.Credentials.Type = "shared" }, "credentials.type"},
		"api keys":               {func(r *pipes.CreateIntegration) { r.AuthMethods = []pipes.AuthMethod{pipes.MethodAPIKey} }, "credentials"},
		"an unknown method":      {func(r *pipes.CreateIntegration) { r.AuthMethods = []pipes.AuthMethod{"basic"} }, "auth_methods"},
		"unknown ownership":      {func(r *pipes.CreateIntegration) { r.Ownership = "team" }, "ownership"},
		"config":                 {func(r *pipes.CreateIntegration) { r.Config = map[string]string{"host": "x"} }, "config"},
		"a control character":    {func(r *pipes.CreateIntegration) { r.Description = "a\x07" }, "description"},
	} {
		r := pipes.CreateIntegration{Slug: "mine", Custom: custom(s), Credentials: pipestest.Credentials()}
		c.change(&r)
		if err := errOf(s.Broker.CreateIntegration(t.Context(), s.Call(), r)); !errors.As(err, &refused) || refused.Field != c.field {
			t.Errorf("%s: got %v, want %s refused", what, err, c.field)
		}
	}
	if page, err := s.Broker.Integrations(t.Context(), s.Call(), pipes.IntegrationQuery{}); err != nil || len(page.Data) != 0 {
		t.Errorf("refused integrations were stored: %+v, %v", page, err)
	}
	// The twin: the good one, and a public client where the provider takes one.
	must(t, errOf(s.Broker.CreateIntegration(t.Context(), s.Call(), pipes.CreateIntegration{
		Slug: strings.Repeat("a", 63), Custom: custom(s), Credentials: pipestest.Credentials(),
	})))
	public := pipes.CreateIntegration{Slug: "0", Custom: custom(s), Credentials: &pipes.ClientCredentials{Type: "custom", ID: "public"}}
	public.Custom.SecretRequired = false
	made, err := s.Broker.CreateIntegration(t.Context(), s.Call(), public)
	must(t, err)
	if made.State != "valid" || made.Client.Secret != nil || made.Client.Last4 != "" {
		t.Errorf("public client: %+v", made)
	}
}

// A custom provider goes through the whole flow, and its definition serves the other ownership too.
func TestCustomProvider(t *testing.T) {
	s := pipestest.New(t)
	made, err := s.Broker.CreateIntegration(t.Context(), s.Call(), pipes.CreateIntegration{
		Slug: "mine", Enabled: true, Custom: custom(s), Credentials: pipestest.Credentials(), Scopes: []string{"a", "b"},
	})
	must(t, err)
	begun, err := s.Broker.Authorize(t.Context(), s.Call(), pipes.AuthorizeRequest{Slug: "mine", UserID: "u"})
	must(t, err)
	result, err := s.Broker.Callback(t.Context(), s.Browser().MustReturn(t, pipestest.Ticket(t, begun.URL)))
	must(t, err)
	if result.Provider != "Mine" || result.Account == "" {
		t.Errorf("got %+v", result)
	}
	v, err := s.Broker.Token(t.Context(), s.Call(), pipes.Request{Slug: "mine", UserID: "u"})
	must(t, err)
	if !v.Active || !slices.Equal(v.Scopes, []string{"a", "b"}) {
		t.Errorf("vended %+v", v)
	}
	other, err := s.Broker.CreateIntegration(t.Context(), s.Call(), pipes.CreateIntegration{
		Slug: "mine", Ownership: pipes.OwnedByOrganization, Credentials: pipestest.Credentials(),
	})
	must(t, err)
	if diff := cmp.Diff(other.Custom, made.Custom); diff != "" || other.DIK == made.DIK {
		t.Errorf("the other ownership has another definition: %s", diff)
	}
}

// A stored secret is not sent to another origin: who moves the token endpoint must know it. Grants stay
// where they were.
func TestMovedTokenEndpoint(t *testing.T) {
	s := pipestest.New(t)
	pipes.Impatient(s.Broker)
	must(t, errOf(s.Broker.CreateIntegration(t.Context(), s.Call(), pipes.CreateIntegration{
		Slug: "mine", Enabled: true, Custom: custom(s), Credentials: pipestest.Credentials(),
	})))
	begun, err := s.Broker.Authorize(t.Context(), s.Call(), pipes.AuthorizeRequest{Slug: "mine", UserID: "u"})
	must(t, err)
	must(t, errOf(s.Broker.Callback(t.Context(), s.Browser().MustReturn(t, pipestest.Ticket(t, begun.URL)))))

	elsewhere, samePlace := "https://evil.example/token", s.Provider.URL+"/token?v=2"
	var refused *pipes.InvalidError
	for what, r := range map[string]pipes.UpdateIntegration{
		"alone":                 {Custom: &pipes.CustomUpdate{TokenURL: &elsewhere}},
		"with the client's id":  {Custom: &pipes.CustomUpdate{TokenURL: &elsewhere}, Credentials: &pipes.ClientCredentials{Type: "custom", ID: pipestest.ClientID}},
		"with another id alone": {Credentials: &pipes.ClientCredentials{Type: "custom", ID: "other"}},
	} {
		r.Slug = "mine"
		if err := errOf(s.Broker.UpdateIntegration(t.Context(), s.Call(), r)); !errors.As(err, &refused) || !strings.HasPrefix(refused.Field, "credentials") {
			t.Errorf("moved %s: got %v, want the credentials refused", what, err)
		}
	}
	// The twin: another path of the same origin.
	must(t, errOf(s.Broker.UpdateIntegration(t.Context(), s.Call(), pipes.UpdateIntegration{Slug: "mine", Custom: &pipes.CustomUpdate{TokenURL: &samePlace}})))
	// With the secret in the same call it moves.
	must(t, errOf(s.Broker.UpdateIntegration(t.Context(), s.Call(), pipes.UpdateIntegration{
		Slug: "mine", Custom: &pipes.CustomUpdate{TokenURL: &elsewhere}, Credentials: pipestest.Credentials(),
	})))
	request := pipes.Request{Slug: "mine", UserID: "u"}
	if v, err := s.Broker.Token(t.Context(), s.Call(), request); err != nil || !v.Active {
		t.Errorf("the living token: %+v, %v", v, err)
	}
	s.Clock.Advance(2 * time.Hour)
	if err := errOf(s.Broker.Token(t.Context(), s.Call(), request)); !errors.Is(err, pipes.ErrEndpointChanged) {
		t.Errorf("the ended token: %v, want ErrEndpointChanged", err)
	}
	if n := s.Provider.Refreshes(); n != 0 {
		t.Errorf("%d refreshes", n)
	}
}

// Pages of integrations, in each order and both directions.
func TestIntegrationPages(t *testing.T) {
	s := pipestest.New(t)
	var ids []pipes.IntegrationID
	for n := range 5 {
		r := pipes.CreateIntegration{Slug: fmt.Sprintf("mine-%d", n), Custom: custom(s), Credentials: pipestest.Credentials()}
		if n%2 == 1 {
			r.Ownership = pipes.OwnedByOrganization
		}
		i, err := s.Broker.CreateIntegration(t.Context(), s.Call(), r)
		must(t, err)
		ids = append(ids, i.ID)
		s.Clock.Advance(time.Millisecond)
	}
	list := func(q pipes.IntegrationQuery) ([]pipes.IntegrationID, pipes.IntegrationPage) {
		t.Helper()
		page, err := s.Broker.Integrations(t.Context(), s.Call(), q)
		must(t, err)
		got := []pipes.IntegrationID{}
		for _, i := range page.Data {
			got = append(got, i.ID)
		}
		return got, page
	}
	newest := slices.Clone(ids)
	slices.Reverse(newest)
	for _, c := range []struct {
		order pipes.Order
		want  []pipes.IntegrationID
	}{{"", newest}, {pipes.Descending, newest}, {pipes.Ascending, ids}} {
		var all []pipes.IntegrationID
		q := pipes.IntegrationQuery{Limit: 2, Order: c.order}
		for {
			got, page := list(q)
			all = append(all, got...)
			if page.After == "" {
				break
			}
			q.After = page.After
		}
		if diff := cmp.Diff(all, c.want); diff != "" {
			t.Errorf("order %q: %s", c.order, diff)
		}
		back, page := list(pipes.IntegrationQuery{Limit: 2, Order: c.order, Before: c.want[3]})
		if diff := cmp.Diff(back, c.want[1:3]); diff != "" || page.Before == "" || page.After == "" {
			t.Errorf("order %q, before the fourth: %s, %+v", c.order, diff, page)
		}
	}
	// Normal shows the newest first, and before leads to older ones.
	got, page := list(pipes.IntegrationQuery{Limit: 2, Order: pipes.Normal})
	if diff := cmp.Diff(got, newest[:2]); diff != "" || page.After != "" || page.Before != newest[1] {
		t.Errorf("normal: %s, %+v", diff, page)
	}
	if got, _ := list(pipes.IntegrationQuery{Limit: 2, Order: pipes.Normal, Before: page.Before}); !slices.Equal(got, newest[2:4]) {
		t.Errorf("normal, before: %v", got)
	}
	if got, _ := list(pipes.IntegrationQuery{Limit: 1000, Ownership: pipes.OwnedByOrganization}); len(got) != 2 {
		t.Errorf("%d of organizations, want 2", len(got))
	}
	for _, q := range []pipes.IntegrationQuery{{Limit: -1}, {Order: "up"}, {Ownership: "team"}, {After: "x"}, {Before: "data_integration_1"}} {
		if err := errOf(s.Broker.Integrations(t.Context(), s.Call(), q)); err == nil {
			t.Errorf("%+v was accepted", q)
		}
	}
}

// An integration that can begin no flow says what it needs, and one that can says nothing.
func TestStateReason(t *testing.T) {
	change := func(*connectors.Connector) {}
	s := pipestest.WithConfig(t, pipestest.Config{Connector: func(c *connectors.Connector) { c.NoSecret = true; change(c) }})
	s.MustIntegration(t, pipestest.Slug)
	must(t, errOf(s.Broker.CreateIntegration(t.Context(), s.Call(), pipes.CreateIntegration{
		Slug: pipestest.Second, Enabled: true, Credentials: &pipes.ClientCredentials{Type: "custom", ID: "public"},
	})))
	for what, c := range map[string]struct {
		slug   string
		change func(*connectors.Connector)
		reason string
	}{
		"as it was made":            {pipestest.Slug, func(*connectors.Connector) {}, ""},
		"its provider moved":        {pipestest.Slug, func(c *connectors.Connector) { c.TokenURL = "https://elsewhere.example/token" }, "another token endpoint"},
		"it is not known":           {pipestest.Slug, func(c *connectors.Connector) { c.Slug += "-gone" }, "no connector of that name"},
		"a secret is needed":        {pipestest.Second, func(c *connectors.Connector) { c.NoSecret = false }, "set credentials.client_secret"},
		"no secret and none needed": {pipestest.Second, func(*connectors.Connector) {}, ""},
	} {
		change = c.change
		i, err := s.Replica(t).Broker.Integration(t.Context(), s.Call(), c.slug, pipes.OwnedByUser)
		must(t, err)
		if valid := c.reason == ""; (i.State == "valid") != valid || (i.StateReason == "") != valid || !strings.Contains(i.StateReason, c.reason) {
			t.Errorf("%s: %s, %q", what, i.State, i.StateReason)
		}
	}
}
