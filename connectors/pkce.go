package connectors

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"

	"culvert/internal/secret"
)

// GenerateVerifier makes a PKCE code verifier and its S256 challenge. RFC 7636 section 4.1: 43 to 128
// unreserved characters; the recommended 32 random bytes in base64url are 43.
//
// The challenge goes to [Client.AuthorizationURL], the verifier to [Client.Exchange] of the same flow.
func GenerateVerifier() (verifier secret.Bytes, challenge string) {
	random := make([]byte, 32)
	_, _ = rand.Read(random) // never fails: it ends the process instead
	verifier = secret.New(base64.RawURLEncoding.AppendEncode(nil, random))
	return verifier, Challenge(verifier)
}

// IsVerifier reports what RFC 7636 section 4.1 calls a code verifier.
func IsVerifier(s secret.Bytes) bool {
	for _, c := range s.Reveal() {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '.' && c != '_' && c != '~' {
			return false
		}
	}
	return s.Len() >= 43 && s.Len() <= 128
}

// Challenge is the S256 challenge of a verifier (RFC 7636 section 4.2).
func Challenge(verifier secret.Bytes) string {
	sum := sha256.Sum256(verifier.Reveal())
	return base64.RawURLEncoding.EncodeToString(sum[:])
}
