package keys

import (
	"context"
	"time"

	"culvert/internal/access"
	"culvert/internal/secret"
)

// ClientSecretBinding is what a client secret is bound to, beside environment, key id and key context.
type ClientSecretBinding struct {
	IntegrationID, ClientID string
	// Origin is that of the token endpoint the secret may be sent to.
	Origin   string
	SealedAt time.Time
}

// VerifierBinding is what a PKCE verifier is bound to, beside environment, key id and key context.
type VerifierBinding struct {
	FlowID, Departure, Origin string
	SealedAt                  time.Time
}

// SealClientSecret seals a client secret under the KEK of a context, which the permit must cover: the
// empty one for an integration's, an organization's for its own. Errors and conditions are those of
// [Keys.Seal].
func (k *Keys) SealClientSecret(ctx context.Context, p access.Permit, c Context, b ClientSecretBinding, s secret.Bytes, meta SealMeta) (Sealed, Conditions, error) {
	return k.seal(ctx, p, c, s, meta, b.bind)
}

// OpenClientSecret is the reverse. Errors are those of [Keys.Open].
func (k *Keys) OpenClientSecret(ctx context.Context, p access.Permit, s Sealed, b ClientSecretBinding) (secret.Bytes, error) {
	return k.open(ctx, p, s, b.bind)
}

// SealVerifier seals a PKCE verifier under the KEK of the empty context, like [Keys.SealClientSecret].
func (k *Keys) SealVerifier(ctx context.Context, p access.Permit, b VerifierBinding, s secret.Bytes, meta SealMeta) (Sealed, Conditions, error) {
	return k.seal(ctx, p, Context{}, s, meta, b.bind)
}

// OpenVerifier is the reverse. Errors are those of [Keys.Open].
func (k *Keys) OpenVerifier(ctx context.Context, p access.Permit, s Sealed, b VerifierBinding) (secret.Bytes, error) {
	return k.open(ctx, p, s, b.bind)
}

func (b ClientSecretBinding) bind(with *kek) (value, dek aad) {
	return clientSecretAAD(with.env, with.id, with.context, &b),
		secretDEKAAD(with.env, with.id, with.context, "client-secret", b.IntegrationID)
}

func (b VerifierBinding) bind(with *kek) (value, dek aad) {
	return verifierAAD(with.env, with.id, with.context, &b),
		secretDEKAAD(with.env, with.id, with.context, "verifier", b.FlowID, b.Departure)
}
