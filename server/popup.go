package server

import (
	"net/http"
	"strings"

	"culvert/internal/secret"
	"culvert/pipes"
	"culvert/server/pages"
)

// A flow in a pop-up: the application's page opens a window, first with the page of redirecting, which needs
// nothing, then with the URL of authorize, and hands the flow over to it in a message. The window keeps its
// opener until then, so these two pages have no Cross-Origin-Opener-Policy, and the callback neither, which
// closes the window.

// popupPath is the page behind the redirect token, and where its script asks for the provider's URL.
const popupPath = "/pipes/authorize"

// redirecting is GET /pipes/redirecting: the same for everybody.
func (s *Server) redirecting() handler {
	return func(x *exchange) error {
		x.opened = true
		return x.message(http.StatusOK, pages.Redirecting())
	}
}

// popup is GET /pipes/authorize.
func (s *Server) popup() handler {
	return func(x *exchange) error {
		x.opened = true
		parameters, err := x.query()
		if err != nil {
			return err
		}
		token, err := parameters.text("token")
		if err != nil {
			return err
		}
		p, err := s.pipes.Popup(x.r.Context(), pipes.BrowserRequest{RequestID: x.id, Route: x.route.name, Ticket: token})
		if err != nil {
			return err
		}
		if p.Unavailable != nil {
			return x.ended(*p.Unavailable)
		}
		body, err := s.pages.Popup(pages.Popup{Provider: p.Provider})
		if err != nil {
			return err
		}
		x.page(http.StatusOK, s.pages.PopupPolicy(), body)
		return nil
	}
}

// handoff is POST /pipes/authorize, which the script of that page calls: where the browser goes, and the
// cookie that it comes back with. Its answers are JSON if it goes well.
//
// Attacker: a page of another site, in whose pop-up ours runs. It has tokens, of a flow of its own, and can
// post them to our script. Defence: our script tells from which origin a message came, as the browser says,
// and only those of the setting cors_origins are let through; nobody else can call this, because the
// browser says that the call is our page's. Gap: none known; without a browser one has one's own flow.
func (s *Server) handoff() handler {
	return func(x *exchange) error {
		q, token, err := x.handedOver()
		if err != nil {
			return err
		}
		departed, err := s.pipes.Handoff(x.r.Context(), q, token)
		if err != nil {
			return err
		}
		to := departed.URL
		if departed.Ended != nil {
			if to = departed.Ended.ReturnTo; to == "" {
				return flowUnavailable()
			}
		} else if departed.Binding.Equal(q.Binding) {
			_, at := x.flowBinding(flowCookieLife)
			x.setFlowCookie(at, departed.Binding)
		} else {
			x.setFlowCookie(s.now(), departed.Binding)
		}
		x.pageHeaders()
		return x.answer(http.StatusOK, true, func(b []byte) ([]byte, error) {
			w := &jsonWriter{b: b}
			w.raw(`{"url":`)
			w.text(to)
			w.raw(`}`)
			return w.done()
		})
	}
}

// handedOver reads what the script of our page sends, and lets nobody else's through. A fetch names its
// origin whatever the referrer policy is, unlike a form (see sameOrigin).
func (x *exchange) handedOver() (q pipes.BrowserRequest, token secret.Bytes, err error) {
	if from := x.r.Header.Get("Origin"); !sameOrigin(x.r.Header, x.server.publicURL) || !strings.EqualFold(from, x.server.publicURL) {
		return q, token, crossSite()
	}
	q = pipes.BrowserRequest{RequestID: x.id, Route: x.route.name}
	var from string
	err = x.object(
		required("redirect_token", textInto, &q.Ticket),
		required("handoff_token", secretInto, &token),
		required("origin", textInto, &from),
	)
	if err == nil && !x.server.cors.allows(from) {
		err = originNotAllowed()
	}
	q.Binding, _ = x.flowBinding(flowCookieLife)
	return q, token, err
}
