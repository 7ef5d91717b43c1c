package pipes

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"time"

	"culvert/connectors"
	"culvert/internal/outage"
	"culvert/keys"
)

// connect exchanges the code that this callback has claimed, and stores what comes of it.
//
// It goes on when the browser hangs up: the code is used up by then, and the tokens would be lost.
func (l *leg) connect(ctx context.Context, i *Integration, conn *connectors.Connector, r *CallbackRequest) (Result, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), l.broker.timing.call)
	defer cancel()
	claim, departure := l.flow.Record.Claim, l.flow.Record.Exchange
	tokens, sentAt, err := l.exchange(ctx, i, conn, r)
	if why, failed := exchangeFailure(err); failed {
		return l.conclude(ctx, claim, func() (Result, error) { return l.settle(ctx, departure, why) })
	}
	if err != nil {
		l.release(ctx)
		return Result{}, err
	}
	d := l.flow.Record.departure(departure)
	scopes := tokens.Scopes
	if scopes == nil {
		scopes = conn.GrantedIn(r.other)
	}
	if scopes == nil {
		scopes = d.Scopes // RFC 6749 section 5.1: what was asked for
	}
	who := l.whose(ctx, conn, tokens, r)
	got := arrival{
		integration: i, origin: conn.TokenOrigin(), owner: l.flow.Record.Owner, tokens: grantTokens(tokens, keys.GrantTokens{}),
		obtainedAt: sentAt, expiresAt: tokens.ExpiresAt, refreshExpiresAt: tokens.RefreshExpiresAt,
		scopes: slices.Clone(scopes), account: who.Account, metadata: who.Metadata,
		config: accountConfig{plain: l.flow.Record.Config},
	}
	got.main, got.named = namesOf(tokens, sentAt)
	return l.conclude(ctx, claim, func() (Result, error) {
		choice, err := l.choice(ctx, got)
		switch {
		case err != nil:
			return Result{}, err
		case choice != nil || l.flow.Record.Challenge != "":
			return l.wait(ctx, got, departure, choice)
		}
		return l.save(ctx, got, departure)
	})
}

// release gives a claim back whose code was not sent, so that the browser can try again at once. If it
// fails the claim runs out by itself.
func (l *leg) release(ctx context.Context) {
	next := *l.flow.Record
	next.Claim, next.Exchange, next.ExchangeAt = "", "", time.Time{}
	if err := l.putFlow(ctx, next); err != nil {
		l.broker.log.LogAttrs(ctx, slog.LevelWarn, "claim of a flow not released", slog.String("flow", string(next.ID)), slog.Any("error", err))
	}
}

// errUnsigned is a callback without the signature that its provider's callbacks have.
var errUnsigned = errors.New("pipes: the callback is not signed by the provider")

// exchange opens what the exchange needs and makes the one call.
func (l *leg) exchange(ctx context.Context, i *Integration, conn *connectors.Connector, r *CallbackRequest) (connectors.Tokens, time.Time, error) {
	b, f := l.broker, l.flow.Record
	if err := l.complete(i.Slug, keys.Context{}); err != nil {
		return connectors.Tokens{}, time.Time{}, err
	}
	client, err := l.clientSecrets(ctx, i, conn)
	if err != nil {
		return connectors.Tokens{}, time.Time{}, err
	}
	if !client.any(func(c connectors.Credentials) bool { return conn.Signed(c, r.Code, r.signed()) }) {
		return connectors.Tokens{}, time.Time{}, errUnsigned
	}
	d := f.departure(f.Exchange)
	if d.Origin != "" && !endpointHeld(conn, d.Origin) {
		return connectors.Tokens{}, time.Time{}, ErrEndpointChanged
	}
	request := connectors.ExchangeRequest{Code: r.Code, RedirectURI: d.RedirectURI}
	if v := d.Verifier; v != nil {
		if !endpointHeld(conn, v.Origin) {
			return connectors.Tokens{}, time.Time{}, ErrEndpointChanged
		}
		request.Verifier, err = b.keys.OpenVerifier(ctx, l.Permit, v.Sealed(), f.VerifierBinding(d))
		if err != nil {
			return connectors.Tokens{}, time.Time{}, err
		}
	}
	var sentAt time.Time
	var tokens connectors.Tokens
	err = client.asClient(func(creds connectors.Credentials) (err error) {
		sentAt = b.now()
		tokens, err = b.client.Exchange(ctx, conn, creds, request)
		return err
	})
	if failed := connectors.Of(err); failed != nil {
		b.log.LogAttrs(ctx, slog.LevelWarn, "code exchange failed", slog.String("provider", i.Slug), slog.String("flow", string(f.ID)),
			slog.String("class", failed.Class.String()), slog.String("code", failed.Code), slog.Any("error", failed.Cause))
	}
	return tokens, sentAt, err
}

// exchangeFailure is what an exchange's error means for the flow. Errors of our own storage and keys end
// nothing: with them no code was sent.
func exchangeFailure(err error) (failure, bool) {
	switch {
	case errors.Is(err, ErrEndpointChanged):
		return failure{code: CodeEndpointChanged, reason: "the token endpoint is not the one that the client secret or this flow is bound to"}, true
	case errors.Is(err, errUnsigned):
		return failure{code: CodeInvalidCallback, reason: "the callback is not signed with the client secret, or another one than is set here"}, true
	case errors.Is(err, ErrNotConfigured):
		return failure{code: CodeIntegrationUnavailable}, true
	}
	failed := connectors.Of(err)
	if failed == nil {
		return failure{}, false
	}
	why := failure{code: CodeExchangeError, providerError: failed.Code}
	switch failed.Class {
	case connectors.Transient:
		why.reason = "the provider is unavailable"
	case connectors.Ambiguous:
		why.reason = "the provider gave no readable answer"
	case connectors.DeadGrant:
		why.reason = "the provider does not accept the code"
	case connectors.ClientRejected:
		why.reason = "the provider rejects the client credentials"
	case connectors.Blocked:
		why.reason = "the token endpoint's address is not allowed"
	default:
		why.reason = "the provider refused the exchange"
	}
	return why, true
}

// conclude ends the flow in the way of last, on the flow as it is by then and for as long as the claim is
// this callback's. etcd may be away for a moment: what the provider gave is nowhere else.
func (l *leg) conclude(ctx context.Context, claim string, last func() (Result, error)) (Result, error) {
	ctx, cancel := context.WithTimeout(ctx, l.broker.timing.wait)
	defer cancel()
	for pause := 10 * time.Millisecond; ; pause = min(2*pause, time.Second) {
		result, err := l.concludeOnce(ctx, claim, last)
		if !conflicted(err) && outage.Of(err) == nil || ctx.Err() != nil {
			return result, err
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return Result{}, err
		}
	}
}

func (l *leg) concludeOnce(ctx context.Context, claim string, last func() (Result, error)) (Result, error) {
	if err := l.reread(ctx); err != nil {
		return Result{}, err
	}
	switch f := l.flow.Record; {
	case f.Outcome != nil || f.Waiting != nil:
		return l.result(ctx), nil
	case f.Claim != claim:
		// It took so long that another departure took over. Its result counts; what was given for this
		// code is dropped, and not revoked: that could end the other one's grant.
		return l.await(ctx)
	}
	return last()
}

// save connects the account, or ends the flow where the tokens are another one's.
func (l *leg) save(ctx context.Context, got arrival, departure string) (Result, error) {
	_, err := l.store(ctx, got, departure)
	if why, definite := unsaved(err); definite {
		return l.settle(ctx, departure, why)
	}
	if err != nil {
		return Result{}, err
	}
	return l.result(ctx), nil
}

// store stores the tokens with the account they are for, and settles the flow, in one transaction.
func (l *leg) store(ctx context.Context, got arrival, departure string) (*Account, error) {
	s, err := l.aim(ctx, got)
	if err != nil {
		return nil, err
	}
	if differs(s.account.Record, got) && !got.choice.covers(s.account.Record) {
		return nil, errMismatch
	}
	change, account, err := l.arrive(ctx, s, got, true)
	if err != nil {
		return nil, err
	}
	next := *l.flow.Record
	next.Outcome = &Outcome{Account: account.ID, Departure: departure}
	next.SettledAt = account.UpdatedAt
	wipe(&next)
	change.Flow = &Put[Flow]{Record: next, Revision: l.flow.Revision}
	if err := l.broker.store.Apply(ctx, change); err != nil {
		return nil, err
	}
	l.flow.Record = &next
	l.Record.GrantID = string(account.Grant)
	return account, nil
}
