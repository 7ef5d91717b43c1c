// Package pipes is the token broker: integrations, the flow that connects an account, and the vending of
// fresh tokens (contract section 2).
//
// It decides and orders. Tokens, client secrets and verifiers pass through as [secret.Bytes] and are
// sealed and opened by package keys; providers are asked by package connectors; records lie in a [Store].
//
// # Where is what
//
//	broker.go errors.go verdict.go          the Broker and what it is made of; its errors; what the trail says of them
//	operation.go once.go check.go event.go  how a call begins and ends, or comes again; what input has to be; events
//	store.go                                what a store promises, and the one Change that all records move by
//
// Integrations:
//
//	integrations.go createintegration.go updateintegration.go listintegrations.go   the noun, and what is done with it
//	connectors.go provider.go methods.go    what can be integrated; the provider behind one; how accounts are connected
//	configuration.go configurations.go      what one organization sets of one; setting it
//	configvalues.go                         what stands in a provider's config fields, and for whom
//	breaker.go clientsecrets.go             clients that their provider refuses; the secrets of one, while one is rotated
//
// Accounts and grants:
//
//	accounts.go slot.go dataproviders.go    the noun; which of an owner's accounts is meant; all that an owner can connect
//	further.go                              several accounts of one owner, and which one a flow is for
//	grants.go named.go                      the grant that accounts point to; its tokens beside the main one
//	arrive.go                               the one way in for what a provider, an import or an owner brought
//	importing.go install.go installclient.go    accounts without a flow: tokens, API keys, clients of their own
//	identity.go reason.go                   whose an account is at the provider; why one needs reauthorization
//
// Flows, in the order of their legs:
//
//	flows.go ticket.go pace.go returnto.go  the noun; what browsers bring; how often; where they may end
//	authorize.go confirm.go depart.go       begin, ask, leave for the provider; leg.go is what legs share
//	callback.go exchange.go settle.go       come back; the one send of the code; how a flow ends
//	finish.go choose.go waiting.go          who ends it instead: a session, a choice; tokens that wait for them
//	handoff.go attempts.go                  flows in a pop-up; the list of flows that have not come back
//
// Vending and refreshing:
//
//	token.go credentials.go                 vending
//	refresh.go flight.go turns.go           one refresh; one for all who want it; how many at once
//	attempt.go send.go successor.go         the attempt and lock that replicas see, not a flow's; sending behind it;
//	                                        going on with somebody else's
//	window.go boottime_linux.go boottime_other.go    how soon after its attempt a token is sent, and by which clock
//	persist.go journal.go keeper.go         storing what came: in etcd, before that on this disk, later from there
//	refetch.go                              tokens that nothing rotates: those of an account's own client
//	refused.go reports.go                   what becomes of a token that an API refused, once a minute
//	caretaker.go due.go                     refreshing what nobody asks for, and when
//	count.go                                what an operator counts
//
// Endings:
//
//	revocation.go revoke.go revoker.go sharing.go    the noun; one attempt at it; all of them; who else would lose his
//	sweep.go sweepconfigurations.go         what is over is removed
//
// # Who works without being asked
//
// Each is one goroutine on every replica, from [New] to [Broker.Close]; none is a leader. What they have to do
// stands in the store or in this node's journal, so a restart goes on by itself; what they remember beside it
// saves time and nothing else.
//
//	worker      looks       does                                            of two replicas
//	sweeper     a minute    removes accounts and configurations of          both try, one conflicts
//	            or woken    removed integrations, ends flows nobody
//	                        came back from, forgets old ones
//	keeper      a second    stores what this node's journal still has,      each its own journal
//	                        releases what its refreshes left
//	revoker     10 s        tells providers of tokens nobody needs,         claim on each revocation
//	            or woken    for a day
//	caretaker   5 s         refreshes grants before they end, announces     claim on each grant, and the
//	                        ends that no refresh moves                      attempt of the refresh
//
// The caretaker alone can be switched off ([Config].Background), and with it goes the goroutine that marks
// idle grants as in use. The trail names them as actors of the source "system"; the keeper there is called
// "refresh journal".
//
// # Connecting an account
//
//	backend              broker                         browser                        provider
//	   │ Authorize          │                               │                              │
//	   ├───────────────────▶│ flow record: owner,           │                              │
//	   │◀─── URL (ticket) ──┤ return_to, H(ticket)          │                              │
//	   ├───────────── sends its user there ────────────────▶│                              │
//	   │                    │◀──────── Confirmation ────────┤                              │
//	   │                    ├── page, cookie, form ────────▶│ "connect … for alice@…?"     │
//	   │                    │◀─ Depart (cookie, form) ──────┤                              │
//	   │                    │ departure: H(flow state),     │                              │
//	   │                    │ H(cookie), sealed verifier    │                              │
//	   │                    ├─ URL (flow state, challenge) ▶├─────────────────────────────▶│
//	   │                    │                               │◀─ code, flow state ──────────┤
//	   │                    │◀─ Callback (cookie) ──────────┤                              │
//	   │                    │ claim by compare-and-swap     │                              │
//	   │                    ├── code, verifier, client secret ────────────────────────────▶│
//	   │                    │◀────────────────────────────────── access, refresh token ────┤
//	   │                    │ one transaction: grant, account, settled flow, event         │
//	   │                    ├── return_to?status=connected ▶│                              │
//
// The ticket is used up by the callback that wins, not by a GET: link scanners fetch links. Until then it
// departs at most [MaxDepartures] times. The callback that claims the flow exchanges its code, once;
// every other one waits for that result and is answered with it, for [FlowKeep]. Whatever no further
// callback could mend settles the flow with a typed error, which the application finds at return_to and
// in an event. A wrong browser settles nothing.
//
// With session binding (the caller's code challenge in Authorize) the confirmation page falls away, and the
// last steps are others:
//
//	backend              broker                         browser                        provider
//	   │                    │◀─ Callback (cookie) ──────────┤                              │
//	   │                    ├── code, verifier, client secret ────────────────────────────▶│
//	   │                    │◀────────────────────────────────── access, refresh token ────┤
//	   │                    │ tokens sealed in the flow     │                              │
//	   │                    ├── return_to?result_id=… ─────▶│                              │
//	   │◀──────────────────────────────── its session ──────┤                              │
//	   │ Finish (result id, │                               │                              │
//	   ├─ code verifier) ──▶│ one transaction: grant, account, settled flow, event         │
//	   │◀── account ────────┤                               │                              │
//
// Tokens that nobody comes for within [FinishTTL] are dropped, and were never an account's. Where the integration
// says so they are revoked at the provider, unless some account lives on them.
//
// Who connects an account again, and signs in as another one at the provider than the one that is connected,
// is asked first: the tokens wait in the same way, the callback leads to a page of ours that names both
// ([Broker.Choice]), and only who says so there ([Broker.Choose]) replaces the first.
//
// With a handoff it falls away too, and the flow begins in a pop-up:
//
//	backend              broker                    page of the application        pop-up
//	   │ Authorize          │                               │ opens it ───────────────────▶│
//	   ├───────────────────▶│ H(redirect token),            │                              │
//	   │◀── URL, two tokens ┤ H(handoff token)              │                              │
//	   ├──────────────────────────────────────────────────▶ │ leads it to the URL ────────▶│
//	   │                    │◀──────────────────────────────────────────────── Popup ──────┤
//	   │                    │                               │ posts both tokens ──────────▶│
//	   │                    │◀──────── Handoff (both tokens, origin of the message) ───────┤
//	   │                    ├─ cookie, the provider's URL ────────────────────────────────▶│ and on, as above
//
// # Vending a token
//
//	Token ─▶ account ─▶ grant ─▶ living beyond its margin ───────────────▶ open, record, answer
//	                         ├─▶ within the margin: refresh behind ──────▶ open, record, answer
//	                         └─▶ ended: wait for the one refresh in this process
//	                                       │
//	refresh, detached from its callers:    ▼
//	  fence, read the grant again ─▶ somebody was faster: done
//	  what is in the journal of this grant is stored first
//	  somebody else has the lock ─▶ wait for a change; his node is gone ─▶ wait until he cannot be sending
//	  audit intent, keys, room in the journal, connection to the provider
//	  one transaction: attempt, lock (if the grant is as it was read, and nobody else is at it)
//	  within 2 s ─▶ POST
//	     ├─ tokens ──────────▶ seal ─▶ journal, fsync ─▶ one transaction at generation+1, with its event, without
//	     │                     attempt and lock ─▶ callers read the store
//	     ├─ no readable reply ▶ the attempt says so, then the same refresh token again, at 0.2, 1 and 3 s
//	     ├─ refresh token dead ▶ read again; a newer generation wins; else all its accounts need reauthorization
//	     ├─ client refused ───▶ breaker of the client at that host, accounts untouched
//	     └─ anything else ────▶ pause of the grant: 1 s to 5 min (up to 1 h if the provider asks), accounts untouched
//
// A grant's generation is the fence. It grows with every refresh and reconnect, and a result is stored
// only over the generation that its refresh token was of: edits of the record in between are merged, a
// newer generation drops the result. What is vended was read from the store, so no caller ever has a
// token that a crash could lose.
//
// The attempt is what outlives a crash: how often the token was about to be sent, and whether a reply was
// lost, by any owner. It is why "invalid_grant" can be told apart as revoked or as rotation_lost. Every step
// compares its revision, so whoever was overtaken changes nothing any more, and each send takes the lock anew. The lock is bound to a lease and
// saves work; nothing rests on it. The files: attempt.go decides, send.go sends, successor.go waits for
// those who are gone, journal.go survives a crash, keeper.go finishes what refreshes could not.
//
// A grant of several tokens, each with a refresh token of its own, has one attempt, which names its token, and
// each token says which generation gave it. Attempts, ambiguities and results are of a token, and count for
// as long as the grant has that one, through generations that only the others made. Whoever wants another
// token first finishes the attempt that is there, as its successor, with its own refresh token: one of them
// is under way at a time, and no lost reply is forgotten. A result that comes out of a journal after another's
// was stored is put beside it, and leaves the attempt of another alone. The price: a token whose refreshes get
// no readable reply holds the others up. So does one whose owner's node is gone, where re-use ends the grant:
// until its access token ends, ten minutes at most.
//
// # A token that an API refused
//
//	TokenRefused ─▶ not the present one ────────────────────────────────▶ newer_token
//	           ├─▶ identity call (one check of a grant in a minute) ─ 200 ▶ still_works
//	           │      ├─ no answer, 429, 5xx ───────────────────────────▶ unknown
//	           │      └─ 401 ─┐
//	           ├─▶ ended ─────┼─▶ refresh, at this generation alone ──────▶ refreshed, or dead: needs_reauthorization
//	           │              └─▶ no refresh token ───────────────────────▶ needs_reauthorization (refused_by_api)
//	           └─▶ nobody to ask ─▶ refresh ─────▶ as above; no refresh token: unknown
//
// # Refreshing what nobody asks for
//
//	every transaction of a grant ─▶ due/{time}/{grant}: when it is looked at next
//	caretaker, on every replica ─▶ claims what is due ─▶ in use, at its margin ─────────▶ refresh
//	                                              ├─▶ idle, at a third of its limit ─▶ refresh
//	                                              └─▶ an end that no refresh moves ──▶ event, days before
//
// A grant is in use if it is new or was vended since its last refresh; whoever vends an idle one marks it.
// The caretaker has bounds of its own, below those of all refreshes: callers come first.
//
// # Threat table
//
// Who attacks the flow, what holds, and the test that says so. Attackers who read or write etcd, hold a
// stolen API key or administer a KMS are in the documentation of package keys.
//
//	an attacker makes a victim's browser end his flow   cookie of the browser that saw the page, in constant time
//	                                                    TestCallbackInAnotherBrowser
//	… or begin it, by a form on his own page            keyed hash of flow and cookie in the form
//	                                                    TestDepartNeedsThePage
//	a victim is sent the attacker's link                the page names the user's label and id, and the victim has
//	                                                    to tick that it is his (server)
//	                                                    TestFlow
//	… where the caller binds the flow to a session      result id in the victim's browser, verifier in the
//	                                                    attacker's session: they do not meet
//	                                                    TestSessionBinding, TestFinishNeedsBothHalves
//	… or departs with the same link, to be told the     only the browser that brought the tokens is told it
//	result id at his own callback                       TestResultIDIsForOneBrowser
//	… or opens a pop-up and hands it a flow of his      the message's origin must be the application's (server);
//	                                                    both tokens of one flow, once
//	                                                    TestHandoff, TestHandoffTokens, TestHandoffRefused
//	guesses verifiers, or waits for a better moment     five tries, ten minutes; the tokens are dropped
//	                                                    TestWrongVerifiers, TestAbandonedAuthorization
//	a crash between callback and account                the tokens wait sealed; finishing is one transaction
//	                                                    TestFinishIsCrashSafe
//	guesses or edits a ticket or flow state             256 bits, kept as keyed hashes, one error for everything
//	                                                    TestForgedTickets, TestForgedFlowStates
//	uses one again, or late                             settled once; 30 and 10 minutes; five departures
//	                                                    TestUsedUpTickets, TestExpiredFlowState, TestCallbackTwice
//	fills the trail with a ticket that he was sent      a bucket for each flow, before anything is recorded
//	                                                    TestPaceOfAFlow
//	a provider hands out another one's state (mix-up)   redirect URI per integration; iss (RFC 9207)
//	                                                    TestForeignCallback, TestIssuer, TestIssuerOfACustomProvider
//	injects a code of his own                           PKCE S256, verifier sealed on the server; codes are the only
//	                                                    response that is asked for, and nobody sets another
//	                                                    TestPKCE, TestAuthorizationURL
//	reads or changes an authorization request on its    pushed ahead of the browser, authenticated, where the
//	way, where the provider takes pushed ones           provider takes that; only its name is in the URL
//	                                                    TestPush, TestPushFailures, TestPushedRequest, TestPushRefused,
//	                                                    TestPushOfACustomProvider
//	posts a provider's response from a page of his      repeated by a page of ours, so that the cookie decides as it
//	                                                    does of any callback (server)
//	                                                    TestPostedCallback, TestPostedCallbackRefusals
//	two callbacks race                                  claim by compare-and-swap; a code is sent once
//	                                                    TestCallbackTwice, TestTwoTabs, TestClaimIsTakenOver
//	return_to leads to his site                         exact origins; what parsers disagree on is refused
//	                                                    TestReturnTo, TestReturnToAnyLoopback, TestWithOutcome,
//	                                                    TestReturnToIsCheckedAgain
//	reads a code, ticket or token where it passes by    redirected away at once; no referrer, no cache, and pages
//	                                                    that load nothing (server)
//	                                                    TestFlowWithoutReturnTo, TestScripts, TestPostedCallback, TestCanary,
//	                                                    TestVend
//	frames a page of ours, or keeps a hold on it        frame-ancestors, and an opener of its own alone (server)
//	                                                    TestPolicy, TestHandoff
//	sets or steals the flow cookie                      __Host-, HttpOnly, Secure, Lax, two hours at most (server)
//	                                                    TestFlow, TestAgeOfTheCookie
//	sends a parameter twice, or far too much of one     refused before anything is looked up (server)
//	                                                    TestTickets, TestButtons, TestHostilePaths
//	opens what a flow left behind                       verifiers and waiting tokens leave the record with its end
//	                                                    TestSettledFlowKeepsNoSecret
//	moves the token endpoint to collect the secrets     sealed for an origin; it must be sent again to move
//	                                                    TestMovedTokenEndpoint, TestSealedTokensAreBound
//	points a custom provider at the inside              checked here, and at every dial by connectors.Egress
//	                                                    TestCreateIntegrationRefusals, TestEgressCheckURL,
//	                                                    TestEgressRanges, TestEgressRebinding
//	names a host of his own in a config field           one label, or a name below the provider's domain, before any
//	                                                    URL is built (connectors), and before anything is stored
//	                                                    TestWithRefusesHostileValues, TestConfigRules, TestLint,
//	                                                    TestConfigRefusesHostileValues
//	… or changes one, to collect secrets and tokens     sealed for where they came from, client secrets for that or
//	                                                    the pattern of customers' hosts; codes go where they are from
//	                                                    TestConfigChange, TestConfigMovesSecret
//	answers with a redirect, without end, or twice      not followed; bounds of size and time; one send for one call
//	                                                    TestClientSendsOnce, TestClientEndlessReply, TestBoundsOfReplies
//	opens what is stored, moved or swapped              sealed under a key of its customer's, for one grant,
//	                                                    generation and place (keys); jobs seal it again
//	                                                    TestSealedTokensAreBound, TestGrantsDoNotStandInForEachOther,
//	                                                    TestRewrapAndReencryptOfPipes
//	finds what a disconnected account left              the grant goes with its seal and its index, and a customer
//	                                                    with his key (keys)
//	                                                    TestDeleteAccount, TestShred
//	has a key of another environment                    it means nothing in this one
//	                                                    TestForeignEnvironment
//	makes an administrator's browser call the API       no call is made by a cookie, and other origins' pages read
//	                                                    nothing (server)
//	                                                    TestCORS
//	a custom slug shadows a provider                    refused
//	                                                    TestCreateIntegrationRefusals
//	reconnects a shared grant as somebody else          it leaves the grant; the others keep theirs
//	                                                    TestLeavingASharedGrant
//	an administrator of definitions collects tokens     a custom provider's identity call is at the origin of its
//	                                                    tokens; asked later only where the grant is bound to
//	                                                    TestIdentityOfACustomProvider
//	a provider does not say whose an account is, or     no grant is lost for it; what is no short printable text, or
//	lies                                                holds the token, is no name
//	                                                    TestIdentityBehindAVend, TestIdentityAtConnect
//	a user signs in as another account than he thinks   asked on a page that names both; until then nothing changes
//	                                                    TestReconnectAsAnotherAccountAsks, TestKeepTheConnectedAccount,
//	                                                    TestUnknownIdentityAsks, TestChoiceOfAnAccountThatChanged
//	presses that page's button for somebody             cookie of the browser that came back, keyed hash in the form
//	                                                    TestChoiceInAnotherBrowser
//	waits for an answer that never comes                the tokens wait sealed, for ten minutes
//	                                                    TestNobodyChooses, TestWaitingForAChoiceIsSealed
//	one customer's keys decide on another's tokens      no grant is shared across key contexts
//	                                                    TestRefreshTokenInUse
//	one owner's account for another's                   owners compared as bytes, selectors within the owner
//	                                                    TestOwnersDoNotMix, TestAccountSelector
//	one organization's client for another's             the owner's configuration, and a grant bound to its client
//	                                                    TestOneOrganizationsClientIsNotAnothers
//	a further account takes the first one's place       added beside it; a flow that renews names its account from
//	                                                    the beginning, and connects none in its place
//	                                                    TestFurtherConnections, TestAuthorizeWithIntent
//	puts one customer's API key in another's place      sealed like a grant's tokens, under the account's key context
//	                                                    TestSealedKeyIsBound
//	moves the endpoint to collect customers' clients    sealed with their grant, for the origin that took them
//	                                                    TestCustomersSecretIsBound
//	a reply steers tokens to a host of its own          what is passed on of it matches a declared pattern, and a host is
//	                                                    the provider's by the last labels of its name
//	                                                    TestMetadataOfAReply, TestSaidBesidesTheToken
//	changes a callback on its way through the browser   the code goes nowhere where a provider signs its callbacks
//	                                                    TestUnsignedCallback
//	a key in the place of a grant, or the reverse       an account keeps its method
//	                                                    TestMethodsDoNotMix, TestInstallTargets
//	one of several tokens dies, or is refreshed         each with its own refresh token, as the grant's next
//	                                                    generation, under one seal with the others
//	                                                    TestNamedTokens, TestDeadNamedToken, TestKilledWithANamedToken
//	… while a node is gone with another's result, or    one under way at a time; what is known of one is kept
//	its reply was lost                                  with it, through the refreshes of the others
//	                                                    TestMainTokenPassesANamedResult, TestNamedTokenPassesAMainResult,
//	                                                    TestAmbiguityIsOfOneToken, TestProtocol
//	seals of one kind, place or time pass for another's a domain for each, with all that is decided on (keys)
//	                                                    TestPurposesOfPipesDoNotStandInForEachOther,
//	                                                    TestEachFieldOfABindingOfPipesIsBound, TestKeyedHashesOfPipesNeverMeet
//	a token is had without a trace                      the intent stands in the trail before, the answer waits for its
//	                                                    record
//	                                                    TestEveryMethodNeedsTheAuditLog, TestRefreshIsInTheTrail
//	reads logs, events, audit records, errors           no secret is in any
//	                                                    TestCanaryIsNowhere, TestCanaryIsNotRendered
//	a provider is down, or lies                         classes of failures; no account is flipped by an outage
//	                                                    TestProviderDown, TestOddReplies, TestClientRejected, TestExchangeFailures,
//	                                                    TestBreakersAreBounded
//	a client secret that leaked has to go on, because   two while it is rotated; the other one only where the
//	accounts would be lost if it were changed           provider refuses the client, until a day that is set
//	                                                    TestRotationOfAClientSecret, TestOtherSecretIsNoRetry,
//	                                                    TestEndOfThePreviousSecret, TestRotationOfAnOrganizationsSecret
//	a provider's text is shown to people                reasons and hints are ours, made of codes
//	                                                    TestReasonOfADeadGrant
//	a provider hangs, or thousands of grants are due    bounds of refreshes at once, of one integration and in all
//	                                                    TestRefreshesAtOnce, TestNoTurnInTime
//	a refresh races another, or a crash                 single flight, generation, stored before vended
//	                                                    TestHundredCallersOneRefresh, TestTwoReplicasRefresh, TestRefreshEqualsModel,
//	                                                    TestPersistedBeforeItIsVended, TestReconnectDuringARefresh, TestKilledBeforeTheTransaction,
//	                                                    TestSendsAreAnnounced, TestLockIsTakenAgain, TestLoserWaits, TestDeadOwner, TestNodeComesHome,
//	                                                    TestStoppedBeforeTheSend, TestAmbiguityOutlivesItsProcess, TestDoubts, TestProtocol,
//	                                                    TestKillRefreshes
//	a replica's disk is full when a token arrives       room in the journal is taken before one is sent
//	                                                    TestNoJournalNoRefresh, TestLargeTokensAreRefreshed
//	an account is gone, and its tokens live on          revoked at the provider where somebody says so: durable,
//	                                                    repeated, one replica at a time, with an outcome to read
//	                                                    TestRevokeOnDisconnect, TestRevocationIsRetried, TestRevocationsThatFail,
//	                                                    TestRevocationSurvivesACrash, TestRevocationsOfTwoReplicas,
//	                                                    TestRemovedIntegrationIsRevoked, TestDroppedTokensAreRevoked
//	the provider of thousands of them is down           a bounded part of the queue in each round, in turn; one
//	                                                    request of an integration in a round that goes unanswered
//	                                                    TestRevocationsOfAProviderThatIsDown
//	a revocation takes others' tokens along             kept where another account has the grant, or the same person's
//	                                                    consent at a provider that ends it whole, or nobody can tell
//	                                                    TestSharedGrantIsKept, TestSharedConsentIsKept,
//	                                                    TestSharedConsentThroughAnOrganizationsClient, TestDroppedTokensOfAnAccount
//	tokens that wait for it are used or led elsewhere   at a place of their own, bound to their origin and client
//	                                                    TestRevokedTokensAreNotVended, TestRevocationIsBound
//	reports a token that works, or somebody else's, to  only the account's present one leads to anything, and what
//	end an account                                      the provider says of it decides
//	                                                    TestRefusedToken, TestReportOfAnothersToken, TestReportsToTwoReplicas
//	reports without end, to have the provider asked     one check of a grant in a minute, for all who report
//	                                                    TestStormOfReports
//	vends for other organizations, or providers, than   an API key's scopes, decided with the record that was read
//	its key is for                                      TestBrokerOfAnOrganization, TestPolicyModel
//	vends without end with a stolen API key             a budget for each key and each environment, of all replicas
//	                                                    together (server)
//	                                                    TestRateLimit, TestRatesWithoutStore
//	calls without the right                             permit first, one record of each denial
//	                                                    TestEveryMethodIsAuthorized, TestFlowActorMayNothingElse
//
// Cookie attributes, headers of pages, the Origin of forms and parameters that come twice are server's;
// redirects, sizes, timeouts, one send per call and what may be in an error are connectors'.
//
// Later, with the issue that brings it: the relay.
//
// There is no discovery (RFC 8414): endpoints are data of the program or an administrator's definition, never
// another server's word.
//
// # What is not stopped
//
// A victim who is shown somebody else's label and goes on. A provider that rotates a token and loses the
// reply, without a grace period: the account then needs reauthorization for the reason "rotation_lost",
// which should never be seen. A process that is killed between the provider's reply and the fsync of its
// journal is such a lost reply, and so is a replica whose disk is gone with its journal. A process that is
// stopped between the look at the clock and the write to the provider, for longer than a successor waits:
// it sends a token that was used up meanwhile, and a provider that ends a grant when an old refresh token
// comes back ends this one. One that is stopped between that write and the reading of the reply, or gone with its
// journal, for as long: its successor has to take the reply for lost and sends the used-up token, and what comes
// back in the end is dead there. It is stored as doubted, so that its death is called "rotation_lost". A writer of etcd who takes attempts and locks away has two replicas send one
// token. A whole older record of a grant, put back by him, opens; its refresh token is used up where the
// provider rotates.
//
// # Decisions
//
// One refresh token is one grant, whichever accounts bring it. Two records of it would rotate each other
// away. A callback that brings one joins, an import is refused, and so is a callback from another key
// context: the same person at a provider that gives one token per person cannot connect in two
// organizations of one environment.
//
// A reconnect of an account whose grant is shared makes a new grant. Renewing the shared one would hand
// whatever account the user chose at the provider this time to the other owners.
//
// Flows have no events but their last one, and claims no lease. A claim is taken over after three minutes
// by another departure with its own code; its own code is never sent a second time, because a provider
// may then revoke what it gave for it (RFC 6749 section 4.1.2).
//
// Tickets and flow states that do not match leave no audit record: whoever can send URLs could fill the
// disk. From the match on a browser is an actor like any other, and every leg leaves its records.
//
// Tokens are bearer tokens. One that is bound to a key of ours (DPoP, RFC 9449; mutual TLS, RFC 8705) is of no use
// to a caller who calls the provider himself, because the key stays here: both come with the relay, which makes the
// call for him. For refresh tokens alone, of a public client, DPoP would guard what no caller is ever given, against
// somebody who has the store's keys already; clients with a secret have that binding by RFC 6749 section 10.4.
//
// Where a provider takes pushed authorization requests, they are always pushed: falling back to the browser's way is
// what an attacker would bring about. A response by form_post is repeated by a page of ours, because a cookie for
// forms of other sites would have to be one without SameSite, on which every flow's binding would rest.
//
// Apple is not among the connectors: its client secret is a token that is signed with a key, anew every half year, and
// nothing keeps that key yet.
//
// A disconnect revokes nothing at the provider unless the call or the integration says so: that is the
// contract, and an application that moves its users elsewhere with an export must not find their consents
// gone. The integration's word is for those who want it always. Whoever is told 204 is not made to wait for
// a provider; what came of it can be read, and an event tells.
//
// Tokens that are to be revoked keep their seal: it binds the origin that they may be sent to, and a
// disconnect must not need the root key. A reconnect revokes nothing of what it replaces, which many
// providers have replaced themselves.
//
// The definition of a custom provider is copied into each ownership's integration, and updated in one of
// them alone: a change for the accounts of users does not move those of organizations.
//
// The fallback for a reply without expires_in is the connector's lifetime, and an imported refresh token
// whose access token ends nobody knows when is used at once. Vending a dead token is worse than one
// refresh too many.
package pipes
