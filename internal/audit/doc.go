// Package audit is the append-only log of calls: who asked for what, and what came of it.
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
// # What it does not
//
// Nothing here stops a person who may write to the directory from changing old records; signed
// checkpoints over a Merkle tree of the lines are what proves them. A file that is removed or cut
// from outside takes its records with it. The log notices before it acknowledges another record
// (removed, cut, appended to) or within one fsync interval (renamed), goes on in a new segment and
// says so there; [Read] then reports the gap.
//
// # On disk
//
// A directory of segments, each named by the index of its first record in twenty digits, each a
// sequence of JSON lines ([Record]). A segment of which the tail was given up after a failed write
// ends where the next one's name says; what stands behind that was never acknowledged.
package audit
