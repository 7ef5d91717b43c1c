package pipes

import (
	"slices"
	"time"

	"culvert/internal/access"
	"culvert/keys"
)

// FlowID is a bare ULID: tickets and flow states name it, so that both lead to the record without an
// index.
type FlowID string

// Flow is a pending authorization, from the ticket that a backend asked for to the callback that used
// it up, as stored. The store adds a MAC. Secrets of it stand as keyed hashes, the PKCE verifiers sealed.
type Flow struct {
	ID          FlowID               `cbor:"1,keyasint"`
	Environment access.EnvironmentID `cbor:"2,keyasint"`
	Integration IntegrationID        `cbor:"3,keyasint"`
	Slug        string               `cbor:"4,keyasint"`
	Owner       Owner                `cbor:"5,keyasint"`
	// ActingUser is who connects; for an organization's account it is not the owner.
	ActingUser string `cbor:"6,keyasint"`
	// UserLabel is what the confirmation page calls the user: an opaque id tells a victim nothing.
	UserLabel string `cbor:"7,keyasint,omitempty"`
	ReturnTo  string `cbor:"8,keyasint,omitempty"`
	// Config is what the account will have. None of it is secret.
	Config map[string]string `cbor:"9,keyasint,omitempty"`
	// TicketHash is a keyed hash of the ticket's secret; with a handoff, of the redirect token's.
	TicketHash []byte    `cbor:"10,keyasint"`
	CreatedAt  time.Time `cbor:"11,keyasint"`
	ExpiresAt  time.Time `cbor:"12,keyasint"`
	// OpenedAt is when the confirmation page was first shown; link scanners open it too.
	OpenedAt time.Time `cbor:"13,keyasint,omitzero"`
	// Departures are the times a browser was sent to the provider: at most [MaxDepartures].
	Departures []Departure `cbor:"14,keyasint,omitempty"`
	// Exchange marks the departure whose code is being exchanged, so that a code is sent once.
	Exchange  string    `cbor:"15,keyasint,omitempty"`
	Outcome   *Outcome  `cbor:"16,keyasint,omitempty"`
	SettledAt time.Time `cbor:"17,keyasint,omitzero"`
	// Claim tells the callback that won Exchange from another one of the same departure; ExchangeAt is
	// when it won. A claim whose holder died is taken over after [claimLife].
	Claim      string    `cbor:"18,keyasint,omitempty"`
	ExchangeAt time.Time `cbor:"19,keyasint,omitzero"`
	// Challenge is the S256 challenge of the caller's own code verifier (session binding): the flow has no
	// confirmation page, and ends when the caller brings the verifier. It proves nothing to who reads it.
	Challenge string `cbor:"20,keyasint,omitempty"`
	// Waiting are the tokens of such a flow, until then. Tries counts wrong verifiers.
	Waiting *WaitingTokens `cbor:"21,keyasint,omitempty"`
	Tries   int            `cbor:"22,keyasint,omitempty"`
	// HandoffHash is a keyed hash of the handoff token, for a flow that a pop-up goes through; HandedAt is
	// when it was used.
	HandoffHash []byte    `cbor:"23,keyasint,omitempty"`
	HandedAt    time.Time `cbor:"24,keyasint,omitzero"`
	// Intent is [IntentAdd] for a further account. Account is the one that is connected again where the caller
	// has chosen it; empty for that of the compatibility slot, as it is in the end.
	Intent  Intent    `cbor:"25,keyasint,omitempty"`
	Account AccountID `cbor:"26,keyasint,omitempty"`
}

// MaxDepartures bounds how many flow states one ticket mints.
const MaxDepartures = 5

// Departure is one trip of one browser to the provider.
type Departure struct {
	// ID is short and public within the flow; StateHash and BindingHash are keyed hashes of the flow
	// state and of the browser's cookie.
	ID          string        `cbor:"1,keyasint"`
	StateHash   []byte        `cbor:"2,keyasint"`
	BindingHash []byte        `cbor:"3,keyasint"`
	Verifier    *SealedSecret `cbor:"4,keyasint,omitempty"`
	RedirectURI string        `cbor:"5,keyasint"`
	Scopes      []string      `cbor:"6,keyasint,omitempty"`
	At          time.Time     `cbor:"7,keyasint"`
	// Origin is that of the token endpoint as it was then: the code goes nowhere else. Empty in records of
	// before it was kept.
	Origin string `cbor:"8,keyasint,omitempty"`
}

// departure is the trip with this id, or nil. The record is shared.
func (f *Flow) departure(id string) *Departure {
	n := slices.IndexFunc(f.Departures, func(d Departure) bool { return d.ID == id })
	if n < 0 {
		return nil
	}
	return &f.Departures[n]
}

// end is when nothing can come of the flow any more: no callback, and where tokens wait, no verifier.
func (f *Flow) end() time.Time {
	end := f.ExpiresAt
	if f.Waiting != nil {
		end = f.Waiting.Since.Add(FinishTTL)
	}
	for _, d := range f.Departures {
		if back := d.At.Add(FlowStateTTL); back.After(end) {
			end = back
		}
	}
	return end
}

// claimed reports that a callback is exchanging its code now.
func (f *Flow) claimed(now time.Time) bool {
	return f.Claim != "" && now.Before(f.ExchangeAt.Add(claimLife))
}

// VerifierBinding is what the seal of a departure's verifier proves, where there is one.
func (f *Flow) VerifierBinding(d *Departure) keys.VerifierBinding {
	return keys.VerifierBinding{FlowID: string(f.ID), Departure: d.ID, Origin: d.Verifier.Origin, SealedAt: d.Verifier.SealedAt}
}

// Outcome is how a flow ended: what every later callback is answered with.
type Outcome struct {
	// Account is set on success.
	Account AccountID `cbor:"1,keyasint,omitempty"`
	// Code is the typed error otherwise: "access_denied", "authorization_code_exchange_error", …
	Code          string `cbor:"2,keyasint,omitempty"`
	ProviderError string `cbor:"3,keyasint,omitempty"`
	// Departure is the trip that ended it; empty if none did (expired).
	Departure string `cbor:"4,keyasint,omitempty"`
}
