package pipes

import (
	"context"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"time"

	"culvert/connectors"
	"culvert/internal/access"
	"culvert/internal/secret"
	"culvert/keys"
)

const (
	// FinishTTL is from the callback of a flow with session binding to its end: for so long its tokens wait.
	FinishTTL = 10 * time.Minute
	// MaxFinishTries bounds how many wrong verifiers a flow is brought.
	MaxFinishTries = 5
)

// FinishRequest is what return_to was told, and what the session of the user holds who came there.
type FinishRequest struct {
	ResultID string
	Verifier secret.Bytes
}

// Finish connects the account of a flow with session binding. Both halves are needed: the result id is with
// the browser that came back from the provider, the verifier in the session that asked for the flow. Only if
// they meet is it one person. A second call is answered with the account of the first.
//
// Attacker: a user of the application who has a victim open his link, so that the victim's account at the
// provider is connected for him. Defence: the victim's session has no verifier for this flow, and the
// attacker's never sees the result id. Gap: an application that takes the result id of one session and the
// verifier of another.
//
// Errors: [*InvalidError]; [ErrNoAuthorization] for a result id that is unknown, forged, expired or another
// environment's, and for a flow that failed; [ErrVerifier]; [ErrDisabled] while the integration cannot be
// used; [ErrTokenInUse]; [*AuthMethodError]; [ErrNoAccount] if the account was removed since;
// [ErrTooManyConnections]; [ErrConflict].
func (b *Broker) Finish(ctx context.Context, call access.Call, r FinishRequest) (Account, error) {
	o, err := b.begin(ctx, call, access.PipesFinish)
	if err != nil {
		return Account{}, err
	}
	account, err := o.finish(ctx, &r)
	return committed(ctx, o, account, err)
}

func (o *operation) finish(ctx context.Context, r *FinishRequest) (Account, error) {
	if err := r.check(); err != nil {
		return Account{}, err
	}
	c, ok := parseTicket(r.ResultID)
	if !ok || c.env != o.Environment() {
		return Account{}, ErrNoAuthorization
	}
	e, err := o.broker.environments.Environment(c.env)
	if err != nil {
		return Account{}, err
	}
	found, err := o.broker.store.Flow(ctx, c.env, c.flow)
	if errors.Is(err, ErrNotFound) {
		return Account{}, ErrNoAuthorization
	}
	if err != nil {
		return Account{}, err
	}
	l := &leg{operation: o, keys: e, flow: found}
	if f := found.Record; f.ID != c.flow || f.Environment != c.env || f.Challenge == "" || f.Claim == "" ||
		subtle.ConstantTimeCompare([]byte(l.resultID()), []byte(r.ResultID)) != 1 {
		return Account{}, ErrNoAuthorization
	}
	var account Account
	err = l.rounds(ctx, func() error {
		var err error
		account, err = l.finishOnce(ctx, r)
		return err
	})
	if errors.Is(err, ErrTicket) {
		err = ErrNoAuthorization
	}
	return account, err
}

// finishOnce is one round.
func (l *leg) finishOnce(ctx context.Context, r *FinishRequest) (Account, error) {
	f := l.flow.Record
	waits := f.Outcome == nil && f.Waiting != nil && !f.choosing() && l.broker.now().Before(f.end())
	if !waits && (f.Outcome == nil || f.Outcome.Account == "") {
		return Account{}, ErrNoAuthorization
	}
	l.Record.FlowID, l.Record.IntegrationID = string(f.ID), string(f.Integration)
	l.about(f.Slug, f.Owner, f.ActingUser)
	kctx, err := f.Owner.keyContext()
	if err != nil {
		return Account{}, err
	}
	if err := l.complete(f.Slug, kctx); err != nil {
		return Account{}, err
	}
	verified := subtle.ConstantTimeCompare([]byte(connectors.Challenge(r.Verifier)), []byte(f.Challenge)) == 1
	switch {
	case !verified && waits:
		return Account{}, l.wrongVerifier(ctx)
	case !verified:
		return Account{}, ErrVerifier
	case !waits:
		return l.finished(ctx, f.Outcome.Account)
	}
	i, _, err := l.provider(ctx)
	if errors.Is(err, errUnavailable) {
		return Account{}, ErrDisabled
	}
	if err != nil {
		return Account{}, err
	}
	return l.claimTokens(ctx, i)
}

// claimTokens gives the waiting tokens to the account that they are for.
func (l *leg) claimTokens(ctx context.Context, i *Integration) (Account, error) {
	departure := l.flow.Record.Waiting.Departure
	got, err := l.waited(ctx, i)
	if err != nil {
		return Account{}, err
	}
	if err := l.Intend(ctx); err != nil {
		return Account{}, err
	}
	account, err := l.store(ctx, got, departure)
	if why, definite := unsaved(err); definite {
		if _, err := l.settle(ctx, departure, why); err != nil {
			return Account{}, err
		}
	}
	if errors.Is(err, errMismatch) {
		return Account{}, ErrNoAuthorization
	}
	if err != nil {
		return Account{}, err
	}
	return *account, nil
}

// wrongVerifier counts, and ends the flow with the last try. It is [ErrVerifier] once that is stored.
func (l *leg) wrongVerifier(ctx context.Context) error {
	f := l.flow.Record
	if f.Tries+1 >= MaxFinishTries {
		_, err := l.settle(ctx, f.Waiting.Departure, failure{code: CodeVerifier, reason: "the application brought wrong code verifiers"})
		if err != nil {
			return err
		}
		return ErrVerifier
	}
	if err := l.Intend(ctx); err != nil {
		return err
	}
	next := *f
	next.Tries++
	if err := l.putFlow(ctx, next); err != nil {
		return err
	}
	return ErrVerifier
}

// finished is the account that the first call connected.
func (l *leg) finished(ctx context.Context, id AccountID) (Account, error) {
	found, err := l.broker.store.Account(ctx, l.Environment(), id)
	if errors.Is(err, ErrNotFound) {
		return Account{}, ErrNoAccount
	}
	if err != nil {
		return Account{}, err
	}
	if a := found.Record; a.ID != id || a.Environment != l.Environment() {
		return Account{}, keys.ErrTampered
	}
	l.Record.AccountID = string(id)
	return *found.Record, nil
}

// check wants what can be a code verifier: nothing else matches a challenge, and it is not counted as a try.
func (r *FinishRequest) check() error {
	var wrong []error
	if r.ResultID == "" {
		wrong = append(wrong, required("result_id"))
	}
	switch {
	case r.Verifier.Len() == 0:
		wrong = append(wrong, required("code_verifier"))
	case !connectors.IsVerifier(r.Verifier):
		wrong = append(wrong, invalid("code_verifier", "must be 43 to 128 of the characters A-Z a-z 0-9 - . _ ~"))
	}
	return gather(wrong...)
}

// checkChallenge wants an S256 challenge, which is the only method: a plain one would be the verifier
// itself. A flow that has one ends at return_to, where the session is.
func checkChallenge(r *AuthorizeRequest) error {
	if r.Challenge == "" && r.ChallengeMethod == "" {
		return nil
	}
	var wrong []error
	if r.ChallengeMethod != "" && r.ChallengeMethod != "S256" {
		wrong = append(wrong, invalid("code_challenge_method", `must be "S256"`))
	}
	if sum, err := base64.RawURLEncoding.Strict().DecodeString(r.Challenge); err != nil || len(sum) != 32 {
		wrong = append(wrong, invalid("code_challenge", "must be the SHA-256 of the code verifier in base64url without padding (S256)"))
	}
	if r.ReturnTo == "" {
		wrong = append(wrong, required("return_to"))
	}
	return gather(wrong...)
}
