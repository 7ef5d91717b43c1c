package keys

import (
	"context"
	"strconv"
	"time"

	"culvert/internal/access"
)

// JournalBinding is what an entry of a replica's refresh journal is bound to, beside environment, key id
// and key context: everything in clear that a replay decides on.
type JournalBinding struct {
	// Node is the replica whose journal it is.
	Node                              string
	GrantID, IntegrationID, AccountID string
	// Origin is that of the token endpoint that gave the tokens.
	Origin string
	// ClientID is whom they were given to.
	ClientID string
	// Generation is that of the refresh token that was sent: the tokens belong in the next one.
	Generation                              uint64
	ObtainedAt, ExpiresAt, RefreshExpiresAt time.Time
	// Scopes nil means that the reply had none.
	Scopes []string
}

// SealJournal seals what a refresh brought, before it is in the store. Errors are those of [Keys.Seal]; there are
// no conditions, because an entry stands in no transaction.
func (k *Keys) SealJournal(ctx context.Context, p access.Permit, c Context, b JournalBinding, t GrantTokens, meta SealMeta) (Sealed, error) {
	plain, err := k.encodeGrant(t)
	if err != nil {
		return Sealed{}, err
	}
	defer plain.Wipe()
	sealed, conditions, err := k.seal(ctx, p, c, plain, meta, b.bind)
	if err == nil && conditions.Create != nil {
		// The grant's KEK is gone, and one that no transaction makes opens nothing after a restart.
		return Sealed{}, ErrShredded
	}
	return sealed, err
}

// OpenJournal is the reverse. Errors are those of [Keys.Open].
func (k *Keys) OpenJournal(ctx context.Context, p access.Permit, s Sealed, b JournalBinding) (GrantTokens, error) {
	plain, err := k.open(ctx, p, s, b.bind)
	if err != nil {
		return GrantTokens{}, err
	}
	defer plain.Wipe() // the tokens are copies
	return k.decodeGrant(plain)
}

func (b JournalBinding) bind(with *kek) (value, dek aad) {
	return journalAAD(with.env, with.id, with.context, &b),
		secretDEKAAD(with.env, with.id, with.context, "journal", b.Node, b.GrantID, strconv.FormatUint(b.Generation, 10))
}
