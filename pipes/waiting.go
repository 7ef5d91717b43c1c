package pipes

import (
	"context"
	"slices"
	"sync"
	"time"

	"culvert/connectors"
	"culvert/internal/access"
	"culvert/internal/base62"
	"culvert/internal/secret"
	"culvert/keys"
)

// WaitingTokens are those of a flow with session binding, from its callback until it is finished, or of a
// reconnect with another account at the provider, until somebody has chosen: sealed, and in clear what is
// decided on. Times and the origin are bound by the seal, all of it by the MAC. No account has them yet.
type WaitingTokens struct {
	// Departure is the trip that brought them.
	Departure string `cbor:"1,keyasint"`
	// Items are the key context that the grant will have, under whose KEK they are sealed.
	Items map[string]string `cbor:"2,keyasint,omitempty"`
	KeyID keys.ID           `cbor:"3,keyasint"`
	// WrappedDEK and Sealed hold the tokens (keys.GrantTokens).
	WrappedDEK []byte `cbor:"4,keyasint"`
	Sealed     []byte `cbor:"5,keyasint"`
	// Origin is that of the token endpoint the refresh token may be sent to.
	Origin           string    `cbor:"6,keyasint"`
	ObtainedAt       time.Time `cbor:"7,keyasint"`
	ExpiresAt        time.Time `cbor:"8,keyasint,omitzero"`
	RefreshExpiresAt time.Time `cbor:"9,keyasint,omitzero"`
	Scopes           []string  `cbor:"10,keyasint,omitempty"`
	// Since is when the waiting began; it ends after [FinishTTL].
	Since time.Time `cbor:"11,keyasint"`
	// Identifier and DisplayName are whose they are at the provider.
	Identifier  string `cbor:"12,keyasint,omitempty"`
	DisplayName string `cbor:"13,keyasint,omitempty"`
	// Choice is set where they are another provider account's than the one that is connected.
	Choice *Choice `cbor:"14,keyasint,omitempty"`
	// Main and Named are what they are of [Grant].
	Main  string                `cbor:"15,keyasint,omitempty"`
	Named map[string]NamedToken `cbor:"16,keyasint,omitempty"`
	// Client is the client id that they were given to: the integration may have another one when they are claimed.
	Client string `cbor:"17,keyasint,omitempty"`
	// Metadata is that of [Grant].
	Metadata map[string]string `cbor:"18,keyasint,omitempty"`
}

// WaitingBinding is what the seal of the waiting tokens proves, where there are some.
func (f *Flow) WaitingBinding() keys.WaitingBinding {
	w := f.Waiting
	return keys.WaitingBinding{
		FlowID: string(f.ID), Departure: w.Departure, IntegrationID: string(f.Integration), Origin: w.Origin,
		ExpiresAt: w.ExpiresAt, RefreshExpiresAt: w.RefreshExpiresAt, ObtainedAt: w.ObtainedAt,
	}
}

// waitingGrant is the waiting tokens as a grant has them, under the seal that they have here; it is no account's.
func (f *Flow) waitingGrant() *Grant {
	w := f.Waiting
	return &Grant{
		Environment: f.Environment, Integration: f.Integration, Items: w.Items, KeyID: w.KeyID, WrappedDEK: w.WrappedDEK, Sealed: w.Sealed,
		Origin: w.Origin, ObtainedAt: w.ObtainedAt, ExpiresAt: w.ExpiresAt, RefreshExpiresAt: w.RefreshExpiresAt,
		Main: w.Main, Named: w.Named, Client: w.Client, Metadata: w.Metadata,
	}
}

// SealedTokens are the tokens as package keys opens them.
func (w *WaitingTokens) SealedTokens() keys.Sealed {
	return keys.Sealed{KeyID: w.KeyID, WrappedDEK: w.WrappedDEK, Ciphertext: w.Sealed}
}

// wait keeps what an exchange brought in the flow: whoever began it has to say first that this is the user
// who came back, or somebody has to choose.
func (l *leg) wait(ctx context.Context, got arrival, departure string, choice *Choice) (Result, error) {
	kctx, err := got.owner.keyContext()
	if err != nil {
		return Result{}, err
	}
	permit, err := l.permitFor(got.integration.Slug, kctx)
	if err != nil {
		return Result{}, err
	}
	next := *l.flow.Record
	next.Waiting = &WaitingTokens{
		Departure: departure, Items: kctx.Items(), Origin: got.origin, ObtainedAt: got.obtainedAt, ExpiresAt: got.expiresAt,
		RefreshExpiresAt: got.refreshExpiresAt, Scopes: slices.Clone(got.scopes), Since: l.broker.now(),
		Identifier: got.account.ID, DisplayName: got.account.Name, Choice: choice,
		Main: got.main, Named: got.named, Client: got.integration.clientID(), Metadata: got.metadata,
	}
	sealed, conditions, err := l.broker.keys.SealWaiting(ctx, permit, kctx, next.WaitingBinding(), got.tokens, l.sealMeta())
	if err != nil {
		return Result{}, err
	}
	next.Waiting.KeyID, next.Waiting.WrappedDEK, next.Waiting.Sealed = sealed.KeyID, sealed.WrappedDEK, sealed.Ciphertext
	l.Record.KeyID, l.Record.KeyContext = string(sealed.KeyID), kctx.Items()
	if err := l.putFlow(ctx, next, conditions); err != nil {
		return Result{}, err
	}
	l.flow.Record = &next
	l.broker.waits.note(flowKey{next.Environment, next.ID}, next.end())
	return l.result(ctx), nil
}

// waited is what waits, as it came from the provider.
func (l *leg) waited(ctx context.Context, i *Integration) (arrival, error) {
	f := l.flow.Record
	w := f.Waiting
	kctx, err := keys.ParseContext(w.Items)
	if err != nil {
		return arrival{}, keys.ErrTampered
	}
	permit, err := l.permitFor(f.Slug, kctx)
	if err != nil {
		return arrival{}, err
	}
	tokens, err := l.broker.keys.OpenWaiting(ctx, permit, w.SealedTokens(), f.WaitingBinding())
	if err != nil {
		return arrival{}, err
	}
	return arrival{
		integration: i, origin: w.Origin, owner: f.Owner, tokens: tokens, obtainedAt: w.ObtainedAt, expiresAt: w.ExpiresAt,
		refreshExpiresAt: w.RefreshExpiresAt, scopes: slices.Clone(w.Scopes),
		account: connectors.Account{ID: w.Identifier, Name: w.DisplayName}, choice: w.Choice,
		main: w.Main, named: w.Named, client: w.Client, metadata: w.Metadata, config: accountConfig{plain: f.Config},
	}, nil
}

// resultID is what return_to is told of a flow that waits: <environment ULID>-<flow ULID>-<secret>. The
// secret follows from the claim that brought the tokens, under a key that is sealed, so every callback is
// answered with the same one and no reader of etcd can make it.
func (l *leg) resultID() string {
	f := l.flow.Record
	return ticketText(f.Environment, f.ID, string(base62.Append(nil, l.resultHash(), base62.SecretChars)))
}

func (l *leg) resultHash() []byte {
	f := l.flow.Record
	return l.keys.FlowHash(keys.ResultSecret, string(f.ID), secret.New([]byte(f.Claim)))
}

// waits are the flows whose tokens wait because of this process, and until when: the sweeper of the process
// ends them in time. Those of one that died are ended with the flows that nobody came back from.
type waits struct {
	mu sync.Mutex
	// until is guarded by mu.
	until map[flowKey]time.Time
}

func newWaits() *waits { return &waits{until: map[flowKey]time.Time{}} }

func (w *waits) note(key flowKey, until time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.until[key] = until
}

// over takes out what has waited for too long in an environment.
func (w *waits) over(env access.EnvironmentID, now time.Time) (over []FlowID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for key, until := range w.until {
		if key.env == env && !now.Before(until) {
			delete(w.until, key)
			over = append(over, key.flow)
		}
	}
	return over
}
