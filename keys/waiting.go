package keys

import (
	"context"
	"time"

	"culvert/internal/access"
)

// WaitingBinding is what tokens are bound to that wait in a flow until it is finished, beside environment,
// key id and key context. Only the instant of a time counts.
type WaitingBinding struct {
	FlowID, Departure, IntegrationID string
	// Origin is that of the token endpoint the refresh token may be sent to.
	Origin                                  string
	ExpiresAt, RefreshExpiresAt, ObtainedAt time.Time
}

// SealWaiting seals tokens that no grant has yet, under the KEK of the context that their grant will have.
// Errors and conditions are those of [Keys.Seal].
func (k *Keys) SealWaiting(ctx context.Context, p access.Permit, c Context, b WaitingBinding, t GrantTokens, meta SealMeta) (Sealed, Conditions, error) {
	plain, err := k.encodeGrant(t)
	if err != nil {
		return Sealed{}, Conditions{}, err
	}
	defer plain.Wipe()
	return k.seal(ctx, p, c, plain, meta, b.bind)
}

// OpenWaiting is the reverse. Errors are those of [Keys.Open].
func (k *Keys) OpenWaiting(ctx context.Context, p access.Permit, s Sealed, b WaitingBinding) (GrantTokens, error) {
	plain, err := k.open(ctx, p, s, b.bind)
	if err != nil {
		return GrantTokens{}, err
	}
	defer plain.Wipe() // the tokens are copies
	return k.decodeGrant(plain)
}

func (b WaitingBinding) bind(with *kek) (value, dek aad) {
	return waitingAAD(with.env, with.id, with.context, &b),
		secretDEKAAD(with.env, with.id, with.context, "waiting", b.FlowID, b.Departure)
}
