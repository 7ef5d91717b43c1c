// Package server is the door: it finds out who is calling, decodes, makes one call into a use case,
// encodes the answer, and turns errors into statuses. It decides nothing else.
//
// Read routes.go first: the table names every route with its action and handler. handle.go holds the
// one adapter all of them go through, errors.go the only mapping from errors to statuses, and wire.go
// the only place where plaintext becomes JSON. flows.go has the routes that browsers call on their way to
// a provider, callback.go and posted.go those on the way back: their answers are pages (page.go), and their
// credential is in the URL or a cookie. API.md is the manual for callers.
//
// # What holds for every request
//
//   - The path is measured before it is routed, and routed as it was escaped: %2F in a name is part of
//     the name. Each segment is unescaped once.
//   - Nothing of a body is read before the caller is authenticated.
//   - Every answer is JSON, or a page or redirect where a browser asks, and carries X-Request-ID, which is
//     always ours; so do requests that net/http cannot read as HTTP at all (conn.go), also inside TLS.
//   - No error, log line or metric repeats what was sent. Library errors about JSON do, so their text
//     is dropped where they arise.
//   - Calls refused here after authentication are recorded in the audit trail; refusals before it are
//     only counted, or a flood of them would fill the disk.
package server
