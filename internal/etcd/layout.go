package etcd

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	"culvert/internal/access"
	"culvert/internal/id"
	"culvert/internal/webhooks"
	"culvert/keys"
	"culvert/pipes"
	"culvert/vault"
)

// The whole keyspace. Every key stands under one root (the prefix of the settings, then "/"), so that
// one watch sees every write. Below the root a key is its kind, its environment, and its ids, joined by
// slashes; ids are UUIDs, ULIDs, numbers of fixed width or base64url hashes, so that no caller's bytes
// ever stand in a key.
//
//	format                               the marker; exempt from MACs
//	env/{env}                            environment: its MAC, index and pepper keysets, sealed
//	apikey/{env}/{key}                   API key: peppered hash, role, times
//	apikeyuse/{env}/{key}                when an API key was used last
//	role/{env}/{name}                    role: what it allows and denies
//	cmkmap/{env}                         which context items have a customer's key
//	schedule/{env}                       when KEKs are rotated without being asked
//	shred/{env}/{H(item)}                marker: a shred of this context item is under way
//	epoch/{env}                          number of the epoch that events go to; exempt from MACs
//	node/{node}                          heartbeat of a replica; exempt from MACs
//	registered/{env}/{node}              state directory of a replica, for ever
//	checkpoint/{env}/{node}/{day}        newest checkpoint of a replica's audit log on that day
//	kek/{env}/{kek}                      KEK record or tombstone
//	kekof/{env}/{H(context)}             pointer from a key context to its KEK
//	kekby/{env}/{H(item)}/{kek}          which KEKs have this item in their context, for lists alone
//	object/{env}/{id}                    object header
//	version/{env}/{id}/{inverse seq}     sealed value of one version, newest first
//	name/{env}/{H(name)}                 name index: which object has the name
//	event/{env}/{epoch}/{id}             event
//	archive/{env}                        which epochs are not in etcd any more
//	segment/{env}/{last epoch}           file that older events have moved to
//	req/{env}/{day}/{H(method,path,key)} request record of an Idempotency-Key
//	integration/{env}/{slug}/{ownership} integration
//	configuration/{env}/{integration}/{H(item)} what one organization has set of an integration
//	account/{env}/{id}                   connected account
//	owner/{env}/{H(owner,slug)}          the connections of one owner at one provider
//	member/{env}/{integration}/{account} which accounts an integration has
//	grant/{env}/{id}                     grant: its tokens, sealed
//	attempt/{env}/{grant}                refresh of a grant under way, or left by one
//	lock/{env}/{grant}                   who refreshes a grant, bound to a lease; exempt from MACs
//	token/{env}/{MAC of refresh token}   which grant has this refresh token
//	due/{env}/{time}/{r or c}/{grant}    when the caretaker looks at a grant, by its record or its claim
//	flow/{env}/{id}                      pending authorization
//	revocation/{env}/{account}           tokens of an account that is gone, sealed, until the provider took them back
//	revoking/{env}/{account}             which of them are pending
//	retired/{env}/{integration}          removed integration, for as long as there is something to revoke
//	job/{env}/{id}                       operation on many records, with its progress
//	webhook/{env}                        the last change of webhook endpoints; once all of them
//	webhook/{env}/{endpoint}             webhook endpoint
//	webhookat/{env}/{endpoint}           how far the deliveries to one have come
//	rate/{env}/{key or environment}      requests within a limit's window; exempt from MACs
//	quota/{env}                          its revision is that of the last write near a quota; exempt from MACs
//	webhooklock/{env}/{endpoint}         who delivers to one, bound to a lease; exempt from MACs
//	delivery/{env}/{endpoint}/{slot}     attempts, the latest in place of the oldest
//	deadletter/{env}/{endpoint}/{epoch}/{event} event that was given up
//	readsat/{env}/{node}                 how far the reads in a replica's audit log are events
//
// Headers and values have prefixes of their own so that a range over headers loads no values; reading an
// object is two reads, both from the cache once it is warm. H is a keyed hash (keys.Environment), one per purpose.
//
// Every value but those marked exempt or sealed under an AAD that holds its key begins with a MAC over the
// key (relative to the root, so that a backup can be restored under another prefix) and the bytes.
const (
	kindFormat     = "format"
	kindEnv        = "env"
	kindAPIKey     = "apikey"
	kindAPIKeyUse  = "apikeyuse"
	kindRole       = "role"
	kindCMKMap     = "cmkmap"
	kindSchedule   = "schedule"
	kindShred      = "shred"
	kindEpoch      = "epoch"
	kindNode       = "node"
	kindRegistered = "registered"
	kindCheckpoint = "checkpoint"
	kindKEK        = "kek"
	kindKEKOf      = "kekof"
	kindKEKBy      = "kekby"
	kindObject     = "object"
	kindVersion    = "version"
	kindName       = "name"
	kindEvent      = "event"
	kindArchive    = "archive"
	kindSegment    = "segment"
	kindRequest    = "req"

	kindIntegration   = "integration"
	kindConfiguration = "configuration"
	kindAccount       = "account"
	kindOwner         = "owner"
	kindMember        = "member"
	kindGrant         = "grant"
	kindAttempt       = "attempt"
	kindLock          = "lock"
	kindToken         = "token"
	kindDue           = "due"
	kindFlow          = "flow"
	kindRevocation    = "revocation"
	kindRevoking      = "revoking"
	kindRetired       = "retired"
	kindJob           = "job"

	kindWebhook     = "webhook"
	kindWebhookAt   = "webhookat"
	kindWebhookLock = "webhooklock"
	kindRate        = "rate"
	kindQuota       = "quota"
	kindDelivery    = "delivery"
	kindDeadLetter  = "deadletter"
	kindReadsAt     = "readsat"
)

// formatMarker is the value at the format key. A root with another one belongs to another program or
// to a later Culvert, and is refused.
const formatMarker = "culvert/1"

// keyFence is never written: a count of it costs a ReadIndex and nothing else.
const keyFence = "fence"

func keyEnv(env access.EnvironmentID) string { return kindEnv + "/" + string(env) }
func keyAPIKey(env access.EnvironmentID, id string) string {
	return kindAPIKey + "/" + string(env) + "/" + id
}
func keyAPIKeyUse(env access.EnvironmentID, id string) string {
	return kindAPIKeyUse + "/" + string(env) + "/" + id
}

// keyRole is the one key that a person names: a role's name is letters, digits and dashes.
func keyRole(env access.EnvironmentID, name access.Role) string {
	return kindRole + "/" + string(env) + "/" + string(name)
}
func keyCMKMap(env access.EnvironmentID) string   { return kindCMKMap + "/" + string(env) }
func keySchedule(env access.EnvironmentID) string { return kindSchedule + "/" + string(env) }
func keyShred(env access.EnvironmentID, item string) string {
	return kindShred + "/" + string(env) + "/" + item
}
func keyEpoch(env access.EnvironmentID) string { return kindEpoch + "/" + string(env) }
func keyNode(node string) string               { return kindNode + "/" + node }
func keyRegistered(env access.EnvironmentID, node string) string {
	return kindRegistered + "/" + string(env) + "/" + node
}

// prefixCheckpoints covers the checkpoints of one node, or of all.
func prefixCheckpoints(env access.EnvironmentID, node string) string {
	if node == "" {
		return kindCheckpoint + "/" + string(env) + "/"
	}
	return kindCheckpoint + "/" + string(env) + "/" + node + "/"
}
func keyCheckpoint(env access.EnvironmentID, node string, day time.Time) string {
	return prefixCheckpoints(env, node) + day.UTC().Format("2006-01-02")
}
func keyKEK(env access.EnvironmentID, id keys.ID) string {
	return kindKEK + "/" + string(env) + "/" + string(id)
}
func keyKEKOf(env access.EnvironmentID, context string) string {
	return kindKEKOf + "/" + string(env) + "/" + context
}

// prefixKEKs covers the entries of one context item, in order of their KEKs' creation.
func prefixKEKs(env access.EnvironmentID, item string) string {
	return kindKEKBy + "/" + string(env) + "/" + item + "/"
}
func keyObject(env access.EnvironmentID, id vault.ObjectID) string {
	return kindObject + "/" + string(env) + "/" + string(id)
}

// prefixVersions covers every version of one object.
func prefixVersions(env access.EnvironmentID, id vault.ObjectID) string {
	return kindVersion + "/" + string(env) + "/" + string(id) + "/"
}

// keyVersion counts down, so that the newest version comes first in a range.
func keyVersion(env access.EnvironmentID, id vault.ObjectID, sequence uint64) string {
	var inverse [8]byte
	binary.BigEndian.PutUint64(inverse[:], ^sequence)
	var digits [16]byte
	hex.Encode(digits[:], inverse[:])
	return kindVersion + "/" + string(env) + "/" + string(id) + "/" + string(digits[:])
}
func keyName(env access.EnvironmentID, name string) string {
	return kindName + "/" + string(env) + "/" + name
}
func prefixEpoch(env access.EnvironmentID, epoch uint64) string {
	return fmt.Sprintf("%s/%s/%016x/", kindEvent, env, epoch)
}
func keyEvent(env access.EnvironmentID, epoch uint64, id string) string {
	return prefixEpoch(env, epoch) + id
}

func keyArchive(env access.EnvironmentID) string { return kindArchive + "/" + string(env) }

// prefixSegments covers the segments of an environment, in the order of the log.
func prefixSegments(env access.EnvironmentID) string { return kindSegment + "/" + string(env) + "/" }

// keySegment is that of the segment which ends with an epoch. In order of keys it is the first one from an epoch
// on that may hold it.
func keySegment(env access.EnvironmentID, to uint64) string {
	return fmt.Sprintf("%s%016x", prefixSegments(env), to)
}

// prefixRequests covers the request records of one UTC day.
func prefixRequests(env access.EnvironmentID, day time.Time) string {
	return kindRequest + "/" + string(env) + "/" + day.UTC().Format("2006-01-02") + "/"
}

func keyIntegration(env access.EnvironmentID, slug string, o pipes.Ownership) string {
	return kindIntegration + "/" + string(env) + "/" + slug + "/" + string(o)
}

// prefixConfigurations covers what organizations have set of one integration.
func prefixConfigurations(env access.EnvironmentID, id pipes.IntegrationID) string {
	return kindConfiguration + "/" + string(env) + "/" + string(id) + "/"
}

// keyConfiguration has the index of the organization's context item.
func keyConfiguration(env access.EnvironmentID, id pipes.IntegrationID, item string) string {
	return prefixConfigurations(env, id) + item
}
func keyAccount(env access.EnvironmentID, id pipes.AccountID) string {
	return kindAccount + "/" + string(env) + "/" + string(id)
}
func keyOwner(env access.EnvironmentID, owner string) string {
	return kindOwner + "/" + string(env) + "/" + owner
}

// prefixMembers covers the accounts of one integration.
func prefixMembers(env access.EnvironmentID, id pipes.IntegrationID) string {
	return kindMember + "/" + string(env) + "/" + string(id) + "/"
}
func keyGrant(env access.EnvironmentID, id pipes.GrantID) string {
	return kindGrant + "/" + string(env) + "/" + string(id)
}
func keyAttempt(env access.EnvironmentID, id pipes.GrantID) string {
	return kindAttempt + "/" + string(env) + "/" + string(id)
}
func keyLock(env access.EnvironmentID, id pipes.GrantID) string {
	return kindLock + "/" + string(env) + "/" + string(id)
}
func keyToken(env access.EnvironmentID, mac []byte) string {
	return kindToken + "/" + string(env) + "/" + base64.RawURLEncoding.EncodeToString(mac)
}

// prefixDue is in order of time: milliseconds since 1970 in hexadecimal digits of fixed width. A time
// before then is as good as 1970.
func prefixDue(env access.EnvironmentID, at time.Time) string {
	return fmt.Sprintf("%s/%s/%016x/", kindDue, env, max(0, at.UnixMilli()))
}

// keyDue follows from a grant's record, keyClaimed from a caretaker's claim: whoever ends a claim must not take
// out the record's own place, should both be at one millisecond.
func keyDue(env access.EnvironmentID, at time.Time, id pipes.GrantID) string {
	return prefixDue(env, at) + "r/" + string(id)
}
func keyClaimed(env access.EnvironmentID, at time.Time, id pipes.GrantID) string {
	return prefixDue(env, at) + "c/" + string(id)
}

// keyFlow is in order of creation, because a flow's id is a ULID.
func keyFlow(env access.EnvironmentID, id pipes.FlowID) string {
	return kindFlow + "/" + string(env) + "/" + string(id)
}

func keyRevocation(env access.EnvironmentID, id pipes.AccountID) string {
	return kindRevocation + "/" + string(env) + "/" + string(id)
}
func keyRevoking(env access.EnvironmentID, id pipes.AccountID) string {
	return kindRevoking + "/" + string(env) + "/" + string(id)
}
func keyRetired(env access.EnvironmentID, id pipes.IntegrationID) string {
	return kindRetired + "/" + string(env) + "/" + string(id)
}

// keyJob is in order of creation.
func keyJob(env access.EnvironmentID, id keys.JobID) string {
	return kindJob + "/" + string(env) + "/" + string(id)
}

func keyWebhooks(env access.EnvironmentID) string { return kindWebhook + "/" + string(env) }
func keyWebhook(env access.EnvironmentID, id webhooks.EndpointID) string {
	return keyWebhooks(env) + "/" + string(id)
}
func keyWebhookAt(env access.EnvironmentID, id webhooks.EndpointID) string {
	return kindWebhookAt + "/" + string(env) + "/" + string(id)
}
func keyWebhookLock(env access.EnvironmentID, id webhooks.EndpointID) string {
	return kindWebhookLock + "/" + string(env) + "/" + string(id)
}

// prefixDeliveries covers the log of one endpoint.
func prefixDeliveries(env access.EnvironmentID, id webhooks.EndpointID) string {
	return kindDelivery + "/" + string(env) + "/" + string(id) + "/"
}
func keyDelivery(env access.EnvironmentID, id webhooks.EndpointID, number uint64) string {
	return fmt.Sprintf("%s%04d", prefixDeliveries(env, id), number%webhooks.KeptDeliveries)
}

// prefixLetters covers the dead letters of one endpoint, in the order of their events' epochs.
func prefixLetters(env access.EnvironmentID, id webhooks.EndpointID) string {
	return kindDeadLetter + "/" + string(env) + "/" + string(id) + "/"
}
func keyLetter(env access.EnvironmentID, endpoint webhooks.EndpointID, event string) string {
	epoch, _ := id.EventEpoch(event)
	return fmt.Sprintf("%s%016x/%s", prefixLetters(env, endpoint), epoch, event)
}

func keyReadsAt(env access.EnvironmentID, node string) string {
	return kindReadsAt + "/" + string(env) + "/" + node
}

func keyRate(env access.EnvironmentID, subject string) string {
	return kindRate + "/" + string(env) + "/" + subject
}

func keyQuota(env access.EnvironmentID) string { return kindQuota + "/" + string(env) }

// kindOf is the first field of a relative key.
func kindOf(key string) string {
	kind, _, _ := strings.Cut(key, "/")
	return kind
}

// envOf is the second field of a relative key; empty where a kind has none.
func envOf(key string) access.EnvironmentID {
	_, rest, _ := strings.Cut(key, "/")
	env, _, _ := strings.Cut(rest, "/")
	return access.EnvironmentID(env)
}

// lastOf is the last field of a relative key.
func lastOf(key string) string { return key[strings.LastIndexByte(key, '/')+1:] }

// mirroredKinds are few records each and steer what is done, so every replica holds all of them in memory.
func mirroredKinds() []string {
	return []string{kindEnv, kindAPIKey, kindAPIKeyUse, kindRole, kindCMKMap, kindSchedule, kindShred, kindEpoch, kindNode, kindIntegration, kindJob, kindWebhook, kindWebhookLock, kindArchive}
}

func mirrored(kind string) bool { return slices.Contains(mirroredKinds(), kind) }

// cached kinds are read on request paths one key at a time.
func cached(kind string) bool {
	switch kind {
	case kindKEK, kindKEKOf, kindObject, kindVersion, kindName, kindConfiguration, kindAccount, kindOwner, kindGrant, kindFlow:
		return true
	}
	return false
}
