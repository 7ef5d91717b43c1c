package pipes

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"culvert/connectors"
	"culvert/keys"
)

// refreshing is one refresh of one grant, detached from the call that began it.
type refreshing struct {
	*operation
	account *Account
	key     grantKey
	// name is which of the grant's tokens is refreshed; empty for the main one.
	name string
	// behind is a refresh that nobody waits for.
	behind bool
	// unasked is one that the caretaker began: whether the access token still lives does not matter.
	unasked bool
	// refused is one of a token that an API refused, whether it lives or not: of generation refusedAt alone,
	// because a newer one has not been refused.
	refused   bool
	refusedAt uint64
	// grant is the record whose refresh token is sent, at its revision.
	grant       *Grant
	grantAt     int64
	integration *Integration
	conn        *connectors.Connector
	// intended is set once the intent is in the trail.
	intended bool

	// attempt is this refresh's, attemptAt the revision of the one in etcd, lockAt that of the lock that is
	// taken over. announced is set while the attempt in etcd is this one, finished once nothing is left to
	// be said of it.
	attempt             Attempt
	attemptAt, lockAt   int64
	announced, finished bool
}

// refresh is what a flight runs. The account is one that points to the grant: the one that was asked for.
func (o *operation) refresh(a *Account, g *Grant, name string, behind bool) func(context.Context) error {
	r := &refreshing{operation: o.fork(), account: a, key: keyOf(g), name: name, behind: behind}
	return r.way(g)
}

// way is how a grant gets its next token: in its client's own name, or by its refresh token.
func (r *refreshing) way(g *Grant) func(context.Context) error {
	if g.Method == MethodClientCredentials {
		return r.refetch
	}
	return r.run
}

// errAgain means that somebody else changed what this refresh was about to act on: look again.
var errAgain = errors.New("pipes: refresh has to look again")

// refreshUnasked is what the caretaker's flight runs. It takes a free turn or none, like a refresh behind a
// caller.
func (o *operation) refreshUnasked(a *Account, g *Grant) func(context.Context) error {
	r := &refreshing{operation: o.fork(), account: a, key: keyOf(g), behind: true, unasked: true}
	return r.way(g)
}

// refreshRefused is what a flight runs for a token that an API refused.
func (o *operation) refreshRefused(at *reached) func(context.Context) error {
	r := &refreshing{
		operation: o.fork(), account: at.account, key: keyOf(at.grant), name: at.name, refused: true, refusedAt: at.grant.Generation,
	}
	return r.run
}

// run sees to it that the store has a token that works, or says why it cannot. nil means that the store
// has to be read again: what it says then counts, also that the grant is dead or gone.
func (r *refreshing) run(ctx context.Context) error {
	// Before the first look, so that no change between a look and a wait is missed.
	changed, done := r.broker.store.Watch(r.key.env, r.key.grant)
	defer done()
	err := r.rounds(ctx, changed)
	if r.intended {
		return r.End(ctx, err)
	}
	return err
}

// rounds looks and acts until there is nothing left to do. While somebody else is at the grant it waits for
// a change, without asking, for as long as callers wait.
func (r *refreshing) rounds(ctx context.Context, changed <-chan struct{}) error {
	b := r.broker
	patience := time.NewTimer(b.timing.patience)
	defer patience.Stop()
	for {
		wait, err := r.round(ctx)
		switch {
		case errors.Is(err, errAgain):
			wait = time.Nanosecond
		case err != nil || wait == 0:
			return err
		case r.behind:
			return nil // the next vend looks again
		}
		soon := time.NewTimer(wait)
		select {
		case <-changed:
		case <-soon.C:
		case <-patience.C:
			err = r.unavailable(time.Second)
		case <-b.refreshes.open.Done():
			err = r.unavailable(time.Second)
		case <-ctx.Done():
			err = ctx.Err()
		}
		soon.Stop()
		if err != nil && !errors.Is(err, errAgain) {
			return err
		}
	}
}

func (r *refreshing) unavailable(wait time.Duration) error {
	return &ProviderError{Slug: r.account.Slug, RetryAfter: wait, Err: ErrProvider}
}

// untilChange is how long a refresh waits for a change before it looks without one.
const untilChange = 10 * time.Second

// round is one look at what there is, and one attempt if it is this refresh's turn. wait is how long to
// wait, if it is not; 0 with nil means that the store has to be read.
func (r *refreshing) round(ctx context.Context) (wait time.Duration, err error) {
	b := r.broker
	if landed, err := b.landPending(ctx, r.key); err != nil || landed {
		return 0, err
	}
	needed, err := r.look(ctx)
	if err != nil || !needed {
		return 0, err
	}
	if !r.grant.as(r.name).Refreshable {
		if err := r.intend(ctx); err != nil {
			return 0, err
		}
		return 0, r.bury(ctx, r.unrenewable())
	}
	if err := r.held(); err != nil {
		return 0, err
	}
	s, err := b.store.Standing(ctx, r.key.env, r.key.grant)
	if err != nil {
		return 0, err
	}
	switch s.whose(r.grant, b.holder()) {
	case held:
		return untilChange, nil
	case orphaned:
		wait := r.succession(&s)
		if wait > b.timing.settled {
			// Nobody needs the refresh yet: the access token lives.
			return 0, r.unavailable(min(wait, firstPause<<3))
		}
		if wait > 0 {
			return wait, nil
		}
	}
	if a := s.open(r.grant); a != nil && a.Name != r.name {
		return 0, r.first(ctx, &s, a.Name)
	}
	return 0, r.claim(ctx, &s)
}

// first finishes what was begun of another of the grant's tokens. [errAgain] means that it is done.
func (r *refreshing) first(ctx context.Context, s *Standing, name string) error {
	other := *r
	other.name = name
	err := other.claim(ctx, s)
	r.intended = other.intended
	if err == nil {
		err = errAgain
	}
	return err
}

// held tells why the refresh token is not sent now, whatever the provider would say.
func (r *refreshing) held() error {
	if r.grant.Origin == "" || r.conn.TokenOrigin() != r.grant.Origin {
		return ErrEndpointChanged
	}
	b := r.broker
	if wait := b.refreshes.paused(r.key, b.now()); wait > 0 {
		return r.unavailable(wait)
	}
	return nil
}

// look reads what is there now, behind a fence: whoever asked for the refresh may have read before the
// last one landed.
func (r *refreshing) look(ctx context.Context) (needed bool, err error) {
	b := r.broker
	if err := b.store.Fence(ctx); err != nil {
		return false, err
	}
	found, err := b.grant(ctx, r.key.env, r.key.grant)
	if errors.Is(err, ErrConflict) {
		return false, nil // gone with its account
	}
	if err != nil {
		return false, err
	}
	// Read anew, too: the reconnect that made another generation may have given the account another host.
	account, err := b.accountOf(ctx, found.Record, r.account.ID)
	if errors.Is(err, ErrConflict) {
		return false, nil // it is leaving the grant
	}
	if err != nil {
		return false, err
	}
	r.account = account
	i, err := b.integrationOf(ctx, r.key.env, r.account.Slug, r.account.Owner.Kind, found.Record.Integration)
	if errors.Is(err, ErrNoIntegration) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if r.integration, err = b.integrationFor(ctx, i.Record, r.account.Owner); err != nil {
		return false, err
	}
	r.integration = r.integration.at(r.account.Config)
	if r.conn, err = b.connector(r.integration); err != nil {
		return false, err
	}
	r.grant, r.grantAt = found.Record, found.Revision
	if r.unasked && !r.grant.Dead && r.grant.wanted(r.conn, b.now(), b) {
		return true, nil
	}
	if r.grant.Dead || r.grant.Named[r.name].Dead {
		return false, nil
	}
	if r.refused {
		return r.grant.Generation == r.refusedAt, nil
	}
	return r.grant.as(r.name).due(r.conn, b.now()) != living, nil
}

// unrenewable is why a token that does not work, and has no refresh token, is dead.
func (r *refreshing) unrenewable() string {
	if r.refused && !r.grant.as(r.name).ended(r.broker.now()) {
		return ReasonRefusedByAPI
	}
	return ReasonExpired
}

// intend puts the intent into the trail, before anything is sent or changed.
func (r *refreshing) intend(ctx context.Context) error {
	if err := r.Intend(ctx); err != nil {
		return err
	}
	r.intended = true
	return nil
}

// overtaken reports that the token that was sent is not the grant's any more, or was judged.
func (r *refreshing) overtaken(g *Grant) bool {
	return !g.keeps(r.name, r.grant.Generation) || g.Dead || g.Named[r.name].Dead
}

// moved looks whether the grant is another one than the one whose token was sent.
func (r *refreshing) moved(ctx context.Context) (bool, error) {
	if err := r.broker.store.Fence(ctx); err != nil {
		return false, err
	}
	found, err := r.broker.grant(ctx, r.key.env, r.key.grant)
	if errors.Is(err, ErrConflict) {
		return true, nil
	}
	if err != nil || r.overtaken(found.Record) {
		return err == nil, err
	}
	r.grantAt = found.Revision
	return false, nil
}

// judge decides what a failed refresh means. Whatever it was, the store is read again first: a newer
// generation is the answer.
func (r *refreshing) judge(ctx context.Context, err error) error {
	failed := connectors.Of(err)
	if failed == nil {
		return err
	}
	b, slug := r.broker, r.account.Slug
	moved, readErr := r.moved(ctx)
	switch {
	case readErr != nil:
		return readErr
	case moved:
		return nil
	case failed.Class == connectors.DeadGrant:
		b.breakers.accepted(r.integration.clientKey(r.conn))
		return r.bury(ctx, deadReason(r.grant.as(r.name), r.integration.clientID(), r.conn, failed, r.attempt.lost(r.grant), b.now()))
	case failed.Class == connectors.ClientRejected && failed.Code == "unauthorized_client":
		// Providers say this of a token that belongs to another client, too: only this grant waits.
		b.count(CountClientRejected)
		wait := b.refreshes.failed(r.key, b.now(), failed.RetryAfter)
		return &ProviderError{Slug: slug, RetryAfter: wait, Err: ErrClientRejected}
	case failed.Class == connectors.ClientRejected:
		b.count(CountClientRejected)
		b.breakers.rejected(r.integration.clientKey(r.conn), b.now())
		return &ProviderError{Slug: slug, RetryAfter: breakerPause, Err: ErrClientRejected}
	}
	b.count(CountUnavailable)
	return r.unavailable(b.refreshes.failed(r.key, b.now(), failed.RetryAfter))
}

// credentials are the client's and the grant's, opened.
func (r *refreshing) credentials(ctx context.Context) (*clientSecrets, keys.GrantTokens, error) {
	client, err := r.clientSecrets(ctx, r.integration, r.conn)
	if err != nil {
		return nil, keys.GrantTokens{}, err
	}
	before, err := r.openGrant(ctx, r.grant)
	return client, before, err
}

func (r *refreshing) logFailure(ctx context.Context, failed *connectors.Error) {
	attrs := []slog.Attr{
		slog.String("provider", r.account.Slug), slog.String("grant", string(r.key.grant)),
		slog.String("class", failed.Class.String()), slog.String("code", failed.Code),
	}
	if failed.Cause != nil { // none where the provider answered
		attrs = append(attrs, slog.Any("error", failed.Cause))
	}
	r.broker.log.LogAttrs(ctx, slog.LevelWarn, "refresh failed", attrs...)
}
