package server

import (
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"culvert/internal/secret"
	"culvert/pipes"
	"culvert/server/pages"
)

// authorize is POST /data-integrations/{slug}/authorize. The URL in the answer is a credential of the
// user who is to connect, so no cache keeps it.
func (s *Server) authorize() handler {
	return handle(endpoint[pipes.AuthorizeRequest, pipes.Authorized]{
		status: http.StatusOK, plaintext: true,
		decode: func(x *exchange) (pipes.AuthorizeRequest, error) {
			var q pipes.AuthorizeRequest
			var err error
			if q.Slug, err = x.segment("slug"); err != nil {
				return q, err
			}
			return q, x.object(
				required("user_id", textInto, &q.UserID),
				optional("organization_id", textInto, &q.OrganizationID),
				optional("connection_owner", textInto, &q.ConnectionOwner),
				optional("return_to", textInto, &q.ReturnTo),
				optional("user_label", textInto, &q.UserLabel),
				optional("config", itemsInto, &q.Config),
				optional("code_challenge", textInto, &q.Challenge),
				optional("code_challenge_method", textInto, &q.ChallengeMethod),
				optional("require_handoff", flagInto, &q.RequireHandoff),
				optional("connection_intent", textInto, &q.Intent),
				optional("connected_account_id", textInto, &q.AccountID),
			)
		},
		call: s.pipes.Authorize,
		encode: func(b []byte, a pipes.Authorized) ([]byte, error) {
			w := &jsonWriter{b: b}
			w.raw(`{"url":`)
			w.text(a.URL)
			if a.RedirectToken != "" {
				w.raw(`,"redirect_token":`)
				w.text(a.RedirectToken)
				w.raw(`,"handoff_token":`)
				w.value(a.HandoffToken)
			}
			w.raw(`}`)
			return w.done()
		},
	})
}

// finish is POST /culvert/v1/authorizations/finish, our own extension: the end of a flow with session
// binding.
func (s *Server) finish() handler {
	return handle(endpoint[pipes.FinishRequest, pipes.Account]{
		status: http.StatusOK,
		decode: func(x *exchange) (pipes.FinishRequest, error) {
			var q pipes.FinishRequest
			return q, x.object(
				required("result_id", textInto, &q.ResultID),
				required("code_verifier", secretInto, &q.Verifier),
			)
		},
		call:   s.pipes.Finish,
		encode: encodeAccount,
	})
}

// Cookies of a flow. The prefix keeps every other host and every plain connection from setting them
// (RFC 6265bis section 4.1.3.2).
const (
	flowCookie   = "__Host-culvert-flow"
	resultCookie = "__Host-culvert-result"
)

// Their lifetimes in seconds: the first as long as a ticket and the trip that begins at its end; the
// second as long as somebody may look at the page again.
const (
	flowCookieAge   = 3600
	resultCookieAge = 600
)

// How old the secret in the flow cookie may be. A browser that goes through flows all day gets another one
// with the first page after an hour, so that one that was seen once is soon worth nothing; a flow that
// began with the old one may still come back.
const (
	flowCookieLife = time.Hour
	flowCookieMost = 2 * time.Hour
	// clockSkew is how far ahead the clock of the replica may be that made it.
	clockSkew = time.Minute
)

// maxForm bounds a form of one of our pages, in bytes.
const maxForm = 4 << 10

// confirm is GET /data-integrations/{ticket}/authorize-redirect: the page on which a person decides.
func (s *Server) confirm() handler {
	return func(x *exchange) error {
		q, err := x.browserRequest()
		if err != nil {
			return err
		}
		var at time.Time
		q.Binding, at = x.flowBinding(flowCookieLife)
		c, err := s.pipes.Confirmation(x.r.Context(), q)
		if err != nil {
			return err
		}
		if c.Unavailable != nil {
			return x.ended(*c.Unavailable)
		}
		if d := c.Onward; d != nil {
			if !d.Binding.Equal(q.Binding) {
				at = x.server.now()
			}
			x.setFlowCookie(at, d.Binding)
			x.redirect(d.URL)
			return nil
		}
		body, err := s.pages.Confirmation(pages.Confirmation{
			Provider: c.Provider, ProviderOrigin: c.ProviderOrigin,
			UserLabel: c.UserLabel, UserID: c.UserID, OrganizationID: c.OrganizationID,
			Shared: c.ConnectionOwner == pipes.OwnedByOrganization, Environment: c.Environment, Scopes: c.Scopes,
			ReturnToOrigin: c.ReturnToOrigin, Form: c.Form,
		})
		if err != nil {
			return err
		}
		if !c.Binding.Equal(q.Binding) {
			at = x.server.now()
		}
		x.setFlowCookie(at, c.Binding)
		x.page(http.StatusOK, s.pages.Policy(formTargets(c.ProviderOrigin, c.ReturnToOrigin)...), body)
		return nil
	}
}

// formTargets are the sources of form-action on the confirmation page. Chromium holds every redirect that
// follows a form to it, up to the page where the trip ends: the provider, whatever sign-in it hands over
// to (Slack's workspaces, a company's identity provider), and where somebody has consented before, our
// callback and the application. Those hosts cannot be known, so all of https is let through; the form
// itself goes to us, and its field is of no use to anybody else. http is added where the trip is known to
// touch it, which happens in development only.
func formTargets(origins ...string) []string {
	targets := []string{"'self'", "https:"}
	if slices.ContainsFunc(origins, func(o string) bool { return strings.HasPrefix(o, "http:") }) {
		targets = append(targets, "http:")
	}
	return targets
}

// depart is POST /data-integrations/{ticket}/authorize-redirect: on to the provider.
func (s *Server) depart() handler {
	return func(x *exchange) error {
		q, confirmed, err := x.pressedButton()
		if err != nil {
			return err
		}
		if !confirmed {
			return malformed("not_confirmed", "The box of the confirmation page is not ticked.")
		}
		departed, err := s.pipes.Depart(x.r.Context(), q)
		if err != nil {
			return err
		}
		if departed.Ended != nil {
			return x.ended(*departed.Ended)
		}
		x.redirect(departed.URL)
		return nil
	}
}

// cancel is POST /data-integrations/{ticket}/cancel.
func (s *Server) cancel() handler {
	return func(x *exchange) error {
		q, _, err := x.pressedButton()
		if err != nil {
			return err
		}
		result, err := s.pipes.Cancel(x.r.Context(), q)
		if err != nil {
			return err
		}
		return x.ended(result)
	}
}

// ended answers a leg other than the callback with how the flow ended: back to the application, or by a page.
func (x *exchange) ended(result pipes.Result) error {
	if result.ReturnTo != "" {
		x.redirect(result.ReturnTo)
		return nil
	}
	code := result.Code
	if code == "" {
		code = pages.Connected
	}
	return x.message(http.StatusOK, pages.Outcome(code, result.Provider))
}

// browserRequest is what the legs before the provider have in common.
func (x *exchange) browserRequest() (pipes.BrowserRequest, error) {
	ticket, err := x.segment("ticket")
	binding, _ := x.flowBinding(flowCookieMost)
	return pipes.BrowserRequest{RequestID: x.id, Route: x.route.name, Ticket: ticket, Binding: binding}, err
}

// flowBinding is the secret in the flow cookie, and when it was made; empty if it is older than most. The
// time is not authenticated: a browser that lies about it keeps its own secret for longer.
func (x *exchange) flowBinding(most time.Duration) (secret.Bytes, time.Time) {
	made, binding, found := strings.Cut(x.cookie(flowCookie), ".")
	seconds, err := strconv.ParseInt(made, 10, 64)
	at := time.Unix(seconds, 0)
	if age := x.server.now().Sub(at); !found || err != nil || age > most || age < -clockSkew {
		return secret.Bytes{}, time.Time{}
	}
	return secret.New([]byte(binding)), at
}

// pressedButton is browserRequest for the form of the confirmation page; confirmed tells that its box was
// ticked. Browsers do not send the form without, except to cancel.
func (x *exchange) pressedButton() (q pipes.BrowserRequest, confirmed bool, err error) {
	q, err = x.browserRequest()
	if err != nil {
		return q, false, err
	}
	fields, err := x.ownForm()
	if err != nil {
		return q, false, err
	}
	q.Form = fields.Get("form")
	return q, slices.Equal(fields["confirmed"], []string{"yes"}), nil
}

// ownForm are the fields of a form of one of our pages, which all have the hidden one.
func (x *exchange) ownForm() (url.Values, error) {
	if !sameOrigin(x.r.Header, x.server.publicURL) {
		return nil, crossSite()
	}
	body, err := x.form(maxForm)
	if err != nil {
		return nil, err
	}
	fields, err := url.ParseQuery(body)
	if err != nil || len(fields["form"]) != 1 {
		return nil, malformed("invalid_form", "This is not the form of a page of ours.")
	}
	return fields, nil
}

// form is the body of a form, within a bound in bytes.
func (x *exchange) form(most int64) (string, error) {
	if types := x.r.Header["Content-Type"]; len(types) != 1 || !isForm(types[0]) {
		return "", wrongMediaType("The form must be of type application/x-www-form-urlencoded.")
	}
	body, err := io.ReadAll(http.MaxBytesReader(x.w, x.r.Body, most))
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		return "", bodyTooLarge(most)
	}
	if err != nil {
		return "", malformed("incomplete_body", "The body ended before it was complete.")
	}
	return string(body), nil
}

func isForm(contentType string) bool {
	kind, _, err := mime.ParseMediaType(contentType)
	return err == nil && kind == "application/x-www-form-urlencoded"
}
