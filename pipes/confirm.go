package pipes

import (
	"context"
	"errors"
	"slices"
	"time"

	"culvert/connectors"
	"culvert/internal/origin"
	"culvert/internal/secret"
	"culvert/keys"
)

// ConfirmationPage is what a person needs to judge whether to go on, and what the page needs to let him.
type ConfirmationPage struct {
	// Unavailable is set, and all else empty, while the integration is switched off or removed: the page
	// could only lead to a failure.
	Unavailable *Result
	// Onward is set, and all else empty, where no page is shown: with session binding the browser departs
	// at once.
	Onward *Departed
	// Provider is the provider's name, Slug the integration's.
	Provider, Slug string
	// Environment is its id on the wire. UserID and OrganizationID are the caller's own ids, and
	// UserLabel what the caller calls the user.
	Environment                       string
	UserID, UserLabel, OrganizationID string
	// ConnectionOwner tells whose the account will be.
	ConnectionOwner Ownership
	Scopes          []string
	// ReturnToOrigin is where the browser ends up; empty for a page of ours. ProviderOrigin is where the
	// form leads in the end, for the page's form-action.
	ReturnToOrigin, ProviderOrigin string
	ExpiresAt                      time.Time
	// Binding is the value of the browser's cookie: the one it has, or a new one. Form goes into the
	// form, and back into [Broker.Depart] and [Broker.Cancel].
	Binding secret.Bytes
	Form    string
}

// BrowserRequest is what the browser brings to a leg before the provider.
type BrowserRequest struct {
	// RequestID is ours; Route the template of the route, for the trail.
	RequestID, Route string
	Ticket           string
	// Binding is the value of the flow cookie; empty if the browser has none.
	Binding secret.Bytes
	// Form is the hidden field of the confirmation page; not for the page itself.
	Form string
}

// Confirmation is the page behind the ticket. It may be fetched by link scanners and as often as one
// likes: nothing is used up. So an integration that is switched off ends nothing here either, because it
// may be switched on again before the person comes.
//
// Errors: [ErrTicket].
func (b *Broker) Confirmation(ctx context.Context, r BrowserRequest) (ConfirmationPage, error) {
	l, err := b.openTicket(ctx, r.RequestID, r.Route, r.Ticket)
	if err != nil {
		return ConfirmationPage{}, err
	}
	page, err := l.confirmation(ctx, r.Binding)
	return committed(ctx, l.operation, page, err)
}

func (l *leg) confirmation(ctx context.Context, binding secret.Bytes) (ConfirmationPage, error) {
	if err := l.pending(); err != nil {
		return ConfirmationPage{}, err
	}
	if l.flow.Record.Challenge != "" {
		return l.onward(ctx, binding)
	}
	i, conn, err := l.provider(ctx)
	if errors.Is(err, errUnavailable) {
		would := l.resultOf(ctx, &Outcome{Code: CodeIntegrationUnavailable})
		return ConfirmationPage{Unavailable: &would}, nil
	}
	if err != nil {
		return ConfirmationPage{}, err
	}
	if err := l.complete(i.Slug, keys.Context{}); err != nil {
		return ConfirmationPage{}, err
	}
	if err := l.markOpened(ctx); err != nil {
		return ConfirmationPage{}, err
	}
	if !validBinding(binding) {
		binding = secret.New([]byte(randomSecret()))
	}
	f := l.flow.Record
	return ConfirmationPage{
		Provider: conn.Name, Slug: i.Slug, Environment: f.Environment.OnWire(),
		UserID: f.ActingUser, UserLabel: f.UserLabel, OrganizationID: f.Owner.Organization, ConnectionOwner: f.Owner.Kind,
		Scopes:         slices.Clone(requestedScopes(i, conn)),
		ReturnToOrigin: origin.Of(l.broker.returnTo.still(f.ReturnTo)), ProviderOrigin: origin.Of(conn.AuthorizationURL),
		ExpiresAt: f.ExpiresAt, Binding: binding, Form: l.form(binding),
	}, nil
}

// onward departs without a page: what the page is for, the verifier does (see [Broker.Finish]). A link
// scanner that opens the link takes one of its departures with it, and ends nothing.
func (l *leg) onward(ctx context.Context, binding secret.Bytes) (ConfirmationPage, error) {
	if !validBinding(binding) {
		binding = secret.New([]byte(randomSecret()))
	}
	var url string
	err := l.rounds(ctx, func() error {
		err := l.pending()
		if err == nil {
			url, err = l.depart(ctx, binding)
		}
		return err
	})
	if errors.Is(err, errUnavailable) || connectors.Of(err) != nil {
		would := l.resultOf(ctx, &Outcome{Code: CodeIntegrationUnavailable})
		return ConfirmationPage{Unavailable: &would}, nil
	}
	if err != nil {
		return ConfirmationPage{}, err
	}
	return ConfirmationPage{Onward: &Departed{URL: url, Binding: binding}}, nil
}

// errUnavailable means that the flow's integration was removed, switched off or lost its credentials
// meanwhile: the flow cannot succeed, and whoever goes through it cannot mend that.
var errUnavailable = errors.New("pipes: integration of the flow unavailable")

// provider is the integration that the flow was begun for, as it is for the owner, if it can still be used; else
// [errUnavailable].
func (l *leg) provider(ctx context.Context) (*Integration, *connectors.Connector, error) {
	f := l.flow.Record
	found, err := l.broker.integrationOf(ctx, l.Environment(), f.Slug, f.Owner.Kind, f.Integration)
	var i *Integration
	if err == nil {
		i, err = l.broker.integrationFor(ctx, found.Record, f.Owner)
	}
	var conn *connectors.Connector
	if err == nil {
		i = i.at(f.Config)
		conn, err = l.broker.connector(i)
	}
	switch {
	case errors.Is(err, ErrNoIntegration):
		return nil, nil, errUnavailable
	case err != nil:
		return nil, nil, err
	case !i.Enabled || i.usable(conn) != nil || !conn.Complete():
		return nil, nil, errUnavailable
	}
	return i, conn, nil
}

// markOpened notes the first time that the page was shown, for the likely cause of an attempt that never
// came back. Losing a race for it loses nothing.
func (l *leg) markOpened(ctx context.Context) error {
	if !l.flow.Record.OpenedAt.IsZero() {
		return nil
	}
	if err := l.Intend(ctx); err != nil {
		return err
	}
	next := *l.flow.Record
	next.OpenedAt = l.broker.now()
	if err := l.putFlow(ctx, next); !conflicted(err) {
		return err
	}
	return nil
}

// putFlow stores the flow in place of the one that was read.
func (l *leg) putFlow(ctx context.Context, next Flow, conditions ...keys.Conditions) error {
	return l.broker.store.Apply(ctx, Change{
		Environment: next.Environment, Flow: &Put[Flow]{Record: next, Revision: l.flow.Revision}, Conditions: conditions,
	})
}

// Cancel ends a flow from the confirmation page.
//
// Errors: [ErrTicket], [ErrOtherBrowser].
func (b *Broker) Cancel(ctx context.Context, r BrowserRequest) (Result, error) {
	l, err := b.openTicket(ctx, r.RequestID, r.Route, r.Ticket)
	if err != nil {
		return Result{}, err
	}
	var result Result
	err = l.rounds(ctx, func() error {
		if err := l.pending(); err != nil {
			return err
		}
		if err := l.sameBrowser(r.Binding, r.Form); err != nil {
			return err
		}
		var err error
		result, err = l.settle(ctx, "", failure{code: CodeCanceled})
		return err
	})
	return committed(ctx, l.operation, result, err)
}
