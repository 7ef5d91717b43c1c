package pipes

import (
	"context"
	"errors"
	"time"

	"culvert/internal/access"
	"culvert/internal/events"
	"culvert/keys"
)

// RevocationState is what became of telling a provider that an account's tokens are not needed any more.
type RevocationState string

// The states of a [Revocation]. All but the first are its end.
const (
	RevocationPending RevocationState = "pending"
	// Revoked: the provider said that the tokens are gone, or were already.
	Revoked RevocationState = "revoked"
	// RevocationKept: it was left alone, because other accounts live on what would have ended with it.
	RevocationKept RevocationState = "kept"
	// RevocationUnsupported: the provider has no call for it.
	RevocationUnsupported RevocationState = "unsupported"
	// RevocationFailed: it was refused, or may not be tried; RevocationGivenUp: it was tried for a day.
	RevocationFailed  RevocationState = "failed"
	RevocationGivenUp RevocationState = "given_up"
)

// Codes of a [Revocation] that is not revoked, or not yet. Others are the provider's own.
const (
	// RevocationShared: another account has the same grant, or the provider ends the whole consent of its
	// user with any token.
	RevocationShared          = "shared_grant"
	RevocationUnidentified    = "identity_unknown"
	RevocationMoved           = CodeEndpointChanged
	RevocationClientChanged   = ReasonClientChanged
	RevocationNotConfigured   = "client_credentials_not_configured"
	RevocationIntegrationGone = "integration_gone"
	RevocationUnreadable      = "tokens_unreadable"
)

// Revocation is the tokens of an account that is gone, or that waited in vain for one, on their way back to the
// provider, as stored: in the transaction that removes the account, or settles the flow, they move here. No vend
// reads them. With the end of the revocation they are gone from here, too, and what came of it is kept for
// [RevocationKeep].
type Revocation struct {
	// ID is that of the account, which is disconnected once.
	ID          AccountID            `cbor:"1,keyasint"`
	Environment access.EnvironmentID `cbor:"2,keyasint"`
	Integration IntegrationID        `cbor:"3,keyasint"`
	Slug        string               `cbor:"4,keyasint"`
	Owner       Owner                `cbor:"5,keyasint"`
	State       RevocationState      `cbor:"6,keyasint"`
	Code        string               `cbor:"7,keyasint,omitempty"`
	// Grant is the grant as it was, its tokens under the seal that they had, with all that it is bound to;
	// nil from the end on.
	Grant *Grant `cbor:"8,keyasint,omitempty"`
	// Attempts counts the sends that were begun, each claimed by compare-and-swap. NextAt is when the next
	// one may begin: while one is under way, when it counts as dead.
	Attempts  int       `cbor:"9,keyasint,omitempty"`
	NextAt    time.Time `cbor:"10,keyasint,omitzero"`
	CreatedAt time.Time `cbor:"11,keyasint"`
	EndedAt   time.Time `cbor:"12,keyasint,omitzero"`
	// Identifier and Config are the account's.
	Identifier string            `cbor:"13,keyasint,omitempty"`
	Config     map[string]string `cbor:"14,keyasint,omitempty"`
	// Flow is set where no account ever had the tokens: they waited in this flow, and are under the seal that they
	// had there; Departure is the trip that brought them. ID is then one that no account has.
	Flow      FlowID `cbor:"15,keyasint,omitempty"`
	Departure string `cbor:"16,keyasint,omitempty"`
}

// RevocationKeep is how long it can be read what became of a revocation.
const RevocationKeep = 30 * 24 * time.Hour

// revocationOf is what a change adds where an account is removed and its tokens are to be revoked; nil for
// an account without any. left is what becomes of its grant: another account that has it keeps it.
func (b *Broker) revocationOf(a *Account, left *Put[Grant]) *Put[Revocation] {
	if left == nil || a.Method != MethodOAuth {
		return nil
	}
	r := b.newRevocation(a)
	if !left.Remove {
		r.State, r.Code, r.EndedAt = RevocationKept, RevocationShared, r.CreatedAt
		return &Put[Revocation]{Record: r}
	}
	r.hold(&left.Record)
	return &Put[Revocation]{Record: r}
}

// newRevocation has no tokens yet.
func (b *Broker) newRevocation(a *Account) Revocation {
	now := b.now()
	return Revocation{
		ID: a.ID, Environment: a.Environment, Integration: a.Integration, Slug: a.Slug, Owner: a.Owner,
		State: RevocationPending, NextAt: now, CreatedAt: now, Identifier: a.Identifier, Config: a.Config,
	}
}

// hold takes a grant's tokens over. Nobody finds them by the refresh token any more, and no account points
// to them.
func (r *Revocation) hold(g *Grant) {
	held := *g
	held.Accounts, held.TokenMAC = nil, nil
	r.Grant = &held
}

// Binding is what the seal of the tokens proves, where there are some.
func (r *Revocation) Binding() keys.DEKBinding {
	if r.Flow == "" {
		return r.Grant.Binding()
	}
	return r.waitingBinding()
}

func (r *Revocation) waitingBinding() keys.WaitingBinding {
	g := r.Grant
	return keys.WaitingBinding{
		FlowID: string(r.Flow), Departure: r.Departure, IntegrationID: string(g.Integration), Origin: g.Origin,
		ExpiresAt: g.ExpiresAt, RefreshExpiresAt: g.RefreshExpiresAt, ObtainedAt: g.ObtainedAt,
	}
}

// dropped is what the end of a flow adds whose tokens waited in vain, and are to be revoked as the
// integration says; nil for a flow without any, and where they are another account's too.
func (b *Broker) dropped(ctx context.Context, f *Flow, why failure) (*Put[Revocation], error) {
	w := f.Waiting
	if w == nil || why.code == CodeTokenInUse {
		return nil, nil
	}
	i, retired, err := b.integrationOrRetired(ctx, f.Environment, f.Slug, f.Owner.Kind, f.Integration)
	// One that was removed is kept only where its tokens are to be revoked.
	if errors.Is(err, ErrNoIntegration) || err == nil && !retired && !i.Record.RevokeAtProvider {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	r := b.newRevocation(&Account{ // as it might have become
		ID: AccountID(b.newID(accountPrefix)), Environment: f.Environment, Integration: f.Integration, Slug: f.Slug, Owner: f.Owner,
		Identifier: w.Identifier, Config: f.Config,
	})
	r.Flow, r.Departure, r.Grant = f.ID, w.Departure, f.waitingGrant()
	return &Put[Revocation]{Record: r}, nil
}

// end ends a revocation: what was sealed goes with it.
func (r *Revocation) end(state RevocationState, code string, at time.Time) {
	r.State, r.Code, r.Grant, r.NextAt, r.EndedAt = state, code, nil, time.Time{}, at
}

// RevocationQuery asks for revocations in the order of their accounts' ids.
type RevocationQuery struct {
	// Limit is 1 to 100; 0 stands for 10.
	Limit int
	After AccountID
}

// RevocationPage is a page; After is empty at the end.
type RevocationPage struct {
	Data  []Revocation
	After AccountID
}

// Revocation tells what became of the tokens of an account that was disconnected, for [RevocationKeep].
//
// Errors: [ErrNoRevocation].
func (b *Broker) Revocation(ctx context.Context, call access.Call, id AccountID) (Revocation, error) {
	o, err := b.begin(ctx, call, access.AccountsRead)
	if err != nil {
		return Revocation{}, err
	}
	found, err := b.revocation(ctx, o.Environment(), id)
	if err != nil {
		return answer(ctx, o, Revocation{}, err)
	}
	err = o.ofRevocation(found.Record)
	return answer(ctx, o, *found.Record, err)
}

// Revocations lists them.
//
// Errors: [*InvalidError], [ErrUnknownCursor].
func (b *Broker) Revocations(ctx context.Context, call access.Call, q RevocationQuery) (RevocationPage, error) {
	o, err := b.begin(ctx, call, access.AccountsRead)
	if err != nil {
		return RevocationPage{}, err
	}
	page, err := o.revocations(ctx, q)
	return answer(ctx, o, page, err)
}

func (o *operation) revocations(ctx context.Context, q RevocationQuery) (RevocationPage, error) {
	if err := checkLimit(&q.Limit); err != nil {
		return RevocationPage{}, err
	}
	if q.After != "" && !q.After.WellFormed() {
		return RevocationPage{}, ErrUnknownCursor
	}
	o.Record.KeyContext = map[string]string{}
	o.Lists()
	page := RevocationPage{Data: []Revocation{}}
	for after := q.After; ; {
		found, err := o.broker.store.Revocations(ctx, o.Environment(), after, q.Limit+1)
		if err != nil {
			return RevocationPage{}, err
		}
		for _, each := range found {
			after = each.Record.ID
			if !o.allows(each.Record.Slug, each.Record.Owner) {
				continue
			}
			if len(page.Data) == q.Limit {
				page.After = page.Data[q.Limit-1].ID
				return page, nil
			}
			page.Data = append(page.Data, *each.Record)
		}
		if len(found) <= q.Limit {
			return page, nil
		}
	}
}

// ofRevocation notes what a call is about, and completes the permit for it.
func (o *operation) ofRevocation(r *Revocation) error {
	o.about(r.Slug, r.Owner, "")
	o.Record.IntegrationID, o.Record.AccountID = string(r.Integration), string(r.AccountID())
	o.Record.FlowID = string(r.Flow)
	if r.Grant != nil {
		o.Record.GrantID = string(r.Grant.ID)
	}
	kctx, err := r.Owner.keyContext()
	if err != nil {
		return keys.ErrTampered
	}
	return o.complete(r.Slug, kctx)
}

// AccountID is that of the account that had the tokens; empty for those that waited in a flow.
func (r *Revocation) AccountID() AccountID {
	if r.Flow != "" {
		return ""
	}
	return r.ID
}

// AttemptID is the flow that they waited in, as the list of attempts names it; empty for tokens of an account.
func (r *Revocation) AttemptID() string {
	if r.Flow == "" {
		return ""
	}
	return AttemptPrefix + string(r.Flow)
}

// revocation finds one. The error is [ErrNoRevocation].
func (b *Broker) revocation(ctx context.Context, env access.EnvironmentID, id AccountID) (At[Revocation], error) {
	if !id.WellFormed() {
		return At[Revocation]{}, ErrNoRevocation
	}
	found, err := b.store.Revocation(ctx, env, id)
	if errors.Is(err, ErrNotFound) {
		err = ErrNoRevocation
	}
	return found, err
}

// aboutRevocation is the event of a revocation's end: our own.
func (c cause) aboutRevocation(r *Revocation, at time.Time) (events.Event, error) {
	return c.event(events.RevocationEnded, at, struct {
		Object       string          `json:"object"`
		ID           AccountID       `json:"id"`
		Account      *string         `json:"connected_account_id"`
		Flow         *string         `json:"attempt_id"`
		Integration  IntegrationID   `json:"data_integration_id"`
		Slug         string          `json:"provider_slug"`
		User         *string         `json:"user_id"`
		Organization *string         `json:"organization_id"`
		State        RevocationState `json:"state"`
		Code         *string         `json:"code"`
		Attempts     int             `json:"attempts"`
		CreatedAt    string          `json:"created_at"`
		EndedAt      string          `json:"ended_at"`
	}{
		"revocation", r.ID, nullable(string(r.AccountID())), nullable(r.AttemptID()), r.Integration, r.Slug,
		nullable(r.Owner.User), nullable(r.Owner.Organization), r.State, nullable(r.Code), r.Attempts,
		r.CreatedAt.UTC().Format(wireTime), r.EndedAt.UTC().Format(wireTime),
	})
}
