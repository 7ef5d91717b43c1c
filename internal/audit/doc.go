// Package audit is the append-only log of calls: who asked for what, and what came of it; and what proves that
// nobody changed it since.
//
// # What it guarantees
//
// [Log.Append] returns after the record has been written to the log file, so a use case that appends
// before it lets plaintext go, or before it sends a write's transaction, cannot do either unrecorded.
// The log fails closed: if a record cannot be written within a bounded wait, Append fails with an
// outage that names the log, and the call must fail with it. It recovers by itself, without a
// restart, as soon as the disk is writable again, and records that it had been failing. Records have
// consecutive indices; a record that was acknowledged is never written over.
//
// A kill of the process loses no acknowledged record. A loss of power can lose those of the last
// fsync interval (200 ms unless configured), or none with fsync "always".
//
// # What proves it
//
// Every record is a leaf of a Merkle tree (RFC 6962), hashed from memory when it was written. A [Notary] signs
// checkpoints of the tree ([Checkpoint]) every few seconds while there are new records, and at the end: only over
// records that were fsynced. It writes them beside the segments and into the store, and records in its own log
// what other nodes have signed, compared with what it knew of them.
//
// So who changes, removes, inserts or reorders records that a checkpoint covers, or cuts them off, has to have the
// signing key, and to change every copy of every later checkpoint: the store's, those in the logs of other nodes, and
// those that an auditor kept: [Verify] finds it. A start compares the log with its last checkpoints and records what does not fit;
// records that a checkpoint covers are never given again, whatever is missing of them.
//
// # What is left of old records
//
// With retention, the oldest segments are removed. A signed checkpoint over exactly the removed records says so
// ([Removal]): in a record of the log, which a further checkpoint in the store covers before anything is removed, and
// in the file "removed". It holds the size and hash of each file, and the subtrees that the tree goes on from; the hash
// file keeps the hashes of all records. So [Verify] proves what is left, and that it continues every earlier
// checkpoint, and who removes more than was signed is found. Segments that do not lead to the last checkpoint are
// evidence, and stay.
//
// # What it does not
//
// Nothing here stops a person who may write to the directory from changing records; it is found. What came behind
// the newest checkpoint is not proven yet. Who brings back a whole older state of the directory, and of every copy
// of later checkpoints, leaves no trace in them. A process that was taken over records, and signs, what it is
// told. Who has stolen the signing key signs what he likes until it
// is rotated.
//
// A file that is removed or cut from outside takes its records with it. The log notices before it acknowledges
// another record (removed, cut, appended to) or within one fsync interval (renamed), goes on in a new segment and
// says so there; [Read] then reports the gap.
//
// # What says so
//
//	whatever is done to a segment is found        TestVerifyFindsEveryCrime, FuzzVerify
//	an older state brought back is found          TestVerifyAgainstALaterCheckpoint, TestNotaryNoticesAnotherHistory
//	no covered record is given again              TestCoveredRecordsAreNotGivenAgain
//	the tree is RFC 6962's                        TestEdgeIsTheTreeOfTheLibrary, TestHashesAreThoseOfTheRecords
//	retention leaves the proof                    TestRetentionLeavesTheProof
//	nobody else can remove anything               TestRemovalsByOthersAreFound
//	whoever has a key follows it                  TestAuditorsFollowTheKey
//	a key that was given up proves nothing        TestThiefOfAFormerKey
//	no other key is believed                      TestKeysThatNobodyHandedOver
//	so is a log rewritten with the signing key    TestWitnessFindsARewrittenLog
//	nodes check each other                        TestNodesRecordEachOthersCheckpoints
//
// # On disk
//
// A directory of segments, each named by the index of its first record in twenty digits, each a
// sequence of JSON lines ([Record]). A segment of which the tail was given up after a failed write
// ends where the next one's name says; what stands behind that was never acknowledged.
//
// Beside them: "hashes", the tree in the order of tlog.StoredHashIndex, 64 bytes a record, so that a start hashes
// only what is new and proofs can be made; it is made again from the records if it is missing or does not lead to the
// last checkpoint. "checkpoint", the last one that was signed. "key", the public key: a convenience, no evidence,
// since whoever changes the log can change it too. "removed", the checkpoints over what retention has removed. "keys", the
// notes by which each signing key handed over to the next ([KeyChange]), both of which signed it, as they stand in the
// log. "peers", the newest checkpoints of other nodes that were recorded.
//
// # Where is what
//
//	log.go writer.go segment.go   appending: callers, the writer and what runs beside it, the file
//	record.go read.go             the lines, written and read
//	resume.go recover.go          how a start goes on with what it finds
//	tree.go                       the Merkle tree and its file
//	checkpoint.go notary.go peers.go witness.go
//	                              what is signed, and who signs, stores, compares and witnesses it
//	removal.go retain.go          what is said of segments that were removed, and who removes them
//	follow.go csv.go              reading what is being written; records as rows
//	keychain.go succeed.go        the keys that are believed, and how the next one is taken
//	proof.go                      what proves one record, or that one checkpoint continues another
//	verify.go scan.go verifyremoved.go
//	                              what an auditor finds, offline; filter.go which records somebody wants to see
package audit
