package pipes

import (
	"crypto/subtle"
	"strings"

	"culvert/internal/access"
	"culvert/internal/base62"
	"culvert/internal/id"
	"culvert/internal/secret"
	"culvert/keys"
)

// ulidChars is the length of a ULID.
const ulidChars = 26

// randomSecret is that of a ticket, flow state, cookie or claim.
func randomSecret() string { return string(base62.AppendSecret(nil)) }

// ticketText is <environment ULID>-<flow ULID>-<secret>: whoever holds it may begin this one flow.
func ticketText(env access.EnvironmentID, flow FlowID, secret string) string {
	return string(env) + "-" + string(flow) + "-" + secret
}

// flowStateText is <environment ULID>-<flow ULID>-<departure>-<secret>: what the provider hands back.
func flowStateText(env access.EnvironmentID, flow FlowID, departure, secret string) string {
	return string(env) + "-" + string(flow) + "-" + departure + "-" + secret
}

// credential is a ticket or flow state that is well formed. Nobody has compared its secret yet.
type credential struct {
	env access.EnvironmentID
	// flow may be shown, the secret not.
	flow FlowID
	// departure is set for flow states only.
	departure string
	secret    secret.Bytes
}

// parseTicket reads a ticket in the one form that [ticketText] writes.
func parseTicket(text string) (credential, bool) {
	parts := strings.Split(text, "-")
	if len(parts) != 3 {
		return credential{}, false
	}
	return newCredential(parts[0], parts[1], "", parts[2])
}

// parseFlowState reads a flow state in the one form that [flowStateText] writes.
func parseFlowState(text string) (credential, bool) {
	parts := strings.Split(text, "-")
	if len(parts) != 4 || len(parts[2]) != 1 || parts[2][0] < '1' || parts[2][0] > '0'+MaxDepartures {
		return credential{}, false
	}
	return newCredential(parts[0], parts[1], parts[2], parts[3])
}

func newCredential(env, flow, departure, text string) (credential, bool) {
	if len(env) != ulidChars || !id.IsULID(env) || !id.IsULID(flow) || !base62.IsSecret(text) {
		return credential{}, false
	}
	return credential{access.EnvironmentID(env), FlowID(flow), departure, secret.New([]byte(text))}, true
}

// matches compares a secret with its stored hash in constant time.
func matches(e *keys.Environment, kind keys.FlowSecret, flow FlowID, s secret.Bytes, hash []byte) bool {
	return len(hash) > 0 && subtle.ConstantTimeCompare(e.FlowHash(kind, string(flow), s), hash) == 1
}
