// Package bench measures the whole server against bare gin: the built binary over loopback HTTP, and in
// the same run a gin server that decodes the same JSON and answers the same bytes (floor). Both run as
// processes of their own; the client is one process with 64 connections, and its share of the processor
// time is printed, because a ratio near 1 would mean that the client was measured.
//
// Ratios of one run are the result; requests per second are those of whatever machine it was.
package bench
