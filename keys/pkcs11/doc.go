// Package pkcs11 is a root key in an HSM, by way of the PKCS#11 module that its vendor ships. It needs cgo
// and the build tag pkcs11; without them [Built] is false and nothing can be opened.
//
// The key is AES-256 and found by its label in a token. The token itself encrypts the share, by AES-GCM:
//
//	1 byte    format, 1
//	12 bytes  nonce
//	32 bytes  the share, encrypted
//	16 bytes  tag
//
// The associated data is [keys.Binding.AssociatedData]. The nonce is random, made here and handed to the
// token in CK_GCM_PARAMS: tokens differ in whether and where they make one. After 2^32 shares under one key
// the chance that any two nonces have met is 2^-33. A share is wrapped when a KEK is made or moved, and at
// each connection once more, so an installation with a million KEKs that moves them daily takes ten years to
// get there; a new root key is due before that. Readiness does not count: it opens what was once sealed.
//
// # How the key is made
//
// Not by Culvert. It has to be in the token for good, sensitive and not extractable, or it is refused: a
// key that can be read out of the HSM needs no HSM. deploy/pkcs11 says how, with OpenSC's pkcs11-tool.
// A label must be one key's, and that of the token one token's: the first that the module lists is taken.
//
// # What it guarantees
//
// A token that is gone or broken is told from a share that was tampered with. Modules report a wrong tag in
// different ways, SoftHSM as CKR_GENERAL_ERROR, which may mean anything. So what does not open is tampered
// only if a probe, sealed under the same key at the start, opens right afterwards, and it itself fails again.
//
// A lost session, a restarted or replugged HSM heals by itself: the module is closed, loaded and logged in
// to anew, and the call repeated once. A key that has taken the place of the first one is refused. So is a PIN,
// once and for all: tokens count wrong ones and lock themselves, and readiness would ask every second.
//
// No message of a module is passed on, only the names of return values (CKR_...).
//
// # What it does not
//
// PKCS#11 has no deadlines: a call that was made returns when the module pleases. Each runs in a goroutine
// of its own, which the caller waits for no longer than his context and [callTimeout] allow; at most
// [maxCalls] are under way, and as many sessions open. So a module that hangs makes an outage and not a leak,
// but a connection is made anew only after all calls on the old one have come back. One that never does needs
// a restart of the process.
//
// A module is native code in this process. It can crash it, and read all of its memory. The PIN is in
// memory for as long as the process lives; tokens that make the nonce themselves (AWS CloudHSM, some in FIPS
// mode) are not supported, and are refused at the start because the probe does not open.
//
// What was run is SoftHSM 2.6, nothing else.
package pkcs11
