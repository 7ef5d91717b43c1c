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
// Afterwards it looks into the data directories and the servers' output: no value that a suite stored,
// and no token, code, verifier, ticket or flow state that a provider saw, may stand there in clear. Only
// processes that the tests started are ended.
package e2e
