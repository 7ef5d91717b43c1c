package keys

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"time"

	"culvert/internal/base62"
	"culvert/internal/secret"
)

// webhookPrefix is that of the contract (section 3), so that scanners find secrets that leaked.
const webhookPrefix = "whsec_"

// WebhookSeedSize is the length of a seed, which is what a store keeps of a webhook secret.
const WebhookSeedSize = 32

// NewWebhookSeed is what the next secret of an endpoint is made of: from crypto/rand, and no secret by itself.
func NewWebhookSeed() []byte {
	seed := make([]byte, WebhookSeedSize)
	_, _ = rand.Read(seed) // never fails: it ends the process instead
	return seed
}

// WebhookSigner is the signing secret of one webhook endpoint. It is immutable and safe for concurrent use.
type WebhookSigner struct{ secret secret.Bytes }

// WebhookSigner is the secret of an endpoint that a seed stands for. It is worked out and stored nowhere: a
// reader of etcd or of a backup has the seed, which is worth nothing without the environment's index key.
func (e *Environment) WebhookSigner(endpoint string, seed []byte) WebhookSigner {
	sum := keyedHash(e.index, webhookSecretInput(e.id, endpoint, seed))
	return WebhookSigner{secret.New(base62.Append([]byte(webhookPrefix), sum, base62.SecretChars))}
}

// Secret is the secret as its receiver has it, to be shown once.
func (w WebhookSigner) Secret() secret.Bytes { return w.secret }

// Hint is the secret with all but its last four characters hidden: enough to tell two apart.
func (w WebhookSigner) Hint() string { return webhookPrefix + "****" + w.secret.Last4() }

// Sign is the signature of a body that is sent at a time, in hexadecimal digits (contract section 3):
// HMAC-SHA256 over the time in milliseconds, a dot, and the body, under the bytes of the secret's text.
func (w WebhookSigner) Sign(at time.Time, body []byte) string {
	mac := hmac.New(sha256.New, w.secret.Reveal())
	_, _ = mac.Write(strconv.AppendInt(nil, at.UnixMilli(), 10))
	_, _ = mac.Write([]byte{'.'})
	_, _ = mac.Write(body)
	return hex.EncodeToString(mac.Sum(nil))
}
