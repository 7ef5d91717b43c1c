package pipes

import (
	"context"
	"errors"
	"unicode/utf8"

	"culvert/internal/events"
	"culvert/internal/text"
)

// Codes of outcomes, as applications find them in ?error= and in events.
const (
	CodeCanceled        = "canceled"         // on our confirmation page
	CodeAccessDenied    = "access_denied"    // on the provider's consent page
	CodeProviderError   = "provider_error"   // any other error that the provider sent the browser back with
	CodeInvalidCallback = "invalid_callback" // neither a code nor an error
	CodeIssuerMismatch  = "issuer_mismatch"  // iss is not the provider's (RFC 9207)
	CodeExchangeError   = "authorization_code_exchange_error"
	// CodeInterrupted: the server that exchanged the code died; whether it got tokens is not known.
	CodeInterrupted = "exchange_interrupted"
	// CodeIntegrationUnavailable: removed or disabled while the browser was away.
	CodeIntegrationUnavailable = "integration_unavailable"
	CodeEndpointChanged        = "endpoint_changed"
	CodeTokenInUse             = "refresh_token_in_use"
	// CodeAuthMethod: the owner's account was connected by another method meanwhile.
	CodeAuthMethod = "auth_method_mismatch"
	// CodeExpired: no callback came in time.
	CodeExpired = "authorization_expired"
	// CodeNotFinished: the tokens of a flow with session binding have waited in vain; CodeVerifier: too many
	// wrong verifiers were brought.
	CodeNotFinished = "authorization_not_finished"
	CodeVerifier    = "code_verifier_mismatch"
	// CodeAccountMismatch: the user signed in as another account at the provider than the one that is
	// connected, and did not choose to replace it.
	CodeAccountMismatch = "account_mismatch"
	// CodeAccountRemoved: the account that the flow was to connect again was disconnected meanwhile.
	CodeAccountRemoved = "account_removed"
	// CodeTooLarge: the provider's tokens are larger than can be kept and refreshed.
	CodeTooLarge = "record_too_large"
	// CodeTooManyConnections: the owner's last place was taken meanwhile.
	CodeTooManyConnections = "too_many_connections"
)

// failure is a flow that connects nothing, and why.
type failure struct {
	// code is one of ours; reason is for people.
	code, reason string
	// providerError and description are the provider's, cleaned.
	providerError, description string
}

// unsaved is why tokens that came connect nothing, if that is what an error says.
func unsaved(err error) (why failure, definite bool) {
	switch {
	case errors.Is(err, ErrTokenInUse):
		return failure{code: CodeTokenInUse, reason: "the provider handed out a refresh token that another account has"}, true
	case errors.Is(err, ErrTooLarge):
		return failure{code: CodeTooLarge, reason: "the provider's tokens are larger than can be kept"}, true
	case errors.Is(err, ErrAuthMethod):
		return failure{code: CodeAuthMethod, reason: "the account was connected by another method meanwhile"}, true
	case errors.Is(err, errMismatch):
		return mismatch("the account was connected as another one meanwhile"), true
	}
	return removedMeanwhile(err)
}

// Result is how a flow ended, for the page or the redirect that follows.
type Result struct {
	// ReturnTo is the complete URL to go to; empty for a page of ours, also if the flow has one that is not
	// allowed any more.
	ReturnTo string
	// Account is set on success; Code otherwise. Both are empty for a flow that has yet to be finished, whose
	// ReturnTo says so.
	Account AccountID
	Code    string
	// Choice is set, and ReturnTo, Account and Code empty, where the browser goes to the page of
	// [Broker.Choice]: it is the page's [ChoiceRequest.Flow].
	Choice string
	// ProviderError is the provider's own code, if it sent one.
	ProviderError string
	// Provider is its name; the slug if the integration is gone.
	Provider, Slug string
	UserLabel      string
	// Popup is set for a flow that a handoff began.
	Popup bool
}

// result is what every callback of a flow is answered with that is settled, or waits to be finished: the
// first and the later ones alike.
func (l *leg) result(ctx context.Context) Result {
	f := l.flow.Record
	if f.Outcome != nil {
		return l.resultOf(ctx, f.Outcome)
	}
	if f.choosing() {
		r := l.resultOf(ctx, &Outcome{})
		r.ReturnTo, r.Choice = "", choiceRef(f)
		return r
	}
	r := l.resultOf(ctx, &Outcome{Code: CodeNotFinished}) // where nobody may be sent any more nobody will finish it
	if r.ReturnTo != "" {
		r.ReturnTo, r.Code = withResult(f.ReturnTo, l.resultID()), ""
	}
	return r
}

// resultOf is what the flow's browser would be answered with if the flow had ended so.
func (l *leg) resultOf(ctx context.Context, out *Outcome) Result {
	f := l.flow.Record
	l.Record.AccountID = string(out.Account)
	r := Result{
		ReturnTo: withOutcome(l.broker.returnTo.still(f.ReturnTo), out), Account: out.Account, Code: out.Code,
		ProviderError: out.ProviderError, Provider: f.Slug, Slug: f.Slug, UserLabel: f.UserLabel,
		Popup: f.HandoffHash != nil,
	}
	found, err := l.broker.integrationOf(ctx, l.Environment(), f.Slug, f.Owner.Kind, f.Integration)
	if err != nil {
		return r // the name is all that is missing
	}
	if conn, err := l.broker.connector(found.Record); err == nil {
		r.Provider = conn.Name
	}
	return r
}

// settle ends the flow without an account, and tells of it in an event.
func (l *leg) settle(ctx context.Context, departure string, why failure) (Result, error) {
	if err := l.Intend(ctx); err != nil {
		return Result{}, err
	}
	change, err := settled(ctx, l.flow, l.cause(), departure, why, l.broker)
	if err != nil {
		return Result{}, err
	}
	if err := l.broker.store.Apply(ctx, change); err != nil {
		return Result{}, err
	}
	if change.Revocation != nil {
		l.broker.wakeRevoker()
	}
	l.flow.Record = &change.Flow.Record
	return l.result(ctx), nil
}

// settled is the change that ends a flow without an account. Tokens that waited go, or to where they are revoked
// from.
func settled(ctx context.Context, flow At[Flow], c cause, departure string, why failure, b *Broker) (Change, error) {
	next, at := *flow.Record, b.now()
	revocation, err := b.dropped(ctx, flow.Record, why)
	if err != nil {
		return Change{}, err
	}
	next.Outcome = &Outcome{Code: why.code, ProviderError: why.providerError, Departure: departure}
	next.SettledAt = at
	wipe(&next)
	e, err := c.aboutFailure(&next, why, at)
	if err != nil {
		return Change{}, err
	}
	return Change{
		Environment: next.Environment,
		Flow:        &Put[Flow]{Record: next, Revision: flow.Revision},
		Revocation:  revocation,
		Events:      []events.Event{e},
	}, nil
}

// wipe takes out what only an unsettled flow needs: verifiers, and tokens that wait. The hashes stay,
// because later callbacks are answered with the result.
func wipe(f *Flow) {
	f.Waiting = nil
	departures := make([]Departure, len(f.Departures))
	for i, d := range f.Departures {
		d.Verifier = nil
		departures[i] = d
	}
	f.Departures = departures
}

const (
	maxProviderCode        = 64
	maxProviderDescription = 255
)

// providerCode keeps an error code of the provider's if it looks like one (RFC 6749 section 4.1.2.1 and
// what is in use): what comes in a URL is anybody's text, and could be a secret of his.
func providerCode(s string) string {
	if len(s) > maxProviderCode {
		return ""
	}
	for i := range len(s) {
		if c := s[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '_' && c != '-' && c != '.' {
			return ""
		}
	}
	return s
}

// providerDescription keeps a printable text, cut to a bounded length.
func providerDescription(s string) string {
	if text.Unprintable(s) {
		return ""
	}
	if utf8.RuneCountInString(s) > maxProviderDescription {
		s = string([]rune(s)[:maxProviderDescription])
	}
	return s
}
