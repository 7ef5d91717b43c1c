package pipes

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"culvert/connectors"
	"culvert/internal/access"
	"culvert/internal/secret"
)

// RefusedOutcome is what came of a report that an API refused a token.
type RefusedOutcome string

const (
	// RefusedNewer: the token is not the account's present one; the next vend has another. Nobody was asked.
	RefusedNewer RefusedOutcome = "newer_token"
	// RefusedWorks: the provider says whose the token is, so it lives. The API refuses something else.
	RefusedWorks RefusedOutcome = "still_works"
	// RefusedRefreshed: the next vend has another.
	RefusedRefreshed RefusedOutcome = "refreshed"
	// RefusedDead: the account needs reauthorization, or did already.
	RefusedDead RefusedOutcome = "needs_reauthorization"
	// RefusedUnknown: nothing could be found out, and nothing has changed.
	RefusedUnknown RefusedOutcome = "unknown"
)

// RefusedToken is a report: the account as in a request for a token, and the token that an API refused.
type RefusedToken struct {
	Request
	Token secret.Bytes
}

// Refused is the answer to it.
type Refused struct {
	Outcome RefusedOutcome
	// Reason says why an account needs reauthorization.
	Reason string
	// RetryAfter is when the provider can be asked again, where another report may then find out more; else 0.
	RetryAfter time.Duration
}

// TokenRefused finds out about a token that a provider's API refused: it asks the provider whose the token
// is, and if that is refused, too, refreshes it once, although its time is not over. Where there is nothing
// to ask, it is refreshed at once. A token that nothing can renew is the account's end.
//
// Attacker: a caller who reports without end, to have the provider asked, or refreshed, without end. Defence:
// one check of a grant in a minute, for all who report. A caller who reports a token that is not the
// account's, to end it: compared in constant time, and only the present one leads to anything.
//
// Errors: those of [Broker.Token] but for [*ProviderError]; [ErrNoAccount] also where none was named.
func (b *Broker) TokenRefused(ctx context.Context, call access.Call, r RefusedToken) (Refused, error) {
	o, err := b.begin(ctx, call, access.TokenReport)
	if err != nil {
		return Refused{}, err
	}
	var found Refused
	if err = r.check(); err == nil {
		err = o.retry(ctx, func() (err error) {
			found, err = o.tokenRefused(ctx, &r)
			return err
		})
	}
	return answer(ctx, o, found, err)
}

func (r *RefusedToken) check() error {
	if err := r.checkActing(); err != nil {
		return err
	}
	switch n := r.Token.Len(); {
	case n == 0:
		return required("access_token")
	case n > MaxToken:
		return invalid("access_token", "must have at most 64 KiB")
	}
	return nil
}

// tokenRefused is one round.
func (o *operation) tokenRefused(ctx context.Context, r *RefusedToken) (Refused, error) {
	at, none, err := o.reach(ctx, &r.Request, MethodOAuth)
	switch {
	case err != nil:
		return Refused{}, err
	case none != nil && none.Error == NotInstalled:
		return Refused{}, ErrNoAccount
	case none != nil:
		return Refused{Outcome: RefusedDead, Reason: none.Reason}, nil
	}
	tokens, err := o.openGrant(ctx, at.grant)
	if err != nil {
		return Refused{}, err
	}
	token, err := accessToken(tokens, at.name)
	if err != nil {
		return Refused{}, err
	}
	if !token.Equal(r.Token) {
		return Refused{Outcome: RefusedNewer}, nil
	}
	b, behind := o.broker, o.fork()
	c, wait := b.reports.start(ctx, at, b.now(), func(ctx context.Context) (Refused, error) {
		return behind.checkRefused(ctx, at, token)
	})
	if c == nil {
		return Refused{Outcome: RefusedUnknown, RetryAfter: wait}, nil
	}
	return b.checked(ctx, c)
}

// checked waits for a check, which may be another caller's.
func (b *Broker) checked(ctx context.Context, c *check) (Refused, error) {
	timeout := time.NewTimer(b.timing.wait)
	defer timeout.Stop()
	select {
	case <-c.done:
	case <-timeout.C:
		return Refused{Outcome: RefusedUnknown, RetryAfter: c.left(b.now())}, nil
	case <-ctx.Done():
		return Refused{}, ctx.Err()
	}
	if c.err != nil {
		return Refused{}, c.err
	}
	found := c.found
	if found.Outcome == RefusedUnknown || found.Outcome == RefusedWorks {
		found.RetryAfter = max(found.RetryAfter, c.left(b.now()))
	}
	return found, nil
}

// checkRefused asks the provider about the token that an account has. The identity call is asked about the
// main token alone, and where its grant is bound to. An answer that is neither an identity nor 401 tells
// nothing, such as 403 for a scope that the call wants; it is then as if there was none.
func (o *operation) checkRefused(ctx context.Context, at *reached, token secret.Bytes) (Refused, error) {
	b, g := o.broker, at.grant.as(at.name)
	dead := g.ended(b.now())
	if !dead && at.name == "" && at.conn.CanIdentify() && at.conn.Complete() && at.conn.TokenOrigin() == g.Origin {
		_, err := b.client.Identify(ctx, at.conn, token)
		failed := connectors.Of(err)
		if failed == nil {
			return Refused{Outcome: RefusedWorks}, err
		}
		b.log.LogAttrs(ctx, slog.LevelInfo, "provider does not confirm a token that was reported", slog.String("provider", at.conn.Slug),
			slog.String("grant", string(g.ID)), slog.Int("status", failed.Status), slog.Any("error", failed.Cause))
		if s := failed.Status; s == 0 || s == http.StatusTooManyRequests || s >= http.StatusInternalServerError {
			return Refused{Outcome: RefusedUnknown, RetryAfter: min(failed.RetryAfter, maxRetryAfter)}, nil
		}
		dead = failed.Status == http.StatusUnauthorized
	}
	if !dead && !g.Refreshable {
		return Refused{Outcome: RefusedUnknown}, nil
	}
	return o.renewRefused(ctx, at)
}

// renewRefused has the token refreshed, or buried if there is nothing to refresh it with, and reads what came of it.
func (o *operation) renewRefused(ctx context.Context, at *reached) (Refused, error) {
	b, key := o.broker, keyOf(at.grant)
	for range vendAttempts {
		f := b.refreshes.start(ctx, key, o.refreshRefused(at))
		if f == nil { // shutting down
			return Refused{Outcome: RefusedUnknown, RetryAfter: time.Second}, nil
		}
		select {
		case <-f.done:
		case <-ctx.Done():
			return Refused{}, ctx.Err()
		}
		var unavailable *ProviderError
		if errors.As(f.err, &unavailable) {
			return Refused{Outcome: RefusedUnknown, RetryAfter: unavailable.RetryAfter}, nil
		}
		if f.err != nil {
			return Refused{}, f.err
		}
		if err := b.store.Fence(ctx); err != nil {
			return Refused{}, err
		}
		now, err := b.grant(ctx, key.env, key.grant)
		if err != nil {
			return Refused{}, err
		}
		if found := at.since(now.Record); found.Outcome != RefusedUnknown {
			return found, nil
		}
		// The flight was another one: of another of the grant's tokens, or of one that had time.
	}
	return Refused{Outcome: RefusedUnknown}, nil
}

// since tells what became of the token. A generation more may be of another of the grant's tokens.
func (at *reached) since(g *Grant) Refused {
	n := g.Named[at.name]
	switch {
	case g.Dead:
		return Refused{Outcome: RefusedDead, Reason: g.Reason}
	case n.Dead:
		return Refused{Outcome: RefusedDead, Reason: n.Reason}
	case g.Generation != at.grant.Generation && (len(g.Named) == 0 || !g.as(at.name).ObtainedAt.Equal(at.grant.as(at.name).ObtainedAt)):
		return Refused{Outcome: RefusedRefreshed}
	}
	return Refused{Outcome: RefusedUnknown}
}
