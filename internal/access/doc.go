// Package access decides who may: actors, API keys, actions, and the permit that a use case must hold before it opens,
// returns or changes anything.
//
//	actor.go                 who is calling, and the call
//	apikey.go key.go         an API key: its text, and its record with what the store has to do
//	gate.go memo.go          whose key it is, and what is remembered of those that were let in
//	authorize.go permit.go   the two steps of a decision: without the record, and with it
//	policy.go scope.go       the one evaluator: rules, and what they are about
//	bound.go                 where a list has to look for what a permit may allow
//	action.go role.go        which actions there are, and which role has them
//	give.go                  what one key may pass on, and why the evaluator says what it says
//	uses.go                  when keys were used last
//
// What changes keys and roles is package admission; this one only reads their records.
//
// # What holds
//
// What no rule allows is denied, and what one rule denies is denied, whatever others say. Every path to an answer ends
// in one function, policy.decide. TestPolicyModel compares it with a naive one.
//
// A permit is decided in two steps, because a rule can be about a record's name and key context, and these are known
// only once its MAC or seal was checked. A permit that lacks the second step opens nothing. TestPermits.
//
// Each call looks at its key and its role again behind the read fence ([Gate.Recheck]), so a revocation, or a change of
// a role, holds on every replica from its acknowledgement on, and no cache has to hear of it. TestRecheck,
// TestRecheckOfRoles; between replicas TestChangesHoldOnEveryReplica.
//
// # Attackers
//
// Who guesses keys, or has the id of one: a key has 256 random bits, hashes are compared in constant time, and every
// refusal takes the same steps, whether the key is unknown, wrong, revoked or of another environment.
// TestAuthenticateRefusesAllAlike. What stays observable is a map hit against a map miss.
//
// A reader of etcd has an HMAC under a pepper that etcd never holds in clear, and cannot test guesses against it.
//
// A writer of etcd cannot make a key nor raise a role, since records have a MAC: one that he edited is refused like an
// unknown key, and reported ([GateConfig].Report). He can put an older genuine record back, one that was not revoked yet.
package access
