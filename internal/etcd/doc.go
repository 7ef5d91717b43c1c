// Package etcd keeps everything Culvert stores: it implements the stores of keys, vault, pipes, access
// and events on one etcd keyspace, embedded or external, and sees only sealed bytes.
//
// Where is what:
//
//	layout.go      the whole keyspace on one screen
//	client.go      the connection; embed.go the etcd inside this process
//	store.go       the Store: what runs, and the one way to read a key
//	feed.go        the one watch; cache.go, written.go, mirror.go, index.go, indexes.go what is in memory;
//	within.go      how the index finds the objects of who may see few; places.go the order it does that in
//	fence.go       what makes reads from memory linearizable
//	txn.go         the one way to write: a transaction with its event and a certain outcome
//	epoch.go       the order of events, and the trick behind certain outcomes
//	authentic.go   the MAC on every record
//	timeline.go    ranges over keys in order of creation, bounded in what etcd visits
//	objects.go keks.go apikeys.go roles.go environments.go events.go requests.go list.go   one noun each
//	newcomers.go   environments that were made while this process runs; newenvironment.go how one is made
//	accounts.go flows.go grants.go integrations.go revocations.go   the nouns of pipes; apply.go a change of any of them
//	configurations.go   what organizations set of integrations
//	attempts.go    refreshes under way and their locks; session.go the lease of those; watchers.go who waits for a grant
//	due.go                                           which grants are due, and who claimed them
//	segments.go   files of older events; mover.go what moves them there
//	webhooks.go   endpoints, their progress and attempts; tail.go what their workers read of the log
//	reads.go      how far the audit logs of nodes are told of as events
//	jobs.go cmks.go shreds.go   jobs; the map of customers' keys; markers and tombstones; schedules.go of rotations
//	holders.go     the walk through all records with wrapped DEKs; rewraps.go many changes of them in one;
//	reencrypt.go   one of them with another value
//	evidence.go    what a verification opens of a record; evidencewalk.go its walk through all there are
//	read.go        one record, from memory or from etcd
//	room.go        limits below etcd's quota; compact.go forgetting history
//	rates.go       how much of the limits of requests was taken
//	quota.go       how much environments hold, and may
//	nodes.go       clocks; pulse.go heartbeats; registrations.go the state directories there are;
//	checkpoints.go what was signed of their audit logs
//
// # Guarantees
//
// A write that was acknowledged is durable and is seen by every later read on every replica: reads pass
// a fence, which learns etcd's revision and waits until the watch has reached it. A write that was
// refused did not happen. Only if etcd can not be asked within the deadline does a write end in an
// outage of kind Unknown.
//
// # Decisions
//
// Reads from memory behind a fence, not linearizable reads of etcd: over gRPC a read costs a fifth of
// the processor time. The alternative, serving from memory without a fence, returns values that another
// replica has deleted.
//
// An epoch key that all transactions compare, not a sequence key that all advance: a sequence serialises
// every writer of an environment. The revision alone orders events too, but a page would have to sort
// all events to find its place.
//
// Headers and ciphertexts under two prefixes, not one: a range over an environment's headers must not
// load its values.
package etcd
