package pipes

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"culvert/connectors"
	"culvert/internal/access"
	"culvert/internal/events"
	"culvert/internal/secret"
)

// whose is the provider account that fresh tokens are of: as the token reply says, or the callback, or the
// provider when it is asked; and what they say besides. That nobody says is no failure of the flow: the tokens
// are good, and the provider is asked again behind a vend.
func (l *leg) whose(ctx context.Context, conn *connectors.Connector, t connectors.Tokens, r *CallbackRequest) connectors.Identified {
	said := conn.FromCallback(r.other)
	who := connectors.Identified{Account: t.Account, Metadata: said.Metadata}.With(t.Metadata)
	if who.ID == "" {
		who.ID = said.ID
	}
	if who.ID != "" && who.Name != "" || !conn.CanIdentify() {
		return who
	}
	asked, err := l.broker.identify(ctx, conn, t.Access)
	if err != nil {
		return who
	}
	if who.ID == "" {
		who.ID = asked.ID
	}
	if who.Name == "" {
		who.Name = asked.Name
	}
	return who.With(asked.Metadata)
}

// identify asks the provider whose a token is, and logs why it does not say.
func (b *Broker) identify(ctx context.Context, conn *connectors.Connector, token secret.Bytes) (connectors.Identified, error) {
	who, err := b.client.Identify(ctx, conn, token)
	if failed := connectors.Of(err); failed != nil {
		b.log.LogAttrs(ctx, slog.LevelWarn, "provider did not say whose account it is", slog.String("provider", conn.Slug),
			slog.String("class", failed.Class.String()), slog.Int("status", failed.Status), slog.Any("error", failed.Cause))
	}
	return who, err
}

// identities are identity calls that nobody waits for: an account whose provider did not say whose it is
// when it was connected, or that was imported, is asked about behind a vend.
type identities struct {
	mu sync.Mutex
	// pauses are guarded by mu, like closed. An account is in it while it is asked about, too.
	pauses map[accountKey]identityPause
	closed bool
	// running counts the calls under way; guarded by mu.
	running int
	work    sync.WaitGroup
	life    context.Context
	end     context.CancelFunc
}

// accountKey names an account in one environment.
type accountKey struct {
	env     access.EnvironmentID
	account AccountID
}

// identityPause is when an account may be asked about again, after so many failures in a row.
type identityPause struct {
	until time.Time
	step  int
}

const (
	// The pause between two calls about one account doubles from the first to the longest: what a provider
	// does not say today, because a scope is missing, it will hardly say tomorrow.
	firstIdentityPause = time.Minute
	maxIdentityPause   = 24 * time.Hour
	// maxIdentityPauses bounds the memory. Beyond it nothing is asked.
	maxIdentityPauses = 10_000
	// maxIdentities bounds the calls at once.
	maxIdentities = 16
)

func newIdentities() *identities {
	i := &identities{pauses: map[accountKey]identityPause{}}
	i.life, i.end = context.WithCancel(context.Background())
	return i
}

// start runs a call, unless the account is being asked about or was in vain a moment ago, or too many are.
func (i *identities) start(ctx context.Context, key accountKey, now func() time.Time, run func(context.Context) error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	at, p := now(), i.pauses[key]
	if i.closed || i.running >= maxIdentities || at.Before(p.until) || !i.room(key, at) {
		return
	}
	i.pauses[key] = identityPause{at.Add(maxIdentityPause), p.step} // until it is over
	i.running++
	i.work.Go(func() {
		ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
		defer cancel()
		defer context.AfterFunc(i.life, cancel)()
		err := run(ctx)
		i.mu.Lock()
		defer i.mu.Unlock()
		i.running--
		if err == nil {
			delete(i.pauses, key)
			return
		}
		wait := min(firstIdentityPause<<min(p.step, 20), maxIdentityPause)
		i.pauses[key] = identityPause{now().Add(wait), p.step + 1}
	})
}

// room makes room for an account, if there is any. It is called with the lock held.
func (i *identities) room(key accountKey, at time.Time) bool {
	if _, known := i.pauses[key]; known || len(i.pauses) < maxIdentityPauses {
		return true
	}
	for other, p := range i.pauses {
		if !at.Before(p.until) {
			delete(i.pauses, other)
		}
	}
	return len(i.pauses) < maxIdentityPauses
}

// close ends the calls under way and waits for them: they can be made again.
func (i *identities) close() {
	i.mu.Lock()
	i.closed = true
	i.mu.Unlock()
	i.end()
	i.work.Wait()
}

// identifyBehind asks whose an account is, if nobody knows. The token goes to the connector's identity call
// only while its grant is bound to where the connector's tokens come from, and an API key never does.
func (o *operation) identifyBehind(ctx context.Context, a *Account, g *Grant, conn *connectors.Connector, token secret.Bytes) {
	if a.Identifier != "" || a.Method == MethodAPIKey || !conn.CanIdentify() || !conn.Complete() || conn.TokenOrigin() != g.Origin {
		return
	}
	b, behind := o.broker, o.fork()
	b.identities.start(ctx, accountKey{a.Environment, a.ID}, b.now, func(ctx context.Context) error {
		who, err := b.identify(ctx, conn, token)
		if err != nil {
			return err
		}
		return behind.noteIdentity(ctx, a.ID, g, who)
	})
}

// noteIdentity stores whose an account is and what was said besides, if its tokens are still those that were
// asked about.
func (o *operation) noteIdentity(ctx context.Context, id AccountID, g *Grant, who connectors.Identified) error {
	if err := o.Intend(ctx); err != nil {
		return err
	}
	return o.End(ctx, o.retry(ctx, func() error {
		found, err := o.broker.store.Account(ctx, o.Environment(), id)
		if errors.Is(err, ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		current, err := o.broker.grant(ctx, o.Environment(), g.ID)
		if err != nil {
			return err
		}
		next, now := *found.Record, o.broker.now()
		if next.Identifier != "" || next.Grant != g.ID || current.Record.Generation != g.Generation {
			return nil
		}
		next.Identifier, next.DisplayName, next.UpdatedAt = who.ID, who.Name, now
		e, err := o.cause().aboutAccount(events.AccountUpdated, &next, now)
		if err != nil {
			return err
		}
		change := Change{
			Environment: o.Environment(), Account: &Put[Account]{Record: next, Revision: found.Revision}, Events: []events.Event{e},
		}
		if len(who.Metadata) > 0 {
			told := *current.Record
			told.tell(who.Metadata)
			change.Grant, change.Previous = &Put[Grant]{Record: told, Revision: current.Revision}, told.TokenMAC
		}
		return o.broker.store.Apply(ctx, change)
	}))
}
