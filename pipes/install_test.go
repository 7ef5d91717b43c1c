package pipes_test

import (
	"errors"
	"strings"
	"testing"

	"culvert/connectors"
	"culvert/internal/events"
	"culvert/keys"
	"culvert/pipes"
	"culvert/pipes/pipestest"
)

const apiKey = "sk-canary-of-a-user-cdef"

// keyOf is an install of a key for a user.
func keyOf(slug, user, key string) pipes.APIKeyInstall {
	return pipes.APIKeyInstall{Request: pipes.Request{Slug: slug, UserID: user}, Secret: pipestest.Secret(key)}
}

// mustKeyIntegration configures the second slug for API keys, and for OAuth if there are credentials.
func mustKeyIntegration(t *testing.T, s *pipestest.Stack, c *pipes.ClientCredentials, methods ...pipes.AuthMethod) pipes.IntegrationView {
	t.Helper()
	i, err := s.Broker.CreateIntegration(t.Context(), s.Call(), pipes.CreateIntegration{
		Slug: pipestest.Second, Enabled: true, AuthMethods: methods, Credentials: c,
	})
	must(t, err)
	return i
}

// A key from its install over its rotation to the end, and what callers get meanwhile.
func TestAPIKey(t *testing.T) {
	s := pipestest.New(t)
	i := mustKeyIntegration(t, s, nil, pipes.MethodAPIKey)
	if i.State != "valid" || i.RedirectURI != "" || i.Client != nil {
		t.Errorf("the integration is %+v", i)
	}
	who := pipes.Request{Slug: pipestest.Second, UserID: "user_1"}
	if v, err := s.Broker.Credentials(t.Context(), s.Call(), who); err != nil || v.Error != pipes.NotInstalled {
		t.Errorf("before: %+v, %v", v, err)
	}
	first := keyOf(pipestest.Second, "user_1", apiKey)
	first.Labels = pipes.Labels{Identifier: "acme", DisplayName: "Acme"}
	a, err := s.Broker.InstallAPIKey(t.Context(), s.Call(), first)
	must(t, err)
	if a.Method != pipes.MethodAPIKey || a.State != pipes.Connected || a.KeyLast4 != "cdef" || a.Identifier != "acme" || a.DisplayName != "Acme" || len(a.Scopes) != 0 {
		t.Errorf("account %+v", a)
	}
	v, err := s.Broker.Credentials(t.Context(), s.Call(), who)
	must(t, err)
	if !v.Active || v.Method != pipes.MethodAPIKey || string(v.AccessToken.Reveal()) != apiKey || !v.ExpiresAt.IsZero() {
		t.Errorf("vended %+v", v)
	}
	var other *pipes.AuthMethodError
	if _, err := s.Broker.Token(t.Context(), s.Call(), who); !errors.As(err, &other) || other.Uses != pipes.MethodAPIKey {
		t.Errorf("token: %v, want an AuthMethodError", err)
	}
	// A second key takes the first one's place: same account, same labels.
	b, err := s.Broker.InstallAPIKey(t.Context(), s.Call(), keyOf(pipestest.Second, "user_1", "sk-canary-the-second"))
	must(t, err)
	if b.ID != a.ID || b.Grant != a.Grant || b.KeyLast4 != "cond" || b.Identifier != "acme" {
		t.Errorf("rotated: %+v, was %+v", b, a)
	}
	if v, err := s.Broker.Credentials(t.Context(), s.Call(), who); err != nil || string(v.AccessToken.Reveal()) != "sk-canary-the-second" {
		t.Errorf("vended %+v, %v", v, err)
	}
	// One that is declared dead is not vended, and lives again with the next key.
	must(t, errOf(s.Broker.UpdateAccount(t.Context(), s.Call(), who, pipes.AccountTokens{State: pipes.NeedsReauthorization})))
	if v, err := s.Broker.Credentials(t.Context(), s.Call(), who); err != nil || v.Error != pipes.VendNeedsReauthorization {
		t.Errorf("dead: %+v, %v", v, err)
	}
	renew := keyOf(pipestest.Second, "user_1", apiKey)
	renew.Intent, renew.AccountID = pipes.IntentReauthorize, a.ID
	must(t, errOf(s.Broker.InstallAPIKey(t.Context(), s.Call(), renew)))
	must(t, s.Broker.DeleteAccount(t.Context(), s.Call(), who))
	must(t, s.Store.Fence(t.Context()))
	if err := errOf(s.Store.Grant(t.Context(), s.Environment.ID(), a.Grant)); !errors.Is(err, pipes.ErrNotFound) {
		t.Errorf("the key outlived its account: %v", err)
	}
	if n := len(s.MustEvents(t, events.AccountConnected)); n != 3 || len(s.MustEvents(t, events.AccountDisconnected)) != 1 {
		t.Errorf("%d events of connecting", n)
	}
	if n := len(s.Provider.Requests()); n != 0 {
		t.Errorf("the provider was asked %d times", n)
	}
}

// Which account an install is about: what is not clear changes nothing.
func TestInstallTargets(t *testing.T) {
	s := pipestest.New(t)
	mustKeyIntegration(t, s, nil, pipes.MethodAPIKey)
	with := func(change func(*pipes.APIKeyInstall)) pipes.APIKeyInstall {
		r := keyOf(pipestest.Second, "user_1", apiKey)
		change(&r)
		return r
	}
	adds := with(func(r *pipes.APIKeyInstall) { r.Intent = pipes.IntentAdd })
	renews := with(func(r *pipes.APIKeyInstall) { r.Intent = pipes.IntentReauthorize })
	foreign := with(func(r *pipes.APIKeyInstall) { r.AccountID = "data_installation_01KAR8Z3S3Z0C5M2N1V7W9X4YQ" })
	install := func(r pipes.APIKeyInstall) error { return errOf(s.Broker.InstallAPIKey(t.Context(), s.Call(), r)) }
	if err := install(renews); !errors.Is(err, pipes.ErrNoAccount) {
		t.Errorf("nothing to renew: %v", err)
	}
	if err := install(foreign); !errors.Is(err, pipes.ErrNoAccount) {
		t.Errorf("an account that is not there: %v", err)
	}
	must(t, install(adds))
	must(t, install(renews))
	second, err := s.Broker.InstallAPIKey(t.Context(), s.Call(), adds)
	if err != nil || !second.Standard {
		t.Errorf("a second account: %+v, %v", second, err)
	}
	plain := with(func(*pipes.APIKeyInstall) {})
	for what, r := range map[string]pipes.APIKeyInstall{"renewed": renews, "connected": plain} {
		if err := install(r); !errors.Is(err, pipes.ErrAccountSelection) {
			t.Errorf("%s, and which one is not said: %v", what, err)
		}
	}
	named := with(func(r *pipes.APIKeyInstall) { r.Intent, r.AccountID = pipes.IntentReauthorize, second.ID })
	if a, err := s.Broker.InstallAPIKey(t.Context(), s.Call(), named); err != nil || a.ID != second.ID || !a.Standard {
		t.Errorf("renewed: %+v, %v", a, err)
	}
	// Who connects without more fills the slot that is free, and leaves the other's key.
	must(t, s.Broker.DeleteAccount(t.Context(), s.Call(), plain.Request))
	if a, err := s.Broker.InstallAPIKey(t.Context(), s.Call(), plain); err != nil || a.ID == second.ID || a.Standard {
		t.Errorf("connected: %+v, %v", a, err)
	}
	must(t, s.Broker.DeleteAccount(t.Context(), s.Call(), plain.Request))
	must(t, install(with(func(r *pipes.APIKeyInstall) { r.OrganizationID = "org_1" }))) // another owner
	for field, r := range map[string]pipes.APIKeyInstall{
		"user_id":              with(func(r *pipes.APIKeyInstall) { r.UserID = "" }),
		"secret":               with(func(r *pipes.APIKeyInstall) { r.Secret = pipestest.Secret("") }),
		"connection_intent":    with(func(r *pipes.APIKeyInstall) { r.Intent = "both" }),
		"connected_account_id": with(func(r *pipes.APIKeyInstall) { r.Intent, r.AccountID = pipes.IntentAdd, foreign.AccountID }),
		"account_identifier":   with(func(r *pipes.APIKeyInstall) { r.Identifier = "\x00" }),
	} {
		var refused *pipes.InvalidError
		if err := install(r); !errors.As(err, &refused) || refused.Field != field {
			t.Errorf("%s: %v", field, err)
		}
	}
	var refused *pipes.InvalidError
	if err := install(with(func(r *pipes.APIKeyInstall) { r.Secret = pipestest.Secret(strings.Repeat("k", 65<<10)) })); !errors.As(err, &refused) {
		t.Errorf("a key of 65 KiB: %v", err)
	}
	must(t, errOf(s.Broker.UpdateIntegration(t.Context(), s.Call(), pipes.UpdateIntegration{Slug: pipestest.Second, Enabled: new(bool)})))
	if err := install(renews); !errors.Is(err, pipes.ErrDisabled) {
		t.Errorf("disabled: %v", err)
	}
}

// An account keeps its method: neither a key in the place of a grant, nor tokens in that of a key.
func TestMethodsDoNotMix(t *testing.T) {
	s := pipestest.New(t)
	s.MustIntegration(t, pipestest.Slug)
	mismatch := func(what string, err error, uses, wanted pipes.AuthMethod) {
		t.Helper()
		var other *pipes.AuthMethodError
		if !errors.As(err, &other) || other.Uses != uses || other.Wanted != wanted {
			t.Errorf("%s: %v %+v", what, err, other)
		}
	}
	// Case 1: the integration does not take the method.
	mismatch("key", errOf(s.Broker.InstallAPIKey(t.Context(), s.Call(), keyOf(pipestest.Slug, "user_1", apiKey))), "", pipes.MethodAPIKey)
	// Case 2: it takes both, and the accounts differ.
	mustKeyIntegration(t, s, pipestest.Credentials(), pipes.MethodOAuth, pipes.MethodAPIKey)
	who := pipes.Request{Slug: pipestest.Second, UserID: "user_1"}
	authorize := pipes.AuthorizeRequest{Slug: pipestest.Second, UserID: "user_1"}
	begun, err := s.Broker.Authorize(t.Context(), s.Call(), authorize)
	must(t, err)
	callback := s.Browser().MustReturn(t, pipestest.Ticket(t, begun.URL))
	must(t, errOf(s.Broker.InstallAPIKey(t.Context(), s.Call(), keyOf(pipestest.Second, "user_1", apiKey))))
	mismatch("authorize", errOf(s.Broker.Authorize(t.Context(), s.Call(), authorize)), pipes.MethodAPIKey, pipes.MethodOAuth)
	mismatch("tokens", errOf(s.Broker.UpdateAccount(t.Context(), s.Call(), who, pipes.AccountTokens{AccessToken: pipestest.Secret("at")})), pipes.MethodAPIKey, pipes.MethodOAuth)
	// A flow that was under way by then ends, and leaves the key.
	if result, err := s.Broker.Callback(t.Context(), callback); err != nil || result.Code != pipes.CodeAuthMethod {
		t.Errorf("callback: %+v, %v", result, err)
	}
	if v, err := s.Broker.Credentials(t.Context(), s.Call(), who); err != nil || string(v.AccessToken.Reveal()) != apiKey {
		t.Errorf("vended %+v, %v", v, err)
	}
	must(t, s.Broker.DeleteAccount(t.Context(), s.Call(), who))
	must(t, errOf(s.Broker.ImportAccount(t.Context(), s.Call(), who, pipes.AccountTokens{AccessToken: pipestest.Secret("at")})))
	mismatch("key over a grant", errOf(s.Broker.InstallAPIKey(t.Context(), s.Call(), keyOf(pipestest.Second, "user_1", apiKey))), pipes.MethodOAuth, pipes.MethodAPIKey)
}

// A key that comes with its integration: both are there, or neither is.
func TestIntegrationWithAPIKey(t *testing.T) {
	s := pipestest.New(t)
	create := func(change func(*pipes.CreateIntegration)) (pipes.IntegrationView, error) {
		r := pipes.CreateIntegration{
			Slug: "mine", AuthMethods: []pipes.AuthMethod{pipes.MethodAPIKey}, Custom: &pipes.CustomProvider{Name: "Mine"},
			APIKey: &pipes.OwnedKey{Secret: pipestest.Secret(apiKey), UserID: "user_1"},
		}
		change(&r)
		return s.Broker.CreateIntegration(t.Context(), s.Call(), r)
	}
	for field, change := range map[string]func(*pipes.CreateIntegration){
		"api_key.secret":                    func(r *pipes.CreateIntegration) { r.APIKey.Secret = pipestest.Secret("1234") },
		"api_key.user_id":                   func(r *pipes.CreateIntegration) { r.APIKey.UserID = "" },
		"api_key.organization_id":           func(r *pipes.CreateIntegration) { r.Ownership = pipes.OwnedByOrganization },
		"credentials":                       func(r *pipes.CreateIntegration) { r.Credentials = pipestest.Credentials() },
		"custom_provider.authorization_url": func(r *pipes.CreateIntegration) { r.AuthMethods = []pipes.AuthMethod{pipes.MethodOAuth} },
		"auth_methods":                      func(r *pipes.CreateIntegration) { r.AuthMethods = append(r.AuthMethods, r.AuthMethods...) },
	} {
		var refused *pipes.InvalidError
		if err := errOf(create(change)); !errors.As(err, &refused) || refused.Field != field {
			t.Errorf("%s: %v", field, err)
		}
	}
	i, err := create(func(*pipes.CreateIntegration) {})
	must(t, err)
	if i.Installation == nil || i.Installation.KeyLast4 != "cdef" || i.Installation.Owner.User != "user_1" || i.Installation.Integration != i.ID {
		t.Errorf("installation %+v", i.Installation)
	}
	// A disabled integration vends nothing; an update with another key is the same account's.
	who := pipes.Request{Slug: "mine", UserID: "user_1"}
	if err := errOf(s.Broker.Credentials(t.Context(), s.Call(), who)); !errors.Is(err, pipes.ErrDisabled) {
		t.Errorf("disabled: %v", err)
	}
	enabled, key := true, &pipes.OwnedKey{Secret: pipestest.Secret("sk-canary-another"), UserID: "user_1"}
	u, err := s.Broker.UpdateIntegration(t.Context(), s.Call(), pipes.UpdateIntegration{Slug: "mine", Enabled: &enabled, APIKey: key})
	must(t, err)
	if u.Installation == nil || u.Installation.ID != i.Installation.ID || u.Client != nil {
		t.Errorf("updated %+v", u)
	}
	if v, err := s.Broker.Credentials(t.Context(), s.Call(), who); err != nil || string(v.AccessToken.Reveal()) != "sk-canary-another" {
		t.Errorf("vended %+v, %v", v, err)
	}
	var refused *pipes.InvalidError
	for field, r := range map[string]pipes.UpdateIntegration{
		"api_key":     {Slug: "mine", APIKey: key, Credentials: pipestest.Credentials()},
		"credentials": {Slug: "mine", Credentials: pipestest.Credentials()},
	} {
		if err := errOf(s.Broker.UpdateIntegration(t.Context(), s.Call(), r)); !errors.As(err, &refused) || refused.Field != field {
			t.Errorf("%s: %v", field, err)
		}
	}
	// An organization's key is the organization's account.
	shared, err := create(func(r *pipes.CreateIntegration) {
		r.Slug, r.Ownership, r.APIKey.OrganizationID = "ours", pipes.OwnedByOrganization, "org_1"
	})
	must(t, err)
	if w := shared.Installation.Owner; w != (pipes.Owner{Kind: pipes.OwnedByOrganization, Organization: "org_1"}) {
		t.Errorf("the owner is %+v", w)
	}
}

// A provider that has API keys alone asks for no client, and takes no other method.
func TestProviderOfAPIKeysAlone(t *testing.T) {
	s := pipestest.WithConfig(t, pipestest.Config{Connector: func(c *connectors.Connector) {
		c.Methods, c.AuthorizationURL, c.TokenURL = []connectors.Method{connectors.MethodAPIKey}, "", ""
	}})
	i := mustKeyIntegration(t, s, nil)
	if len(i.AuthMethods) != 1 || i.AuthMethods[0] != pipes.MethodAPIKey || i.State != "valid" {
		t.Errorf("integration %+v", i)
	}
	must(t, errOf(s.Broker.InstallAPIKey(t.Context(), s.Call(), keyOf(pipestest.Second, "user_1", apiKey))))
	var refused *pipes.InvalidError
	if err := errOf(s.Broker.CreateIntegration(t.Context(), s.Call(), pipes.CreateIntegration{
		Slug: pipestest.Slug, AuthMethods: []pipes.AuthMethod{pipes.MethodOAuth}, Credentials: pipestest.Credentials(),
	})); !errors.As(err, &refused) || refused.Field != "auth_methods" {
		t.Errorf("OAuth: %v", err)
	}
	if err := errOf(s.Broker.Authorize(t.Context(), s.Call(), pipes.AuthorizeRequest{Slug: pipestest.Second, UserID: "user_1"})); !errors.Is(err, pipes.ErrAuthMethod) {
		t.Errorf("authorize: %v", err)
	}
}

// A key is bound to its account's grant as tokens are: one customer's does not open as another's.
func TestSealedKeyIsBound(t *testing.T) {
	for what, edit := range map[string]func(g, other *pipes.Grant){
		"another account's key":   func(g, other *pipes.Grant) { g.Sealed, g.WrappedDEK = other.Sealed, other.WrappedDEK },
		"an origin to send it to": func(g, _ *pipes.Grant) { g.Origin = "https://evil.example" },
		"an earlier key's number": func(g, _ *pipes.Grant) { g.Generation-- },
		"nothing (the twin)":      func(*pipes.Grant, *pipes.Grant) {},
	} {
		t.Run(what, func(t *testing.T) {
			lie := &lying{}
			s := pipestest.WithConfig(t, pipestest.Config{Wrap: func(inner pipes.Store) pipes.Store { lie.Store = inner; return lie }})
			mustKeyIntegration(t, s, nil, pipes.MethodAPIKey)
			var grants []pipes.Grant
			for _, user := range []string{"user_1", "user_2"} {
				a, err := s.Broker.InstallAPIKey(t.Context(), s.Call(), keyOf(pipestest.Second, user, apiKey+user))
				must(t, err)
				grants = append(grants, mustGrant(t, s, a.Grant))
			}
			lie.grant = func(g *pipes.Grant) {
				if g.ID == grants[0].ID {
					edit(g, &grants[1])
				}
			}
			v, err := s.Broker.Credentials(t.Context(), s.Call(), pipes.Request{Slug: pipestest.Second, UserID: "user_1"})
			if strings.Contains(what, "twin") {
				must(t, err)
			} else if !errors.Is(err, keys.ErrTampered) || v.AccessToken.Len() > 0 {
				t.Errorf("vended %+v, %v", v, err)
			}
		})
	}
}
