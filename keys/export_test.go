package keys

import (
	"context"
	"time"

	"culvert/internal/access"
	"culvert/internal/record"
	"culvert/internal/secret"
)

// What tests of this package see beside its exported names.

const (
	BlobSize  = blobSize
	BlobMagic = blobMagic

	BreakerPause  = breakerPause
	RefusalTTL    = refusalTTL
	SweepInterval = sweepInterval
)

// AADs is every byte string of aad.go, by its name, for one set of inputs.
func AADs(in AADInput) map[string][]byte {
	c := in.Context.Canonical()
	b := in.Object
	scope := scope{env: in.Environment, id: string(in.KeyID), context: c}
	return map[string][]byte{
		"value":               valueAAD(in.Environment, in.KeyID, c, &b),
		"dek":                 dekAAD(in.Environment, in.KeyID, c, &b),
		"data-key":            dataKeyAAD(in.Environment, in.KeyID, c, in.DataKeyID),
		"kek":                 kekAAD(in.Environment, in.KeyID, c, in.At),
		"kek/rotated":         rotatedKEKAAD(in.Environment, in.KeyID, c, in.At, in.Versions, in.RotatedAt, in.Primary),
		"probe":               probeAAD(in.Environment, in.KeyID, c),
		"environment/mac":     environmentAAD(purposeMAC, in.Environment, in.Name, in.At),
		"environment/index":   environmentAAD(purposeIndex, in.Environment, in.Name, in.At),
		"environment/pepper":  environmentAAD(purposePepper, in.Environment, in.Name, in.At),
		"environment/signing": environmentAAD(purposeSigning, in.Environment, in.Name, in.At),
		"share/kek":           shareInfo(purposeKEK, scope, in.Shares),
		"share/mac":           shareInfo(purposeMAC, scope, in.Shares),
		"root":                scope.binding(in.Slot).AssociatedData(),
		"root/cmk":            scope.binding(Item{Name: "organization_id", Value: "org_01JQ"}.slot()).AssociatedData(),
		"root/items":          itemsBinding(scope.binding(in.Slot), in.Name, in.Value).AssociatedData(),
		"record":              recordMAC(in.Environment, in.Key, in.Body),
		"index/context":       contextIndex(c),
		"index/item":          itemIndex(in.Name, in.Value),
		"index/name":          nameIndex(in.Name),
		"index/request":       requestIndex(in.Name, in.Key, in.Value),
		"index/body":          bodyIndex([32]byte(in.Digest)),
		"pepper":              pepperInput(in.Environment, in.Body),
		"grant":               grantAAD(in.Environment, in.KeyID, c, &in.Grant),
		"grant-dek":           grantDEKAAD(in.Environment, in.KeyID, c, &in.Grant),
		"client-secret":       clientSecretAAD(in.Environment, in.KeyID, c, &in.ClientSecret),
		"client-secret-dek":   dekOf(in.ClientSecret, in.Environment, in.KeyID, c),
		"verifier":            verifierAAD(in.Environment, in.KeyID, c, &in.Verifier),
		"verifier-dek":        dekOf(in.Verifier, in.Environment, in.KeyID, c),
		"waiting":             waitingAAD(in.Environment, in.KeyID, c, &in.Waiting),
		"waiting-dek":         dekOf(in.Waiting, in.Environment, in.KeyID, c),
		"journal":             journalAAD(in.Environment, in.KeyID, c, &in.Journal),
		"journal-dek":         dekOf(in.Journal, in.Environment, in.KeyID, c),
		"index/owner":         ownerIndex(in.Slot, in.Name, in.Value, in.Key),
		"hash/refresh-token":  refreshTokenInput(in.Body),
		"hash/flow":           flowInput(in.Slot, in.Name, in.Body),
		"webhook-secret":      webhookSecretInput(in.Environment, in.Name, in.Body),
	}
}

// itemsBinding is the binding with an item named in clear.
func itemsBinding(b Binding, name, value string) Binding {
	b.Items = map[string]string{name: value}
	return b
}

// dekOf is the AAD of a DEK as the binding itself asks for it.
func dekOf(b Bound, env access.EnvironmentID, id ID, context string) []byte {
	_, dek := b.bind(&kek{env: env, id: id, context: context})
	return dek
}

// AADInput is one value for each field that an AAD may bind.
type AADInput struct {
	Environment access.EnvironmentID
	KeyID       ID
	Context     Context
	Object      ObjectBinding
	DataKeyID   string
	At          time.Time
	Name, Value string
	Key, Slot   string
	Body        []byte
	Digest      []byte
	Shares      []Share
	Versions    int
	RotatedAt   time.Time
	Primary     uint32

	Grant        GrantBinding
	ClientSecret ClientSecretBinding
	Verifier     VerifierBinding
	Waiting      WaitingBinding
	Journal      JournalBinding
}

// Bound is a binding: [ObjectBinding], [GrantBinding], [ClientSecretBinding], [VerifierBinding],
// [WaitingBinding], [JournalBinding].
type Bound interface {
	bind(with *kek) (value, dek aad)
}

// KEK is an unwrapped KEK.
type KEK = kek

// NewKEK makes a KEK and its record outside of any store.
func NewKEK(ctx context.Context, root RootKey, codec *record.Codec, r KEKRecord) (KEKRecord, *KEK, error) {
	return newKEK(ctx, wrappers{roots: NewRootKeys(root)}, codec, r, nil)
}

// OpenKEK is the way every KEK record takes, but for the cache.
func OpenKEK(ctx context.Context, root RootKey, env access.EnvironmentID, id ID, r *KEKRecord) (*KEK, error) {
	if err := r.check(env, id); err != nil {
		return nil, err
	}
	return openKEK(ctx, wrappers{roots: NewRootKeys(root)}, r)
}

// NewKEKUnder is [NewKEK] under customers' keys, and OpenKEKUnder [OpenKEK].
func NewKEKUnder(ctx context.Context, root RootKey, source CMKSource, codec *record.Codec, r KEKRecord, cmks ...RootKeyRef) (KEKRecord, *KEK, error) {
	return newKEK(ctx, wrappers{NewRootKeys(root), newCustomers(source, nil, time.Now)}, codec, r, cmks)
}

// OpenKEKUnder is the reverse.
func OpenKEKUnder(ctx context.Context, root RootKey, source CMKSource, r *KEKRecord) (*KEK, error) {
	if err := r.check(r.Environment, r.KeyID); err != nil {
		return nil, err
	}
	return openKEK(ctx, wrappers{NewRootKeys(root), newCustomers(source, nil, time.Now)}, r)
}

// RotateRecord makes the record of a KEK with one key more.
func (k *Keys) RotateRecord(ctx context.Context, r *KEKRecord, at time.Time) (KEKRecord, error) {
	return k.rotate(ctx, r, at)
}

// MovedRecord makes the record of a KEK under another root key.
func (k *Keys) MovedRecord(ctx context.Context, r *KEKRecord, uri string) (KEKRecord, error) {
	to, err := k.roots.Key(ctx, uri)
	if err != nil {
		return KEKRecord{}, err
	}
	return k.moved(ctx, r, to)
}

// Stale reports that a key was wrapped under an older key of the KEK.
func (r *KEKRecord) Stale(wrapped []byte) bool { return r.stale(wrapped) }

// BoundContext is the canonical context that the seal proved.
func (k *kek) BoundContext() string { return k.context }

// As is the same key under another name, to see that each part of the name is bound by itself.
func (k *kek) As(env access.EnvironmentID, id ID, context string) *KEK {
	return &kek{env: env, id: id, context: context, aead: k.aead}
}

// Seal is [Keys.Seal] and its like, with encoded bytes, under this very KEK.
func (k *kek) Seal(b Bound, plain string) (Sealed, error) {
	return k.seal(secret.New([]byte(plain)), b.bind)
}

// Open is the reverse.
func (k *kek) Open(b Bound, s Sealed) (secret.Bytes, error) { return k.open(s, b.bind) }

// EncodeGrant is the plaintext of a grant's seal.
func (k *Keys) EncodeGrant(t GrantTokens) (secret.Bytes, error) { return k.encodeGrant(t) }

// DecodeGrant is the reverse.
func (k *Keys) DecodeGrant(plain secret.Bytes) (GrantTokens, error) { return k.decodeGrant(plain) }

// DataKey wraps a fresh client data key under this very KEK.
func (k *kek) DataKey(id string) (DataKey, error) { return k.dataKey(id, newDEK()) }

// OpenDataKey opens what DataKey wrapped.
func (k *kek) OpenDataKey(blob []byte) (secret.Bytes, error) {
	h, wrapped, err := parseBlob(blob)
	if err != nil {
		return secret.Bytes{}, err
	}
	d, err := k.unwrap(wrapped, dataKeyAAD(k.env, k.id, k.context, h.DataKeyID))
	return secret.New(d), err
}

// FormatBlob is the reverse of ParseDataKey.
func FormatBlob(h BlobHeader, wrapped []byte) ([]byte, error) { return formatBlob(h, wrapped) }

// ParseBlob also returns the wrapped data key.
func ParseBlob(blob []byte) (BlobHeader, []byte, error) { return parseBlob(blob) }

// Cached is how many KEKs are cached, expired ones included.
func (k *Keys) Cached() int { return k.cache.len() }

// Sweep forgets what has expired.
func (k *Keys) Sweep() { k.cache.sweep(k.now()) }

// Extendable reports that only the root key wraps the KEK.
func (r *KEKRecord) Extendable() bool { return r.extendable() }

// Unwrap is what a reader does who has just missed the cache.
func (k *Keys) Unwrap(ctx context.Context, r *KEKRecord, generation int64) error {
	_, err := k.unwrapOnce(ctx, r, generation)
	return err
}

// Flight is the shared work of one process.
type Flight[K comparable, V any] struct{ *flight[K, V] }

// NewFlight makes one.
func NewFlight[K comparable, V any]() Flight[K, V] { return Flight[K, V]{newFlight[K, V]()} }

// Do is flight.do.
func (f Flight[K, V]) Do(ctx context.Context, key K, fn func(context.Context) (V, error)) (V, error) {
	return f.do(ctx, key, fn)
}

// RecordAAD is the input of a record's MAC.
func RecordAAD(env access.EnvironmentID, key string, body []byte) aad {
	return recordMAC(env, key, body)
}

// SetTallyTime bounds how long records are counted.
func SetTallyTime(ops *Operations, d time.Duration) { ops.tallyTime = d }

// Due is what a schedule begins at a time.
func (s *Schedule) Due(now time.Time, rotation, rewrapping *Job) JobKind {
	return s.due(now, rotation, rewrapping)
}
