package pipes

import (
	"context"
	"slices"
	"time"

	"culvert/connectors"
	"culvert/internal/access"
	"culvert/internal/events"
	"culvert/internal/secret"
	"culvert/keys"
)

// AccountTokens are tokens that a caller brings, or changes of an account (contract section 2.2,
// ConnectedAccountDto).
type AccountTokens struct {
	AccessToken, RefreshToken secret.Bytes
	// ExpiresAt is the access token's; zero if it was not sent.
	ExpiresAt time.Time
	// Scopes nil were not sent.
	Scopes []string
	// State is derived from the tokens if empty.
	State State
	// Config are values of the provider's config fields for the account. Without any, one that is there keeps its own.
	Config map[string]string
	// Intent can be [IntentAdd] for an import, and [IntentReauthorize] for an update, which is the same as none.
	Intent Intent
}

// ImportAccount connects an account with tokens that the caller has from elsewhere, or without tokens:
// then it needs reauthorization from the beginning.
//
// The rules: an access token may come alone (it does not end), with expires_at and refresh_token (it is
// refreshed), or with a refresh token alone (it is refreshed at its first use if the provider's tokens
// are known to end). expires_at without either of the tokens is refused, and a refresh token without an
// access token.
//
// With [IntentAdd] it is a further account of an owner who has one: [ErrAccountExists] means then that one of
// his has this access token.
//
// Errors: [*InvalidError], [ErrNoIntegration], [ErrAccountExists], [*AuthMethodError], [ErrNotConfigured] for a
// refresh token that no client could use, [ErrTokenInUse], [ErrTooManyConnections], [ErrConflict].
func (b *Broker) ImportAccount(ctx context.Context, call access.Call, r Request, t AccountTokens) (Account, error) {
	return b.putAccount(ctx, call, r, t, (*operation).importAccount)
}

// UpdateAccount changes an account: with tokens it is as if the user had connected again; without, only
// what was sent changes.
//
// Errors: [*InvalidError], [ErrNoIntegration], [ErrNoAccount], [ErrAccountSelection], [*AuthMethodError],
// [ErrNotConfigured], [ErrTokenInUse], [ErrConflict].
func (b *Broker) UpdateAccount(ctx context.Context, call access.Call, r Request, t AccountTokens) (Account, error) {
	return b.putAccount(ctx, call, r, t, (*operation).updateAccount)
}

// putAccount is what import and update have in common.
func (b *Broker) putAccount(
	ctx context.Context, call access.Call, r Request, t AccountTokens,
	plan accountPlan,
) (Account, error) {
	o, err := b.begin(ctx, call, access.AccountsManage)
	if err != nil {
		return Account{}, err
	}
	stored, err := o.rounds(ctx, func(ctx context.Context) (*Account, error) { return o.tryAccount(ctx, &r, &t, plan) })
	return committed(ctx, o, stored, err)
}

// accountPlan is what differs between import and update.
type accountPlan func(*operation, context.Context, *Request, *AccountTokens, *Integration, slot) (Change, *Account, error)

// tryAccount is one round.
func (o *operation) tryAccount(ctx context.Context, r *Request, t *AccountTokens, plan accountPlan) (*Account, error) {
	i, s, err := o.request(ctx, r)
	if err != nil {
		return nil, err
	}
	if err := gather(r.checkActing(), t.check()); err != nil {
		return nil, err
	}
	change, account, err := plan(o, ctx, r, t, i, s)
	if err != nil {
		return nil, err
	}
	o.Makes(string(account.ID))
	return account, o.broker.store.Apply(ctx, change)
}

func (o *operation) importAccount(ctx context.Context, r *Request, t *AccountTokens, i *Integration, s slot) (Change, *Account, error) {
	if err := t.Intent.only(IntentAdd, r); err != nil {
		return Change{}, nil, err
	}
	if t.Intent != IntentAdd && s.account.Record != nil {
		return Change{}, nil, ErrAccountExists
	}
	if t.State == Connected && t.AccessToken.Len() == 0 {
		return Change{}, nil, combination("state", `"connected" needs an access_token`)
	}
	if err := o.Intend(ctx); err != nil {
		return Change{}, nil, err
	}
	got, err := o.broker.brought(i, nil, s.owner, t)
	if err != nil {
		return Change{}, nil, err
	}
	if t.Intent == IntentAdd {
		if err := o.imported(ctx, s.all(), t); err != nil {
			return Change{}, nil, err
		}
		if s, err = s.further(); err != nil {
			return Change{}, nil, err
		}
	}
	return o.arrive(ctx, s, got, false)
}

func (o *operation) updateAccount(ctx context.Context, r *Request, t *AccountTokens, i *Integration, s slot) (Change, *Account, error) {
	if err := t.Intent.only(IntentReauthorize, r); err != nil {
		return Change{}, nil, err
	}
	found, err := s.choose(r)
	if err != nil {
		return Change{}, nil, err
	}
	o.Record.AccountID = string(found.Record.ID)
	if err := o.Intend(ctx); err != nil {
		return Change{}, nil, err
	}
	if t.AccessToken.Len() == 0 {
		return o.edit(ctx, found, t)
	}
	got, err := o.broker.brought(i, found.Record, s.owner, t)
	if err != nil {
		return Change{}, nil, err
	}
	if t.Scopes == nil {
		got.scopes = found.Record.Scopes
	}
	s.account = found
	return o.arrive(ctx, s, got, false)
}

// edit changes an account without touching its tokens.
func (o *operation) edit(ctx context.Context, found At[Account], t *AccountTokens) (Change, *Account, error) {
	if len(given(t.Config)) > 0 {
		return Change{}, nil, combination("config", "needs an access_token: those that the account has are another place's")
	}
	next, now := *found.Record, o.broker.now()
	next.UpdatedAt = now
	if t.Scopes != nil {
		next.Scopes = slices.Clone(t.Scopes)
	}
	kind := events.AccountUpdated
	if t.State != "" && t.State != next.State {
		next.State, next.Reason, kind = t.State, "", events.AccountConnected
		if t.State == NeedsReauthorization {
			next.Reason, kind = ReasonSetByCaller, events.ReauthorizationAsked
		} else if err := o.living(ctx, &next); err != nil {
			return Change{}, nil, err
		}
	}
	e, err := o.cause().aboutAccount(kind, &next, now)
	return Change{
		Environment: o.Environment(), Account: &Put[Account]{Record: next, Revision: found.Revision}, Events: []events.Event{e},
	}, &next, err
}

// living refuses to call an account connected whose tokens are gone or dead.
func (o *operation) living(ctx context.Context, a *Account) error {
	refused := combination("state", `"connected" needs an access_token: the account has none that could work`)
	if a.Grant == "" {
		return refused
	}
	g, err := o.broker.grant(ctx, o.Environment(), a.Grant)
	if err != nil {
		return err
	}
	if g.Record.Dead {
		return refused
	}
	return nil
}

// brought is an arrival of tokens by a caller, for an account that is there or, with nil, a new one. A provider
// that needs a value is refreshed nowhere without it; so tokens without a refresh token may come without.
func (b *Broker) brought(i *Integration, a *Account, w Owner, t *AccountTokens) (arrival, error) {
	if !i.supports(MethodOAuth) {
		return arrival{}, &AuthMethodError{Wanted: MethodOAuth}
	}
	config, err := b.configFor(i, a, t.Config, MethodOAuth, t.RefreshToken.Len() == 0)
	if err != nil {
		return arrival{}, err
	}
	i = i.at(config.plain)
	conn, err := b.connector(i)
	if err != nil {
		return arrival{}, err
	}
	if t.RefreshToken.Len() > 0 && (i.Client == nil || i.Client.ID == "" || i.lacksSecret(conn)) {
		return arrival{}, ErrNotConfigured // nothing could ever refresh it
	}
	now := b.now()
	got := arrival{
		integration: i, origin: conn.TokenOrigin(), owner: w, obtainedAt: now, expiresAt: t.expiry(conn, now),
		tokens: keys.GrantTokens{Access: t.AccessToken, Refresh: t.RefreshToken},
		scopes: slices.Clone(t.Scopes), state: t.State, config: config,
	}
	switch {
	case got.state == "" && t.AccessToken.Len() == 0:
		got.state, got.reason = NeedsReauthorization, ReasonImported
	case got.state == NeedsReauthorization:
		got.reason = ReasonSetByCaller
	}
	return got, nil
}

// expiry is when an access token counts as ended. One that came with a refresh token but without a time,
// from a provider whose tokens end, ended at a time that nobody knows: it is refreshed before it is used.
func (t *AccountTokens) expiry(conn *connectors.Connector, now time.Time) time.Time {
	if t.ExpiresAt.IsZero() && t.RefreshToken.Len() > 0 && conn.Lifetime > 0 {
		return now
	}
	if t.ExpiresAt.IsZero() {
		return time.Time{}
	}
	return t.ExpiresAt.UTC()
}

func combination(field, rule string) error {
	return &InvalidError{Field: field, Code: CodeTokenCombination, Rule: rule}
}

// check holds what was sent to the rules that need no record (contract section 2.2, "Token validation
// rules").
func (t *AccountTokens) check() error {
	access, refresh, expires := t.AccessToken.Len() > 0, t.RefreshToken.Len() > 0, !t.ExpiresAt.IsZero()
	switch {
	case expires && !access:
		return combination("expires_at", "needs an access_token")
	case refresh && !access:
		return combination("refresh_token", "needs an access_token")
	case expires && !refresh:
		return combination("expires_at", "needs a refresh_token: an access token that ends could not be renewed")
	case t.AccessToken.Len() > MaxToken:
		return invalid("access_token", "is too long")
	case t.RefreshToken.Len() > MaxToken:
		return invalid("refresh_token", "is too long")
	}
	switch t.State {
	case "", Connected, NeedsReauthorization:
	default:
		return invalid("state", `must be "connected" or "needs_reauthorization"`)
	}
	return checkScopes("scopes", t.Scopes)
}
