package pipes_test

import (
	"errors"
	"testing"

	"culvert/internal/access"
	"culvert/internal/admission"
	"culvert/pipes"
	"culvert/pipes/pipestest"
)

// TestOwnedKeyNeedsItsAccount: who manages integrations puts a key in nobody's account whom he may not manage, also by
// way of the integration.
func TestOwnedKeyNeedsItsAccount(t *testing.T) {
	s := pipestest.New(t)
	all := []pipes.AuthMethod{pipes.MethodAPIKey}
	must(t, errOf(s.Broker.CreateIntegration(t.Context(), s.Call(), pipes.CreateIntegration{
		Slug: "mine", Enabled: true, AuthMethods: all, Custom: &pipes.CustomProvider{Name: "Mine"},
	})))
	must(t, errOf(s.Broker.InstallAPIKey(t.Context(), s.Call(), keyOf("mine", "user_1", apiKey))))
	as := func(role access.Role, rules ...access.Rule) access.Call {
		t.Helper()
		rules = append(rules, access.Rule{Effect: access.Allow, Actions: []access.Action{access.IntegrationsManage}})
		must(t, errOf(s.Register.CreateRole(t.Context(), s.Call(), admission.RoleRequest{Name: role, Rules: rules})))
		return s.MustCallAs(t, role)
	}
	accounts := []access.Action{access.AccountsManage}
	without := as("without")
	with := as("with", access.Rule{Effect: access.Allow, Actions: accounts},
		access.Rule{Effect: access.Deny, Actions: accounts, Scope: access.Scope{Organization: "org_2"}})
	update := func(call access.Call, organization string) error {
		k := pipes.OwnedKey{Secret: pipestest.Secret("another-key"), UserID: "user_1", OrganizationID: organization}
		return errOf(s.Broker.UpdateIntegration(t.Context(), call, pipes.UpdateIntegration{Slug: "mine", APIKey: &k}))
	}
	create := func(call access.Call, slug string) error {
		k := pipes.OwnedKey{Secret: pipestest.Secret("another-key"), UserID: "user_1"}
		return errOf(s.Broker.CreateIntegration(t.Context(), call, pipes.CreateIntegration{
			Slug: slug, AuthMethods: all, Custom: &pipes.CustomProvider{Name: "Mine"}, APIKey: &k,
		}))
	}
	vended := func(want string) {
		t.Helper()
		v, err := s.Broker.Credentials(t.Context(), s.Call(), pipes.Request{Slug: "mine", UserID: "user_1"})
		must(t, err)
		if got := string(v.AccessToken.Reveal()); got != want {
			t.Errorf("the user's key is %s, want %s", got, want)
		}
	}
	denied := func(what string, err error) {
		t.Helper()
		if !errors.Is(err, access.ErrDenied) {
			t.Errorf("%s: %v", what, err)
		}
	}
	denied("a user's key", update(without, ""))
	denied("a key with its integration", create(without, "yours"))
	denied("another organization's key", update(with, "org_2"))
	vended(apiKey)
	must(t, update(with, "org_1"))
	must(t, update(with, ""))
	must(t, create(with, "yours"))
	vended("another-key")
}
