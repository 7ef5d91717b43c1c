// Package admission is who is let in: the use cases on API keys and on the roles that say what they may.
//
//	register.go   what the use cases stand on, and how a call of one begins and ends
//	store.go      what is asked of storage
//	key.go        an API key as it is told, and the rules of what may be asked for
//	create.go     a new key, whose text is told once
//	list.go       pages of keys, and one
//	rotate.go     a key that replaces another, with an overlap
//	end.go        expiry and revocation, and why one key always stays
//	validate.go   what a key is that somebody shows to an application
//	uses.go       when keys were used last
//	roles.go      roles of an environment
//	scope.go      the rules of scopes
//	explain.go    why a key may do something, or not
//	event.go      the events of changes
//
// # What holds
//
// A key's text leaves this package once, in the answer that made it. The store has a peppered hash.
//
// Every change is one transaction with its event, compared with what it was decided on. From its
// acknowledgement on it holds on every replica: each looks at the key and its role again behind its read fence
// (access.Gate.Recheck).
//
// Nobody gives what they do not have: a key, a rotation or a role that would allow more than its maker may is
// refused (access.Permit.Gives). The key that allows everything and ends last is kept, unless somebody insists.
//
// # What does not
//
// Whoever could make keys and roles before their own rights were taken away has made them: look at created_by.
// A writer of etcd can put an older genuine record back, as keys/doc.go says of all records.
package admission
