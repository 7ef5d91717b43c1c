// Package stream sends the audit log of a node elsewhere as it is written: to a file, to syslog, to an HTTP receiver.
//
// Nothing publishes to it: a stream is a reader of the log with a place in it. Where streams lead is said by the
// settings, and never by the API: whoever could name a file or an address there would write to it with our rights.
//
// Where is what:
//
//	spec.go            what a stream is, as the settings say it
//	stream.go          the streams of a node, and how they do
//	worker.go place.go one of them: reading, sending, and how far it has come
//	entry.go           what is sent of a record
//	sink.go tls.go     what a sink is, why one fails, and what it reads from files
//	file.go            a file
//	http.go            an HTTP receiver
//	syslog.go          a syslog receiver; rfc5424.go its messages
//	desk.go            what callers may ask of streams
//
// # Guarantees
//
// Every record is sent at least once, in the order of its index, by the node that wrote it. The place moves, and is
// fsynced, once the receiver has acknowledged: so what was sent and not acknowledged when the process died is sent
// again. A receiver tells records apart by node and index. What is sent was fsynced before, so that a loss of power
// does not give the index of a record that was sent to another one. TestKilledStreamLosesNothing.
//
// The acknowledgement of a file is fsync. That of an HTTP receiver is a 2xx. Syslog has none (RFC 5424 section 8.5.2
// "lack of acknowledgement"), so there it is the end of a connection: after 5,000 records or 30 seconds we end it,
// the receiver, who learns of that behind the last message, ends it too, and what was sent in it counts as received.
// A connection that breaks, or is not ended within the time limit, has its records sent again, all of them.
// TestSyslogSendsAgainWhatWasNotAcknowledged.
//
// A receiver that is slow, or away, holds up its own stream and nothing else: no request waits for a stream, no
// stream for another, and what is in memory is one batch each. What is not sent yet stays in the log. For how long
// is shown (metrics, readiness, `culvert audit streams`), and [Streams.Needed] is what retention has to keep for it.
//
// # What a receiver can prove
//
// A record is sent as its line in the log, byte for byte, with a member leaf_hash more at the end. Who cuts that off
// has the leaf of the Merkle tree, which inclusion proofs are about, and indices without a gap are a whole log. Now
// and then a signed checkpoint follows the records that it covers: who has all records from index 0 on can compute
// its root. TestEntriesLeadToTheCheckpoint.
//
// # Attackers
//
// Who is on the way to the receiver: TLS with a certificate that is always checked; in clear only to loopback. He can
// end a syslog connection and feign that it was ended in order: what was under way is missing then, which its indices
// show.
//
// Who can make a receiver's name lead elsewhere: addresses are judged when the socket is about to connect
// (connectors.Egress), link-local ones and metadata services are refused. Redirects are not followed.
//
// Who would keep records from a receiver: a place cannot be set ahead by the API, only back.
//
// A receiver sees what the log holds, of all environments: ids, names and key contexts, no value, token or key.
package stream
