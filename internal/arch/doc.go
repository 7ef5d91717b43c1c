// Package arch holds the import rules of this module as data, so that the picture in the README cannot
// rot: who may import whom, where etcd, gin, Tink and cloud SDKs may appear, who may look at plaintext,
// and how long a file may grow. Its test checks the real tree; nothing else imports it.
//
// Everything is refused unless a table in rules.go allows it. A new package is therefore a failing test
// until somebody decides where in the picture it belongs, and an exception needs a reason in writing.
package arch
