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
	text := base64.RawURLEncoding.AppendEncode(nil, random)
	sum := sha256.Sum256(text)
	return secret.New(text), base64.RawURLEncoding.EncodeToString(sum[:])
}
