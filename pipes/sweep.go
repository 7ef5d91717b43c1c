package pipes

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"time"

	"culvert/internal/access"
	"culvert/internal/audit"
)

const (
	// FlowKeep is how long flows are kept after they began: for the list of attempts, and to answer late
	// callbacks with the first result.
	FlowKeep = 7 * 24 * time.Hour
	// flowWindow bounds the span of flows that is read at once.
	flowWindow = 10 * time.Minute
	// sweepBatch bounds the accounts that are read at once, sweepMost those that one round removes.
	sweepBatch = 100
	sweepMost  = 1000
)

// sweeper does what no caller waits for: it removes the accounts of removed integrations, settles flows
// that nobody came back from, and removes old ones. What there is to do follows from the records, so a
// restart resumes by itself, and several replicas at once only conflict with each other.
type sweeper struct {
	*Broker
	// expired and removed are up to when each environment's flows have been looked at. They belong to
	// the sweeper's goroutine.
	expired, removed map[access.EnvironmentID]time.Time
	// revoked is when each environment's ended revocations were last looked at; that goroutine's, too.
	revoked map[access.EnvironmentID]time.Time
}

// wakeSweeper makes the next round begin now.
func (b *Broker) wakeSweeper() {
	select {
	case b.sweepSoon <- struct{}{}:
	default:
	}
}

// sweepUntil sweeps until the context ends, first at once.
func (b *Broker) sweepUntil(ctx context.Context) {
	type times = map[access.EnvironmentID]time.Time
	s := &sweeper{Broker: b, expired: times{}, removed: times{}, revoked: times{}}
	tick := time.NewTicker(b.timing.sweep)
	defer tick.Stop()
	for {
		s.round(ctx)
		select {
		case <-tick.C:
		case <-b.sweepSoon:
		case <-ctx.Done():
			return
		}
	}
}

func (s *sweeper) round(ctx context.Context) {
	for _, env := range s.environments.IDs() {
		for what, sweep := range map[string]func(context.Context, access.EnvironmentID) error{
			"accounts": s.accounts, "configurations": s.configurations,
			"waiting flows": s.abandon, "expired flows": s.expire, "old flows": s.remove,
			"old revocations": s.revocations,
		} {
			if err := sweep(ctx, env); err != nil && ctx.Err() == nil {
				s.log.LogAttrs(ctx, slog.LevelWarn, "sweep not finished", slog.String("what", what),
					slog.String("environment", string(env)), slog.Any("error", err))
			}
		}
	}
}

// trace records what the sweeper is about to change. Without the record nothing is changed.
func (s *sweeper) trace(ctx context.Context, r audit.Record) (cause, error) {
	r.ActorID, r.ActorName, r.ActorSource = "system", "sweeper", "system"
	r.Phase, r.Result = audit.Internal, audit.Allowed
	index, err := s.audit.Append(ctx, r)
	return cause{s.audit.Node(), index}, err
}

// accounts removes the accounts of integrations that are gone.
func (s *sweeper) accounts(ctx context.Context, env access.EnvironmentID) error {
	gone, err := s.gone(ctx, env, s.store.Memberships)
	if err != nil {
		return err
	}
	var failures error
	left := sweepMost
	for _, id := range gone {
		for left > 0 {
			removed, err := s.accountsOf(ctx, env, id)
			// One that cannot be read must not keep the tokens of all others.
			failures = errors.Join(failures, err)
			if left -= removed; removed == 0 {
				break
			}
		}
	}
	if left <= 0 {
		s.wakeSweeper()
	}
	s.wakeRevoker()
	return failures
}

// gone are the removed integrations among those of a list, which is of what is stored after its integration.
func (s *sweeper) gone(
	ctx context.Context, env access.EnvironmentID, list func(context.Context, access.EnvironmentID) ([]IntegrationID, error),
) ([]IntegrationID, error) {
	ids, err := list(ctx, env)
	if err != nil || len(ids) == 0 {
		return nil, err
	}
	// In this order: an integration is there before its first account, so one that is missing now was
	// removed.
	if err := s.store.Fence(ctx); err != nil {
		return nil, err
	}
	all, err := s.store.Integrations(ctx, env)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(ids, func(id IntegrationID) bool {
		return slices.ContainsFunc(all, func(i At[Integration]) bool { return i.Record.ID == id })
	}), nil
}

func (s *sweeper) accountsOf(ctx context.Context, env access.EnvironmentID, id IntegrationID) (removed int, err error) {
	if err := s.store.Fence(ctx); err != nil {
		return 0, err
	}
	batch, err := s.store.AccountsOf(ctx, env, id, "", sweepBatch)
	if err != nil {
		return 0, err
	}
	for _, found := range batch {
		gone, failure := s.account(ctx, env, found.Record)
		err = errors.Join(err, failure)
		if gone {
			removed++
		}
	}
	return removed, err
}

// account removes one account, as a caller's delete would.
func (s *sweeper) account(ctx context.Context, env access.EnvironmentID, a *Account) (gone bool, err error) {
	c, err := s.trace(ctx, audit.Record{
		EnvironmentID: env, Action: access.AccountsManage, Provider: a.Slug, IntegrationID: string(a.Integration),
		AccountID: string(a.ID), GrantID: string(a.Grant), UserID: a.Owner.User, OrganizationID: a.Owner.Organization,
	})
	if err != nil {
		return false, err
	}
	for range changeAttempts {
		if err := s.store.Fence(ctx); err != nil {
			return false, err
		}
		found, err := s.store.Account(ctx, env, a.ID)
		if errors.Is(err, ErrNotFound) {
			return true, nil
		}
		if err != nil {
			return false, err
		}
		// Kept of the integration is what it takes to revoke, and only if that is to be done.
		_, err = s.retired(ctx, env, a.Integration)
		if err != nil && !errors.Is(err, ErrNoIntegration) {
			return false, err
		}
		change, err := s.removal(ctx, found, err == nil, c)
		if err == nil {
			err = s.store.Apply(ctx, change)
		}
		if !conflicted(err) {
			return err == nil, err
		}
	}
	return false, nil // the next round tries again
}

// abandon settles the flows whose tokens have waited in vain, as far as they waited because of this process:
// what somebody's provider gave for nothing is not to lie here for longer than it has to.
func (s *sweeper) abandon(ctx context.Context, env access.EnvironmentID) error {
	due := s.waits.over(env, s.now())
	if len(due) == 0 {
		return nil
	}
	if err := s.store.Fence(ctx); err != nil {
		return err
	}
	var failures error
	for _, id := range due {
		f, err := s.store.Flow(ctx, env, id)
		if err == nil && f.Record.Outcome == nil {
			err = s.settle(ctx, f)
		}
		if !errors.Is(err, ErrNotFound) {
			failures = errors.Join(failures, err) // those that failed are left to expire
		}
	}
	return failures
}

// expire settles the flows that nobody can come back from any more.
func (s *sweeper) expire(ctx context.Context, env access.EnvironmentID) error {
	to := s.now().Add(-(TicketTTL + FlowStateTTL + claimLife + FinishTTL))
	from, known := s.expired[env]
	if !known {
		from = to.Add(-FlowKeep)
	}
	return s.flows(ctx, env, s.expired, span{from, from.Add(flowWindow), to}, func(f At[Flow]) error {
		if f.Record.Outcome != nil {
			return nil
		}
		return s.settle(ctx, f)
	})
}

// span is what one sweep goes through: from its begin to first at once, then in windows, up to its end.
type span struct{ begin, first, end time.Time }

// flows carries out what there is to do with each flow of a span. done keeps, for each environment, how
// far it came.
func (s *sweeper) flows(ctx context.Context, env access.EnvironmentID, done map[access.EnvironmentID]time.Time, within span, each func(At[Flow]) error) error {
	for from, until := within.begin, within.first; from.Before(within.end); from, until = until, until.Add(flowWindow) {
		if until.After(within.end) {
			until = within.end
		}
		flows, err := s.store.Flows(ctx, env, from, until)
		if err != nil {
			return err
		}
		for _, f := range flows {
			if err := each(f); err != nil {
				return err
			}
		}
		done[env] = until
	}
	return nil
}

func (s *sweeper) settle(ctx context.Context, flow At[Flow]) error {
	f := flow.Record
	c, err := s.trace(ctx, audit.Record{
		EnvironmentID: f.Environment, Action: access.FlowComplete, Provider: f.Slug, IntegrationID: string(f.Integration),
		FlowID: string(f.ID), UserID: f.Owner.User, OrganizationID: f.Owner.Organization,
	})
	if err != nil {
		return err
	}
	change, err := settled(ctx, flow, c, "", neverReturned(f), s.Broker)
	if err != nil {
		return err
	}
	err = s.store.Apply(ctx, change)
	if conflicted(err) {
		return nil // somebody else settled it
	}
	if err == nil && change.Revocation != nil {
		s.wakeRevoker()
	}
	return err
}

// neverReturned is the likely cause of a flow whose end passed without a result.
func neverReturned(f *Flow) failure {
	switch n := len(f.Departures); {
	case f.choosing():
		return mismatch("the user signed in as another account at the provider, and did not choose between the two")
	case f.Waiting != nil || f.Outcome != nil && f.Outcome.Code == CodeNotFinished:
		return failure{code: CodeNotFinished, reason: "the browser came back, but the application did not finish the authorization with its code verifier"}
	case f.Claim != "":
		return failure{code: CodeInterrupted, reason: "the server stopped while it exchanged the code"}
	case n > 0:
		return failure{code: CodeExpired, reason: noCallback(FlowStateTTL, f.Departures[n-1].RedirectURI)}
	case f.HandoffHash != nil && !f.OpenedAt.IsZero():
		return failure{code: CodeExpired, reason: noHandoff}
	case f.HandoffHash != nil:
		return failure{code: CodeExpired, reason: "the pop-up was never opened"}
	case !f.OpenedAt.IsZero():
		return failure{code: CodeExpired, reason: "the confirmation page was shown, but nobody continued"}
	}
	return failure{code: CodeExpired, reason: "the link was never opened"}
}

// remove takes flows out whose days are over. Everything older than a day beyond that is one span: there
// is something in it only after the server was off for long.
func (s *sweeper) remove(ctx context.Context, env access.EnvironmentID) error {
	to := s.now().Add(-FlowKeep)
	from, known := s.removed[env]
	until := from.Add(flowWindow)
	if !known {
		from, until = time.Unix(0, 0), to.Add(-24*time.Hour)
	}
	return s.flows(ctx, env, s.removed, span{from, until, to}, func(f At[Flow]) error {
		err := s.store.Apply(ctx, Change{Environment: env, Flow: &Put[Flow]{Record: *f.Record, Revision: f.Revision, Remove: true}})
		if conflicted(err) {
			return nil
		}
		return err
	})
}

// revocations takes revocations out that ended long ago, once an hour: they are in the order of their
// accounts, so all have to be looked at.
func (s *sweeper) revocations(ctx context.Context, env access.EnvironmentID) error {
	if s.now().Sub(s.revoked[env]) < time.Hour {
		return nil
	}
	for after := AccountID(""); ; {
		batch, err := s.store.Revocations(ctx, env, after, sweepBatch)
		if err != nil {
			return err
		}
		for _, found := range batch {
			r := found.Record
			after = r.ID
			if r.State == RevocationPending || s.now().Sub(r.EndedAt) < RevocationKeep {
				continue
			}
			err := s.store.Apply(ctx, Change{Environment: env, Revocation: &Put[Revocation]{Record: *r, Revision: found.Revision, Remove: true}})
			if err != nil && !conflicted(err) {
				return err
			}
		}
		if len(batch) < sweepBatch {
			s.revoked[env] = s.now()
			return nil
		}
	}
}
