package pipes

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"culvert/connectors"
	"culvert/internal/access"
	"culvert/internal/audit"
	"culvert/internal/id"
	"culvert/internal/journal"
	"culvert/internal/origin"
	"culvert/internal/trail"
	"culvert/keys"
)

// Broker is the use cases. It is immutable but for what it remembers of refreshes and of the pace of flows,
// and safe for concurrent use.
//
// Every method that takes a call returns access.ErrDenied if the actor may not, access.ErrUnauthenticated
// if its key was revoked meanwhile, keys.ErrTampered for a record that is not what was stored, and an
// outage.Error if a dependency (etcd, root key, audit) does not answer. The other errors stand at the
// methods. A browser's legs take no call: the ticket or flow state that they bring is the credential, and
// a [*RateError] is the answer to one that comes too often.
type Broker struct {
	store        Store
	keys         *keys.Keys
	environments *keys.Environments
	guard        *trail.Guard
	audit        *audit.Log
	catalog      *connectors.Catalog
	client       *connectors.Client
	egress       *connectors.Egress
	publicURL    string
	returnTo     origins
	clock        func() time.Time
	log          *slog.Logger
	timing       timing

	refreshes *refreshes
	// pending is what stands in the journal, keeper what finishes it. process is this life of the node.
	pending  *pending
	keeper   keeper
	process  string
	count    func(Counted)
	breakers *breakers
	secrets  *secretMemory
	turns    *turns
	paces    *paces
	// identities are the identity calls behind vends.
	identities *identities
	// reports are the checks of tokens that APIs refused.
	reports *reports
	// waits are the flows whose tokens wait, and until when: the sweeper ends them in time.
	waits *waits

	// uses are the grants that this process vended; marks those of them that the store has as idle.
	uses  *uses
	marks chan mark
	// keepAlive bounds how long a grant lies unused; 0: a third of what its provider allows.
	keepAlive time.Duration

	// sweepSoon wakes the sweeper; capacity 1.
	sweepSoon chan struct{}
	// revokeSoon wakes the revoker; capacity 1.
	revokeSoon chan struct{}
	// stop ends the workers, which Close waits for.
	stop    context.CancelFunc
	workers sync.WaitGroup
}

// Config is what a [Broker] is made of. All fields are required unless they name a default.
type Config struct {
	Store        Store
	Keys         *keys.Keys
	Environments *keys.Environments
	Gate         *access.Gate
	Audit        *audit.Log
	// Connectors are the providers that integrations of a catalogue slug use.
	Connectors *connectors.Catalog
	// Client calls providers; Egress checks the URLs of custom ones when they are defined.
	Client *connectors.Client
	Egress *connectors.Egress
	// PublicURL is where browsers and providers reach this server: an origin, without a path.
	PublicURL string
	// ReturnTo are the origins that a flow may end at; default none. AnyLoopbackReturnTo allows every
	// http origin on loopback besides, for development.
	ReturnTo            []string
	AnyLoopbackReturnTo bool
	// Journal keeps what a refresh brought until it is in the store. It is this node's alone, and lies where
	// it survives the node.
	Journal *journal.Journal
	// Count is told of refreshes, for metrics; default nobody. It is called on any goroutine.
	Count func(Counted)
	// Background refreshes grants that nobody asks for at the moment: see caretaker.
	Background bool
	// KeepAlive bounds how long a grant that nobody uses goes without a refresh. 0: a third of the time after
	// which its provider forgets it.
	KeepAlive time.Duration
	// Now defaults to [time.Now].
	Now func() time.Time
	// Logger defaults to none. It is told of provider failures, never of tokens.
	Logger *slog.Logger
}

// New checks the configuration and returns a ready Broker, which works on its own, too, until [Broker.Close].
func New(c Config) (*Broker, error) {
	if c.Store == nil || c.Keys == nil || c.Environments == nil || c.Gate == nil || c.Audit == nil ||
		c.Connectors == nil || c.Client == nil || c.Egress == nil || c.Journal == nil {
		return nil, errors.New("pipes: incomplete configuration")
	}
	public, err := parsePublicURL(c.PublicURL)
	if err != nil {
		return nil, err
	}
	allowed, err := newOrigins(c.ReturnTo, c.AnyLoopbackReturnTo)
	if err != nil {
		return nil, err
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Count == nil {
		c.Count = func(Counted) {}
	}
	pending, err := newPending(c.Journal, c.Logger)
	if err != nil {
		return nil, err
	}
	b := &Broker{
		store: c.Store, keys: c.Keys, environments: c.Environments, audit: c.Audit, catalog: c.Connectors,
		client: c.Client, egress: c.Egress, publicURL: public, returnTo: allowed, clock: c.Now, log: c.Logger,
		guard:     &trail.Guard{Gate: c.Gate, Audit: c.Audit, Fence: c.Store.Fence, Verdict: judge, Requests: c.Store},
		timing:    defaultTiming(),
		refreshes: newRefreshes(), breakers: newBreakers(), secrets: newSecretMemory(), paces: newPaces(), waits: newWaits(),
		turns: newTurns(maxTurnsIntegration, maxTurns), identities: newIdentities(), reports: newReports(),
		pending: pending, process: rand.Text(), count: c.Count,
		keeper:    keeper{home: map[access.EnvironmentID]bool{}},
		sweepSoon: make(chan struct{}, 1), revokeSoon: make(chan struct{}, 1),
		uses: newUses(), marks: make(chan mark, maxMarks), keepAlive: c.KeepAlive,
	}
	var life context.Context
	life, b.stop = context.WithCancel(context.Background())
	b.workers.Go(func() { b.sweepUntil(life) })
	b.workers.Go(func() { b.keepUntil(life) })
	b.workers.Go(func() { b.revokeUntil(life) })
	if c.Background {
		b.workers.Go(func() { b.careUntil(life) })
		b.workers.Go(func() { b.markUntil(life) })
	}
	return b, nil
}

// Close begins no further refresh and waits for those under way: a provider has rotated a token, and
// only this process knows the new one. When ctx ends first they are given up, and the error says so; what
// stands in the journal by then is stored by the node's next start.
func (b *Broker) Close(ctx context.Context) error {
	b.stop()
	b.workers.Wait()
	b.identities.close()
	b.reports.close()
	if lost := b.refreshes.close(ctx); lost > 0 {
		return fmt.Errorf("pipes: %d refreshes given up: %w", lost, ctx.Err())
	}
	return nil
}

// timing are the waits of a Broker. They are fields so that tests can shorten them.
type timing struct {
	// call bounds one detached exchange or refresh, its re-sends included.
	call time.Duration
	// persist bounds how long a token that a provider handed out is tried to be stored.
	persist time.Duration
	// wait bounds how long a caller waits for a refresh, or a callback for another one's result.
	wait time.Duration
	// resend are the pauses before the same refresh token is sent again after a lost reply: inside every
	// grace period that providers document.
	resend []time.Duration
	// window is how soon after its attempt a token has to be sent, by uptime.
	window time.Duration
	uptime func() time.Duration
	// settled is how long after its owner was last seen no request of an attempt can be under way.
	settled time.Duration
	// patience bounds how long a refresh waits for another replica's.
	patience time.Duration
	// keep is the keeper's interval.
	keep time.Duration
	// poll is how often a callback looks for another one's result.
	poll time.Duration
	// sweep is the sweeper's interval, care the caretaker's, revoke the revoker's.
	sweep, care, revoke time.Duration
	// revokeMost is about how many revocations one round of the revoker begins.
	revokeMost int
}

func defaultTiming() timing {
	return timing{
		call:    90 * time.Second,
		persist: 5 * time.Minute,
		wait:    30 * time.Second,
		resend:  []time.Duration{200 * time.Millisecond, time.Second, 3 * time.Second},
		window:  sendWindow,
		uptime:  uptime,
		// The 20 seconds that a call may take, the window before it, and a margin.
		settled:  25 * time.Second,
		patience: 90 * time.Second,
		keep:     time.Second,
		care:     5 * time.Second,
		poll:     50 * time.Millisecond,
		sweep:    time.Minute,
		revoke:   10 * time.Second,

		revokeMost: 1000,
	}
}

// holder is this life of this node.
func (b *Broker) holder() Holder { return Holder{Node: b.audit.Node(), Process: b.process} }

// now is the time in records: UTC to the millisecond, as it appears on the wire.
func (b *Broker) now() time.Time { return b.clock().UTC().Truncate(time.Millisecond) }

// newID makes an id with a prefix of the contract.
func (b *Broker) newID(prefix string) string { return prefix + id.ULID(b.clock()) }

// parsePublicURL accepts an origin, with or without a slash: what comes behind it is ours.
func parsePublicURL(raw string) (string, error) {
	public := strings.TrimSuffix(raw, "/")
	if !origin.IsWeb(public) {
		return "", errors.New("pipes: PublicURL must be an origin, such as https://culvert.example.com")
	}
	return public, nil
}
