// Package e2e drives the built binary with the official WorkOS SDKs, unmodified but for their base URL,
// and connects accounts at real authorization servers.
//
//	go test -tags e2e -count=1 ./internal/e2e/...
//
// needs Go, Node 20 or newer and npm, and a network or filled caches on the first run. It builds
// cmd/culvert (or takes the binary that CULVERT_BIN names), starts it on free loopback ports with data
// directories of its own, and runs these suites against it:
//
//	node    @workos-inc/node 11, with `npm ci` and `node --test`
//	gosdk   workos-go v9 and v6, a Go module of its own, so that no SDK is a dependency of Culvert;
//	        its package interop exchanges data between all three
//	pipes   accounts through both SDKs at real authorization servers. conformance.test.mjs is one list
//	        of checks that all of them pass: npm oidc-provider, which is certified, with each client
//	        authentication; Zitadel's, in package zitadel, a module of its own; and npm emulate, which
//	        has the endpoints and errors of GitHub, Google, Slack, Microsoft and Linear. Users are
//	        played without a browser, and in the Chromium that CULVERT_CHROMIUM names, if it does
//
// TestKillRefreshes is about refreshes alone: three processes on one etcd, accounts whose tokens live for five
// seconds at an oidc-provider that ends a grant when a refresh token comes a second time, and between them
// a proxy that loses, delays, cuts and falsifies requests and replies, and notes the truth: who sent which
// token when, and what became of the reply. The processes are killed and stopped, at any time and at the
// steps of a refresh, while everything is sealed again by jobs. Nowhere may a grant be lost that could have
// been kept, a token be sent by two, or a caller be given what the store has not. It runs twice: where the
// provider answers a repeated token as before for a while, everything may happen; where it does not,
// requests are lost and no replies. It is short here. As long as you like, with 200 accounts and three
// etcd processes, it is
//
//	make kill CULVERT_KILL_FOR=10m
//
// which prints a seed that CULVERT_KILL_SEED takes, so that the same faults are drawn; the moments are
// the machine's.
//
// Afterwards it looks into the data directories and the servers' output: no value that a suite stored,
// and no token, code, verifier, ticket or flow state that a provider saw, may stand there in clear. Only
// processes that the tests started are ended.
package e2e
