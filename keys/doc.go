// Package keys is the key hierarchy: the only package that sees key material or calls an AEAD.
//
//	root key (KMS, HSM or file; never leaves it)
//	   │ wraps
//	   ▼
//	share, 32 random bytes ── HKDF-SHA256 of all shares ── AES-256-GCM ──┐ seals
//	                                                                     ▼
//	              KEK of one key context: a Tink keyset, XAES-256-GCM  (in the store)
//	                 │ wraps                                  │ wraps
//	                 ▼                                        ▼
//	              DEK of one object version, grant,    client data key  (in the client's blob)
//	              client secret or verifier
//	                 │ seals, AES-256-GCM
//	                 ▼
//	              the value, tokens or secret
//
// [Keys.Seal] seals a value under the KEK of a key context and returns, beside the sealed bytes, the
// [Conditions] that must hold in the transaction that stores them. [Keys.Open] opens it again for
// whoever holds a permit for that context. [Keys.SealGrant], [Keys.SealClientSecret],
// [Keys.SealVerifier] and their reverses are the same for what pipes keeps; [Keys.CreateDataKey],
// [Keys.DecryptDataKey] and [Keys.Rekey] are for keys that clients seal with. [Environment] is what
// records that are not sealed are authenticated and looked up with: handles for MAC, index and pepper,
// never keys. [Operations] is what the people who look after the keys do: list, rotate and shred KEKs,
// rewrap DEKs, move KEKs to another root key, attach and detach customers' keys, verify everything that is
// stored. What is about many records is a [Job], which a [Runner] on any node goes on with. Below stand the
// providers of root keys ([RootKey]); on the other side the store ([Store], and [OperationsStore] for operations
// and jobs), which sees sealed bytes alone.
//
// # Where is what
//
// Of kek.go and keks.go, job.go and jobs.go, cmk.go and cmks.go the first is the noun, the second what people may
// do with it.
//
//	context.go aad.go dek.go erase.go     key contexts; every AAD; the one file that turns bytes into a key; wiping,
//	                                      or erase_not.go where the build has none
//	keys.go create.go                     sealing and opening; how a KEK comes into being with its first record
//	grant.go waiting.go clientsecret.go journal.go datakey.go   what else has a DEK: tokens, also of flows and of a
//	                                      replica's journal, client secrets and verifiers, keys of clients
//	environments.go   those that this process has opened
//	environment.go mac.go sign.go webhook.go   the keys of an environment, and what is computed and signed with them
//	rootkey.go rootkeys.go share.go       root keys; what a provider tells of one (description.go); shares and slots
//	wrap.go bundle.go kek.go              who wraps a share; all shares together, which seal keysets; the KEK
//	cache.go flight.go breaker.go         unwrapped KEKs; one call for all who want it; a root key that is away
//	cmk.go customers.go                   the map of CMKs; asking them, and what is known of those that refuse
//	store.go opstore.go                   what a store promises
//	operations.go keks.go tally.go        how an operation begins and ends; KEKs, and their records counted
//	jobs.go resume.go cmks.go             making, cancelling and resuming jobs; attaching and detaching CMKs
//	job.go runner.go walk.go              a job as stored; who runs it; how it goes through many records
//	schedule.go schedules.go              when KEKs are rotated without somebody who asks; setting that;
//	schedulejob.go                        what a node begins because of it
//	holder.go                             a record that holds wrapped DEKs, as such walks find it
//	rotate.go rewrap.go reencrypt.go      one kind of job each
//	rewraproot.go shred.go verify.go      likewise; rewrapper.go what a provider can do by itself
//	attach.go                             the jobs that attach and detach a CMK
//	localkms/ awskms/ pkcs11/ keystest/   the providers, and what tests of all of these need
//
// # Cost
//
// A warm open is two AES openings and one look at the store, about 2.5 µs of CPU; it takes no lock.
// The root key is called once per KEK, replica and cache TTL, by however many callers want it at once. A refusal
// is remembered for seconds. A root key that did not answer is asked once a second by one caller, and whoever
// else needs it fails at once; with [Config.OutageExtension] what is cached goes on meanwhile.
// Creating a KEK calls it once more and is limited per environment; reads never create one.
//
// # Threat model
//
// Assets: values, client data keys, users' tokens, client secrets, and that a value is the one its author
// stored, where he stored it.
// Beside these, that a shredded context and a revoked key stay so.
//
// Reader of etcd or of a backup. Sees names, key contexts, authors, sizes, times, and how often what
// was used. Opens nothing without the root key: values, keysets and API keys stand there sealed, or as
// a hash under a sealed pepper. Guesses of names and contexts cannot be tested against index keys, nor
// guesses of a value against an etag or a request record. Not hidden: that two versions have one length.
//
// Writer of etcd. Everything the reader has, and may change, move, copy and remove any bytes. What is
// edited fails: it is sealed under an AAD that names its place (aad.go says which), or carries a MAC
// over its key and bytes. What is moved fails: to another object, version, name, environment, context
// or KEK, grant, generation, integration or origin; the DEK of one version under the header of another;
// one environment's keysets for another's.
// What fails is [ErrTampered], or absent where it is a credential; never a guess, never plaintext.
// What is NOT stopped:
//   - the return of a whole older genuine record. Who saved an object's header and value puts both
//     back, and the old value is served as the current one; an old API key record undoes its
//     revocation; a KEK record put back in place of its tombstone undoes the shred for as long as the
//     root key unwraps it. Every byte is genuine and at its own key; only time would tell, and nothing
//     outside of etcd keeps it. The trail of audit records and events lets an auditor find it.
//   - removal: an object without a trace looks like one that never was. A KEK removed from under an
//     object does not, for even a shredded one leaves a tombstone.
//   - denial of service, and reading along: he sees what the reader sees, as it happens.
//
// Stolen API key. Opens what the key may open, until it is revoked; a revocation holds on every replica
// from its acknowledgement on. A permit is for one context, and a KEK opens only for the permit of the
// context it was sealed for, so a mistake in a use case does not widen a key's reach. Blobs of client
// data keys that were decrypted meanwhile have given their keys away for good: rekeying does not help,
// sealing anew under fresh data keys does.
//
// Malicious client. Sends key contexts and blobs. Contexts are compared as bytes and never normalised;
// blobs have one length and hold ids that can only be ids; a wrong one is [ErrNotOurs] and nothing else,
// whether it was never ours or was edited. A client can fill the store with KEKs only at the rate that
// its environment is allowed. Holding a blob is not a right to its key: the permit decides each time.
//
// Administrator of the KMS. May unwrap shares, so together with a reader of etcd opens everything; with
// a CMK beside the root key the customer's administrator is needed too. Alone he sees in the KMS's log
// the environment, the key id, the slot and a digest of the key context: who guesses a whole context
// can confirm that it is in use. He can refuse: what is cached goes on for the cache TTL at most.
// He can keep the KMS from answering: then it goes on for [Config.OutageExtension] besides, but for KEKs under a
// customer's key.
//
// Customer with a CMK. Takes the key back and so cuts everything under the CMK's item: KEKs that are not in a
// cache at once, cached ones after the cache TTL at most, on a replica that was refused for the item at once. Nobody but the
// customer is cut, unless two items have one key. What was handed out before is out: values, data keys, tokens.
// With the root key alone there open the KEKs of backups from before the key was attached, of etcd's history
// until the job that attaches has it compacted at its end, and of a record of that time that a writer of etcd puts
// back: what they open is what was stored until then, and, as long as DEKs are not rewrapped (the same job does
// that), what came later. A writer of etcd who puts an older map of CMKs back, or removes it, has new KEKs made
// without the key. A verification finds both, as KEKs that do not fit the map, unless he puts back both. The customer learns, from the KMS's log, the item, the key ids, and when KEKs are unwrapped.
// A customer cannot name a file or a host: a key is an ARN, asked at the operator's endpoint or AWS's, or one
// of the settings.
//
// Thief of a replica's disk. An embedded etcd is a backup (above). A local root key file beside it opens
// everything: keys/localkms is for development and for those who protect the file by other means.
//
// Thief of an old root key. With a backup from before the move to another root key he opens what is in it,
// and has its KEKs: a move changes what wraps them and not what they are. What was written since is
// closed to him only under KEKs that were rotated after the move, and what was there before only once
// it is re-encrypted.
//
// Curious operator with logs. Errors name ids and never repeat input, values or what a KMS said; no type
// here prints its key material under any verb of fmt, in JSON or slog. The memory of the
// process is another matter; see below.
//
// The browser, the provider and the URL of the OAuth flow do not reach this package; pipes answers them.
//
// # What says so
//
// The tests behind these promises. Those of internal/attack are a writer of etcd against the whole server.
//
//	nothing stands on the disk in clear           TestCanaryIsNowhereOnDisk
//	what is edited or damaged fails               TestValueOpensOnlyUnderItsBinding, TestValueDamagedAnywhereDoesNotOpen,
//	                                              TestKEKOpensOnlyAsItWasStored, TestEncodedKEKDamagedAnywhereDoesNotOpen,
//	                                              TestEnvironmentOpensOnlyAsItWasStored, TestEditedRotation,
//	                                              TestEveryByte, TestEditedHeader, TestEditedKEK, TestEditedPointers
//	what is moved fails                           TestVersionsDoNotStandInForEachOther, TestPartsOfTwoKEKsDoNotMix,
//	                                              TestValueOpensOnlyUnderTheNameOfItsKEK, TestGrantsDoNotStandInForEachOther,
//	                                              TestPurposesOfPipesDoNotStandInForEachOther,
//	                                              TestSwapped, TestMoved, TestForeignEnvironment
//	no AAD passes for another                     TestAADBindsEachField, TestAADsOfDifferentPurposesNeverMeet
//	what is not stopped is known                  TestOlderState, TestDeletedObjectReturns, TestRevocationReturns, TestRemoval
//	a permit is for one context                   TestPermitMustCoverTheContext, TestPermitMustCoverTheContextOfPipes,
//	                                              TestEveryOperationIsAuthorized, TestEveryOperationNeedsTheAuditLog
//	contexts and blobs of clients                 TestContextIsComparedAsBytes, TestBlobDamagedAnywhereIsNotOurs,
//	                                              TestValueDEKIsNoDataKey, TestCreationIsRateLimited
//	what a KMS is told, and says                  TestShareUnwrapsOnlyUnderItsBinding, TestPolicySeesTheBinding,
//	                                              TestErrorsHaveTheirKind, TestWrongAnswersAreRefused
//	a refusal ends at the TTL at the latest,      TestCacheHoldsForTheTTLFromTheUnwrap, TestRefusalDropsTheCachedKEK,
//	an outage after the extension                 TestOutageExtension, TestRefusalEndsTheExtension
//	a customer's key cuts its item alone          TestRevokedCMK, TestCMKIsRevokedWithinTheTTL, TestGrantedBeforeTheRefusal,
//	                                              TestCustomersKeysAreNotExtended, TestSeveralCMKs
//	no KEK escapes it, none is left under it      TestNoKEKEscapes, TestMadeInTheLastMoment, TestDraftFromBeforeTheMap,
//	                                              TestLateSealChangesNothing, TestKEKUnderCMKOpensOnlyAsItWasStored
//	a customer names no file and no host          TestNamesOfCustomersKeys, TestRefusedAttachments
//	a shred holds at once, and stays              TestShred, TestShredIsForgotten, TestMarkersThatCannotBeRead
//	whatever runs beside whatever                 TestOperationsAtOnce, TestOperationsInAnyOrder, TestRotateUnderWriters
//	a node that dies harms no job                 TestJobOutlivesItsNode, TestShredOutlivesItsNode, TestAttachOutlivesItsNode
//	a schedule begins one job each time           TestScheduleIsFollowed, TestScheduleDue
//	a move loses nothing                          TestMoveToAnotherRootKeyAndBack, TestMoveIsProvenBeforeItIsStored
//	nothing prints a secret; no core dumps        TestNothingPrintsASecret, TestNothingPrintsAToken, TestNoCoreDumps
//	the formats stay what they are                TestVectorsOfAADs, TestVectorsOfKEK, TestVectorsOfRotatedKEK,
//	                                              TestVectorsOfTombstone, TestVectorsOfEnvironment, TestVectorsOfCMKs,
//	                                              TestVectorOfSchedule,
//	                                              TestVectorsOfWhatPipesSeals, TestStoresOfEveryVersion
//
// # Keys in memory
//
// Promised: the program has core dumps off, and is not dumpable, which keeps debuggers of the same user away
// (Linux). An unwrapped KEK is taken out of the cache within ten seconds of its TTL. Shares, what HKDF makes of
// them, DEKs and the encoded form of tokens are overwritten by whoever used them last; what a verification opens is
// too. No key is in a type that can be printed.
//
// Not promised: that nothing is left. Tink and the AES key schedule copy what they are given, a KEK is in clear
// for the TTL and after it until the collector has been there and the memory is used again, and values, tokens
// and client data keys go through the buffers of the answer. The SDK of a KMS and the network's buffers hold
// shares. Built with GOEXPERIMENT=runtimesecret (Go 1.26, Linux on amd64 and arm64), the runtime wipes the
// registers, the stack and, once it is dead, the heap of what seals, opens, wraps and unwraps here: that is an
// experiment of Go's, and off in our builds. Nothing keeps the process from being swapped out: switch swap off. A
// superuser of the machine reads all of it.
//
// # What was checked against a real cloud
//
// Nothing yet. keys/awskms goes through the official SDK, and everything said of it here was seen against
// keystest.AWS, a fake that was written from AWS's documentation: the protocol, the states of keys, limits,
// throttling, lost answers and lying ones. IAM, key policies, CloudTrail, quotas, latency across regions
// and the credentials of EC2, ECS and EKS were not tried. The policies in deploy/kms were not either.
//
// keys/pkcs11 was run on SoftHSM 2.6, which is an HSM in software, and on no HSM in hardware.
//
// # Fences
//
// Whoever calls has passed the read fence of the store, so a shred or a rotation that was acknowledged
// anywhere is seen: a KEK is used only in the generation that its record has at that moment. Between the
// read and the commit the conditions hold it: a store that cannot keep them answers [ErrConflict], and
// the caller seals again. Seal asks the store each time and remembers no absence and no draft.
//
// A shred holds from the answer to its request on: its job is stored with a marker of the context item, and
// whoever is about to use a KEK looks for the markers of its context's items. The tombstones come after that.
//
// # Customers' keys
//
// A map says which context items have a CMK ([CMKMap]). A KEK that is made has a share for each item of its
// context that is in the map, and compares the map's revision in the transaction that stores it; the
// jobs that attach and detach seal the others again under the same comparison ([Operations.AttachCMK]). So at
// every moment the KEKs are under what the map says, but for those that a job has not come to.
//
// Who detaches: while the job goes through the KEKs, new ones are still under the key. Then it is released, in
// one transaction with the job's progress, and a second walk finds what was made meanwhile. A job that is
// cancelled or dies leaves a state that says so, and attaching or detaching again goes on.
//
// A refusal is remembered for a second, and so is a key that did not answer; after it one caller asks, and the others
// go on being told, until he knows. So a key that was taken back costs its owner's KMS a call a second. A refusal
// empties the cache of all that is under the key for that item of that environment, and an unwrap that was granted
// before it is not cached after. Not of more: a key is also asked, and refuses, when somebody claims it who has
// no right to it.
//
// # Decisions
//
// One KEK per full key context, not one per item of it. With one per item either any of several KEKs
// opens a value, and shredding one customer's destroys nothing, or all are needed and every value is
// wrapped as many times as it has items.
//
// Shares, not one wrapped keyset. A root key that encrypts the keyset itself would have a second one,
// a customer's, nested around it: an order that cannot be changed without both. Shares are wrapped side
// by side, all are needed, each is rewrapped alone, and what a KMS sees does not grow with the keyset.
//
// One map for all CMKs of an environment, not a record each. New KEKs compare one revision whatever their
// items, and a CMK that is added or taken away is one compare-and-swap; the price is a bound on their number,
// and that KEKs which are made at that moment are made again.
//
// XAES-256-GCM for KEKs, AES-256-GCM below and above. A KEK wraps without a bound for years, where the
// random 96-bit nonces of GCM would meet; a DEK and a share's key seal one message each, where they are
// as good and cheaper. AES-GCM-SIV was the other choice for KEKs, at twice the price.
//
// A KMS call per KEK, not per value. Tink's KMS envelope calls it for every message, and binds the
// wrapped key to nothing: its associated data reaches the payload alone.
//
// Bare sealed keysets, not Tink's encrypted container, which keeps a description of the keys in clear
// beside the ciphertext that no tag covers.
//
// An unkeyed digest of the context for the KMS, not a keyed one. An auditor can compute it from a context
// he knows and find it in the KMS's log; the price is that others who know it can, too.
//
// Uncovered permits are access.ErrDenied, not [ErrTampered]. A use case completes its permit from a record
// whose MAC held, so a mismatch is a mistake of ours before it is an attack, and is answered as what it
// is: nobody allowed this.
//
// No pool, cache or reuse of DEKs. A DEK is 32 bytes of randomness and a microsecond; one that is shared
// ties the life of one version to another's, and re-encryption could not replace it alone.
package keys
