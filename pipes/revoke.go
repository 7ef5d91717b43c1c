package pipes

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"time"

	"culvert/connectors"
	"culvert/internal/access"
	"culvert/internal/events"
	"culvert/internal/outage"
	"culvert/internal/secret"
	"culvert/keys"
)

// revoking is one attempt at one revocation.
type revoking struct {
	*operation
	record *Revocation
	// integration is the one that the account was of, also if it was removed.
	integration *Integration
	conn        *connectors.Connector
}

// revocationVerdict is what an attempt came to: an end, or [RevocationPending] and when to try again.
type revocationVerdict struct {
	state RevocationState
	code  string
	// again is what the provider asked for, 0 for nothing.
	again time.Duration
	// err is for the trail: why it is not revoked.
	err error
}

func ended(state RevocationState, code string) revocationVerdict {
	return revocationVerdict{state: state, code: code}
}

// one carries an attempt out: it claims the revocation, sends, and stores what came of it. A process that
// dies in between leaves a claim that runs out; the tokens are then sent again, which changes nothing at
// the provider. again tells that the integration's next revocation would end no better now.
func (v revoker) one(ctx context.Context, env access.EnvironmentID, id AccountID) (again bool, err error) {
	o, err := v.begin(ctx, access.Call{Actor: access.SystemActor(env, "revoker")}, access.TokenRevoke)
	if err != nil {
		return true, err
	}
	found, err := v.revocation(ctx, env, id)
	if errors.Is(err, ErrNoRevocation) || err == nil && (found.Record.State != RevocationPending || v.now().Before(found.Record.NextAt)) {
		return false, nil // another replica has it, or had it; no record of work that was not done
	}
	if err != nil {
		return true, o.End(ctx, err)
	}
	r := &revoking{operation: o, record: found.Record}
	if err := o.ofRevocation(r.record); err != nil {
		return false, o.End(ctx, err)
	}
	// A claim is a lock and no change: of the replicas that come by, the one that gets it has something to record.
	if err := r.claim(ctx, found.Revision); conflicted(err) {
		return false, nil
	} else if err != nil {
		return true, err
	}
	if err := o.Intend(ctx); err != nil {
		return true, err
	}
	verdict := r.attempt(ctx)
	// What the provider has said is stored also by a process that is told to stop.
	ctx = context.WithoutCancel(ctx)
	if err := r.conclude(ctx, verdict); err != nil {
		return true, o.End(ctx, err)
	}
	if err := o.End(ctx, verdict.err); err != verdict.err {
		return true, err // the audit log's
	}
	return verdict.state == RevocationPending, nil
}

// claim makes the attempt this process's.
func (r *revoking) claim(ctx context.Context, revision int64) error {
	next := *r.record
	next.Attempts++
	next.NextAt = r.broker.now().Add(revokeClaim)
	err := r.broker.store.Apply(ctx, Change{
		Environment: next.Environment, Revocation: &Put[Revocation]{Record: next, Revision: revision},
	})
	r.record = &next
	return err
}

// attempt asks the provider, if nothing stands against it.
func (r *revoking) attempt(ctx context.Context) revocationVerdict {
	if err := r.find(ctx); err != nil {
		return r.held(err)
	}
	g := r.record.Grant
	switch {
	case g == nil:
		return ended(RevocationFailed, RevocationUnreadable)
	case !r.conn.CanRevoke():
		return ended(RevocationUnsupported, "")
	case g.Origin == "" || r.conn.TokenOrigin() != g.Origin:
		// The tokens are bound to where they came from. An address that an administrator has moved gets
		// none of them.
		return ended(RevocationFailed, RevocationMoved)
	case g.Client != "" && g.Client != r.integration.clientID():
		return ended(RevocationFailed, RevocationClientChanged) // RFC 7009 section 2.1: it would be refused
	}
	if r.conn.RevocationEndsGrant() {
		code, err := r.sharedWith(ctx)
		if err != nil {
			return r.held(err)
		}
		if code != "" {
			return ended(RevocationKept, code)
		}
	}
	client, err := r.clientSecrets(ctx, r.integration, r.conn)
	if err != nil {
		return r.held(err)
	}
	tokens, err := r.open(ctx)
	if err != nil {
		return r.held(err)
	}
	code, err := r.inUse(ctx, tokens)
	if err != nil {
		return r.held(err)
	}
	if code != "" {
		return ended(RevocationKept, code)
	}
	return r.judge(client.asClient(func(creds connectors.Credentials) error {
		return r.broker.client.Revoke(ctx, r.conn, creds, revocable(g, tokens))
	}))
}

// open opens the tokens, under the seal of a grant or of a flow.
func (r *revoking) open(ctx context.Context) (keys.GrantTokens, error) {
	g := r.record.Grant
	if r.record.Flow == "" {
		return r.openGrant(ctx, g)
	}
	kctx, err := keys.ParseContext(g.Items)
	if err != nil {
		return keys.GrantTokens{}, keys.ErrTampered
	}
	permit, err := r.permitFor(r.record.Slug, kctx)
	if err != nil {
		return keys.GrantTokens{}, err
	}
	r.Record.KeyID, r.Record.KeyContext = string(g.KeyID), kctx.Items()
	sealed := keys.Sealed{KeyID: g.KeyID, WrappedDEK: g.WrappedDEK, Ciphertext: g.Sealed}
	return r.broker.keys.OpenWaiting(ctx, permit, sealed, r.record.waitingBinding())
}

// inUse tells whether some account lives on these very tokens: some providers hand one person the same ones
// again. Tokens that waited without a refresh token cannot be looked up, so the consent is.
func (r *revoking) inUse(ctx context.Context, t keys.GrantTokens) (code string, err error) {
	if t.Refresh.Len() == 0 && r.record.Flow != "" {
		return r.sharedWith(ctx)
	}
	if t.Refresh.Len() == 0 {
		return "", nil
	}
	e, err := r.broker.environments.Environment(r.record.Environment)
	if err != nil {
		return "", err
	}
	if err := r.broker.store.Fence(ctx); err != nil {
		return "", err
	}
	holder, err := r.holderOf(ctx, e.RefreshTokenMAC(t.Refresh))
	if err != nil || holder == "" {
		return "", err
	}
	return RevocationShared, nil
}

// find reads the integration as it is for the owner, or what was kept of it, and its provider.
func (r *revoking) find(ctx context.Context) error {
	b, rec := r.broker, r.record
	found, _, err := b.integrationOrRetired(ctx, rec.Environment, rec.Slug, rec.Owner.Kind, rec.Integration)
	if err != nil {
		return err
	}
	if r.integration, err = b.integrationFor(ctx, found.Record, rec.Owner); err != nil {
		return err
	}
	r.integration = r.integration.at(rec.Config)
	r.conn, err = b.connector(r.integration)
	return err
}

// integrationOrRetired finds the integration that a record names, or what was kept of it. The error is
// [ErrNoIntegration].
func (b *Broker) integrationOrRetired(
	ctx context.Context, env access.EnvironmentID, slug string, o Ownership, id IntegrationID,
) (found At[Integration], retired bool, err error) {
	found, err = b.integrationOf(ctx, env, slug, o, id)
	if !errors.Is(err, ErrNoIntegration) {
		return found, false, err
	}
	found, err = b.retired(ctx, env, id)
	return found, true, err
}

// retired finds an integration that was removed while there was something to revoke. The error is
// [ErrNoIntegration].
func (b *Broker) retired(ctx context.Context, env access.EnvironmentID, id IntegrationID) (At[Integration], error) {
	all, err := b.store.Retired(ctx, env)
	if err != nil {
		return At[Integration]{}, err
	}
	for _, each := range all {
		if each.Record.ID == id {
			return each, nil
		}
	}
	return At[Integration]{}, ErrNoIntegration
}

// revocable is a grant's tokens as a connector takes them: those that are kept beside are the names that
// grantTokens gave them.
func revocable(g *Grant, t keys.GrantTokens) connectors.Tokens {
	all := connectors.Tokens{
		Access: t.Access, Refresh: t.Refresh, ExpiresAt: g.ExpiresAt,
		Named: map[string]secret.Bytes{}, NamedRefresh: map[string]secret.Bytes{},
	}
	for name, token := range t.Named {
		if plain, isRefresh := strings.CutPrefix(name, refreshNames); isRefresh {
			all.NamedRefresh[plain] = token
		} else {
			all.Named[name] = token
		}
	}
	return all
}

// held is the verdict on what stood in the way before anything was sent. Outages pass; what was removed,
// moved or shredded does not come back.
func (r *revoking) held(err error) revocationVerdict {
	for _, known := range []struct {
		err  error
		code string
	}{
		{ErrNoIntegration, RevocationIntegrationGone},
		{ErrEndpointChanged, RevocationMoved},
		{ErrNotConfigured, RevocationNotConfigured},
		{keys.ErrShredded, RevocationUnreadable},
		{keys.ErrTampered, RevocationUnreadable},
	} {
		if errors.Is(err, known.err) {
			return revocationVerdict{state: RevocationFailed, code: known.code, err: err}
		}
	}
	verdict := revocationVerdict{state: RevocationPending, err: err}
	if down := outage.Of(err); down != nil {
		verdict.code = down.Code()
	}
	return verdict
}

// judge is the verdict on the provider's answer.
func (r *revoking) judge(err error) revocationVerdict {
	if err == nil {
		return ended(Revoked, "")
	}
	failed := connectors.Of(err)
	if failed == nil {
		return revocationVerdict{state: RevocationPending, err: err}
	}
	r.broker.log.LogAttrs(context.Background(), slog.LevelWarn, "revocation failed", slog.String("provider", r.record.Slug),
		slog.String("account", string(r.record.ID)), slog.String("class", failed.Class.String()), slog.String("code", failed.Code),
		slog.Any("error", failed.Cause))
	verdict := revocationVerdict{state: RevocationPending, code: failed.Code, again: failed.RetryAfter}
	if verdict.code == "" {
		verdict.code = failed.Class.String()
	}
	verdict.err = &ProviderError{Slug: r.record.Slug, RetryAfter: failed.RetryAfter, Err: ErrProvider}
	switch {
	case failed.Code == connectors.CodeUnsupportedToken:
		verdict.state, verdict.err = RevocationUnsupported, nil
	case failed.Class == connectors.ClientRejected:
		// An administrator may put the credentials right within the day.
		verdict.err = &ProviderError{Slug: r.record.Slug, Err: ErrClientRejected}
	case failed.Class == connectors.Refused || failed.Class == connectors.Blocked || failed.Class == connectors.DeadGrant:
		verdict.state = RevocationFailed
	}
	return verdict
}

// conclude stores what an attempt came to, unless another process took the revocation over meanwhile.
func (r *revoking) conclude(ctx context.Context, verdict revocationVerdict) error {
	b := r.broker
	return rounds(ctx, b.store.Fence, func() error {
		found, err := b.revocation(ctx, r.record.Environment, r.record.ID)
		if err != nil {
			return err
		}
		if found.Record.State != RevocationPending || found.Record.Attempts != r.record.Attempts {
			return nil
		}
		next, now := *found.Record, b.now()
		change := Change{Environment: next.Environment}
		switch {
		case verdict.state != RevocationPending:
			next.end(verdict.state, verdict.code, now)
		case now.Sub(next.CreatedAt) >= revokeFor:
			next.end(RevocationGivenUp, verdict.code, now)
		default:
			next.Code, next.NextAt = verdict.code, now.Add(revokePause(next.Attempts, verdict.again))
		}
		if next.State != RevocationPending {
			e, err := r.cause().aboutRevocation(&next, now)
			if err != nil {
				return err
			}
			change.Events = []events.Event{e}
		}
		change.Revocation = &Put[Revocation]{Record: next, Revision: found.Revision}
		return b.store.Apply(ctx, change)
	})
}

// revokePause is how long a revocation waits after so many attempts.
func revokePause(attempts int, asked time.Duration) time.Duration {
	wait := min(firstRevokePause<<min(max(attempts-1, 0), 20), maxRevokePause)
	return min(max(wait, asked), revokeFor/2)
}
