package pipes

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"time"

	"culvert/connectors"
	"culvert/internal/access"
	"culvert/internal/secret"
	"culvert/keys"
)

// Why no token is vended, in the words of the contract.
const (
	NotInstalled             = "not_installed"
	VendNeedsReauthorization = string(NeedsReauthorization)
)

// Vended is the answer to a request for a token: one that works, or why there is none.
type Vended struct {
	Active bool
	// Error is [NotInstalled] or [VendNeedsReauthorization] where Active is false.
	Error string
	// Reason says why an account needs reauthorization.
	Reason string

	Account     AccountID
	Method      AuthMethod
	AccessToken secret.Bytes
	// ExpiresAt is zero for a token that does not end.
	ExpiresAt time.Time
	// Scopes were granted; MissingScopes are asked for by the integration and were not.
	Scopes, MissingScopes []string
	// Config are the values of the provider's config fields that the credential is used with: those that a token was
	// obtained with, the account's, or what counts for it. SecretConfig are the account's secret ones.
	Config       map[string]string
	SecretConfig map[string]secret.Bytes
	// Metadata is what the provider said besides the token, of what its connector knows: the host of the
	// customer's API, for example.
	Metadata map[string]string
}

// Token vends an access token that works now, refreshing it first if it has to. A token between its
// margin and its end is vended at once and refreshed behind; one that has ended is waited for. The
// token is in the store before it is here.
//
// Errors: [*InvalidError], [ErrNoIntegration], [ErrDisabled], [ErrNoAccount] if one was named,
// [ErrAccountSelection], [*AuthMethodError], [ErrEndpointChanged], [*ProviderError]: the account is as it
// was, and a token may be had later.
func (b *Broker) Token(ctx context.Context, call access.Call, r Request) (Vended, error) {
	o, err := b.begin(ctx, call, access.TokenVend)
	if err != nil {
		return Vended{}, err
	}
	vended, err := o.vend(ctx, &r, MethodOAuth)
	return answer(ctx, o, vended, err)
}

// vendAttempts bounds how often a vend looks again, because its grant was refreshed or changed. A
// provider whose tokens have ended when they arrive would otherwise be asked without end.
const vendAttempts = 4

// vend vends what accounts of one method have, or of any if that is empty.
func (o *operation) vend(ctx context.Context, r *Request, only AuthMethod) (Vended, error) {
	if err := r.checkActing(); err != nil {
		return Vended{}, err
	}
	err := ErrConflict
	for attempt := range vendAttempts {
		if attempt > 0 {
			if err := o.Refresh(ctx); err != nil {
				return Vended{}, err
			}
		}
		var vended *Vended
		if vended, err = o.vendOnce(ctx, r, only); vended != nil {
			return *vended, nil
		}
		if err != nil && !conflicted(err) {
			return Vended{}, err
		}
	}
	if err == nil {
		err = &ProviderError{Slug: r.Slug, RetryAfter: time.Second, Err: ErrProvider}
	}
	return Vended{}, err
}

// vendOnce is one look: an answer, an error, or neither where it is worth looking again.
func (o *operation) vendOnce(ctx context.Context, r *Request, only AuthMethod) (*Vended, error) {
	at, none, err := o.reach(ctx, r, only)
	if err != nil || none != nil {
		return none, err
	}
	return o.fresh(ctx, at.integration, at.conn, at.account, at.grant, at.name)
}

// reached is the token that a request leads to, with what it is decided by.
type reached struct {
	integration *Integration
	conn        *connectors.Connector
	account     *Account
	grant       *Grant
	// name is that of the token; empty for the main one.
	name string
}

// reach finds the token that a request means. none is the answer where the account has no living one.
func (o *operation) reach(ctx context.Context, r *Request, only AuthMethod) (at *reached, none *Vended, err error) {
	i, s, err := o.request(ctx, r)
	if err != nil {
		return nil, nil, err
	}
	if !i.Enabled {
		return nil, nil, ErrDisabled
	}
	found, err := s.choose(r)
	if errors.Is(err, ErrNoAccount) && r.AccountID == "" {
		return nil, &Vended{Error: NotInstalled}, nil
	}
	if err != nil {
		return nil, nil, err
	}
	a := found.Record
	o.Record.AccountID, o.Record.GrantID, o.Record.Revision = string(a.ID), string(a.Grant), found.Revision
	if only != "" && a.Method != only {
		return nil, nil, &AuthMethodError{Uses: a.Method}
	}
	if a.State != Connected || a.Grant == "" {
		return nil, &Vended{Error: VendNeedsReauthorization, Reason: a.Reason}, nil
	}
	g, err := o.broker.grant(ctx, o.Environment(), a.Grant)
	if err != nil {
		return nil, nil, err
	}
	if g.Record.Integration != a.Integration {
		return nil, nil, keys.ErrTampered
	}
	if g.Record.Dead {
		return nil, &Vended{Error: VendNeedsReauthorization, Reason: g.Record.Reason}, nil
	}
	i = i.at(a.Config)
	conn, err := o.broker.connector(i)
	if err != nil {
		return nil, nil, err
	}
	name, err := g.Record.token(r.TokenName)
	if err != nil {
		return nil, nil, err
	}
	if n := g.Record.Named[name]; n.Dead {
		return nil, &Vended{Error: VendNeedsReauthorization, Reason: n.Reason}, nil
	}
	return &reached{integration: i, conn: conn, account: a, grant: g.Record, name: name}, nil, nil
}

// fresh vends a grant's token of this name, or sees to it that there is one.
func (o *operation) fresh(ctx context.Context, i *Integration, conn *connectors.Connector, a *Account, g *Grant, name string) (*Vended, error) {
	switch g.as(name).due(conn, o.broker.now()) {
	case living:
		return o.vended(ctx, i, conn, a, g, name)
	case ending:
		o.refreshBehind(ctx, a, g, name)
		return o.vended(ctx, i, conn, a, g, name)
	}
	err := o.refreshNow(ctx, a, g, name)
	if err == nil {
		return nil, nil // the store says what came of it
	}
	if !g.as(name).ended(o.broker.now()) {
		// The provider's trouble, or ours, is no reason to withhold a token that works.
		return o.vended(ctx, i, conn, a, g, name)
	}
	return nil, err
}

func (o *operation) vended(ctx context.Context, i *Integration, conn *connectors.Connector, a *Account, g *Grant, name string) (*Vended, error) {
	tokens, err := o.openGrant(ctx, g)
	if err != nil {
		return nil, err
	}
	token, err := accessToken(tokens, name)
	if err != nil {
		return nil, err
	}
	o.identifyBehind(ctx, a, g, conn, tokens.Access)
	o.broker.touched(g, conn)
	scopes := append([]string{}, a.Scopes...)
	return &Vended{
		Active: true, Account: a.ID, Method: a.Method, AccessToken: token, ExpiresAt: g.as(name).ExpiresAt,
		Scopes: scopes, MissingScopes: connectors.MissingScopes(conn, requestedScopes(i, conn), scopes),
		Config: g.usedWith(i, conn), SecretConfig: tokens.Config, Metadata: g.Metadata,
	}, nil
}

// accessToken is the one of this name.
func accessToken(t keys.GrantTokens, name string) (secret.Bytes, error) {
	token := t.Access
	if name != "" {
		token = t.Named[name]
	}
	if token.Len() == 0 {
		return secret.Bytes{}, keys.ErrTampered
	}
	return token, nil
}

// need is what a grant's token asks for.
type need int

const (
	// living: vend it.
	living need = iota
	// ending: vend it, and refresh behind.
	ending
	// waited: refresh first.
	waited
)

const (
	maxMargin = 5 * time.Minute
	// maxMarginKilling is for providers that end the old access token with the refresh: who was given
	// it a moment ago loses it.
	maxMarginKilling = time.Minute
)

// margin is how long before its end a token is refreshed: a fifth of its lifetime, within bounds, less up
// to a tenth that depends on the grant, so that grants of one moment are not all due at another.
func (g *Grant) margin(conn *connectors.Connector) time.Duration {
	most := maxMargin
	if conn.KillsPreviousAccessToken {
		most = maxMarginKilling
	}
	m := min(g.ExpiresAt.Sub(g.ObtainedAt)/5, most)
	if m <= 0 {
		return 0
	}
	spread := time.Duration(g.ID[len(g.ID)-1]%32) * m / 320
	return m - spread
}

// ended reports an access token that does not work any more.
func (g *Grant) ended(now time.Time) bool { return !g.ExpiresAt.IsZero() && !now.Before(g.ExpiresAt) }

func (g *Grant) due(conn *connectors.Connector, now time.Time) need {
	switch {
	case g.ended(now):
		return waited
	case g.ExpiresAt.IsZero() || !g.Refreshable || now.Before(g.ExpiresAt.Add(-g.margin(conn))):
		return living
	case conn.KillsPreviousAccessToken:
		return waited
	}
	return ending
}

// refreshBehind begins a refresh that nobody waits for.
func (o *operation) refreshBehind(ctx context.Context, a *Account, g *Grant, name string) {
	if o.broker.refreshes.paused(keyOf(g), o.broker.now()) > 0 {
		return
	}
	o.broker.refreshes.start(ctx, keyOf(g), o.refresh(a, g, name, true))
}

// refreshNow begins a refresh, or joins the one under way, and waits for its end.
func (o *operation) refreshNow(ctx context.Context, a *Account, g *Grant, name string) error {
	b := o.broker
	f := b.refreshes.start(ctx, keyOf(g), o.refresh(a, g, name, false))
	if f == nil { // shutting down
		return &ProviderError{Slug: a.Slug, RetryAfter: time.Second, Err: ErrProvider}
	}
	timeout := time.NewTimer(b.timing.wait)
	defer timeout.Stop()
	select {
	case <-f.done:
		return f.err
	case <-timeout.C:
		b.log.LogAttrs(ctx, slog.LevelWarn, "refresh takes long", slog.String("grant", string(g.ID)))
		return &ProviderError{Slug: a.Slug, RetryAfter: time.Second, Err: ErrProvider}
	case <-ctx.Done():
		return ctx.Err()
	}
}

// sameScopes compares two lists as sets.
func sameScopes(a, b []string) bool {
	x, y := slices.Clone(a), slices.Clone(b)
	slices.Sort(x)
	slices.Sort(y)
	return slices.Equal(x, y)
}
