package pipes

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"culvert/connectors"
	"culvert/internal/events"
	"culvert/keys"
)

// arrival is tokens that came for an owner: from a provider, by import, or an API key as one.
type arrival struct {
	integration *Integration
	method      AuthMethod // [MethodOAuth] if empty
	// origin is that of the token endpoint the tokens belong to; empty for an API key, which goes nowhere.
	origin string
	owner  Owner
	tokens keys.GrantTokens
	// obtainedAt is when they were asked for; the others are zero where nobody said.
	obtainedAt, expiresAt, refreshExpiresAt time.Time
	scopes                                  []string
	// account is whose they are at the provider, or what a caller calls an API key; empty where nobody said.
	account connectors.Account
	// main and named are the grant's Main and Named.
	main  string
	named map[string]NamedToken
	// choice is what somebody has said of another account that they replace; nil where nobody was asked.
	choice *Choice
	// state is that of the account, [Connected] if empty; reason says why it is another.
	state  State
	reason string
	// keyLast4 is of an API key; client and secretLast4 are of client credentials, client of tokens that
	// waited, too.
	keyLast4, client, secretLast4 string
	// metadata is what the provider said besides.
	metadata map[string]string
	// config is what the account has from now on.
	config accountConfig
}

// arrive is the change that gives an owner's account fresh tokens: a new account, or the slot's,
// which keeps its id and its grant at the next generation. share lets the account join another's grant
// if that has the same refresh token; else that is [ErrTokenInUse]. An account keeps its method:
// [AuthMethodError].
func (o *operation) arrive(ctx context.Context, s slot, got arrival, share bool) (Change, *Account, error) {
	now := o.broker.now()
	if got.method == "" {
		got.method = MethodOAuth
	}
	account, revision := Account{
		ID: AccountID(o.broker.newID(accountPrefix)), Environment: o.Environment(), Integration: got.integration.ID,
		Slug: got.integration.Slug, Owner: got.owner, Standard: s.beside, Method: got.method, CreatedAt: now,
	}, int64(0)
	if s.account.Record != nil {
		account, revision = *s.account.Record, s.account.Revision
	}
	if account.Method != got.method {
		return Change{}, nil, &AuthMethodError{Uses: account.Method, Wanted: got.method}
	}
	change := Change{Environment: o.Environment()}
	if got.tokens.Access.Len() > 0 {
		got.tokens.Config = got.config.secrets
		if err := o.grantArrival(ctx, &change, &account, got, share); err != nil {
			return Change{}, nil, err
		}
		o.Record.GrantID = string(account.Grant)
	}
	account.State, account.Reason = Connected, ""
	if got.state != "" {
		account.State, account.Reason = got.state, got.reason
	}
	account.Identifier, account.DisplayName = got.account.ID, got.account.Name
	account.Scopes, account.UpdatedAt = got.scopes, now
	account.KeyLast4, account.ClientID, account.SecretLast4 = got.keyLast4, "", got.secretLast4
	if got.method == MethodClientCredentials {
		account.ClientID = got.client // of OAuth tokens it is the integration's, which is not the account's to show
	}
	account.TokenNames = tokenNames(got.main, got.named)
	got.config.into(&account)
	change.Account = &Put[Account]{Record: account, Revision: revision}
	if revision == 0 {
		change.Connections = s.taken(account.ID)
	}
	t := events.AccountConnected
	if account.State == NeedsReauthorization {
		t = events.ReauthorizationAsked
	}
	e, err := o.cause().aboutAccount(t, &account, now)
	if err != nil {
		return Change{}, nil, err
	}
	change.Events = append([]events.Event{e}, change.Events...)
	o.Record.AccountID = string(account.ID)
	return change, &account, nil
}

// grantArrival chooses the grant that the tokens go to, seals them for it, and points the account there.
func (o *operation) grantArrival(ctx context.Context, change *Change, account *Account, got arrival, share bool) error {
	if err := fits(got.tokens); err != nil {
		return err
	}
	e, err := o.broker.environments.Environment(o.Environment())
	if err != nil {
		return err
	}
	var mac []byte
	if got.tokens.Refresh.Len() > 0 {
		mac = e.RefreshTokenMAC(got.tokens.Refresh)
	}
	g, revision, err := o.targetGrant(ctx, change, account, got, mac, share)
	if err != nil {
		return err
	}
	change.Previous = g.TokenMAC
	g.Generation++
	g.Origin, g.ObtainedAt, g.ExpiresAt, g.RefreshExpiresAt = got.origin, got.obtainedAt, got.expiresAt, got.refreshExpiresAt
	g.Refreshable, g.TokenMAC, g.Client, g.Method, g.Metadata = mac != nil, mac, got.client, "", got.metadata
	switch got.method {
	case MethodOAuth:
		g.Client = cmp.Or(got.client, got.integration.clientID()) // tokens that waited know theirs
	case MethodClientCredentials:
		g.Refreshable, g.Method = true, got.method
	}
	g.Main, g.Named, g.Since = got.main, got.named, 0
	g.Dead, g.Reason, g.Doubted = false, "", false
	if err := o.broker.consented(&g, got); err != nil {
		return err
	}
	conditions, err := o.sealGrant(ctx, &g, got.tokens)
	if err != nil {
		return err
	}
	change.Conditions = append(change.Conditions, conditions)
	change.Grant, change.Concludes = &Put[Grant]{Record: g, Revision: revision}, true
	account.Grant = g.ID
	return nil
}

// consented makes a grant due as one that is new and in use, and notes what its tokens are for: where they waited
// until the integration was at another host that is not known any more.
func (b *Broker) consented(g *Grant, got arrival) error {
	conn, err := b.connector(got.integration)
	if err != nil {
		return err
	}
	g.GrantedAt, g.AnnouncedEnd, g.Config = got.obtainedAt, time.Time{}, nil
	if got.method != MethodAPIKey && conn.TokenOrigin() == got.origin {
		g.Config = conn.InstallationConfig(got.integration.values())
	}
	b.schedule(g, conn, false)
	return nil
}

// targetGrant is the grant that tokens with this keyed hash belong in:
//
//   - another account's that has the same refresh token: one refresh token is one chain, and two copies of
//     it would rotate each other away. Only within one key context, because one customer's keys must not
//     decide on another's tokens.
//   - the account's own. A shared one stays with the others, unless it is that grant which was renewed:
//     this account may have been connected to somebody else at the provider.
//   - a new one.
func (o *operation) targetGrant(ctx context.Context, change *Change, account *Account, got arrival, mac []byte, share bool) (Grant, int64, error) {
	kctx, err := got.owner.keyContext()
	if err != nil {
		return Grant{}, 0, err
	}
	holder, err := o.holderOf(ctx, mac)
	if err != nil {
		return Grant{}, 0, err
	}
	if holder != "" && holder != account.Grant {
		found, err := o.broker.grant(ctx, o.Environment(), holder)
		if err != nil {
			return Grant{}, 0, err
		}
		g := found.Record
		if !share || g.Integration != got.integration.ID || !maps.Equal(g.Items, kctx.Items()) || len(g.Accounts) >= MaxGrantAccounts {
			return Grant{}, 0, ErrTokenInUse
		}
		if change.Left, err = o.broker.leave(ctx, account); err != nil {
			return Grant{}, 0, err
		}
		return o.renew(ctx, change, found, account.ID)
	}
	if account.Grant != "" {
		found, err := o.broker.grant(ctx, o.Environment(), account.Grant)
		if err != nil {
			return Grant{}, 0, err
		}
		if len(found.Record.Accounts) < 2 || holder == account.Grant {
			return o.renew(ctx, change, found, account.ID)
		}
		if change.Left, err = o.broker.leave(ctx, account); err != nil {
			return Grant{}, 0, err
		}
	}
	return Grant{
		ID: GrantID(o.broker.newID(grantPrefix)), Environment: o.Environment(), Integration: got.integration.ID,
		Items: kctx.Items(), Accounts: []AccountID{account.ID},
	}, 0, nil
}

// renew is a grant that exists, with this account among those that point to it. What revives the grant
// revives the others.
func (o *operation) renew(ctx context.Context, change *Change, found At[Grant], account AccountID) (Grant, int64, error) {
	g := *found.Record
	if g.Dead {
		if err := o.broker.turn(ctx, change, &g, account, Connected, "", o.cause()); err != nil {
			return Grant{}, 0, err
		}
	}
	if !slices.Contains(g.Accounts, account) {
		g.Accounts = append(slices.Clone(g.Accounts), account)
	}
	return g, found.Revision, nil
}

// holderOf is the grant that has a refresh token, by its keyed hash; empty for none.
func (o *operation) holderOf(ctx context.Context, mac []byte) (GrantID, error) {
	if len(mac) == 0 {
		return "", nil
	}
	holder, err := o.broker.store.GrantOf(ctx, o.Environment(), mac)
	if errors.Is(err, ErrNotFound) {
		return "", nil
	}
	return holder, err
}
