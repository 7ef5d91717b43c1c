package pipes

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strconv"
	"time"

	"culvert/connectors"
	"culvert/internal/secret"
	"culvert/keys"
)

// Departed is a browser on its way to the provider.
type Departed struct {
	// Ended is set, and all else empty, if the flow ended instead: its integration cannot be used any more.
	Ended *Result
	// URL is the provider's. It holds the flow state, so it belongs to this browser alone.
	URL string
	// Binding is the value of the flow cookie, as it came in.
	Binding secret.Bytes
}

// Depart sends a browser to the provider: it mints the flow state and the PKCE verifier of this trip, and
// binds the trip to the browser's cookie. A ticket departs at most [MaxDepartures] times.
//
// Errors: [ErrTicket], [ErrOtherBrowser] for a browser that was not shown the confirmation page.
func (b *Broker) Depart(ctx context.Context, r BrowserRequest) (Departed, error) {
	l, err := b.openTicket(ctx, r.RequestID, r.Route, r.Ticket)
	if err != nil {
		return Departed{}, err
	}
	var departed Departed
	err = l.rounds(ctx, func() error {
		if err := l.pending(); err != nil {
			return err
		}
		if err := l.sameBrowser(r.Binding, r.Form); err != nil {
			return err
		}
		var err error
		departed, err = l.departOrEnd(ctx, r.Binding)
		return err
	})
	return committed(ctx, l.operation, departed, err)
}

// departOrEnd ends the flow where nothing could come of the trip: a person has pressed the button, and is
// sent back to the application instead.
func (l *leg) departOrEnd(ctx context.Context, binding secret.Bytes) (Departed, error) {
	url, err := l.depart(ctx, binding)
	if failed := connectors.Of(err); failed != nil && failed.Status != 0 {
		why := failure{code: CodeProviderError, providerError: failed.Code, reason: "the provider refused the pushed authorization request"}
		result, err := l.settle(ctx, "", why)
		return Departed{Ended: &result}, err
	}
	if errors.Is(err, errUnavailable) || connectors.Of(err) != nil {
		result, err := l.settle(ctx, "", failure{code: CodeIntegrationUnavailable})
		return Departed{Ended: &result}, err
	}
	return Departed{URL: url, Binding: binding}, err
}

// depart makes the URL of a trip and stores its departure. [errUnavailable], and an error of the
// connector's where this server may not send browsers to the provider's address.
func (l *leg) depart(ctx context.Context, binding secret.Bytes) (string, error) {
	i, conn, err := l.provider(ctx)
	if err != nil {
		return "", err
	}
	if err := l.complete(i.Slug, keys.Context{}); err != nil {
		return "", err
	}
	f := l.flow.Record
	if len(f.Departures) >= MaxDepartures {
		return "", ErrTicket
	}
	if err := l.Intend(ctx); err != nil {
		return "", err
	}
	id := strconv.Itoa(len(f.Departures) + 1)
	stateSecret := randomSecret()
	d := Departure{
		ID:          id,
		StateHash:   l.keys.FlowHash(keys.StateSecret, string(f.ID), secret.New([]byte(stateSecret))),
		BindingHash: l.keys.FlowHash(keys.BindingSecret, string(f.ID), binding),
		RedirectURI: l.broker.redirectURI(i),
		Scopes:      slices.Clone(requestedScopes(i, conn)),
		At:          l.broker.now(),
		Origin:      conn.TokenOrigin(),
	}
	challenge, conditions, err := l.sealVerifier(ctx, conn, &d)
	if err != nil {
		return "", err
	}
	state := flowStateText(f.Environment, f.ID, id, stateSecret)
	url, until, err := l.trip(ctx, i, conn, connectors.AuthorizationRequest{
		ClientID: i.Client.ID, RedirectURI: d.RedirectURI, State: state, Challenge: challenge, Scopes: d.Scopes,
	})
	if err != nil {
		return "", err
	}
	next := *f
	if next.OpenedAt.IsZero() {
		next.OpenedAt = d.At
	}
	if f.HandoffHash != nil {
		next.HandedAt = d.At
	}
	next.Departures = append(slices.Clone(f.Departures), d)
	// An outcome that is unclear is a conflict: the flow is read again, and a trip that was stored after
	// all is one of the five that nobody took.
	if err := l.putFlow(ctx, next, conditions...); err != nil {
		return "", err
	}
	if !until.IsZero() && !l.broker.now().Before(until) {
		return "", ErrConflict // it took so long that what was pushed is gone: once more, with another state
	}
	return url, nil
}

// trip is the URL of a departure. Where the provider takes requests ahead of the browser (RFC 9126) nothing but the
// name of one that lies there is in it, which is good until the time that is returned. A provider that cannot be
// reached, or has not understood, is a [*ProviderError]: whoever presses the button again tries again.
func (l *leg) trip(ctx context.Context, i *Integration, conn *connectors.Connector, r connectors.AuthorizationRequest) (string, time.Time, error) {
	b := l.broker
	if conn.PushURL == "" {
		url, err := b.client.AuthorizationURL(conn, r)
		return url, time.Time{}, err
	}
	client, err := l.clientSecrets(ctx, i, conn)
	if err != nil {
		return "", time.Time{}, err
	}
	var pushed connectors.Pushed
	err = client.asClient(func(creds connectors.Credentials) (err error) {
		pushed, err = b.client.Push(ctx, conn, creds, r)
		return err
	})
	if failed := connectors.Of(err); failed != nil {
		b.log.LogAttrs(ctx, slog.LevelWarn, "authorization request not pushed", slog.String("provider", i.Slug), slog.String("flow", string(l.flow.Record.ID)),
			slog.String("class", failed.Class.String()), slog.String("code", failed.Code), slog.Any("error", failed.Cause))
		if failed.Class == connectors.Transient || failed.Class == connectors.Ambiguous {
			err = &ProviderError{Slug: i.Slug, RetryAfter: failed.RetryAfter, Err: ErrProvider}
		}
	}
	if err != nil {
		return "", time.Time{}, err
	}
	url, err := b.client.PushedURL(conn, r.ClientID, pushed)
	return url, pushed.Until, err
}

// sealVerifier makes the PKCE verifier of a departure, if the provider takes it (RFC 7636): the browser
// gets the challenge, the verifier is sealed and bound to where its code will be exchanged.
func (l *leg) sealVerifier(ctx context.Context, conn *connectors.Connector, d *Departure) (challenge string, conditions []keys.Conditions, err error) {
	if !conn.PKCE {
		return "", nil, nil
	}
	verifier, challenge := connectors.GenerateVerifier()
	sealed, c, err := l.broker.keys.SealVerifier(ctx, l.Permit, keys.VerifierBinding{
		FlowID: string(l.flow.Record.ID), Departure: d.ID, Origin: d.Origin, SealedAt: d.At,
	}, verifier, l.sealMeta())
	if err != nil {
		return "", nil, err
	}
	d.Verifier = newSealedSecret(sealed, d.Origin, d.At)
	return challenge, []keys.Conditions{c}, nil
}
