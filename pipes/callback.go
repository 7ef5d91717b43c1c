package pipes

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"time"

	"culvert/connectors"
	"culvert/internal/access"
	"culvert/internal/secret"
	"culvert/keys"
)

// CallbackRequest is what the provider sent the browser back with, and where.
type CallbackRequest struct {
	// RequestID is ours; Route the template of the route, for the trail.
	RequestID, Route string
	// Slug and DIK are the path's.
	Slug, DIK string
	State     string
	Code      secret.Bytes
	// Issuer is iss (RFC 9207); ProviderError and ProviderErrorDescription are error and
	// error_description. Empty where the callback has none.
	Issuer, ProviderError, ProviderErrorDescription string
	// Others are further parameters of the callback. Nothing is read but what a connector names.
	Others map[string]string
	// Binding is the value of the flow cookie.
	Binding secret.Bytes
}

// Callback ends a flow: it exchanges the code, stores the tokens and tells where the browser goes next. With
// session binding the tokens are stored with the flow, for [Broker.Finish].
// A provider's error ends it too, as does everything else that no further callback could mend; the
// Result then has a code. The first callback that gets so far decides; every later one of the flow, and
// any that comes meanwhile, is answered with its result; while tokens wait only those of its browser.
//
// Errors, after which the flow is as it was: [ErrTicket] for a flow state that is unknown, forged,
// expired or another integration's; [ErrOtherBrowser]; [ErrConflict].
func (b *Broker) Callback(ctx context.Context, r CallbackRequest) (Result, error) {
	c, ok := parseFlowState(r.State)
	if !ok {
		return Result{}, ErrTicket
	}
	l, err := b.open(ctx, r.RequestID, r.Route, c, access.FlowComplete, keys.StateSecret)
	if err != nil {
		return Result{}, err
	}
	result, err := l.callback(ctx, &r, c.departure)
	return committed(ctx, l.operation, result, err)
}

func (l *leg) callback(ctx context.Context, r *CallbackRequest, departure string) (Result, error) {
	var result Result
	err := l.rounds(ctx, func() error {
		d := l.flow.Record.departure(departure)
		if d == nil {
			return ErrTicket
		}
		if err := l.returned(r, d); err != nil {
			return err
		}
		var err error
		result, err = l.decide(ctx, r, d)
		return err
	})
	if err == nil {
		err = l.tells(departure)
	}
	if err != nil {
		return Result{}, err
	}
	return result, nil
}

// tells checks that who is answered with a flow that waits is the browser that brought its tokens.
//
// Attacker: who began a flow with session binding departs with its link too, and comes back behind the victim
// to be told the victim's result id, which is all that his verifier lacks. Defence: his cookie is another one,
// whichever callback exchanges a code and whoever waits for it. Tabs of one browser are the same.
func (l *leg) tells(departure string) error {
	f := l.flow.Record
	if f.Outcome != nil || f.Waiting == nil {
		return nil
	}
	asks, brought := f.departure(departure), f.departure(f.Waiting.Departure)
	if asks == nil || brought == nil || !bytes.Equal(asks.BindingHash, brought.BindingHash) {
		return ErrOtherBrowser
	}
	return nil
}

// returned checks that a callback is the departure's: at its own redirect URI, in its own browser.
//
// Attackers: a provider that hands out another one's state (mix-up): the redirect URI is per integration.
// A user who has his own provider account connected to a victim's, by making the victim's browser open
// the callback (or the reverse): the cookie is of the browser that saw the confirmation page.
func (l *leg) returned(r *CallbackRequest, d *Departure) error {
	if d.RedirectURI != l.broker.redirectURI(&Integration{Slug: r.Slug, DIK: r.DIK}) {
		return ErrTicket
	}
	if !validBinding(r.Binding) || !matches(l.keys, keys.BindingSecret, l.flow.Record.ID, r.Binding, d.BindingHash) {
		return ErrOtherBrowser
	}
	return nil
}

// decide is one round: answer what is settled, wait for who is exchanging, or go on.
func (l *leg) decide(ctx context.Context, r *CallbackRequest, d *Departure) (Result, error) {
	f, now := l.flow.Record, l.broker.now()
	switch {
	case f.Outcome != nil || f.Waiting != nil:
		return l.result(ctx), nil
	case f.claimed(now):
		return l.await(ctx)
	case f.Claim != "" && f.Exchange == d.ID:
		// Whoever claimed this code is gone, and may have sent it. A code that is sent again can make the
		// provider revoke what it gave for it (RFC 6749 section 4.1.2).
		return l.settle(ctx, d.ID, failure{code: CodeInterrupted, reason: "the server stopped while it exchanged the code"})
	case !now.Before(d.At.Add(FlowStateTTL)):
		return Result{}, ErrTicket
	}
	i, conn, err := l.provider(ctx)
	switch {
	case errors.Is(err, errUnavailable):
		return l.settle(ctx, d.ID, failure{code: CodeIntegrationUnavailable})
	case err != nil:
		return Result{}, err
	}
	r = r.coded(conn)
	if why, refused := refusedReply(r, conn); refused {
		return l.settle(ctx, d.ID, why)
	}
	if err := l.claim(ctx, d); err != nil {
		return Result{}, err
	}
	return l.connect(ctx, i, conn, r)
}

// refusedReply tells what is wrong with an authorization response before its code is looked at.
func refusedReply(r *CallbackRequest, conn *connectors.Connector) (failure, bool) {
	if conn.Issuer != "" && r.Issuer != conn.Issuer {
		// RFC 9207 section 2.4: also of error responses, and an absent iss is a wrong one.
		return failure{code: CodeIssuerMismatch, reason: "iss is not that of the provider"}, true
	}
	if r.ProviderError != "" {
		why := failure{
			code: CodeProviderError, providerError: providerCode(r.ProviderError),
			description: providerDescription(r.ProviderErrorDescription),
		}
		if why.providerError == CodeAccessDenied {
			why.code = CodeAccessDenied
		}
		return why, true
	}
	if !conn.CalledBack(r.other) {
		// The code is good there alone; sent to where the flow began it would be lost, and be known there.
		return failure{code: CodeInvalidCallback, reason: "the account is at another host of the provider's than its config says"}, true
	}
	if r.Code.Len() == 0 || r.Code.Len() > MaxToken {
		return failure{code: CodeInvalidCallback, reason: "the callback has neither a code nor an error"}, true
	}
	return failure{}, false
}

// other is a parameter that only some providers send.
func (r *CallbackRequest) other(name string) string { return r.Others[name] }

// signed are the parameters that a provider signs besides the code: all.
func (r *CallbackRequest) signed() map[string]string {
	all := map[string]string{"state": r.State}
	maps.Copy(all, r.Others)
	return all
}

// coded is the request with the code where it belongs, of providers that call it otherwise.
func (r *CallbackRequest) coded(conn *connectors.Connector) *CallbackRequest {
	name := conn.Quirks.CodeParam
	if name == "" || r.Code.Len() > 0 {
		return r
	}
	same := *r
	same.Code = secret.New([]byte(r.Others[name]))
	return &same
}

// claim makes this callback the one that exchanges the flow's code.
func (l *leg) claim(ctx context.Context, d *Departure) error {
	if err := l.Intend(ctx); err != nil {
		return err
	}
	next := *l.flow.Record
	next.Exchange, next.Claim, next.ExchangeAt = d.ID, randomSecret(), l.broker.now()
	err := l.putFlow(ctx, next)
	if err != nil && !conflicted(err) {
		return err
	}
	// Also after a conflict: an unclear outcome is one, and the record tells whose the claim is.
	if err := l.reread(ctx); err != nil {
		return err
	}
	if f := l.flow.Record; f.Claim != next.Claim || f.Outcome != nil || f.Waiting != nil {
		return ErrConflict
	}
	return nil
}

// await waits for the result of the callback that has the claim.
func (l *leg) await(ctx context.Context) (Result, error) {
	timeout := time.NewTimer(l.broker.timing.wait)
	defer timeout.Stop()
	tick := time.NewTicker(l.broker.timing.poll)
	defer tick.Stop()
	for {
		if err := l.reread(ctx); err != nil {
			return Result{}, err
		}
		f := l.flow.Record
		if f.Outcome != nil || f.Waiting != nil {
			return l.result(ctx), nil
		}
		if !f.claimed(l.broker.now()) {
			return Result{}, ErrConflict // its holder is gone: another round decides
		}
		select {
		case <-tick.C:
		case <-timeout.C:
			return Result{}, &ProviderError{Slug: f.Slug, RetryAfter: time.Second, Err: ErrProvider}
		case <-ctx.Done():
			return Result{}, ctx.Err()
		}
	}
}
