// Package webhooks sends the events of an environment to endpoints that a caller names.
//
// Nothing publishes to it: a delivery is a read of the event log behind the endpoint's cursor. So an event that
// was committed is delivered whatever process committed it, also after all of them were killed.
//
// Where is what:
//
//	endpoint.go    what an endpoint is; view.go what callers are shown of it
//	progress.go    how far an endpoint has come, and what an attempt makes of that
//	webhooks.go    the use cases; manage.go, read.go, replay.go
//	deliverer.go   which endpoints this replica delivers to; worker.go one of them
//	window.go      the end of the event log, read once for all endpoints of an environment
//	send.go        one attempt over HTTP; failure.go its outcomes in words of our own
//	store.go       what the store has to do
//
// # Guarantees
//
// Every event of the types that an endpoint has, committed after the endpoint was made or behind where a
// replay began, is delivered at least once, in the order of the log, or ends among the endpoint's dead letters.
// An event is sent when the one before it was accepted or is dead: order means that an event which its
// receiver refuses holds up those behind it, for as long as it is retried.
//
// A replica that has an endpoint's lock delivers to it, and its progress is stored by compare-and-swap. The lock
// saves work: should two replicas send at once, one of them finds out when it stores its progress, and the
// receiver has had an event twice. It tells them apart by the event's id. A process that stops in order lets its
// attempts end, for some seconds, and stores what came of them, so that nobody makes them again (TestCloseDrains).
//
// An attempt that is accepted is one that a 2xx answers in time. Redirects are not followed. After any other
// outcome the event is sent again, after times that double up to a bound; when its time is over, it is a dead
// letter. If the next one fails too, what else has waited as long goes with it, because a receiver that is gone
// is not asked once for each event it missed.
//
// Each endpoint has a worker of its own: one that is slow, refuses, or does not exist delays no other
// (TestBusyEndpoints). Of a replica that is killed, another goes on where its progress was stored, once its lock has
// ended (TestKilledDeliverer).
//
// # Attackers
//
// A caller who names an endpoint inside our network: the address is judged when the socket is about to connect,
// by the rules that custom providers are held to (connectors.Egress), for every attempt, so that a name which
// changes its address gets nowhere. What the receiver answers is read to its status and thrown away; nobody is
// shown it. TestEgress.
//
// A receiver who redirects an event to the inside, answers without end, or slowly: redirects end the attempt,
// and so does the time limit; what is read is bounded. TestFaultyReceivers.
//
// A forger of deliveries: each is signed with the endpoint's secret and the time of sending. A reader of etcd has
// the seed of the secret, and no secret (keys.Environment). TestSecretRotation.
//
// A writer of etcd: the record of an endpoint has its own MAC. One that he edited is sent nothing and tells of itself,
// the others go on (TestDamagedEndpoint). He can take one away, or put back an older one of the same id.
//
// A receiver sees ids, names and key contexts: what /events shows. It never sees a value, a token or a key,
// because events have none.
//
// # Decisions
//
// A record for each endpoint, and one that every change of any of them writes: that a URL is there once, and how many
// there may be, needs no index then. One record for all would be simpler, and one byte of it would stop every
// delivery.
//
// During the overlap of a rotation the header WorkOS-Signature has one signature, and Culvert-Signature both. A
// header with two breaks the verifiers of several SDKs, which take exactly one. Which of the two secrets signs
// the former is found out: a receiver that refuses it is sent the same event again at once under the other
// secret, and the one it accepted is the one it gets from then on.
package webhooks
