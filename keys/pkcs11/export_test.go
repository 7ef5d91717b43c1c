//go:build pkcs11

package pkcs11

import "time"

// MaxCalls is maxCalls.
const MaxCalls = maxCalls

// Calls counts the calls of the module under way.
func (k *Key) Calls() int { return len(k.calls) }

// SetTimeout is for tests that let a call hang for a while: machines may be slow.
func (k *Key) SetTimeout(d time.Duration) { k.timeout = d }
