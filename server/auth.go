package server

import (
	"errors"
	"strings"
	"time"

	"culvert/internal/access"
)

// Why a request was refused before it had an actor: labels of a metric, never part of an answer.
const (
	reasonMissing   = "missing"
	reasonDuplicate = "duplicate"
	reasonMalformed = "malformed"
	reasonRejected  = "rejected"
	// reasonTicket is a browser whose ticket or flow state cannot be used.
	reasonTicket = "ticket"
	// reasonFlowRate is one whose flow is used too often.
	reasonFlowRate = "flow_rate"
)

// authenticate finds out who is calling, before anything of the body or the query is looked at. Which
// of the reasons it was is one answer on purpose: the difference between an unknown and a revoked key
// would tell a guesser that it has guessed.
func (x *exchange) authenticate() error {
	token, reason := bearer(x.r.Header["Authorization"])
	if reason != "" {
		return x.unauthenticated(reason)
	}
	// Length, alphabet and checksum first: what is no key at all costs no HMAC and no look-up.
	key, err := x.server.gate.Parse(token)
	if err != nil {
		return x.unauthenticated(reasonMalformed)
	}
	actor, err := x.server.gate.Authenticate(x.r.Context(), key)
	if errors.Is(err, access.ErrUnauthenticated) {
		return x.unauthenticated(reasonRejected)
	}
	// An outage is no refusal: a 401 would make clients throw away a good key.
	if err != nil {
		return err
	}
	x.actor = actor
	if wait := x.server.rates.Admit(x.r.Context(), actor.Environment(), actor.ID()); wait > 0 {
		return x.rateLimited(wait)
	}
	return nil
}

// rateLimited counts a request too many. It leaves no audit record, as a refusal before authentication leaves
// none: a flood would fill the disk that every answer waits for.
func (x *exchange) rateLimited(wait time.Duration) error {
	x.server.metrics.rateLimited.Inc()
	return tooManyRequests(wait)
}

// bearer takes the credential out of the header's values. Two values are refused, whatever they are:
// a proxy may have looked at the other one.
func bearer(values []string) (token, reason string) {
	switch len(values) {
	case 0:
		return "", reasonMissing
	case 1:
	default:
		return "", reasonDuplicate
	}
	scheme, token, found := strings.Cut(values[0], " ")
	// RFC 9110 section 11.4: 1*SP between the two.
	token = strings.TrimLeft(token, " ")
	if !found || !strings.EqualFold(scheme, "Bearer") || token == "" {
		return "", reasonMalformed
	}
	return token, ""
}

// unauthenticated counts the refusal and gives the one answer. The challenge is what RFC 9110 section
// 11.6.1 asks of every 401.
func (x *exchange) unauthenticated(reason string) error {
	x.server.metrics.unauthenticated.WithLabelValues(reason).Inc()
	x.set("Www-Authenticate", "Bearer")
	return unauthorized()
}
