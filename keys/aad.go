package keys

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"time"

	"culvert/internal/access"
)

// Every byte string that this program authenticates beside a ciphertext, derives a key from or puts
// under a keyed hash is built in this file: one function per purpose, each with a domain string of its
// own, so that what is made for one purpose never verifies for another. A change of any of them is a
// new function with a new domain ("…/v2"); testdata holds vectors of each.

// aad is associated data. Only this file makes it; code that seals or opens takes it as this type, so
// that no call can be handed bytes from elsewhere.
type aad []byte

// begin starts a byte string with its domain. Every field stands behind its length as four bytes big
// endian: two different lists of fields never give the same bytes.
func begin(domain string, room int) aad {
	return make(aad, 0, 4+len(domain)+room).text(domain)
}

func (a aad) text(s string) aad {
	return append(binary.BigEndian.AppendUint32(a, uint32(len(s))), s...)
}

func (a aad) bytes(b []byte) aad {
	return append(binary.BigEndian.AppendUint32(a, uint32(len(b))), b...)
}

func (a aad) number(n uint64) aad {
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint32(a, 8), n)
}

// moment is the instant alone: the zone a time was read in does not count.
func (a aad) moment(t time.Time) aad {
	a = binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint32(a, 12), uint64(t.Unix()))
	return binary.BigEndian.AppendUint32(a, uint32(t.Nanosecond()))
}

// roomFor is what fields of these total lengths take, so that a hot path allocates once.
func roomFor(fields, bytes int) int { return 4*fields + bytes }

// valueAAD is bound by the seal of a value under its DEK.
//
// Attacker: a writer of etcd who moves a sealed value, edits what stands beside it in clear, or claims
// it was written by someone else, at another time, in another place. Defence: everything in clear that
// is returned or decided on is in here, and comes from the header that was read; any edit fails.
// Gap: a header and its value that are both put back to an older genuine state open. See the package
// documentation.
func valueAAD(env access.EnvironmentID, id ID, context string, b *ObjectBinding) aad {
	const domain = "culvert/value/v1"
	return begin(domain, roomFor(11, len(env)+len(id)+len(context)+len(b.ObjectID)+len(b.Name)+
		len(b.VersionID)+8+12+12+len(b.AuthorID)+len(b.AuthorName))).
		text(string(env)).text(string(id)).text(context).
		text(b.ObjectID).text(b.Name).text(b.VersionID).number(b.Sequence).
		moment(b.CreatedAt).moment(b.UpdatedAt).text(b.AuthorID).text(b.AuthorName)
}

// dekAAD is bound by the wrapping of a version's DEK under its KEK.
//
// Attacker: a writer of etcd who puts the wrapped DEK of one version into the header of another, to
// make the server seal or open under a key that he has seen, or of an object that was deleted.
// Defence: a DEK unwraps only for the version it was made for. Gap: none of its own; names and times
// are left to [valueAAD], so that a rewrap needs to know no more than the ids.
func dekAAD(env access.EnvironmentID, id ID, context string, b *ObjectBinding) aad {
	const domain = "culvert/dek/v1"
	return begin(domain, roomFor(6, len(env)+len(id)+len(context)+len(b.ObjectID)+len(b.VersionID)+8)).
		text(string(env)).text(string(id)).text(context).
		text(b.ObjectID).text(b.VersionID).number(b.Sequence)
}

// dataKeyAAD is bound by the wrapping of a client data key under its KEK.
//
// Attacker: a client who edits a blob to get at a data key of another context or environment, or to
// have one data key pass for another in the trail. Defence: both ids of the blob are in here, with the
// environment and the context that the KEK is bound to. Gap: a blob is a bearer token of its holder;
// who has an old blob may decrypt it for as long as the KEK lives and his permissions last.
func dataKeyAAD(env access.EnvironmentID, id ID, context, dataKeyID string) aad {
	const domain = "culvert/data-key/v1"
	return begin(domain, roomFor(4, len(env)+len(id)+len(context)+len(dataKeyID))).
		text(string(env)).text(string(id)).text(context).text(dataKeyID)
}

// grantAAD is bound by the seal of a grant's tokens under their DEK.
//
// Attacker: a writer of etcd who puts one account's tokens under another, brings an earlier generation
// back under the number of the present one, or has a refresh token sent to a server of his own.
// Defence: the grant, its generation, its times and the origin of the token endpoint are in here; a
// refresh compares that origin with the endpoint it is about to call. Gap: a whole older record, with
// its own number, opens; the provider refuses its refresh token if it rotates them.
func grantAAD(env access.EnvironmentID, id ID, context string, b *GrantBinding) aad {
	const domain = "culvert/grant/v1"
	refreshable := uint64(0)
	if b.Refreshable {
		refreshable = 1
	}
	return begin(domain, roomFor(11, len(env)+len(id)+len(context)+len(b.GrantID)+len(b.IntegrationID)+len(b.Origin)+8+3*12+8)).
		text(string(env)).text(string(id)).text(context).
		text(b.GrantID).text(b.IntegrationID).text(b.Origin).number(b.Generation).
		moment(b.ExpiresAt).moment(b.RefreshExpiresAt).moment(b.ObtainedAt).number(refreshable)
}

// grantDEKAAD is bound by the wrapping of a grant's DEK under its KEK.
//
// Attacker, defence and gap are those of [dekAAD]: a DEK unwraps for one generation of one grant.
func grantDEKAAD(env access.EnvironmentID, id ID, context string, b *GrantBinding) aad {
	const domain = "culvert/grant-dek/v1"
	return begin(domain, roomFor(5, len(env)+len(id)+len(context)+len(b.GrantID)+8)).
		text(string(env)).text(string(id)).text(context).text(b.GrantID).number(b.Generation)
}

// clientSecretAAD is bound by the seal of an integration's client secret.
//
// Attacker: a writer of etcd, or an administrator of one provider's definition, who has the secret sent
// to a server of his own. Defence: the origin it may be sent to is in here, with the integration and
// the client id. Gap: whoever may change the definition may enter a new secret, his own.
func clientSecretAAD(env access.EnvironmentID, id ID, context string, b *ClientSecretBinding) aad {
	const domain = "culvert/client-secret/v1"
	return begin(domain, 0).text(string(env)).text(string(id)).text(context).
		text(b.IntegrationID).text(b.ClientID).text(b.Origin).moment(b.SealedAt)
}

// verifierAAD is bound by the seal of a flow's PKCE verifier.
//
// Attacker: a writer of etcd who moves a verifier to a flow of his own, to redeem a code that he has
// intercepted. Defence: the flow and the one departure it was made for are in here. Gap: none known; a
// verifier lives for minutes.
func verifierAAD(env access.EnvironmentID, id ID, context string, b *VerifierBinding) aad {
	const domain = "culvert/verifier/v1"
	return begin(domain, 0).text(string(env)).text(string(id)).text(context).
		text(b.FlowID).text(b.Departure).text(b.Origin).moment(b.SealedAt)
}

// waitingAAD is bound by the seal of tokens that wait in a flow for whoever began it.
//
// Attacker: a writer of etcd who moves a victim's tokens into a flow of his own, whose verifier he has, or
// has the refresh token sent to a server of his own. Defence: the flow, the departure that brought them,
// the origin and the times are in here. Gap: none known; they wait for minutes.
func waitingAAD(env access.EnvironmentID, id ID, context string, b *WaitingBinding) aad {
	const domain = "culvert/waiting/v1"
	return begin(domain, 0).text(string(env)).text(string(id)).text(context).
		text(b.FlowID).text(b.Departure).text(b.IntegrationID).text(b.Origin).
		moment(b.ExpiresAt).moment(b.RefreshExpiresAt).moment(b.ObtainedAt)
}

// journalAAD is bound by the seal of an entry of a replica's refresh journal.
//
// Attacker: the thief of a replica's disk, who reads nothing; and a writer of it, who has the tokens of one
// entry replayed into another grant, over a generation that they do not follow, or for an endpoint of his
// own. Defence: node, grant, generation, origin and everything a replay decides on are in here, and the
// grant is compared with them before anything is stored. Gap: an entry that is put back is replayed if its
// grant is still, or again, at the generation that it follows; one that is taken out is a lost rotation.
func journalAAD(env access.EnvironmentID, id ID, context string, b *JournalBinding) aad {
	const domain = "culvert/journal/v1"
	a := begin(domain, 0).text(string(env)).text(string(id)).text(context).
		text(b.Node).text(b.GrantID).text(b.IntegrationID).text(b.AccountID).text(b.Origin).text(b.ClientID).number(b.Generation).
		moment(b.ObtainedAt).moment(b.ExpiresAt).moment(b.RefreshExpiresAt)
	if b.Scopes == nil {
		return a.number(0)
	}
	a = a.number(uint64(len(b.Scopes)) + 1)
	for _, scope := range b.Scopes {
		a = a.text(scope)
	}
	return a
}

// secretDEKAAD is bound by the wrapping of the DEK of a client secret, verifier, waiting tokens or journal entry. kind and names are
// those of the record it belongs to, so that a DEK unwraps for that record alone; a kind has always the
// same number of names.
//
// Attacker, defence and gap are those of [dekAAD].
func secretDEKAAD(env access.EnvironmentID, id ID, context, kind string, names ...string) aad {
	const domain = "culvert/secret-dek/v1"
	a := begin(domain, 0).text(string(env)).text(string(id)).text(context).text(kind)
	for _, name := range names {
		a = a.text(name)
	}
	return a
}

// kekAAD is bound by the seal of a KEK's keyset.
//
// Attacker: a writer of etcd who gives a KEK to another context, key id or environment, and so to
// another customer. Defence: all of them are in here and once more in [shareInfo]. Gap: the URIs of the
// shares are not, because a share is rewrapped alone; under another URI a share does not unwrap, and
// the store's MAC covers the whole record. A tombstone has no seal: there the MAC is the only defence,
// and who returns the older genuine record in its place undoes a shred until the root key is gone.
func kekAAD(env access.EnvironmentID, id ID, context string, createdAt time.Time) aad {
	const domain = "culvert/kek/v1"
	return begin(domain, 0).text(string(env)).text(string(id)).text(context).moment(createdAt)
}

// rotatedKEKAAD is bound by the seal of a keyset that has more than one key.
//
// Attacker: a writer of etcd who makes a KEK look freshly rotated, so that nobody rotates it, or what is
// wrapped under an old key look current, so that nobody rewraps it. Defence: beside what [kekAAD] binds,
// how many keys there are, when the newest came and which it is are in here, and compared with the keyset.
// Gap: the record as it was before the rotation, put back whole, opens.
func rotatedKEKAAD(env access.EnvironmentID, id ID, context string, createdAt time.Time, versions int, rotatedAt time.Time, primary uint32) aad {
	const domain = "culvert/kek/v2"
	return begin(domain, 0).text(string(env)).text(string(id)).text(context).moment(createdAt).
		number(uint64(versions)).moment(rotatedAt).number(uint64(primary))
}

// probeAAD is bound by the empty message with which a rotation proves that the new keyset has the keys of
// the old one. It is stored nowhere: a domain of its own keeps it from meaning anything anywhere else.
func probeAAD(env access.EnvironmentID, id ID, context string) aad {
	const domain = "culvert/probe/v1"
	return begin(domain, 0).text(string(env)).text(string(id)).text(context)
}

// environmentAAD is bound by the seals of an environment's keysets, one purpose each.
//
// Attacker: a writer of etcd who swaps the keysets of two environments, or two of one environment, so
// that his own MACs verify or one environment's API keys hash alike in another. Defence: purpose, id,
// name and time are in here; the record needs no MAC, whose key it holds. Gap: the record as a whole
// can be put back to an older genuine one.
func environmentAAD(p purpose, id access.EnvironmentID, name string, createdAt time.Time) aad {
	const domain = "culvert/environment/v1"
	return begin(domain, 0).text(string(p)).text(string(id)).text(name).moment(createdAt)
}

// shareInfo is the HKDF info of the key that a set of shares makes.
//
// Attacker: one of several holders of root keys and CMKs who also writes etcd, and offers his share in
// another slot, for another KEK, or leaves another customer's share out. Defence: what the key is for
// and which slots it was made of are in here; another set of slots is another key. Gap: none known.
func shareInfo(p purpose, s scope, shares []Share) aad {
	const domain = "culvert/share/v1"
	a := begin(domain, 0).text(string(p)).text(string(s.env)).text(s.context).text(s.id)
	a = a.number(uint64(len(shares)))
	for i := range shares {
		a = a.text(shares[i].Slot)
	}
	return a
}

// AssociatedData is the binding as bytes, for a root key that has AAD and no named pairs.
//
// Attacker: a writer of etcd who has one KEK's share unwrapped for another, where a KMS policy or the
// KMS's own log tells them apart. Defence: a share unwraps only under the words it was wrapped under.
// Gap: the binding authenticates the request, not the requester: who may call the KMS may say this.
func (b Binding) AssociatedData() []byte {
	if len(b.Items) > 0 {
		return b.itemsAssociatedData()
	}
	const domain = "culvert/root/v1"
	return begin(domain, 0).text(string(b.Environment)).text(b.KEK).text(b.ContextDigest).text(b.Slot)
}

// itemsAssociatedData is the same with items that are named in clear, under a domain of its own: shares
// wrapped before there were any stay as they are.
func (b Binding) itemsAssociatedData() []byte {
	const domain = "culvert/root/v2"
	return begin(domain, 0).text(string(b.Environment)).text(b.KEK).text(b.ContextDigest).text(b.Slot).
		text(newContext(b.Items).Canonical())
}

// contextDigest is how a key context appears to a KMS, which logs what it is told: hex SHA-256.
//
// Attacker: a reader of the KMS's log. Defence: contexts do not stand there in clear. Gap: who can
// guess a whole context can confirm it, because the digest has no key, so that an auditor can compute
// it from a context he knows.
func contextDigest(context string) string {
	const domain = "culvert/context-digest/v1"
	sum := sha256.Sum256(begin(domain, roomFor(1, len(context))).text(context))
	return hex.EncodeToString(sum[:])
}

// recordMAC is the input of the MAC over a record that is not itself sealed.
//
// Attacker: a writer of etcd who edits a record, moves it to another key (a name index to another
// object, an API key's role, a pointer to another KEK) or to another environment. Defence: key and
// bytes are in here, under a key of the environment. Gap: a record put back, at its own key, to an
// older genuine state verifies, and one that was removed leaves no trace.
func recordMAC(env access.EnvironmentID, key string, body []byte) aad {
	const domain = "culvert/record/v1"
	return begin(domain, roomFor(3, len(env)+len(key)+len(body))).
		text(string(env)).text(key).bytes(body)
}

// The inputs of the index PRF. Attacker: a reader of etcd, who sees in what order and how often keys
// are used, and would like to test guesses of names and contexts against the keys. Defence: the key of
// the PRF is sealed, and each purpose has a domain, so that a name and a context item of the same text
// do not meet. Gap: equal inputs are equal outputs; that is what an index is for.

func contextIndex(context string) aad {
	return begin("culvert/index/context/v1", roomFor(1, len(context))).text(context)
}

func itemIndex(name, value string) aad {
	return begin("culvert/index/item/v1", roomFor(2, len(name)+len(value))).text(name).text(value)
}

func nameIndex(name string) aad {
	return begin("culvert/index/name/v1", roomFor(1, len(name))).text(name)
}

func requestIndex(method, path, key string) aad {
	return begin("culvert/index/request/v1", roomFor(3, len(method)+len(path)+len(key))).
		text(method).text(path).text(key)
}

// ownerIndex places the connections of one owner at one provider. An organization's accounts and those of
// a user within it are two owners, told apart by the kind.
func ownerIndex(kind, user, organization, slug string) aad {
	return begin("culvert/index/owner/v1", roomFor(4, len(kind)+len(user)+len(organization)+len(slug))).
		text(kind).text(user).text(organization).text(slug)
}

// bodyIndex takes the body's SHA-256 rather than the body: bodies hold secrets of up to megabytes, and
// this is one copy less.
func bodyIndex(digest [sha256.Size]byte) aad {
	return begin("culvert/index/body/v1", roomFor(1, len(digest))).bytes(digest[:])
}

// The keyed hashes of what a browser or a provider brings back. Attacker: a reader of etcd or of a
// backup, who would finish somebody's flow or test a refresh token against the store. Defence: the key
// is sealed, each purpose has a domain, and a flow's hashes hold its id. Gap: none for random values.

func refreshTokenInput(token []byte) aad {
	return begin("culvert/hash/refresh-token/v1", roomFor(1, len(token))).bytes(token)
}

// flowInput is one of a flow's secrets, by its [FlowSecret].
func flowInput(kind, flowID string, value []byte) aad {
	return begin("culvert/hash/flow/v1", roomFor(3, len(kind)+len(flowID)+len(value))).text(kind).text(flowID).bytes(value)
}

// webhookSecretInput is what the secret of a webhook endpoint is made of, under the environment's index key.
//
// Attacker: a reader of etcd or of a backup, who would sign events of his own; and a writer, who has the
// secret of one endpoint sign for another, whose receiver he is. Defence: the key is sealed, the endpoint and
// the environment are in here, and every seed is random, so that a rotation is another secret. Gap: the record
// with an older seed, put back whole, brings the older secret back.
func webhookSecretInput(env access.EnvironmentID, endpoint string, seed []byte) aad {
	const domain = "culvert/webhook-secret/v1"
	return begin(domain, roomFor(3, len(env)+len(endpoint)+len(seed))).text(string(env)).text(endpoint).bytes(seed)
}

// pepperInput is what an API key's hash is made of, under the environment's pepper.
//
// Attacker: a reader of etcd or of a backup who tests API keys against the stored hashes, and a writer
// who copies a hash into a record of his own environment. Defence: the pepper is sealed, and is another
// one in each environment. Gap: none for keys of 256 random bits.
func pepperInput(env access.EnvironmentID, apiKey []byte) aad {
	const domain = "culvert/pepper/v1"
	return begin(domain, roomFor(2, len(env)+len(apiKey))).text(string(env)).bytes(apiKey)
}
