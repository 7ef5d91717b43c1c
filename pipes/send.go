package pipes

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"culvert/connectors"
	"culvert/internal/id"
	"culvert/internal/journal"
	"culvert/internal/secret"
	"culvert/keys"
)

// roomBytes is what one entry of the journal takes beside tokens of the size of the old ones.
const roomBytes = 8 << 10

// maxTokens bounds a grant's tokens together, so that an entry of the journal holds what a refresh leaves of them,
// with the scopes that there may be: a grant of more could never be refreshed safely.
const maxTokens = journal.MaxEntry - roomBytes - MaxScopesBytes

// roomFor is the room that is taken for the next generation of a grant's tokens: no more than there may be, or those
// of great length, which seldom grow, would never be sent.
func roomFor(t keys.GrantTokens) int { return min(roomBytes+roomOf(t), journal.MaxEntry) }

// claim makes this refresh the one that sends the grant's token, and stores what the provider says.
// Whatever can be done or found out before is: keys, room in the journal, the connection.
func (r *refreshing) claim(ctx context.Context, s *Standing) error {
	b := r.broker
	done, _, err := r.turn(ctx)
	if err != nil {
		return err
	}
	defer done()
	wait, ok := b.breakers.allow(r.integration.clientKey(r.conn), b.now())
	if !ok {
		return &ProviderError{Slug: r.account.Slug, RetryAfter: wait, Err: ErrClientRejected}
	}
	defer b.breakers.undecided(r.integration.clientKey(r.conn))
	if err := r.intend(ctx); err != nil {
		return err
	}
	client, before, err := r.credentials(ctx)
	if err != nil {
		return err
	}
	refresh := r.refreshToken(before)
	if refresh.Len() == 0 {
		return keys.ErrTampered
	}
	room, err := b.pending.file.Reserve(roomFor(before))
	if err != nil {
		return err
	}
	defer room.Release()
	r.begin(s)
	defer r.release(ctx)
	sentAt, tokens, err := r.exchange(ctx, client, refresh)
	if err != nil {
		return r.judge(ctx, err)
	}
	r.finished = true // whatever becomes of it: the token that was sent is used up
	b.breakers.accepted(r.integration.clientKey(r.conn))
	return r.land(ctx, room, r.landing(tokens, before, sentAt))
}

// begin makes the attempt that is about to be put over what stands there.
func (r *refreshing) begin(s *Standing) {
	b := r.broker
	r.attempt = s.next(r.grant, r.name, b.holder(), id.ULID(b.clock()))
	r.attempt.Grant, r.attempt.TokenMAC = r.key.grant, r.grant.TokenMAC
	if r.name != "" {
		r.attempt.TokenMAC = nil // that is the main one's
	}
	r.attemptAt, r.lockAt = s.Attempt.Revision, s.Lock.Revision
	r.announced, r.finished = false, false
	b.refreshes.adopted(r.key)
}

// exchange sends the refresh token. If no readable reply comes, the same one is sent again within every
// known grace period: if the server never saw the first it works, and if it did and has no grace, the grant
// was lost with the reply. Where the provider refuses the client, and its secret is being rotated, the token goes
// out once more with the other secret.
func (r *refreshing) exchange(ctx context.Context, client *clientSecrets, refresh secret.Bytes) (time.Time, connectors.Tokens, error) {
	b := r.broker
	ctx, cancel := context.WithTimeout(ctx, b.timing.call)
	defer cancel()
	for n := 0; ; {
		link, err := r.ready(ctx)
		if err != nil {
			return time.Time{}, connectors.Tokens{}, err
		}
		sentAt := b.now()
		tokens, err := link.Refresh(ctx, client.Credentials, refresh)
		again, failed := client.again(err), connectors.Of(err)
		if failed == nil {
			return sentAt, tokens, err
		}
		r.logFailure(ctx, failed)
		if again {
			continue
		}
		if failed.Class != connectors.Ambiguous {
			return time.Time{}, connectors.Tokens{}, err
		}
		r.attempt.Ambiguous = true // the next step says so in etcd, before the token goes out again
		b.count(CountAmbiguous)
		if n >= len(b.timing.resend) {
			return time.Time{}, connectors.Tokens{}, err
		}
		select {
		case <-time.After(b.timing.resend[n]):
		case <-ctx.Done():
			return time.Time{}, connectors.Tokens{}, err
		}
		n++
	}
}

// ready connects and announces the send. It returns while the send may begin at once, or why it may not.
func (r *refreshing) ready(ctx context.Context) (*connectors.Connection, error) {
	b := r.broker
	for range sendWindows {
		link, err := b.client.Connect(ctx, r.conn)
		if failed := connectors.Of(err); failed != nil {
			r.logFailure(ctx, failed)
		}
		if err != nil {
			return nil, err
		}
		began := b.timing.uptime()
		if err := r.announce(ctx); err != nil {
			link.Close()
			return nil, err
		}
		if inWindow(began, b.timing.uptime(), b.timing.window) {
			return link, nil
		}
		link.Close()
	}
	return nil, slow()
}

// announce puts the attempt, with one send more, while the grant is at its generation and nobody else has
// taken over. It takes the lock, the first time and again: a process that was stopped for longer than its lease
// would send without one, and a successor would take it for gone. [errAgain] means that this refresh may not send.
func (r *refreshing) announce(ctx context.Context) error {
	b := r.broker
	if !r.announced && b.refreshes.open.Err() != nil {
		return r.unavailable(time.Second) // shutting down: nothing has been sent yet
	}
	next := r.attempt
	next.Sends++
	next.At = b.now()
	for range changeAttempts {
		revision, err := b.store.PutAttempt(ctx, Step{
			Environment: r.key.env, Attempt: next, Revision: r.attemptAt, GrantAt: r.grantAt, Lock: LockTaken, LockAt: r.lockAt,
		})
		if err == nil {
			r.attempt, r.attemptAt, r.lockAt, r.announced = next, revision, revision, true
			return nil
		}
		if !conflicted(err) {
			return err
		}
		done, err := r.reread(ctx, &next)
		if err != nil || done {
			return err
		}
	}
	return errAgain
}

// reread finds out why an attempt could not be put: it was after all, somebody else is at the grant, the lock is
// gone with its lease, or the record was edited at the same generation.
func (r *refreshing) reread(ctx context.Context, next *Attempt) (done bool, err error) {
	s, err := r.broker.store.Standing(ctx, r.key.env, r.key.grant)
	if err != nil {
		return false, err
	}
	found := s.Attempt.Record
	mine := found != nil && found.ID == next.ID
	if mine && found.Sends == next.Sends {
		r.attempt, r.attemptAt, r.lockAt, r.announced = *next, s.Attempt.Revision, s.Lock.Revision, true
		return true, nil
	}
	if !r.announced || !mine {
		r.finished = r.announced // another's attempt stands there
		return false, errAgain
	}
	r.lockAt = s.Lock.Revision // nobody takes it without the attempt
	moved, err := r.moved(ctx)
	if err == nil && moved {
		err = errAgain
	}
	return false, err
}

// release leaves what is not finished to others: an attempt whose token may be used up stays, and says
// that no request is under way; any other goes. Nobody is told of a failure, but the keeper tries again: while
// the lock is there no other replica begins.
func (r *refreshing) release(ctx context.Context) {
	if !r.announced || r.finished {
		return
	}
	b := r.broker
	step := Step{
		Environment: r.key.env, Attempt: r.attempt, Revision: r.attemptAt, Remove: !r.attempt.Ambiguous, Lock: LockReleased,
	}
	step.Attempt.Idle = true
	// Not under ctx: the refresh may end because it does.
	if _, err := b.store.PutAttempt(context.WithoutCancel(ctx), step); err != nil && !errors.Is(err, ErrConflict) {
		b.log.LogAttrs(ctx, slog.LevelWarn, "refresh not released yet", slog.String("grant", string(r.key.grant)), slog.Any("error", err))
		b.strand(step)
	}
}
