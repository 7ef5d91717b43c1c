// Package connectors knows providers: as data, and through one HTTP client. It knows no storage and no
// keys.
//
// A [Connector] is one provider as data. [Custom] makes one of a caller's description, [NewCatalog]
// takes the built-in ones of package catalog and the operator's endpoints. A [Client] builds the URL
// that a browser departs to, and trades codes and refresh tokens for tokens.
//
// # What the client guarantees
//
// A token request is sent at most once. Nothing tries again: not another client authentication, not a
// redirect, not net/http on a connection that died. A one-time code or refresh token that is sent twice
// is a replay, and some providers end the whole grant for it.
//
// Every failure is an [Error] whose [Class] says what may be concluded. Until there was a connection,
// nothing can have happened (Transient, Blocked). After that, an answer is needed to know: without a
// readable one the request may have taken effect (Ambiguous). An outage, an HTML page or a proxy's
// answer never looks like the end of a grant: DeadGrant takes the provider's own code for it.
//
// No error and no log line holds a token, a code, a secret, a query or any other part of a request or
// reply, but for error codes that are made like codes.
//
// An identity call is no token request: it changes nothing, so whoever calls may ask again.
//
// Connections go where [Egress] allows, decided on the resolved address as the socket connects.
//
// # Adding a connector
//
// ADDING.md in this directory says how, from the block of data to the day when it is no preview any more. What the
// fields mean stands at [Connector]. The tests of package catalog hold every block to the rules of the
// catalogue, take it from the authorization URL to a refreshed token, and send every vector through the
// client.
package connectors
