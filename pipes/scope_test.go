package pipes_test

import (
	"errors"
	"testing"
	"time"

	"culvert/internal/access"
	"culvert/pipes"
	"culvert/pipes/pipestest"
)

// TestBrokerOfAnOrganization: an API key that reaches one organization alone has its users connected, and is vended
// tokens that have to be refreshed first, for which the client secret is opened that is nobody's in particular. It
// gets no secret by that, and nothing of anybody else.
func TestBrokerOfAnOrganization(t *testing.T) {
	s := pipestest.New(t)
	s.MustIntegration(t, pipestest.Slug)
	theirs := s.MustCallWithin(t, access.Scope{Organization: "org_1"})
	for _, organization := range []string{"org_1", "org_2", ""} {
		connectWith(t, s, pipes.AuthorizeRequest{UserID: "user_1", OrganizationID: organization}, "old of "+organization, "refresh of "+organization)
	}
	s.Clock.Advance(2 * time.Hour) // the tokens end
	for _, organization := range []string{"org_1", "org_2", ""} {
		r := pipes.Request{Slug: pipestest.Slug, UserID: "user_1", OrganizationID: organization}
		_, authorizeErr := s.Broker.Authorize(t.Context(), theirs, pipes.AuthorizeRequest{Slug: pipestest.Slug, UserID: "user_2", OrganizationID: organization})
		if organization == "org_1" {
			s.Provider.Next(reply("new", "next"))
		}
		vended, err := s.Broker.Token(t.Context(), theirs, r)
		if organization != "org_1" {
			if !errors.Is(err, access.ErrDenied) || !errors.Is(authorizeErr, access.ErrDenied) || vended.Active {
				t.Errorf("organization %q: token %v, authorize %v", organization, err, authorizeErr)
			}
			continue
		}
		if err != nil || authorizeErr != nil || !vended.Active || string(vended.AccessToken.Reveal()) != "new" {
			t.Errorf("its own: %+v, %v, authorize %v", vended, err, authorizeErr)
		}
	}
	if _, err := s.Broker.Integration(t.Context(), theirs, pipestest.Slug, ""); !errors.Is(err, access.ErrDenied) {
		t.Errorf("an integration, which is no organization's: %v", err)
	}
}
