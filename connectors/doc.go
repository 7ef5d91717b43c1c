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
//  1. Write a block of data in package catalog, in the file of what the provider is for, and add it to the
//     list on top of that file. Link the provider's documentation. What the fields mean stands at
//     [Connector]; ordinary fills in what most providers do. What nobody has seen is left out: an endpoint
//     for revocation that is not that of RFC 7009, PKCE that is not documented, a lifetime that is guessed.
//     Say Preview where nobody has verified the URLs.
//  2. Is there something in its replies that no RFC describes (tokens elsewhere than at the top, failure
//     told otherwise than by an error member)? Then the block moves to a file of its own, with a function
//     for the field Reply that uses the methods of [Reply].
//  3. If it has such a function, or error codes of its own, put replies of the provider, good and bad, into
//     the vectors of catalog/replies_test.go, with what they mean. All others are sent the replies of the
//     RFC by themselves. A browser's way that is out of the ordinary goes into catalog/authorize_test.go.
//  4. Run the tests of package catalog: they hold every block to the rules of the catalogue, take it from
//     the authorization URL to a refreshed token, and send every vector through the client.
//
// A provider whose URLs hold something of the customer's (a shop, a tenant) declares config fields, and has
// ${config.key} where their values go. No URL is built before [Connector.With] has checked every value.
package connectors
