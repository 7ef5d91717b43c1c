package pipes

import (
	"time"

	"culvert/connectors"
)

// Why an account needs reauthorization. They are ours, made of what providers say in codes and of what the
// records say: never text of a provider's.
const (
	// ReasonRevoked is also that of a provider that only says that the token is no longer good.
	ReasonRevoked = string(connectors.EndingRevoked)
	// ReasonRotationLost: the provider replaced the refresh token in a reply that never arrived, or that was stored
	// after a successor had sent the old one again. It should never be seen.
	ReasonRotationLost = "rotation_lost"
	ReasonExpiredIdle  = string(connectors.EndingIdle)
	// ReasonRefreshExpired: the refresh token's time was over; ReasonExpired: the access token's, and there
	// is no refresh token.
	ReasonRefreshExpired = string(connectors.EndingExpired)
	ReasonExpired        = "expired"
	ReasonPolicy         = string(connectors.EndingPolicy)
	// ReasonClientChanged: the integration has another client id than the one the tokens were given to.
	ReasonClientChanged = "client_changed"
	ReasonImported      = "imported_without_tokens"
	ReasonSetByCaller   = "set_by_caller"
	// ReasonRefusedByAPI: the provider refuses the access token, and there is no way to renew it.
	ReasonRefusedByAPI = "refused_by_api"
	// ReasonClientRejected: the provider refuses the account's own client id and secret.
	ReasonClientRejected = "client_rejected"
)

// reasons is the one table of them: what people are told to do about each.
func reasons() map[string]string {
	return map[string]string{
		ReasonRevoked:        "The provider no longer accepts the tokens, mostly because the user or an administrator took the consent back. Ask the user to connect again.",
		ReasonRotationLost:   "The provider replaced the refresh token, and its reply never arrived, or too late. Ask the user to connect again, and look for an outage at that time.",
		ReasonExpiredIdle:    "The refresh token was not used for longer than the provider keeps it. Ask the user to connect again.",
		ReasonRefreshExpired: "The refresh token has reached the end that the provider set for it. Ask the user to connect again.",
		ReasonExpired:        "The access token has ended, and the provider gave no refresh token. Ask the user to connect again; see whether the integration asks for the scope or parameter that brings one.",
		ReasonPolicy:         "A changed password, a disabled user or a policy of the user's organization ended the consent. Ask the user to sign in and connect again; if that fails, his administrator has to allow it.",
		ReasonClientChanged:  "The integration has another client id than the one that the user gave his consent to. Ask the user to connect again, or put the former client id back.",
		ReasonImported:       "The account was imported without tokens. Send tokens with PUT, or ask the user to connect.",
		ReasonSetByCaller:    "A caller of this API said so. Ask the user to connect again.",
		ReasonClientRejected: "The provider no longer accepts the account's client id and secret. Ask its owner for new ones, and send them with PUT.",
		ReasonRefusedByAPI:   "The provider's API refuses the access token, and it cannot be renewed. Ask the user to connect again.",
	}
}

// ReasonHint is what to do about a reason; empty where there is none.
func ReasonHint(reason string) string {
	if reason == "" {
		return ""
	}
	if hint, known := reasons()[reason]; known {
		return hint
	}
	return "Ask the user to connect again."
}

// deadReason is why a refresh token that the provider calls dead is dead. lost tells that the reply to an
// earlier use of it never arrived: it counts unless a code says what else it was, because a provider that
// rotated the token says of the old one that it is revoked, too.
func deadReason(g *Grant, client string, conn *connectors.Connector, failed *connectors.Error, lost bool, now time.Time) string {
	switch {
	case lost && (failed.Ending == "" || failed.Ending == connectors.EndingRevoked):
		return ReasonRotationLost
	case failed.Ending.Known():
		return string(failed.Ending)
	case g.Client != "" && g.Client != client:
		return ReasonClientChanged // RFC 6749 section 5.2: invalid_grant is also "issued to another client"
	case !g.RefreshExpiresAt.IsZero() && !now.Before(g.RefreshExpiresAt):
		return ReasonRefreshExpired
	case conn.RefreshIdle > 0 && now.Sub(g.ObtainedAt) >= conn.RefreshIdle:
		return ReasonExpiredIdle
	}
	return ReasonRevoked
}

// clientID is the integration's client at the provider; empty if it has none.
func (i *Integration) clientID() string {
	if i.Client == nil {
		return ""
	}
	return i.Client.ID
}
