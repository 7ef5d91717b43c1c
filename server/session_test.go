package server_test

import (
	"net/url"
	"strings"
	"testing"

	"culvert/connectors"
	"culvert/pipes/pipestest"
)

const finishPath = "/culvert/v1/authorizations/finish"

// bound are the members of authorize for a flow that is bound to a session, and the verifier that stays there.
func bound() (members, verifier string) {
	secret, challenge := connectors.GenerateVerifier()
	return returnTo + `,"code_challenge":"` + challenge + `","code_challenge_method":"S256"`, string(secret.Reveal())
}

// mustWait takes user_1 through a flow up to where it waits: what return_to is told, and the verifier.
func (d *door) mustWait(t testing.TB) (resultID, verifier string) {
	t.Helper()
	members, verifier := bound()
	b := d.browser(t)
	callback := d.pipes.Provider.Visit(t, b.open(t, d.mustAuthorize(t, members)).mustRedirect(t)).String()
	return pipestest.ResultID(t, b.open(t, callback).mustRedirect(t)), verifier
}

func finish(resultID, verifier string) request {
	return post(finishPath, `{"result_id":"`+resultID+`","code_verifier":"`+verifier+`"}`)
}

// TestSessionBinding: the link leads to the provider at once, with a cookie; the browser returns with a result
// id and nothing else; and the account is there once the caller brings the verifier.
func TestSessionBinding(t *testing.T) {
	d := newPipesDoor(t, pipestest.Config{})
	d.mustIntegration(t, pipestest.Slug, "")
	members, verifier := bound()
	b := d.browser(t)
	link := d.mustAuthorize(t, members)
	departed := b.open(t, link)
	to := departed.mustRedirect(t)
	if cookie := departed.header.Get("Set-Cookie"); !strings.HasPrefix(cookie, "__Host-culvert-flow=") || !strings.Contains(cookie, "HttpOnly") ||
		!strings.Contains(cookie, "SameSite=Lax") || !strings.HasPrefix(to, d.pipes.Provider.URL) {
		t.Errorf("to %s with the cookie %s", to, cookie)
	}
	callback := d.pipes.Provider.Visit(t, to).String()
	d.browser(t).open(t, callback).mustPage(t, 403) // the cookie still counts
	back := b.open(t, callback).mustRedirect(t)
	resultID := pipestest.ResultID(t, back)
	if u, err := url.Parse(back); err != nil || len(u.Query()) != 3 || strings.Contains(back, verifier) {
		t.Errorf("the browser ended at %s", back)
	}
	const account = "/user_management/users/user_1/connected_accounts/provider"
	d.do(t, get(account)).mustRefuse(t, 404, "entity_not_found")

	other, otherVerifier := d.mustWait(t)
	d.do(t, finish(resultID, otherVerifier)).mustRefuse(t, 422, "code_verifier_mismatch")
	d.do(t, finish(resultID+"x", verifier)).mustRefuse(t, 404, "authorization_not_found")
	d.do(t, finish(other, verifier)).mustRefuse(t, 422, "code_verifier_mismatch")
	d.do(t, get(account)).mustRefuse(t, 404, "entity_not_found")

	connected := d.do(t, finish(resultID, verifier)).want(t, 200).object(t)
	again := d.do(t, finish(resultID, verifier)).want(t, 200).object(t)
	stored := d.do(t, get(account)).want(t, 200).object(t)
	shape(t, again, connected)
	shape(t, stored, connected)
	// Switched off since it was begun, the link leads back, as any other does.
	members, _ = bound()
	link = d.mustAuthorize(t, members)
	d.do(t, put("/data-integrations/provider", `{"enabled":false}`)).want(t, 200)
	if back := b.open(t, link).mustRedirect(t); back != pipestest.ReturnTo+"/done?a=1&error=integration_unavailable" {
		t.Errorf("the browser ended at %s", back)
	}
}
