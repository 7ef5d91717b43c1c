package pipes_test

import (
	"errors"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"culvert/internal/events"
	"culvert/keys"
	"culvert/keys/keystest"
	"culvert/pipes"
	"culvert/pipes/pipestest"
)

// withOwnClients has an integration for which every organization brings its own client.
func withOwnClients(t *testing.T) (*pipestest.Stack, pipes.IntegrationView) {
	t.Helper()
	s := pipestest.New(t)
	pipes.Impatient(s.Broker)
	i, err := s.Broker.CreateIntegration(t.Context(), s.Call(), pipes.CreateIntegration{
		Slug: pipestest.Slug, Enabled: true, Scopes: []string{"read", "write"}, Credentials: &pipes.ClientCredentials{Type: "organization"},
	})
	must(t, err)
	if i.State != "valid" {
		t.Fatalf("the integration is %s", i.State)
	}
	return s, i
}

// within is a request of a user within an organization.
func within(organization string) pipes.Request {
	return pipes.Request{Slug: pipestest.Slug, UserID: "user_1", OrganizationID: organization}
}

// client is a change that brings a client.
func client(organization, id, secret string) pipes.Configure {
	return pipes.Configure{Organization: organization, Slug: pipestest.Slug, ClientID: id, ClientSecret: pipestest.Secret(secret)}
}

func authorize(t *testing.T, s *pipestest.Stack, r pipes.Request) (string, error) {
	t.Helper()
	begun, err := s.Broker.Authorize(t.Context(), s.Call(), pipes.AuthorizeRequest{
		Slug: r.Slug, UserID: r.UserID, OrganizationID: r.OrganizationID, ConnectionOwner: r.ConnectionOwner,
	})
	return begun.URL, err
}

// connectWithin takes a request's owner through the whole flow.
func connectWithin(t *testing.T, s *pipestest.Stack, r pipes.Request) {
	t.Helper()
	url, err := authorize(t, s, r)
	must(t, err)
	result, err := s.Broker.Callback(t.Context(), s.Browser().MustReturn(t, pipestest.Ticket(t, url)))
	if err != nil || result.Account == "" {
		t.Fatalf("connect: %+v, %v", result, err)
	}
}

// An organization's accounts are connected, exchanged and refreshed with its own client; who has none, and
// who is in no organization, cannot connect, and is not sent to the provider with another's.
func TestOrganizationsHaveTheirOwnClients(t *testing.T) {
	s, _ := withOwnClients(t)
	for _, organization := range []string{"org_1", ""} {
		if err := errOf(authorize(t, s, within(organization))); !errors.Is(err, pipes.ErrNotConfigured) {
			t.Errorf("organization %q without a client: %v", organization, err)
		}
	}
	// Nor is a refresh token imported that nothing could refresh; an access token alone is.
	tokens := pipes.AccountTokens{AccessToken: pipestest.Secret("at"), RefreshToken: pipestest.Secret("rt")}
	if err := errOf(s.Broker.ImportAccount(t.Context(), s.Call(), within("org_3"), tokens)); !errors.Is(err, pipes.ErrNotConfigured) {
		t.Errorf("a refresh token without a client: %v", err)
	}
	tokens.RefreshToken = pipestest.Secret("")
	must(t, errOf(s.Broker.ImportAccount(t.Context(), s.Call(), within("org_3"), tokens)))
	list, err := s.Broker.DataProviders(t.Context(), s.Call(), within("org_1"))
	if err != nil || len(list) != 0 {
		t.Errorf("offered without a client: %+v, %v", list, err)
	}
	made, err := s.Broker.Configure(t.Context(), s.Call(), client("org_1", pipestest.ClientID, pipestest.ClientSecret))
	must(t, err)
	if own := made.Own.Client; own.ID != pipestest.ClientID || own.Last4 != pipestest.ClientSecret[len(pipestest.ClientSecret)-4:] || made.CredentialsType != "organization" {
		t.Errorf("configured: %+v", own)
	}
	connectWithin(t, s, within("org_1"))
	if list, err := s.Broker.DataProviders(t.Context(), s.Call(), within("org_1")); err != nil || len(list) != 1 || list[0].Account == nil {
		t.Errorf("not offered with a client: %+v, %v", list, err)
	}
	if err := errOf(authorize(t, s, within("org_2"))); !errors.Is(err, pipes.ErrNotConfigured) {
		t.Errorf("another organization: %v", err)
	}
	s.Clock.Advance(2 * time.Hour)
	if v, err := s.Broker.Token(t.Context(), s.Call(), within("org_1")); err != nil || !v.Active || s.Provider.Refreshes() != 1 {
		t.Errorf("after the refresh: %+v, %v", v, err)
	}
	for _, r := range s.Provider.Requests() {
		if id := r.Params.Get("client_id"); id != pipestest.ClientID {
			t.Errorf("%s with the client %q", r.Params.Get("grant_type"), id)
		}
	}
	if e := s.MustEvents(t, events.ConfigurationUpdated); len(e) != 1 || !strings.Contains(string(e[0].Data), `"organization_id":"org_1"`) {
		t.Errorf("events %+v", e)
	}
}

// One organization's wrong client stops its own refreshes alone, and a new secret is tried at once. An
// organization's secret is sealed under its own key, which opens in no other context.
func TestOneOrganizationsClientIsNotAnothers(t *testing.T) {
	s, i := withOwnClients(t)
	must(t, errOf(s.Broker.Configure(t.Context(), s.Call(), client("org_1", pipestest.ClientID, pipestest.ClientSecret))))
	must(t, errOf(s.Broker.Configure(t.Context(), s.Call(), client("org_2", pipestest.ClientID, "another secret"))))
	for _, organization := range []string{"org_1", "org_2"} {
		tokens := mustTokens(t, s)
		tokens.ExpiresAt = s.Clock.Now().Add(-time.Hour)
		must(t, errOf(s.Broker.ImportAccount(t.Context(), s.Call(), within(organization), tokens)))
	}
	if err := errOf(s.Broker.Token(t.Context(), s.Call(), within("org_2"))); !errors.Is(err, pipes.ErrClientRejected) {
		t.Errorf("org_2's client: %v", err)
	}
	if v, err := s.Broker.Token(t.Context(), s.Call(), within("org_1")); err != nil || !v.Active {
		t.Errorf("org_1, behind the breaker of another: %+v, %v", v, err)
	}
	must(t, errOf(s.Broker.Configure(t.Context(), s.Call(), client("org_2", pipestest.ClientID, pipestest.ClientSecret))))
	if v, err := s.Broker.Token(t.Context(), s.Call(), within("org_2")); err != nil || !v.Active {
		t.Errorf("org_2 with its new secret: %+v, %v", v, err)
	}
	must(t, s.Store.Fence(t.Context()))
	stored, err := s.Store.Configuration(t.Context(), s.Environment.ID(), i.ID, "org_1")
	must(t, err)
	c := stored.Record
	for organization, want := range map[string]error{"org_1": nil, "org_2": keys.ErrTampered} {
		permit := s.MustPermit(t, keystest.MustContext(t, "organization_id", organization))
		if err := errOf(s.Keys.OpenClientSecret(t.Context(), permit, c.Client.Secret.Sealed(), c.SecretBinding(c.Client.Secret))); (err == nil) != (want == nil) {
			t.Errorf("opened for %s: %v", organization, err)
		}
	}
}

// What an organization says of enabled counts for it alone, in both directions.
func TestOrganizationSwitchesItOff(t *testing.T) {
	s := pipestest.New(t)
	s.MustIntegration(t, pipestest.Slug)
	connectWithin(t, s, within("org_1"))
	connectWithin(t, s, within("org_2"))
	s.MustConnect(t, "user_1")
	off, on := false, true
	enable := func(enabled *bool) {
		t.Helper()
		v, err := s.Broker.Configure(t.Context(), s.Call(), pipes.Configure{Organization: "org_1", Slug: pipestest.Slug, Enabled: enabled})
		if err != nil || v.Enabled != *enabled {
			t.Fatalf("enabled %v: %+v, %v", *enabled, v, err)
		}
	}
	callback := s.Browser().MustReturn(t, pipestest.Ticket(t, mustURL(t, s, within("org_1"))))
	enable(&off)
	if err := errOf(authorize(t, s, within("org_1"))); !errors.Is(err, pipes.ErrDisabled) {
		t.Errorf("authorize: %v", err)
	}
	if err := errOf(s.Broker.Token(t.Context(), s.Call(), within("org_1"))); !errors.Is(err, pipes.ErrDisabled) {
		t.Errorf("token: %v", err)
	}
	if r, err := s.Broker.Callback(t.Context(), callback); err != nil || r.Code != pipes.CodeIntegrationUnavailable {
		t.Errorf("a callback of before: %+v, %v", r, err)
	}
	for what, r := range map[string]pipes.Request{"another organization": within("org_2"), "none": pipestest.Request("user_1")} {
		if v, err := s.Broker.Token(t.Context(), s.Call(), r); err != nil || !v.Active {
			t.Errorf("%s: %+v, %v", what, v, err)
		}
	}
	must(t, errOf(s.Broker.UpdateIntegration(t.Context(), s.Call(), pipes.UpdateIntegration{Slug: pipestest.Slug, Enabled: &off})))
	enable(&on)
	if v, err := s.Broker.Token(t.Context(), s.Call(), within("org_1")); err != nil || !v.Active {
		t.Errorf("switched on again: %+v, %v", v, err)
	}
	if err := errOf(s.Broker.Token(t.Context(), s.Call(), within("org_2"))); !errors.Is(err, pipes.ErrDisabled) {
		t.Errorf("an organization that said nothing: %v", err)
	}
}

func mustURL(t *testing.T, s *pipestest.Stack, r pipes.Request) string {
	t.Helper()
	url, err := authorize(t, s, r)
	must(t, err)
	return url
}

// An organization's scopes are asked for, and what is missing is counted from them; never more than what
// the integration asks for, also if that becomes less later.
func TestOrganizationNarrowsScopes(t *testing.T) {
	s := pipestest.New(t)
	must(t, errOf(s.Broker.CreateIntegration(t.Context(), s.Call(), pipes.CreateIntegration{
		Slug: pipestest.Slug, Enabled: true, Scopes: []string{"read", "write", "admin"}, Credentials: pipestest.Credentials(),
	})))
	asked := func() string {
		t.Helper()
		at, err := url.Parse(s.Browser().MustDepart(t, pipestest.Ticket(t, mustURL(t, s, within("org_1")))))
		must(t, err)
		return at.Query().Get("scope")
	}
	set := func(scopes []string) {
		t.Helper()
		must(t, errOf(s.Broker.Configure(t.Context(), s.Call(), pipes.Configure{Organization: "org_1", Slug: pipestest.Slug, Scopes: &scopes})))
	}
	set([]string{"write", "admin"})
	if got := asked(); got != "write admin" {
		t.Errorf("asked for %q", got)
	}
	must(t, errOf(s.Broker.ImportAccount(t.Context(), s.Call(), within("org_1"), pipes.AccountTokens{
		AccessToken: pipestest.Secret("imported"), Scopes: []string{"write"},
	})))
	missing := func(want ...string) {
		t.Helper()
		v, err := s.Broker.Token(t.Context(), s.Call(), within("org_1"))
		must(t, err)
		if diff := cmp.Diff(v.MissingScopes, want); diff != "" {
			t.Errorf("missing scopes: %s", diff)
		}
	}
	missing("admin")
	fewer := []string{"read", "write"}
	must(t, errOf(s.Broker.UpdateIntegration(t.Context(), s.Call(), pipes.UpdateIntegration{Slug: pipestest.Slug, Scopes: &fewer})))
	if got := asked(); got != "write" {
		t.Errorf("after the integration asks for less: %q", got)
	}
	missing()
	set(nil)
	if got := asked(); got != "read write" {
		t.Errorf("without scopes of its own: %q", got)
	}
	missing("read")
}

// What the contract refuses, each beside what it does not.
func TestConfigureRefusals(t *testing.T) {
	s, _ := withOwnClients(t)
	s.MustIntegration(t, pipestest.Second)
	list := func(scopes ...string) *[]string { return &scopes }
	secret := pipestest.Secret("a client secret")
	for what, c := range map[string]struct {
		r         pipes.Configure
		field     string
		malformed bool
	}{
		"nothing":              {pipes.Configure{}, "enabled", true},
		"an id alone":          {pipes.Configure{ClientID: "id"}, "client_secret", true},
		"a secret alone":       {pipes.Configure{ClientSecret: secret}, "client_id", true},
		"a shared client's":    {pipes.Configure{Slug: pipestest.Second, ClientID: "id", ClientSecret: secret}, "client_id", true},
		"config":               {pipes.Configure{Config: map[string]string{"a": "b"}}, "config", true},
		"a foreign scope":      {pipes.Configure{Scopes: list("read", "other")}, "scopes", false},
		"a scope with a space": {pipes.Configure{Scopes: list("read write")}, "scopes", false},
		"an id with a control": {pipes.Configure{ClientID: "a\x07", ClientSecret: secret}, "client_id", false},
		"a secret of 65 KiB":   {pipes.Configure{ClientID: "id", ClientSecret: pipestest.Secret(strings.Repeat("a", 65<<10))}, "client_secret", false},
		"no organization":      {pipes.Configure{Organization: "-", Scopes: list("read")}, "organization_id", false},
		"a long organization":  {pipes.Configure{Organization: strings.Repeat("o", 256), Scopes: list("read")}, "organization_id", false},
	} {
		r := c.r
		if r.Slug == "" {
			r.Slug = pipestest.Slug
		}
		switch r.Organization {
		case "":
			r.Organization = "org_1"
		case "-":
			r.Organization = ""
		}
		var refused *pipes.InvalidError
		if err := errOf(s.Broker.Configure(t.Context(), s.Call(), r)); !errors.As(err, &refused) || refused.Field != c.field || refused.Malformed != c.malformed {
			t.Errorf("%s: got %v, want %s refused", what, err, c.field)
		}
	}
	if err := errOf(s.Broker.Configure(t.Context(), s.Call(), pipes.Configure{Organization: "org_1", Slug: "nowhere", Scopes: list("read")})); !errors.Is(err, pipes.ErrNoIntegration) {
		t.Errorf("no integration: %v", err)
	}
	if n := len(s.MustEvents(t, events.ConfigurationUpdated)); n != 0 {
		t.Errorf("%d events of what was refused", n)
	}
	must(t, errOf(s.Broker.Configure(t.Context(), s.Call(), pipes.Configure{
		Organization: strings.Repeat("o", 255), Slug: pipestest.Slug, Scopes: list("read"), ClientID: "id", ClientSecret: secret, Config: map[string]string{},
	})))
}

// A slug's two integrations are configured each by itself, and listed beside each other.
func TestConfigurationOfEachOwnership(t *testing.T) {
	s := pipestest.New(t)
	create := func(w pipes.Ownership) {
		t.Helper()
		must(t, errOf(s.Broker.CreateIntegration(t.Context(), s.Call(), pipes.CreateIntegration{
			Slug: pipestest.Slug, Ownership: w, Enabled: true, Credentials: pipestest.Credentials(),
		})))
	}
	enabled := func() map[pipes.Ownership]bool {
		t.Helper()
		list, err := s.Broker.Configurations(t.Context(), s.Call(), "org_1")
		must(t, err)
		got := map[pipes.Ownership]bool{}
		for _, v := range list {
			got[v.Ownership] = v.Enabled
		}
		return got
	}
	off := pipes.Configure{Organization: "org_1", Slug: pipestest.Slug, Enabled: new(bool)}
	create(pipes.OwnedByOrganization)
	must(t, errOf(s.Broker.Configure(t.Context(), s.Call(), off))) // the only one
	create(pipes.OwnedByUser)
	if diff := cmp.Diff(enabled(), map[pipes.Ownership]bool{pipes.OwnedByUser: true, pipes.OwnedByOrganization: false}); diff != "" {
		t.Error(diff)
	}
	must(t, errOf(s.Broker.Configure(t.Context(), s.Call(), off)))
	shared := off
	on := true
	shared.Ownership, shared.Enabled = pipes.OwnedByOrganization, &on
	must(t, errOf(s.Broker.Configure(t.Context(), s.Call(), shared)))
	if diff := cmp.Diff(enabled(), map[pipes.Ownership]bool{pipes.OwnedByUser: false, pipes.OwnedByOrganization: true}); diff != "" {
		t.Error(diff)
	}
}

// What organizations have set of an integration goes with it: the next one of the slug knows nothing of it,
// and the sweeper takes the secrets away.
func TestConfigurationsOfARemovedIntegration(t *testing.T) {
	s, old := withOwnClients(t)
	must(t, errOf(s.Broker.Configure(t.Context(), s.Call(), client("org_1", pipestest.ClientID, pipestest.ClientSecret))))
	must(t, s.Broker.DeleteIntegration(t.Context(), s.Call(), pipestest.Slug, pipes.OwnedByUser, nil))
	must(t, errOf(s.Broker.CreateIntegration(t.Context(), s.Call(), pipes.CreateIntegration{
		Slug: pipestest.Slug, Enabled: true, Credentials: &pipes.ClientCredentials{Type: "organization"},
	})))
	if err := errOf(authorize(t, s, within("org_1"))); !errors.Is(err, pipes.ErrNotConfigured) {
		t.Errorf("with the next integration: %v", err)
	}
	must(t, errOf(s.Broker.Configure(t.Context(), s.Call(), client("org_2", pipestest.ClientID, pipestest.ClientSecret))))
	pipes.Sweep(t.Context(), s.Broker)
	must(t, s.Store.Fence(t.Context()))
	ids, err := s.Store.Configured(t.Context(), s.Environment.ID())
	if err != nil || len(ids) != 1 || ids[0] == old.ID {
		t.Errorf("configured: %v, %v", ids, err)
	}
	if err := errOf(s.Store.Configuration(t.Context(), s.Environment.ID(), old.ID, "org_1")); !errors.Is(err, pipes.ErrNotFound) {
		t.Errorf("what was set of the old one: %v", err)
	}
	must(t, errOf(authorize(t, s, within("org_2"))))
	if n := len(s.MustEvents(t, events.ConfigurationDeleted)); n != 1 {
		t.Errorf("%d events", n)
	}
}
