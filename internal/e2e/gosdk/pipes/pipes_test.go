//go:build pipes

// Package pipes_test connects accounts through workos-go v9 and vends tokens through v9 and v6, all
// unmodified but for their base URL.
package pipes_test

import (
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v6 "github.com/workos/workos-go/v6/pkg/pipes"
	"github.com/workos/workos-go/v9"

	"culvert/internal/e2e/gosdk/sdktest"
)

// returnTo is in the application, where nobody listens.
const returnTo = "http://127.0.0.1:9/connected"

func newClient(t *testing.T) *workos.Client {
	t.Helper()
	s := sdktest.Ours(t)
	return workos.NewClient(s.APIKey, workos.WithBaseURL(s.BaseURL))
}

func ptr[T any](v T) *T { return &v }

// mustIntegrate creates an integration and registers its client at the provider.
func mustIntegrate(t *testing.T, c *workos.Client, p provider, params workos.PipesCreateDataIntegrationParams) *workos.DataIntegration {
	t.Helper()
	id, secret := "client-"+p.name, sdktest.Secret("")
	params.Enabled = ptr(true)
	params.Credentials = &workos.DataIntegrationCredentialsDto{Type: "custom", ClientID: &id, ClientSecret: &secret}
	i, err := c.Pipes().CreateDataIntegration(t.Context(), &params)
	if err != nil {
		t.Fatal(err)
	}
	p.ask(t, "client", map[string]any{"client_id": id, "client_secret": secret, "redirect_uris": []string{i.RedirectURI}})
	return i
}

// mustConnect goes the way of a user from the application to the provider and back. buttons are words on
// the forms of the provider's pages.
func mustConnect(t *testing.T, c *workos.Client, slug, user string, buttons ...string) {
	t.Helper()
	to, err := c.Pipes().AuthorizeDataIntegration(t.Context(), slug, &workos.PipesAuthorizeDataIntegrationParams{
		UserID: user, ReturnTo: ptr(returnTo),
	})
	if err != nil {
		t.Fatal(err)
	}
	b := newBrowser(returnTo)
	at := b.submit(t, b.open(t, to.URL), "Continue to")
	for _, button := range buttons {
		at = b.submit(t, at, button)
	}
	if got := at.url.Query().Get("status"); got != "connected" {
		t.Fatalf("the browser ended at %s (%d):\n%s", at.url, at.status, at.html)
	}
}

// mustVend gets a token that works now.
func mustVend(t *testing.T, c *workos.Client, slug, user string) *workos.DataIntegrationAccessTokenResponseAccessToken {
	t.Helper()
	r, err := c.Pipes().GetAccessToken(t.Context(), slug, &workos.PipesGetAccessTokenParams{UserID: user})
	if err != nil {
		t.Fatal(err)
	}
	if r.Active == nil || !*r.Active || r.AccessToken == nil {
		t.Fatalf("no token: %v", r.Error)
	}
	return r.AccessToken
}

func mustNotVend(t *testing.T, c *workos.Client, slug, user, why string) {
	t.Helper()
	r, err := c.Pipes().GetAccessToken(t.Context(), slug, &workos.PipesGetAccessTokenParams{UserID: user})
	if err != nil {
		t.Fatal(err)
	}
	if r.Active == nil || *r.Active || r.Error == nil || string(*r.Error) != why {
		t.Errorf("the answer is active %v, error %v; want false, %s", r.Active, r.Error, why)
	}
}

func TestGitHub(t *testing.T) {
	c, p, user := newClient(t), mustProvider(t, "github"), sdktest.Unique("")
	i := mustIntegrate(t, c, p, workos.PipesCreateDataIntegrationParams{Provider: "github"})
	read, err := c.Pipes().GetDataIntegration(t.Context(), "github")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(i, read); diff != "" {
		t.Errorf("integration after its creation (-created +read):\n%s", diff)
	}
	mustNotVend(t, c, "github", user, "not_installed")
	mustConnect(t, c, "github", user, "octocat")

	vended := mustVend(t, c, "github", user)
	if got := p.whoami(t, "/user", "login", vended.AccessToken); got != "octocat" {
		t.Errorf("GitHub takes the token for %q's", got)
	}
	if vended.ExpiresAt != nil || len(vended.MissingScopes) != 0 {
		t.Errorf("the token ends at %v and lacks %v", vended.ExpiresAt, vended.MissingScopes)
	}
	credential, err := c.Pipes().CreateDataIntegrationCredential(t.Context(), "github", &workos.PipesCreateDataIntegrationCredentialParams{UserID: user})
	if err != nil {
		t.Fatal(err)
	}
	if credential.Credential == nil || credential.Credential.Value != vended.AccessToken || credential.Credential.AuthMethod != "oauth" {
		t.Error("the credential is another one than the token")
	}

	account, err := c.Pipes().GetUserConnectedAccount(t.Context(), user, "github", nil)
	if err != nil {
		t.Fatal(err)
	}
	list, err := c.Pipes().ListUserDataProviders(t.Context(), user, nil)
	if err != nil {
		t.Fatal(err)
	}
	found := false
	for _, row := range list.Data {
		found = found || row.ConnectedAccount != nil && row.ConnectedAccount.ID == account.ID
	}
	if !found || account.State != "connected" {
		t.Errorf("account %s is %s, and in the user's list: %v", account.ID, account.State, found)
	}
	if got := mustEvents(t, c, user, "pipes.connected_account.connected"); got != 1 {
		t.Errorf("%d events of a connection, want 1", got)
	}

	if err := c.Pipes().DeleteUserConnectedAccount(t.Context(), user, "github", nil); err != nil {
		t.Fatal(err)
	}
	mustNotVend(t, c, "github", user, "not_installed")
	_, err = c.Pipes().GetUserConnectedAccount(t.Context(), user, "github", nil)
	mustBeRefused(t, err, http.StatusNotFound)
}

func TestRotatingProvider(t *testing.T) {
	c, p, user := newClient(t), mustProvider(t, "oidc"), sdktest.Unique("")
	const slug = "acme-go"
	mustIntegrate(t, c, p, workos.PipesCreateDataIntegrationParams{
		Provider: slug, Scopes: []string{"openid", "offline_access"},
		CustomProvider: &workos.CustomProviderDefinition{
			Name: "Acme", AuthorizationURL: p.origin + "/auth", TokenURL: p.origin + "/token",
			AdditionalAuthorizationParameters: map[string]string{"prompt": "consent"},
		},
	})
	p.ask(t, "lifetime", map[string]int{"seconds": 3})
	mustConnect(t, c, slug, user, "Sign-in", "Continue")
	first := mustVend(t, c, slug, user)
	end, err := time.Parse(time.RFC3339, *first.ExpiresAt)
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Until(end) + 50*time.Millisecond)

	s := sdktest.Ours(t)
	old := &v6.Client{APIKey: s.APIKey, Endpoint: s.BaseURL}
	second, err := old.GetAccessToken(t.Context(), v6.GetAccessTokenOpts{Provider: slug, UserID: user})
	if err != nil {
		t.Fatal(err)
	}
	if second.AccessToken == first.AccessToken || second.ExpiresAt == nil || !second.ExpiresAt.After(end) {
		t.Errorf("after %s the token is the same, or ends at %v", end, second.ExpiresAt)
	}
	if got := p.whoami(t, "/me", "sub", second.AccessToken); got != "alice" {
		t.Errorf("the provider takes the refreshed token for %q's", got)
	}
	_, err = old.GetAccessToken(t.Context(), v6.GetAccessTokenOpts{Provider: slug, UserID: sdktest.Unique("")})
	if !errors.Is(err, v6.NotInstalled) {
		t.Errorf("token of a stranger: %v, want %v", err, v6.NotInstalled)
	}
}

func TestImport(t *testing.T) {
	c, user := newClient(t), sdktest.Unique("")
	const slug = "acme-import"
	if _, err := c.Pipes().CreateDataIntegration(t.Context(), &workos.PipesCreateDataIntegrationParams{
		Provider: slug, Enabled: ptr(true),
		Credentials: &workos.DataIntegrationCredentialsDto{Type: "custom", ClientID: ptr("client"), ClientSecret: ptr(sdktest.Secret(""))},
		CustomProvider: &workos.CustomProviderDefinition{
			Name: "Acme", AuthorizationURL: "https://id.example.com/authorize", TokenURL: "https://id.example.com/token",
		},
	}); err != nil {
		t.Fatal(err)
	}
	first, second := sdktest.Secret(""), sdktest.Secret("")
	made, err := c.Pipes().CreateUserConnectedAccount(t.Context(), user, slug, &workos.PipesCreateUserConnectedAccountParams{AccessToken: &first})
	if err != nil {
		t.Fatal(err)
	}
	if got := mustVend(t, c, slug, user).AccessToken; got != first {
		t.Error("another token is vended than was brought")
	}
	_, err = c.Pipes().CreateUserConnectedAccount(t.Context(), user, slug, &workos.PipesCreateUserConnectedAccountParams{AccessToken: &first})
	mustBeRefused(t, err, http.StatusConflict)
	_, err = c.Pipes().CreateUserConnectedAccount(t.Context(), sdktest.Unique(""), slug, &workos.PipesCreateUserConnectedAccountParams{RefreshToken: &first})
	mustBeRefused(t, err, http.StatusUnprocessableEntity)
	changed, err := c.Pipes().UpdateUserConnectedAccount(t.Context(), user, slug, &workos.PipesUpdateUserConnectedAccountParams{AccessToken: &second})
	if err != nil {
		t.Fatal(err)
	}
	if got := mustVend(t, c, slug, user).AccessToken; got != second || changed.ID != made.ID {
		t.Error("the change did not reach the account, or made another one")
	}
	listed := 0
	all := c.Pipes().ListDataIntegrations(t.Context(), &workos.PipesListDataIntegrationsParams{})
	for all.Next() {
		if all.Current().Slug == slug {
			listed++
		}
	}
	if err := all.Err(); err != nil || listed != 1 {
		t.Errorf("the list has the integration %d times, %v", listed, err)
	}
	if _, err := c.Pipes().UpdateDataIntegration(t.Context(), slug, &workos.PipesUpdateDataIntegrationParams{Enabled: ptr(false)}); err != nil {
		t.Fatal(err)
	}
	_, err = c.Pipes().GetAccessToken(t.Context(), slug, &workos.PipesGetAccessTokenParams{UserID: user})
	mustBeRefused(t, err, http.StatusBadRequest)
	if err := c.Pipes().DeleteDataIntegration(t.Context(), slug); err != nil {
		t.Fatal(err)
	}
	_, err = c.Pipes().GetDataIntegration(t.Context(), slug)
	mustBeRefused(t, err, http.StatusNotFound)
}

// mustEvents counts a user's events of one type.
func mustEvents(t *testing.T, c *workos.Client, user, kind string) int {
	t.Helper()
	n := 0
	all := c.Events().List(t.Context(), &workos.EventsListParams{Events: []string{kind}})
	for all.Next() {
		if all.Current().Data["user_id"] == user {
			n++
		}
	}
	if err := all.Err(); err != nil {
		t.Fatal(err)
	}
	return n
}

func mustBeRefused(t *testing.T, err error, status int) {
	t.Helper()
	var api *workos.APIError
	if !errors.As(err, &api) || api.StatusCode != status {
		t.Errorf("got %v, want a refusal with %d", err, status)
	}
}
