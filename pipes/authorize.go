package pipes

import (
	"bytes"
	"context"
	"errors"
	"time"

	"culvert/internal/access"
	"culvert/internal/id"
	"culvert/internal/secret"
	"culvert/keys"
)

// Lifetimes of a flow's secrets.
const (
	// TicketTTL is from the call that asked for the flow to the last departure for the provider.
	TicketTTL = 30 * time.Minute
	// FlowStateTTL is from a departure to its callback.
	FlowStateTTL = 10 * time.Minute
	// claimLife is how long a callback may take to exchange its code and store the tokens. After it the
	// callback's process is taken for dead.
	claimLife = 3 * time.Minute
)

// AuthorizeRequest asks for a URL that connects an account.
type AuthorizeRequest struct {
	Slug string
	// UserID is the acting user; for [OwnedByOrganization] the account is the organization's.
	UserID, OrganizationID string
	ConnectionOwner        Ownership // default [OwnedByUser]
	// ReturnTo is where the browser ends up, on an allowed origin; empty means a page of ours.
	ReturnTo string
	// UserLabel is what the confirmation page calls the user, such as an e-mail address.
	UserLabel string
	// Config are values of the provider's config fields for the account. Without any, one that is connected again
	// keeps its own.
	Config map[string]string
	// Challenge binds the flow to the session of the caller's user: the S256 challenge of a verifier that
	// stays in it (RFC 7636). There is no confirmation page then, and nothing is connected before
	// [Broker.Finish]. It needs ReturnTo.
	Challenge string
	// ChallengeMethod is "S256", which is the only one, or empty.
	ChallengeMethod string
	// RequireHandoff is for a flow in a pop-up of the application's page, which hands it over with a message:
	// there is no confirmation page then.
	RequireHandoff bool
	// Intent and AccountID say which of several accounts: a further one, or one that is there. Without both it
	// is that of the compatibility slot, or a new one if there is none.
	Intent    Intent
	AccountID AccountID
}

// Authorized is a flow that has begun.
type Authorized struct {
	// URL is where the user's browser goes.
	URL string
	// RedirectToken is that of URL, for the application's page to name the flow; empty without a handoff.
	RedirectToken string
	// HandoffToken is what the page hands over: nothing happens without it, and it stands in no URL.
	HandoffToken secret.Bytes
}

// Authorize begins a flow. The URL leads to a page of ours and carries the flow's ticket: it belongs to
// the user who is to connect, and lives for [TicketTTL]; with a handoff for [HandoffTTL], and alone it leads
// nowhere.
//
// Errors: [*InvalidError], [ErrReturnTo], [ErrNoIntegration], [ErrDisabled], [ErrNotConfigured],
// [ErrEndpointChanged], [*AuthMethodError]; [ErrNoAccount] and [ErrAccountSelection] for an account that is to
// be connected again; [ErrTooManyConnections].
func (b *Broker) Authorize(ctx context.Context, call access.Call, r AuthorizeRequest) (Authorized, error) {
	o, err := b.begin(ctx, call, access.PipesAuthorize)
	if err != nil {
		return Authorized{}, err
	}
	begun, err := o.authorize(ctx, r)
	return committed(ctx, o, begun, err)
}

func (o *operation) authorize(ctx context.Context, r AuthorizeRequest) (Authorized, error) {
	owner, err := o.checkAuthorize(&r)
	if err != nil {
		return Authorized{}, err
	}
	found, err := o.findIntegration(ctx, r.Slug, owner.Kind)
	if err != nil {
		return Authorized{}, err
	}
	b := o.broker
	o.about(r.Slug, owner, r.UserID)
	kctx, err := owner.keyContext()
	if err != nil {
		return Authorized{}, err
	}
	if err := o.complete(r.Slug, kctx); err != nil {
		return Authorized{}, err
	}
	i, err := b.integrationFor(ctx, found.Record, owner)
	if err != nil {
		return Authorized{}, err
	}
	switch {
	case !i.Enabled:
		return Authorized{}, ErrDisabled
	case !i.supports(MethodOAuth):
		return Authorized{}, &AuthMethodError{Wanted: MethodOAuth}
	}
	account, config, err := o.aimedAt(ctx, i, owner, &r)
	if err != nil {
		return Authorized{}, err
	}
	e, err := b.environments.Environment(o.Environment())
	if err != nil {
		return Authorized{}, err
	}
	now := b.now()
	f := Flow{
		ID: FlowID(id.ULID(now)), Environment: o.Environment(), Integration: i.ID, Slug: i.Slug, Owner: owner,
		ActingUser: r.UserID, UserLabel: r.UserLabel, ReturnTo: r.ReturnTo, CreatedAt: now, ExpiresAt: now.Add(TicketTTL),
		Challenge: r.Challenge, Intent: r.Intent, Account: account, Config: config,
	}
	begun := b.link(e, &f, r.RequireHandoff)
	o.Record.FlowID = string(f.ID)
	if err := o.Intend(ctx); err != nil {
		return Authorized{}, err
	}
	if err := o.newFlow(ctx, f); err != nil {
		return Authorized{}, err
	}
	return begun, nil
}

// link makes what leads into a flow, and leaves hashes of it in the record: a ticket, or the two tokens of a
// handoff.
func (b *Broker) link(e *keys.Environment, f *Flow, handoff bool) Authorized {
	random := randomSecret()
	text := ticketText(f.Environment, f.ID, random)
	if !handoff {
		f.TicketHash = e.FlowHash(keys.TicketSecret, string(f.ID), secret.New([]byte(random)))
		return Authorized{URL: b.publicURL + "/data-integrations/" + text + "/authorize-redirect"}
	}
	token := secret.New([]byte(randomSecret()))
	f.TicketHash = e.FlowHash(keys.RedirectSecret, string(f.ID), secret.New([]byte(random)))
	f.HandoffHash = e.FlowHash(keys.HandoffSecret, string(f.ID), token)
	f.ExpiresAt = f.CreatedAt.Add(HandoffTTL)
	return Authorized{URL: b.publicURL + "/pipes/authorize?token=" + text, RedirectToken: text, HandoffToken: token}
}

// aimedAt is the account that the caller has chosen, if it has chosen one, and the config that the flow has. What
// could only end in a failure is refused: no account of this id, no place for a further one, an account of another
// method, a provider without the values that it needs. The flow's user is told before, not behind the consent page.
func (o *operation) aimedAt(ctx context.Context, i *Integration, w Owner, r *AuthorizeRequest) (AccountID, map[string]string, error) {
	s, err := o.findSlot(ctx, i, w)
	if err != nil {
		return "", nil, err
	}
	if s, err = s.aimed(r.Intent, r.AccountID); err != nil {
		return "", nil, err
	}
	a := s.account.Record
	if a != nil && a.Method != MethodOAuth {
		return "", nil, &AuthMethodError{Uses: a.Method, Wanted: MethodOAuth}
	}
	config, err := o.broker.configFor(i, a, r.Config, MethodOAuth, false)
	if err != nil {
		return "", nil, err
	}
	i = i.at(config.plain)
	conn, err := o.broker.connector(i)
	if err == nil {
		err = i.usable(conn)
	}
	if err != nil || a == nil || r.Intent == "" && r.AccountID == "" {
		return "", config.plain, err
	}
	o.Record.AccountID = string(a.ID)
	return a.ID, config.plain, nil
}

func (o *operation) checkAuthorize(r *AuthorizeRequest) (Owner, error) {
	request := Request{
		Slug: r.Slug, UserID: r.UserID, OrganizationID: r.OrganizationID, ConnectionOwner: r.ConnectionOwner, AccountID: r.AccountID,
	}
	if err := request.checkAccountID(); err != nil {
		return Owner{}, err
	}
	owner, wrong := request.owner()
	return owner, gather(
		request.checkActing(), wrong, r.Intent.check(&request), checkText("user_label", r.UserLabel, MaxID),
		o.broker.checkConfig(r.Slug, r.Config), o.broker.returnTo.check(r.ReturnTo),
		checkChallenge(r), checkHandoff(r),
	)
}

// newFlow stores a flow. It has no event by which an unclear outcome could be found out, so after a
// conflict, which a fresh id cannot have, the record itself tells.
func (o *operation) newFlow(ctx context.Context, f Flow) error {
	return o.retry(ctx, func() error {
		err := o.broker.store.Apply(ctx, Change{Environment: f.Environment, Flow: &Put[Flow]{Record: f}})
		if !errors.Is(err, ErrConflict) {
			return err
		}
		if err := o.Refresh(ctx); err != nil {
			return err
		}
		stored, err := o.broker.store.Flow(ctx, f.Environment, f.ID)
		switch {
		case err == nil && bytes.Equal(stored.Record.TicketHash, f.TicketHash):
			return nil
		case err == nil || errors.Is(err, ErrNotFound):
			return ErrConflict
		}
		return err
	})
}
