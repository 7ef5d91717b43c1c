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
// # What providers do otherwise
//
// Each has the tests that it stands in; most are vectors as data, in package catalog.
//
//	what is odd                                          where it is dealt with, and its tests
//	errors with status 200, as objects or lists, with    Reply.Fail, DeadGrantCodes and its likes, the provider's
//	a name or number of their own, or none; a wrong      own Reply
//	status; a dead token as invalid_request              TestReplies, TestReplyFailures
//	forms, also as text/plain, in spite of Accept        parse: by what a body is
//	                                                     TestReplies
//	tokens inside an object or a list, several in one    slackReply, instagramReply
//	reply                                                TestReplies
//	one way alone for the client's secret; a second      ClientAuth is data; a request is sent once
//	try would be a replay                                TestClientAuthentication
//	the client's id, the code, the redirect URI and      Quirks
//	further parameters by other names                    TestOddRequests, TestCallbacks
//	no end, an end of 0, an absolute one, text, one of   expiry, Lifetime, ZeroNeverEnds
//	five minutes or of ten years                         TestReplies
//	the host of the API in the reply, in the answer of   ReplyField, the provider's by its domain
//	an identity call, or in the callback                 TestSayings, TestSayingsOfOthers
//	the account, or the code's host, in the callback     Identity.CallbackID, CallbackPins
//	alone                                                TestFromCallback, TestCallbacks
//	granted scopes in the callback alone                 CallbackScopes
//	                                                     TestScopesOfCallbacks
//	callbacks that are signed                            CallbackMAC
//	                                                     TestSignedCallbacks
//	parameters without which no refresh token is given   AuthorizeParams, DefaultScopes
//	                                                     TestAuthorizationURLs, TestEveryAuthorizationURL
//	scopes with commas, as arrays, in the plural; fewer, ScopeSeparator, ScopeRules
//	more or other ones in the reply                      TestScopeSeparators, TestMissingScopes, TestReplies
//	grants that end when they are not used, or on a day  RefreshIdle, GrantLifetime
//	                                                     TestEndsOfGrants
//	a token that is traded for one that lasts            LongLived
//	                                                     TestOddRequests
//	one consent for all of an account's grants           OneGrantPerAccount
//	                                                     TestConsentsInCommon
//	a refresh that ends the old access token             KillsPreviousAccessToken; its test is in package pipes
//
// # Adding a connector
//
// ADDING.md in this directory says how, from the block of data to the day when it is no preview any more. What the
// fields mean stands at [Connector]. The tests of package catalog hold every block to the rules of the
// catalogue, take it from the authorization URL to a refreshed token, and send every vector through the
// client.
package connectors
