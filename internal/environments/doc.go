// Package environments is the use cases on the environments of a store: to make one, and to see which there are.
//
//	environments.go   what they stand on, and their errors
//	create.go         a new environment, with the first API key of it
//	read.go           those that there are
//	store.go          what is asked of storage
//
// An environment is a set of keysets of its own (keys.Environment), and every record of it stands under its id and
// its MAC: sandbox and production share processes and an etcd, and nothing else.
//
// # Who may
//
// API keys of the first environment, "default", look after the store as a whole: with environments.create they make
// others, with environments.read they see all. An API key of any other environment can be given neither: a leak of
// the sandbox must not be able to fill production's etcd, nor tell who else is in it. It sees its own environment.
//
// A new environment is answered with its first API key, an administrator's, because otherwise nobody could make
// another one in it: keys do not cross. That answer is the only place of the key's text. Whoever lost it makes another
// at the store itself (culvert api-keys recover).
//
// # What holds
//
// Environment, first epoch, first API key and both events are one transaction. It is compared with there being no
// environment that the check of the name has not seen, so two of one name cannot come to be.
//
// # What does not
//
// An environment is never removed: its keys are in every backup, and shredding all KEKs of it is what makes its
// values unreadable.
package environments
