// Package vault keeps named secret values: the use cases behind /vault/v1 (contract section 1).
//
// An object has a name, a key context and up to [Limits].VersionsKept versions, each sealed under a
// fresh DEK by package keys. This package decides and orders; it holds no key, sees no plaintext
// (values pass through as [secret.Bytes]) and no storage detail (revisions pass through as numbers).
//
// # The order of every method
//
// Each exported method of [Vault] takes the same steps, and its first statement begins them:
//
//  1. permit: what can be decided without the record. A denial is recorded and ends the call.
//  2. fence: from here on every read reflects what was acknowledged anywhere before the call began.
//  3. re-check of the API key, so that a revocation that was acknowledged holds.
//  4. the record, and the permit completed with the record's own name and context, never the caller's.
//  5. for a change: the audit intent, then the seal and one transaction with its event.
//  6. the audit record, then the answer.
//
// # What the audit trail holds of it
//
// Every call leaves either one record of phase access, or an intent and its outcome. Access is written
// before anything is answered: if it cannot be written the answer is the outage, also where it would
// have been a refusal. A change is not begun without its intent; once it is committed, a lost outcome
// does not turn it into an error, because the event in the same transaction names the intent. A client
// data key is both: an intent, because its KEK may be created, and no key without the outcome.
//
// # Concurrency
//
// Correctness rests on compare-and-swap alone: a change names the header revision it was made from and
// the KEK generation it was sealed under. The striped locks of this package only keep callers of one
// process from conflicting with each other in vain.
//
// # What this does not do
//
// Every version kept is stored so that it can be opened, but the contract has no route that reads an
// older one. Names and contexts are not secret: they stand in clear in the store and in the audit log.
// What a writer of the store can and cannot do is said in keys/doc.go.
package vault
