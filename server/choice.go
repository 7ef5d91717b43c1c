package server

import (
	"net/http"
	"slices"

	"culvert/pipes"
	"culvert/server/pages"
)

// choiceSuffix is behind the flow in the path of the page on which somebody chooses between two accounts.
const choiceSuffix = "/account-choice"

// showChoice is GET /data-integrations/{flow}/account-choice: the page for somebody who has signed in at the
// provider as another account than the one that is connected.
func (s *Server) showChoice() handler {
	return func(x *exchange) error {
		q, err := x.choiceRequest()
		if err != nil {
			return err
		}
		c, err := s.pipes.Choice(x.r.Context(), q)
		if err != nil {
			return err
		}
		if c.Ended != nil {
			return x.ended(*c.Ended)
		}
		body, err := s.pages.Choice(pages.Choice{
			Provider: c.Provider, UserLabel: c.UserLabel, UserID: c.UserID, OrganizationID: c.OrganizationID,
			Connected: pages.Account(c.Connected), SignedIn: pages.Account(c.SignedIn), Form: c.Form,
		})
		if err != nil {
			return err
		}
		x.page(http.StatusOK, s.pages.Policy(formTargets(c.ReturnToOrigin)...), body)
		return nil
	}
}

// choose is POST on the same path. What is neither answer changes nothing.
func (s *Server) choose() handler {
	return func(x *exchange) error {
		q, err := x.choiceRequest()
		if err != nil {
			return err
		}
		fields, err := x.ownForm()
		if err != nil {
			return err
		}
		q.Form = fields.Get("form")
		switch answer := fields["choice"]; {
		case slices.Equal(answer, []string{"replace"}):
			q.Replace = true
		case !slices.Equal(answer, []string{"keep"}):
			return malformed("invalid_form", "This is not the form of the page of a choice.")
		}
		result, err := s.pipes.Choose(x.r.Context(), q)
		if err != nil {
			return err
		}
		return x.ended(result)
	}
}

func (x *exchange) choiceRequest() (pipes.ChoiceRequest, error) {
	flow, err := x.segment("flow")
	binding, _ := x.flowBinding(flowCookieMost)
	return pipes.ChoiceRequest{RequestID: x.id, Route: x.route.name, Flow: flow, Binding: binding}, err
}
