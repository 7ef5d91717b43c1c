package server

import (
	"net/url"

	"culvert/internal/secret"
	"culvert/pipes"
)

// Limits of what a browser brings back from a provider, in bytes. Codes of providers are up to about two kilobytes.
const (
	maxCallback   = 16 << 10
	maxFlowState  = 512
	maxCode       = 8 << 10
	maxIssuer     = 2 << 10
	maxErrorCode  = 1 << 10
	maxErrorWords = 8 << 10
	// Of the parameters that only some providers send: how many, and how long each.
	maxOthers = 16
	maxOther  = 255
)

// callback is GET /data-integrations/{slug}/{dik}/callback: back from the provider. How the flow ended is
// never shown at this URL, which holds the code: the browser goes on to the application, or to the same
// path without a query.
func (s *Server) callback() handler {
	return func(x *exchange) error {
		if x.r.URL.RawQuery == "" {
			return x.showResult()
		}
		if len(x.r.URL.RawQuery) > maxCallback {
			return invalidCallback()
		}
		// The error repeats what could not be parsed.
		values, err := url.ParseQuery(x.r.URL.RawQuery)
		if err != nil {
			return invalidCallback()
		}
		q, err := x.callbackRequest(values)
		if err != nil {
			return err
		}
		return x.calledBack(q)
	}
}

// calledBack ends a flow by a callback, and sends the browser on.
func (x *exchange) calledBack(q pipes.CallbackRequest) error {
	result, err := x.server.pipes.Callback(x.r.Context(), q)
	if err != nil {
		return err
	}
	x.opened = result.Popup
	if result.ReturnTo != "" {
		x.redirect(result.ReturnTo)
		return nil
	}
	if result.Choice != "" {
		x.redirect(x.server.publicURL + integrationsPath + "/" + result.Choice + choiceSuffix)
		return nil
	}
	x.keepResult(result, q.DIK)
	// Both segments are known to be ours: the callback's path was compared with the departure's.
	x.redirect(x.server.publicURL + integrationsPath + "/" + q.Slug + "/" + q.DIK + "/callback")
	return nil
}

// callbackParams are the parameters of a response that are read whoever the provider is.
func callbackParams() []string { return []string{"state", "code", "iss", "error", "error_description"} }

// callbackRequest reads a response.
func (x *exchange) callbackRequest(values url.Values) (pipes.CallbackRequest, error) {
	q := pipes.CallbackRequest{RequestID: x.id, Route: x.route.name}
	q.Binding, _ = x.flowBinding(flowCookieMost)
	var err error
	if q.Slug, err = x.segment("slug"); err != nil {
		return q, err
	}
	if q.DIK, err = x.segment("dik"); err != nil {
		return q, err
	}
	var code string
	for _, p := range []struct {
		name string
		to   *string
		most int
	}{
		{"state", &q.State, maxFlowState}, {"code", &code, maxCode}, {"iss", &q.Issuer, maxIssuer},
		{"error", &q.ProviderError, maxErrorCode}, {"error_description", &q.ProviderErrorDescription, maxErrorWords},
	} {
		given := values[p.name]
		// RFC 6749 section 3.1: no parameter more than once. Of two states or codes each party may read
		// another one.
		if len(given) > 1 || len(given) == 1 && len(given[0]) > p.most {
			return q, invalidCallback()
		}
		if len(given) == 1 {
			*p.to = given[0]
		}
	}
	q.Code = secret.New([]byte(code))
	q.Others = others(values)
	return q, nil
}

// others are the parameters of a callback that only some providers send, such as the id of an account: those
// that are there once and are short, and none of a callback that has many.
func others(values url.Values) map[string]string {
	if len(values) > maxOthers {
		return nil
	}
	kept := map[string]string{}
	for name, given := range values {
		if len(given) == 1 && len(given[0]) <= maxOther {
			kept[name] = given[0]
		}
	}
	for _, own := range callbackParams() {
		delete(kept, own)
	}
	return kept
}
