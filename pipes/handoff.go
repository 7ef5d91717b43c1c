package pipes

import (
	"context"
	"errors"
	"time"

	"culvert/internal/access"
	"culvert/internal/secret"
	"culvert/keys"
)

// HandoffTTL is from the call that asked for a handoff to the message that carries it out.
const HandoffTTL = 10 * time.Minute

// PopupPage is what the pop-up of a handoff shows while it waits for the message of who opened it.
type PopupPage struct {
	// Unavailable is set, and all else empty, as in [ConfirmationPage].
	Unavailable *Result
	// Provider is the provider's name.
	Provider string
}

// Popup is the page behind the redirect token, whose Ticket it is. Opening it uses nothing up.
//
// Errors: [ErrTicket].
func (b *Broker) Popup(ctx context.Context, r BrowserRequest) (PopupPage, error) {
	l, err := b.openRedirect(ctx, r)
	if err != nil {
		return PopupPage{}, err
	}
	page, err := l.popup(ctx)
	return committed(ctx, l.operation, page, err)
}

func (l *leg) popup(ctx context.Context) (PopupPage, error) {
	if err := l.pending(); err != nil {
		return PopupPage{}, err
	}
	i, conn, err := l.provider(ctx)
	if errors.Is(err, errUnavailable) {
		would := l.resultOf(ctx, &Outcome{Code: CodeIntegrationUnavailable})
		return PopupPage{Unavailable: &would}, nil
	}
	if err != nil {
		return PopupPage{}, err
	}
	if err := l.complete(i.Slug, keys.Context{}); err != nil {
		return PopupPage{}, err
	}
	if err := l.markOpened(ctx); err != nil {
		return PopupPage{}, err
	}
	return PopupPage{Provider: conn.Name}, nil
}

// Handoff sends the browser of a pop-up to the provider. handoff is the token that the page of the
// application handed to the pop-up, in a message; the caller of this method has checked from which origin
// the message came. A handoff works once.
//
// Attacker: a page on another site that has both tokens, from a flow of its own, opens the pop-up in a
// victim's browser and posts them there. Defence: the origin of the message, which the browser tells, must
// be the application's. Gap: an application whose own pages post what others give them.
//
// Errors: [ErrTicket] for tokens that are unknown, forged, used up or expired, or not of one flow. An answer
// that is lost on its way to the browser, or a store that does not say whether it stored the departure, has
// used the handoff up all the same: the person starts again.
func (b *Broker) Handoff(ctx context.Context, r BrowserRequest, handoff secret.Bytes) (Departed, error) {
	l, err := b.openRedirect(ctx, r)
	if err != nil {
		return Departed{}, err
	}
	binding := r.Binding
	if !validBinding(binding) {
		binding = secret.New([]byte(randomSecret()))
	}
	var departed Departed
	err = l.rounds(ctx, func() error {
		if err := l.pending(); err != nil {
			return err
		}
		f := l.flow.Record
		if !f.HandedAt.IsZero() || !matches(l.keys, keys.HandoffSecret, f.ID, handoff, f.HandoffHash) {
			return ErrTicket
		}
		var err error
		departed, err = l.departOrEnd(ctx, binding)
		return err
	})
	return committed(ctx, l.operation, departed, err)
}

// checkHandoff refuses to bind a flow twice: what a session proves the message proves already.
func checkHandoff(r *AuthorizeRequest) error {
	if r.RequireHandoff && r.Challenge != "" {
		return invalid("require_handoff", "cannot go with code_challenge")
	}
	return nil
}

// openRedirect is open for the legs of a pop-up.
func (b *Broker) openRedirect(ctx context.Context, r BrowserRequest) (*leg, error) {
	c, ok := parseTicket(r.Ticket)
	if !ok {
		return nil, ErrTicket
	}
	return b.open(ctx, r.RequestID, r.Route, c, access.FlowConfirm, keys.RedirectSecret)
}
