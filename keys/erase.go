//go:build goexperiment.runtimesecret

package keys

import "runtime/secret"

// erased runs what has keys in the clear. The runtime wipes the registers and the stack that it used when it
// is done, and what it allocated, copies inside of Tink and of the AES key schedule included, as soon as the
// collector finds it dead.
func erased(f func()) { secret.Do(f) }
