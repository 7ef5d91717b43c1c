package pipes

import (
	"context"
	"errors"
	"strings"

	"culvert/internal/access"
	"culvert/internal/id"
	"culvert/internal/origin"
	"culvert/internal/secret"
	"culvert/keys"
)

// Choice is what somebody is asked who reconnects an account and has signed in as another one at the
// provider: whether to replace it. Until then nothing of it changes.
//
// Attacker: none but the browser's own user, who is signed in at the provider as somebody he does not think
// of, and whose records of one account would go into another. Gap: an account whose provider has never said
// whose it is.
type Choice struct {
	// Account, Identifier and DisplayName are those of what is connected, as the page shows it: the answer is
	// about that one and no other.
	Account     AccountID `cbor:"1,keyasint"`
	Identifier  string    `cbor:"2,keyasint"`
	DisplayName string    `cbor:"3,keyasint,omitempty"`
	// Replace is the answer; who keeps it ends the flow.
	Replace bool `cbor:"4,keyasint,omitempty"`
}

// errMismatch means that the tokens are another provider account's than the one that is connected, and that
// nobody has said that they replace it.
var errMismatch = errors.New("pipes: tokens of another account at the provider")

func mismatch(reason string) failure { return failure{code: CodeAccountMismatch, reason: reason} }

// differs reports tokens that are not known to be of the provider account that is connected. A provider that
// does not say whose they are is no excuse: it may be another one. An account of another method is not replaced
// at all.
func differs(a *Account, got arrival) bool {
	return a != nil && a.Method == MethodOAuth && a.Identifier != "" && a.Identifier != got.account.ID
}

// covers reports an answer that lets this account be replaced.
func (c *Choice) covers(a *Account) bool {
	return c != nil && c.Replace && c.Account == a.ID && c.Identifier == a.Identifier
}

// choosing reports a flow that waits for an answer.
func (f *Flow) choosing() bool {
	return f.Outcome == nil && f.Waiting != nil && f.Waiting.Choice != nil && !f.Waiting.Choice.Replace
}

// choice is what has to be asked before tokens are stored; nil for nothing. Who adds an account replaces none,
// and where the account is gone storing says so.
func (l *leg) choice(ctx context.Context, got arrival) (*Choice, error) {
	s, err := l.aim(ctx, got)
	if _, definite := removedMeanwhile(err); definite {
		return nil, nil
	}
	if a := s.account.Record; err == nil && differs(a, got) {
		return &Choice{Account: a.ID, Identifier: a.Identifier, DisplayName: a.DisplayName}, nil
	}
	return nil, err
}

// ChoicePage is what a person needs to choose between two accounts.
type ChoicePage struct {
	// Ended is set, and all else empty, where there is nothing to choose any more.
	Ended *Result
	// Provider is the provider's name.
	Provider                          string
	UserID, UserLabel, OrganizationID string
	// Connected is the account that is connected, SignedIn the one that would replace it; its ID is empty
	// if the provider did not say.
	Connected, SignedIn Named
	// ReturnToOrigin is where the browser ends up; empty for a page of ours.
	ReturnToOrigin string
	// Form goes into the form, and back into [Broker.Choose].
	Form string
}

// Named is an account at the provider, as the provider calls it.
type Named struct{ ID, Name string }

// ChoiceRequest is what the browser brings to the page of a choice.
type ChoiceRequest struct {
	// RequestID is ours; Route the template of the route, for the trail.
	RequestID, Route string
	// Flow is the [Result.Choice] of the callback. It is no secret: the cookie is.
	Flow string
	// Binding is the value of the flow cookie.
	Binding secret.Bytes
	// Form is the hidden field of the page, and Replace the answer; not for the page itself.
	Form    string
	Replace bool
}

// Choice is the page on which somebody chooses between the account that is connected and the one that he
// signed in as. It uses nothing up.
//
// Errors: [ErrTicket] for a flow that is unknown or has nothing to choose; [ErrOtherBrowser] for one that did
// not come back from the provider.
func (b *Broker) Choice(ctx context.Context, r ChoiceRequest) (ChoicePage, error) {
	l, err := b.openChoice(ctx, &r)
	if err != nil {
		return ChoicePage{}, err
	}
	var page ChoicePage
	err = l.rounds(ctx, func() error {
		ended, err := l.chosen(ctx)
		if err != nil || ended != nil {
			page = ChoicePage{Ended: ended}
			return err
		}
		page = l.choicePage(ctx, r.Binding)
		return nil
	})
	return committed(ctx, l.operation, page, err)
}

func (l *leg) choicePage(ctx context.Context, binding secret.Bytes) ChoicePage {
	f := l.flow.Record
	w, c := f.Waiting, f.Waiting.Choice
	l.Record.AccountID = string(c.Account)
	return ChoicePage{
		Provider: l.resultOf(ctx, &Outcome{Account: c.Account}).Provider,
		UserID:   f.ActingUser, UserLabel: f.UserLabel, OrganizationID: f.Owner.Organization,
		Connected: Named{c.Identifier, c.DisplayName}, SignedIn: Named{w.Identifier, w.DisplayName},
		ReturnToOrigin: origin.Of(l.broker.returnTo.still(f.ReturnTo)), Form: l.form(binding),
	}
}

// Choose carries the answer out. Who keeps the account ends the flow with [CodeAccountMismatch], and nothing
// has changed; who replaces it goes on as if nobody had asked.
//
// Errors: those of [Broker.Choice], and [ErrOtherBrowser] for a form that is not the page's.
func (b *Broker) Choose(ctx context.Context, r ChoiceRequest) (Result, error) {
	l, err := b.openChoice(ctx, &r)
	if err != nil {
		return Result{}, err
	}
	var result Result
	err = l.rounds(ctx, func() error {
		if err := l.sameBrowser(r.Binding, r.Form); err != nil {
			return err
		}
		ended, err := l.chosen(ctx)
		switch {
		case err != nil:
			return err
		case ended != nil:
			result = *ended
		case r.Replace:
			result, err = l.replace(ctx)
		default:
			result, err = l.settle(ctx, l.flow.Record.Waiting.Departure, mismatch("the user kept the account that is connected"))
		}
		return err
	})
	return committed(ctx, l.operation, result, err)
}

// chosen is how the flow ended, if it has, or ends now because the time to choose is over; nil while it waits
// for the answer.
func (l *leg) chosen(ctx context.Context) (*Result, error) {
	f := l.flow.Record
	var result Result
	var err error
	switch {
	case !f.choosing():
		result = l.result(ctx)
	case !l.broker.now().Before(f.end()):
		result, err = l.settle(ctx, f.Waiting.Departure, neverReturned(f))
	default:
		return nil, nil
	}
	return &result, err
}

// replace goes on with the tokens that wait: with session binding the caller has still to finish.
func (l *leg) replace(ctx context.Context) (Result, error) {
	i, _, err := l.provider(ctx)
	if errors.Is(err, errUnavailable) {
		return l.settle(ctx, l.flow.Record.Waiting.Departure, failure{code: CodeIntegrationUnavailable})
	}
	if err != nil {
		return Result{}, err
	}
	if err := l.Intend(ctx); err != nil {
		return Result{}, err
	}
	next := *l.flow.Record
	waiting, choice := *next.Waiting, *next.Waiting.Choice
	choice.Replace = true
	waiting.Choice, next.Waiting = &choice, &waiting
	if next.Challenge != "" {
		if err := l.putFlow(ctx, next); err != nil {
			return Result{}, err
		}
		l.flow.Record = &next
		return l.result(ctx), nil
	}
	if err := l.complete(i.Slug, keys.Context{}); err != nil {
		return Result{}, err
	}
	got, err := l.waited(ctx, i)
	if err != nil {
		return Result{}, err
	}
	got.choice = &choice
	return l.save(ctx, got, waiting.Departure)
}

// choiceRef is <environment ULID>-<flow ULID>.
func choiceRef(f *Flow) string { return string(f.Environment) + "-" + string(f.ID) }

// openChoice finds the flow of a choice. What proves the browser is the cookie with which it came back from
// the provider, so the URL needs no secret. Nothing is recorded before that is compared.
func (b *Broker) openChoice(ctx context.Context, r *ChoiceRequest) (*leg, error) {
	env, flow, _ := strings.Cut(r.Flow, "-")
	if len(env) != ulidChars || !id.IsULID(env) || !id.IsULID(flow) {
		return nil, ErrTicket
	}
	at := flowKey{access.EnvironmentID(env), FlowID(flow)}
	return b.enter(ctx, r.RequestID, r.Route, at, access.FlowComplete, func(e *keys.Environment, f *Flow) error {
		var d *Departure
		switch {
		case f.Outcome != nil:
			d = f.departure(f.Outcome.Departure)
		case f.Waiting != nil:
			d = f.departure(f.Waiting.Departure)
		}
		switch {
		case d == nil:
			return ErrTicket
		case !validBinding(r.Binding) || !matches(e, keys.BindingSecret, f.ID, r.Binding, d.BindingHash):
			return ErrOtherBrowser
		}
		return nil
	})
}
