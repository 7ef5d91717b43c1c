// Package export makes files of records of the audit log, for who wants to look at them elsewhere: the contract's
// /audit_logs/exports.
//
// An export is of the environment of who asks, and of the log of the node that is asked; the answer names the nodes
// whose logs are not in it. It is made in the background, one after the other, from the segments on disk, and never
// within a request. Its file stays for a day and can be fetched with an API key that may: a URL holds no credential.
//
// Where is what:
//
//	export.go  what an export is, and what callers may do with it
//	maker.go   making files, and what a start does with those that it finds
//	match.go   which records an export has
//
// # Guarantees
//
// A file that is ready has every record of the log that matched when it was asked for, in order; what was missing or
// damaged is counted. The file is fsynced before it is ready. An export that a restart interrupted is made anew.
//
// Bounded are the exports that there are at a time, the bytes of each, and those of all; one that would be larger fails.
// TestExportsAreBounded.
//
// In CSV no cell is a formula (audit.Cells).
package export
