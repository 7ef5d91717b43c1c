package pipes

import (
	"bytes"
	"context"
	"errors"
	"slices"
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
	Config    map[string]string
	// Challenge binds the flow to the session of the caller's user: the S256 challenge of a verifier that
	// stays in it (RFC 7636). There is no confirmation page then, and nothing is connected before
	// [Broker.Finish]. It needs ReturnTo.
	Challenge string
	// ChallengeMethod is "S256", which is the only one, or empty.
	ChallengeMethod string
}

// Authorize begins a flow. The URL leads to a page of ours and carries the flow's ticket: it belongs to
// the user who is to connect, and lives for [TicketTTL].
//
// Errors: [*InvalidError], [ErrReturnTo], [ErrNoIntegration], [ErrDisabled], [ErrNotConfigured],
// [ErrEndpointChanged], [*AuthMethodError].
func (b *Broker) Authorize(ctx context.Context, call access.Call, r AuthorizeRequest) (string, error) {
	o, err := b.begin(ctx, call, access.PipesAuthorize)
	if err != nil {
		return "", err
	}
	url, err := o.authorize(ctx, r)
	return committed(ctx, o, url, err)
}

func (o *operation) authorize(ctx context.Context, r AuthorizeRequest) (string, error) {
	owner, err := o.checkAuthorize(&r)
	if err != nil {
		return "", err
	}
	found, err := o.readIntegration(ctx, r.Slug, owner.Kind)
	if err != nil {
		return "", err
	}
	i, b := found.Record, o.broker
	o.about(i.Slug, owner, r.UserID)
	conn, err := b.connector(i)
	if err != nil {
		return "", err
	}
	switch err := i.usable(conn); {
	case !i.Enabled:
		return "", ErrDisabled
	case !i.supports(MethodOAuth):
		return "", &AuthMethodError{Wanted: MethodOAuth}
	case err != nil:
		return "", err
	}
	if err := o.keepsMethod(ctx, i, owner); err != nil {
		return "", err
	}
	e, err := b.environments.Environment(o.Environment())
	if err != nil {
		return "", err
	}
	now, ticket := b.now(), randomSecret()
	f := Flow{
		ID: FlowID(id.ULID(now)), Environment: o.Environment(), Integration: i.ID, Slug: i.Slug, Owner: owner,
		ActingUser: r.UserID, UserLabel: r.UserLabel, ReturnTo: r.ReturnTo, CreatedAt: now, ExpiresAt: now.Add(TicketTTL),
		Challenge: r.Challenge,
	}
	f.TicketHash = e.FlowHash(keys.TicketSecret, string(f.ID), secret.New([]byte(ticket)))
	o.Record.FlowID = string(f.ID)
	if err := o.Intend(ctx); err != nil {
		return "", err
	}
	if err := o.newFlow(ctx, f); err != nil {
		return "", err
	}
	return b.publicURL + "/data-integrations/" + ticketText(f.Environment, f.ID, ticket) + "/authorize-redirect", nil
}

// keepsMethod refuses a flow that would end at an account of another method: its user is told before, not
// behind the consent page.
func (o *operation) keepsMethod(ctx context.Context, i *Integration, w Owner) error {
	if len(i.AuthMethods) == 1 {
		return nil
	}
	s, err := o.findSlot(ctx, i, w)
	if a := s.account.Record; err == nil && a != nil && a.Method != MethodOAuth {
		return &AuthMethodError{Uses: a.Method, Wanted: MethodOAuth}
	}
	return err
}

func (o *operation) checkAuthorize(r *AuthorizeRequest) (Owner, error) {
	request := Request{Slug: r.Slug, UserID: r.UserID, OrganizationID: r.OrganizationID, ConnectionOwner: r.ConnectionOwner}
	owner, wrong := request.owner()
	return owner, gather(
		request.checkActing(), wrong, checkText("user_label", r.UserLabel, MaxID), checkConfig(r.Config), o.broker.returnTo.check(r.ReturnTo),
		checkChallenge(r),
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

// departure is the trip with this id, or nil. The record is shared.
func (f *Flow) departure(id string) *Departure {
	n := slices.IndexFunc(f.Departures, func(d Departure) bool { return d.ID == id })
	if n < 0 {
		return nil
	}
	return &f.Departures[n]
}

// end is when nothing can come of the flow any more: no callback, and where tokens wait, no verifier.
func (f *Flow) end() time.Time {
	end := f.ExpiresAt
	if f.Waiting != nil {
		end = f.Waiting.Since.Add(FinishTTL)
	}
	for _, d := range f.Departures {
		if back := d.At.Add(FlowStateTTL); back.After(end) {
			end = back
		}
	}
	return end
}

// claimed reports that a callback is exchanging its code now.
func (f *Flow) claimed(now time.Time) bool {
	return f.Claim != "" && now.Before(f.ExchangeAt.Add(claimLife))
}
