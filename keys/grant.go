package keys

import (
	"context"
	"errors"
	"time"

	"culvert/internal/access"
	"culvert/internal/secret"
)

// GrantTokens is what a provider gave us, in memory only. It is encoded here and nowhere else, so that
// pipes never handles a token as bytes.
type GrantTokens struct {
	Access, Refresh secret.Bytes
	// Previous is the refresh token before the last rotation, for a provider's grace window.
	Previous secret.Bytes
	// Named are further tokens of the same grant by their provider's name.
	Named map[string]secret.Bytes
	// Renewed is, in a journal, the name of the token that a refresh brought; empty for Access.
	Renewed string
	// ClientSecret is the secret of the client whose token Access is, where a grant has a client of its own.
	// It is no token, and never vended.
	ClientSecret secret.Bytes
	// Config are the account's values of the connector's secret config fields.
	Config map[string]secret.Bytes
}

// grantPlaintext is the encoded form.
type grantPlaintext struct {
	Access   []byte            `cbor:"1,keyasint"`
	Refresh  []byte            `cbor:"2,keyasint,omitempty"`
	Previous []byte            `cbor:"3,keyasint,omitempty"`
	Named    map[string][]byte `cbor:"4,keyasint,omitempty"`
	Renewed  string            `cbor:"5,keyasint,omitempty"`
	Client   []byte            `cbor:"6,keyasint,omitempty"`
	Config   map[string][]byte `cbor:"7,keyasint,omitempty"`
}

// GrantBinding is what a grant's tokens are bound to, beside environment, key id and key context:
// everything in clear that is decided on. Only the instant of a time counts.
type GrantBinding struct {
	GrantID, IntegrationID string
	// Origin is that of the token endpoint the refresh token may be sent to.
	Origin                                  string
	Generation                              uint64
	ExpiresAt, RefreshExpiresAt, ObtainedAt time.Time
	Refreshable                             bool
}

// SealGrant seals a grant's tokens under the KEK of a context, with a fresh DEK. Errors and conditions
// are those of [Keys.Seal].
func (k *Keys) SealGrant(ctx context.Context, p access.Permit, c Context, b GrantBinding, t GrantTokens, meta SealMeta) (Sealed, Conditions, error) {
	plain, err := k.encodeGrant(t)
	if err != nil {
		return Sealed{}, Conditions{}, err
	}
	defer plain.Wipe()
	return k.seal(ctx, p, c, plain, meta, b.bind)
}

// OpenGrant is the reverse. Errors are those of [Keys.Open].
func (k *Keys) OpenGrant(ctx context.Context, p access.Permit, s Sealed, b GrantBinding) (GrantTokens, error) {
	plain, err := k.open(ctx, p, s, b.bind)
	if err != nil {
		return GrantTokens{}, err
	}
	defer plain.Wipe() // the tokens are copies
	return k.decodeGrant(plain)
}

// decodeGrant is the reverse of encodeGrant. What is no grant, under a seal that held, was sealed by
// another program: [ErrTampered].
func (k *Keys) decodeGrant(plain secret.Bytes) (GrantTokens, error) {
	var g grantPlaintext
	if err := k.codec.Decode(plain.Reveal(), &g); err != nil {
		return GrantTokens{}, ErrTampered
	}
	t := GrantTokens{Access: secret.New(g.Access), Refresh: secret.New(g.Refresh), Previous: secret.New(g.Previous), Renewed: g.Renewed, ClientSecret: secret.New(g.Client)}
	t.Named, t.Config = hidden(g.Named), hidden(g.Config)
	return t, nil
}

func (k *Keys) encodeGrant(t GrantTokens) (secret.Bytes, error) {
	g := grantPlaintext{Access: t.Access.Reveal(), Refresh: t.Refresh.Reveal(), Previous: t.Previous.Reveal(), Renewed: t.Renewed, Client: t.ClientSecret.Reveal()}
	g.Named, g.Config = revealed(t.Named), revealed(t.Config)
	plain, err := k.codec.Encode(&g)
	if err != nil {
		return secret.Bytes{}, errors.New("keys: encode grant") // the encoder's own words could repeat a token
	}
	return secret.New(plain), nil
}

// hidden and revealed are a map in memory and as it is encoded; nil if it is empty.
func hidden(plain map[string][]byte) map[string]secret.Bytes {
	if len(plain) == 0 {
		return nil
	}
	all := make(map[string]secret.Bytes, len(plain))
	for name, value := range plain {
		all[name] = secret.New(value)
	}
	return all
}

func revealed(all map[string]secret.Bytes) map[string][]byte {
	if len(all) == 0 {
		return nil
	}
	plain := make(map[string][]byte, len(all))
	for name, value := range all {
		plain[name] = value.Reveal()
	}
	return plain
}

func (b GrantBinding) bind(with *kek) (value, dek aad) {
	return grantAAD(with.env, with.id, with.context, &b), grantDEKAAD(with.env, with.id, with.context, &b)
}
