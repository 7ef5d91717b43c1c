// Package bench measures the whole server against bare gin: the built binary over loopback HTTP, and in
// the same run a gin server that decodes the same JSON and answers the same bytes (floor). Both run as
// processes of their own; the client is one process with 64 connections, and its share of the processor
// time is printed, because a ratio near 1 would mean that the client was measured.
//
// Ratios of one run are the result; requests per second are those of whatever machine it was.
//
// Vends of living tokens are measured again while ten thousand other tokens have ended and are refreshed, or
// as many as CULVERT_BENCH_DUE says, once because callers ask for them and once in the background: refreshes must
// starve nobody.
//
// Reads with an audit log are measured against the same server with a log that drops every record. All requests
// wait for the log's one writer, so what else runs on the machine costs that server more than the other one: only
// figures of a machine with nothing else to do say what the log costs.
//
// Operations on keys are measured over many records: 20,000, or as many as CULVERT_BENCH_RECORDS says. A
// million of them take the better part of an hour, some gigabytes of disk and a machine with nothing else to do:
//
//	CULVERT_BENCH_RECORDS=1000000 go test ./internal/bench -run '^$' -bench Keys -benchtime 1x -timeout 3h -v
package bench
