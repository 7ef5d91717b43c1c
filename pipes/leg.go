package pipes

import (
	"context"
	"encoding/base64"
	"errors"

	"culvert/internal/access"
	"culvert/internal/base62"
	"culvert/internal/secret"
	"culvert/keys"
)

// leg is one request of a browser in a flow, after its ticket or flow state was compared with the
// record: from there on it is an actor like any other.
type leg struct {
	*operation
	keys *keys.Environment
	flow At[Flow]
}

// open finds the flow of a credential and compares the secret. Whatever is wrong is [ErrTicket]. After it the
// leg has begun.
func (b *Broker) open(ctx context.Context, requestID, route string, c credential, action access.Action, kind keys.FlowSecret) (*leg, error) {
	return b.enter(ctx, requestID, route, flowKey{c.env, c.flow}, action, func(e *keys.Environment, f *Flow) error {
		hash := f.TicketHash // of a ticket or a redirect token: each has a keyed hash of its own
		if kind == keys.StateSecret {
			hash = nil
			if d := f.departure(c.departure); d != nil {
				hash = d.StateHash
			}
		}
		if !matches(e, kind, c.flow, c.secret, hash) {
			return ErrTicket
		}
		return nil
	})
}

// enter finds a flow and has prove compare what the browser brought. Nothing is recorded before that, because
// whoever can send URLs could fill the trail; nor is one leg too many, which is a [*RateError].
func (b *Broker) enter(
	ctx context.Context, requestID, route string, at flowKey, action access.Action, prove func(*keys.Environment, *Flow) error,
) (*leg, error) {
	e, err := b.environments.Environment(at.env)
	if err != nil {
		return nil, ErrTicket
	}
	if err := b.store.Fence(ctx); err != nil {
		return nil, err
	}
	found, err := b.store.Flow(ctx, at.env, at.flow)
	if errors.Is(err, ErrNotFound) {
		return nil, ErrTicket
	}
	if err != nil {
		return nil, err
	}
	if found.Record.ID != at.flow || found.Record.Environment != at.env {
		return nil, ErrTicket
	}
	if err := prove(e, found.Record); err != nil {
		return nil, err
	}
	if wait := b.paces.take(at, b.now()); wait > 0 {
		return nil, &RateError{RetryAfter: wait}
	}
	o, err := b.begin(ctx, access.Call{Actor: access.FlowActor(at.env, string(at.flow)), RequestID: requestID, Route: route}, action)
	if err != nil {
		return nil, err
	}
	l := &leg{operation: o, keys: e, flow: found}
	f := found.Record
	o.Record.FlowID, o.Record.IntegrationID = string(f.ID), string(f.Integration)
	o.about(f.Slug, f.Owner, f.ActingUser)
	return l, nil
}

// openTicket is open for the legs before the provider.
func (b *Broker) openTicket(ctx context.Context, requestID, route, ticket string) (*leg, error) {
	c, ok := parseTicket(ticket)
	if !ok {
		return nil, ErrTicket
	}
	return b.open(ctx, requestID, route, c, access.FlowConfirm, keys.TicketSecret)
}

// reread looks at the flow again, behind a fence.
func (l *leg) reread(ctx context.Context) error {
	if err := l.Refresh(ctx); err != nil {
		return err
	}
	found, err := l.broker.store.Flow(ctx, l.Environment(), l.flow.Record.ID)
	if errors.Is(err, ErrNotFound) {
		return ErrTicket // its days are over
	}
	if err == nil {
		l.flow = found
	}
	return err
}

// rounds runs a round of a change of the flow until it does not conflict, each but the first on the flow
// as it is by then.
func (l *leg) rounds(ctx context.Context, round func() error) error {
	return rounds(ctx, l.reread, round)
}

// pending checks that the ticket can still begin something.
func (l *leg) pending() error {
	if f := l.flow.Record; f.Outcome != nil || f.Waiting != nil || !l.broker.now().Before(f.ExpiresAt) {
		return ErrTicket
	}
	return nil
}

// form is what the confirmation page's form carries: a keyed hash of the flow and the browser's cookie.
//
// Attacker: a page in the victim's browser that posts to our confirmation with a ticket of the attacker's.
// Defence: it can neither read the cookie nor compute the hash, and a value from the attacker's own
// browser is of another cookie. Gap: a victim who presses the button on our page.
func (l *leg) form(binding secret.Bytes) string {
	return base64.RawURLEncoding.EncodeToString(l.keys.FlowHash(keys.FormSecret, string(l.flow.Record.ID), binding))
}

// sameBrowser checks the cookie and the form of a browser that presses a button of the confirmation page.
func (l *leg) sameBrowser(binding secret.Bytes, form string) error {
	sent, err := base64.RawURLEncoding.Strict().DecodeString(form)
	if err != nil || !validBinding(binding) || !matches(l.keys, keys.FormSecret, l.flow.Record.ID, binding, sent) {
		return ErrOtherBrowser
	}
	return nil
}

// validBinding accepts the form of a cookie of ours; none other was set by us.
func validBinding(binding secret.Bytes) bool { return binding.Len() == base62.SecretChars }
