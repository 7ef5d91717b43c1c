package pipes

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/oklog/ulid/v2"

	"culvert/internal/access"
	"culvert/internal/id"
)

// AttemptPrefix is what the id of an attempt begins with on the wire, before the flow's, as the name of the trail's
// actor for a flow does.
const AttemptPrefix = "flow_"

// AttemptState tells what may still become of an attempt.
type AttemptState string

// The states of an attempt.
const (
	// AttemptPending: a callback may still come.
	AttemptPending AttemptState = "pending"
	// AttemptNeverReturned: none came, and none would count any more.
	AttemptNeverReturned AttemptState = "never_returned"
)

// AttemptView is a flow that has not come back.
type AttemptView struct {
	Flow                   FlowID
	Slug                   string
	Integration            IntegrationID
	UserID, OrganizationID string
	ConnectionOwner        Ownership
	CreatedAt              time.Time
	// OpenedAt is when the confirmation page was first shown, DepartedAt when a browser was last sent to
	// the provider; zero if never. Departures counts them.
	OpenedAt, DepartedAt time.Time
	Departures           int
	State                AttemptState
	// Code is that of the event, empty while the attempt is pending. Cause says for people where it got
	// stuck, probably.
	Code, Cause string
	// RedirectURI is what the provider must know, if a browser was sent there.
	RedirectURI string
}

// AttemptQuery asks for attempts, newest first, of the last [FlowKeep].
type AttemptQuery struct {
	// Limit is 1 to 100; 0 stands for 10.
	Limit int
	// After leads to older ones: the cursor of a page.
	After FlowID
	// Slug keeps those of one provider; empty keeps all.
	Slug string
}

// AttemptPage is a page; After is empty at the end.
type AttemptPage struct {
	Data  []AttemptView
	After FlowID
}

// Attempts lists the flows that were begun and have not come back, with the likely cause: what a broker
// never hears of is a redirect URI that the provider does not know, because the error stays there. Who
// looks for it has just tried, so pending flows are listed too.
//
// Errors: [*InvalidError], [ErrNoIntegration] for a slug that has none of either ownership,
// [ErrUnknownCursor].
func (b *Broker) Attempts(ctx context.Context, call access.Call, q AttemptQuery) (AttemptPage, error) {
	o, err := b.begin(ctx, call, access.AttemptsRead)
	if err != nil {
		return AttemptPage{}, err
	}
	page, err := o.attempts(ctx, q)
	return answer(ctx, o, page, err)
}

// maxAttemptWindow is the span that is read at once at most: the spans double, so that a page of a quiet
// environment is a few reads, and one of a busy environment does not read everything.
const maxAttemptWindow = 24 * time.Hour

func (o *operation) attempts(ctx context.Context, q AttemptQuery) (AttemptPage, error) {
	if err := checkLimit(&q.Limit); err != nil {
		return AttemptPage{}, err
	}
	now := o.broker.now()
	to := now.Add(time.Second) // another replica's clock may be a little ahead
	if q.After != "" {
		if !id.IsULID(string(q.After)) {
			return AttemptPage{}, ErrUnknownCursor
		}
		to = ulid.Time(ulid.MustParse(string(q.After)).Time()).Add(time.Millisecond)
	}
	if err := o.attemptsOf(ctx, q.Slug); err != nil {
		return AttemptPage{}, err
	}
	page := AttemptPage{Data: []AttemptView{}}
	oldest := now.Add(-FlowKeep)
	for span := flowWindow; to.After(oldest); span = min(2*span, maxAttemptWindow) {
		from := to.Add(-span)
		flows, err := o.broker.store.Flows(ctx, o.Environment(), from, to)
		if err != nil {
			return AttemptPage{}, err
		}
		for n := len(flows) - 1; n >= 0; n-- {
			f := flows[n].Record
			if q.After != "" && f.ID >= q.After || q.Slug != "" && f.Slug != q.Slug || f.CreatedAt.Before(oldest) {
				continue
			}
			if f.Outcome != nil && !f.lost(now) || !o.allows(f.Slug, f.Owner) {
				continue
			}
			if len(page.Data) == q.Limit {
				page.After = page.Data[q.Limit-1].Flow
				return page, nil
			}
			page.Data = append(page.Data, attemptOf(f, now))
		}
		to = from
	}
	return page, nil
}

// attemptsOf checks the slug whose attempts are asked for: an empty list would say that nobody tried.
func (o *operation) attemptsOf(ctx context.Context, slug string) error {
	if slug != "" {
		_, err := o.broker.integration(ctx, o.Environment(), slug, OwnedByUser)
		if errors.Is(err, ErrNoIntegration) {
			_, err = o.broker.integration(ctx, o.Environment(), slug, OwnedByOrganization)
		}
		if err != nil {
			return err
		}
		o.Record.Provider = slug
	}
	o.Record.KeyContext = map[string]string{}
	o.Lists()
	return nil
}

// lost reports a flow that has ended without a callback, whether the sweeper has been there or not.
func (f *Flow) lost(now time.Time) bool {
	if f.Outcome != nil {
		return f.Outcome.Code == CodeExpired || f.Outcome.Code == CodeInterrupted || f.Outcome.Code == CodeNotFinished
	}
	return !now.Before(f.end()) && !f.claimed(now)
}

func attemptOf(f *Flow, now time.Time) AttemptView {
	state, why := AttemptPending, failure{reason: f.waitsFor(now)}
	if f.lost(now) {
		state, why = AttemptNeverReturned, neverReturned(f)
	}
	v := AttemptView{
		Flow: f.ID, Slug: f.Slug, Integration: f.Integration, UserID: f.ActingUser, OrganizationID: f.Owner.Organization,
		ConnectionOwner: f.Owner.Kind, CreatedAt: f.CreatedAt, OpenedAt: f.OpenedAt, Departures: len(f.Departures),
		State: state, Code: why.code, Cause: why.reason,
	}
	if n := len(f.Departures); n > 0 {
		v.DepartedAt, v.RedirectURI = f.Departures[n-1].At, f.Departures[n-1].RedirectURI
	}
	return v
}

// slowReturn is how long a person may take at the provider before a callback that does not come is worth
// a remark.
const slowReturn = 2 * time.Minute

// waitsFor is what has to happen next in a flow that is pending.
func (f *Flow) waitsFor(now time.Time) string {
	n := len(f.Departures)
	switch {
	case f.choosing():
		return "the user signed in as another account at the provider, and is asked which one to keep"
	case f.Waiting != nil:
		return "the browser is back, and the application has not finished the authorization yet"
	case f.claimed(now):
		return "the code is being exchanged"
	case n > 0:
		if away := now.Sub(f.Departures[n-1].At); away >= slowReturn {
			return noCallback(away, f.Departures[n-1].RedirectURI)
		}
		return "the browser was sent to the provider and is not back yet"
	case f.HandoffHash != nil && !f.OpenedAt.IsZero():
		return noHandoff
	case f.HandoffHash != nil:
		return "the pop-up has not been opened yet"
	case !f.OpenedAt.IsZero():
		return "the confirmation page was shown, and nobody has continued yet"
	}
	return "the link has not been opened yet"
}

// noHandoff is the likely cause of a pop-up that got no message it could use: it waits for ten seconds.
const noHandoff = "the pop-up was opened, but no message with the handoff token came from a page of an allowed origin: " +
	"check that the page's origin is among cors_origins, and that it keeps its hold on the pop-up (no Cross-Origin-Opener-Policy: same-origin)"

// noCallback is the likely cause of a callback that did not come.
func noCallback(after time.Duration, redirectURI string) string {
	return fmt.Sprintf("no callback after %d minutes: check that the redirect URI %s is registered at the provider",
		int(after.Minutes()), redirectURI)
}
