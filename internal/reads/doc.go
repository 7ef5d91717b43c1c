// Package reads makes events of reads: of what the audit log of this node says was read, listed or decrypted. Nothing
// is written on the way of a request: a [Reader] follows the log, some seconds behind.
//
// Where is what:
//
//	event.go   what becomes of a record
//	reader.go  following the log, and how far it has come
//	store.go   what the store has to do
//
// # Guarantees
//
// From the moment that it was switched on, every read of this node that was let through is one event, and only one:
// the events of a batch and the place behind them in the log are one transaction, which compares the place before
// them. So a process that is killed anywhere in between leaves neither a hole nor an event twice
// (TestKilledReader, TestKilledReads). Only what was fsynced is read, so that after a loss of power no event tells of
// a record that is not there.
//
// Events come in the order of the log of one node, as many in a second as are allowed; a burst of reads is told of
// later, and no request waits. What waits is kept from the log's retention. An event bears the time of the read,
// unless it is told of seconds later: then it bears the time when it was, since the log of events is searched by
// time, and read_at in its data says when the read was, always.
//
// Denied and failed reads are no events; the audit log has them. Neither are those from before it was switched on,
// or while it was off.
//
// # Attackers
//
// A writer of etcd: the place has a MAC. One that he edited is told of, and what comes next is told of from then on. He
// can bring an older place back, and events come twice.
//
// Who reads events sees what they show of changes: ids and names, and of data keys their key contexts.
package reads
