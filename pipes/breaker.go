package pipes

import (
	"maps"
	"sync"
	"time"

	"culvert/connectors"
	"culvert/internal/access"
)

// breakerPause is how long an integration whose client credentials the provider refuses is not tried.
const breakerPause = time.Minute

// maxBreakers bounds how many clients are remembered: each organization may have one, and any of them a wrong secret;
// and each customer a host that refuses it.
const maxBreakers = 4096

// breakers keep this process from asking a provider again and again with client credentials that it
// refuses: its accounts are not to blame, and there may be thousands of them due.
type breakers struct {
	mu   sync.Mutex
	open map[clientKey]*breaker // guarded by mu
}

// clientKey names the credentials, not only the integration: new ones are tried at once, and one
// organization's are not to blame for another's.
//
// Attacker: a customer of a provider with a host for each, who has his host refuse the client, and so keeps all
// others' tokens from being refreshed. Defence: what one host says of a client is true of that host.
type clientKey struct {
	env          access.EnvironmentID
	integration  IntegrationID
	organization string
	// id tells those apart that have no secret.
	id        string
	updatedAt time.Time
	// origin is where the client was refused.
	origin string
}

type breaker struct {
	until time.Time
	// trial is set while one refresh tries whether the credentials work again.
	trial bool
}

func newBreakers() *breakers { return &breakers{open: map[clientKey]*breaker{}} }

func (i *Integration) clientKey(conn *connectors.Connector) clientKey {
	k := clientKey{env: i.Environment, integration: i.ID, origin: conn.TokenOrigin()}
	if i.Client == nil {
		return k
	}
	k.organization, k.id = i.Client.Organization, i.Client.ID
	if i.Client.Secret != nil {
		k.updatedAt = i.Client.Secret.SealedAt
	}
	return k
}

// allow reports whether the provider may be asked: always while the breaker is closed, and by one at a
// time once its pause is over. Whoever was allowed reports back. wait is for the others.
func (b *breakers) allow(key clientKey, now time.Time) (wait time.Duration, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.open[key]
	switch {
	case s == nil:
		return 0, true
	case now.Before(s.until):
		return s.until.Sub(now), false
	case s.trial:
		return time.Second, false
	}
	s.trial = true
	return 0, true
}

// rejected opens the breaker.
func (b *breakers) rejected(key clientKey, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.open) >= maxBreakers {
		maps.DeleteFunc(b.open, func(_ clientKey, s *breaker) bool { return !now.Before(s.until) })
	}
	if len(b.open) >= maxBreakers {
		clear(b.open) // each of them is asked for once more
	}
	b.open[key] = &breaker{until: now.Add(breakerPause)}
}

// accepted closes it: whatever else the provider said, it knew the client.
func (b *breakers) accepted(key clientKey) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.open, key)
}

// undecided ends a trial that said nothing about the client: the next one may try.
func (b *breakers) undecided(key clientKey) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if s := b.open[key]; s != nil {
		s.trial = false
	}
}
