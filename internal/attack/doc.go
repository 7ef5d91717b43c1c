// Package attack is the room of the attacker who writes etcd: tests, and nothing else.
//
// They build a store with a record of every kind through the HTTP API, on the whole real stack, and then
// change it from outside with none of its keys. Whatever he does to a record, whoever needs it gets one
// clean refusal, an audit record says so, and everybody else is served. What he can do all the same is
// in replay_test.go, and in words in the package documentation of keys.
//
// A kind that is added to the keyspace has no place here yet, and fails the tests until it has one.
package attack
