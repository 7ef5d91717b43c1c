package pipes

// Counted is something about refreshes that an operator counts.
type Counted string

// What is counted. The first group are the ways in which refreshes end.
const (
	CountRefreshed Counted = "refreshed"
	// CountDropped is a result that came after a newer generation.
	CountDropped Counted = "dropped"
	// CountRevoked is a refresh token that the provider calls dead, for whatever reason it had.
	CountRevoked Counted = "revoked"
	// CountRotationLost should stay 0: the provider rotated a token in a reply that never came.
	CountRotationLost Counted = "rotation_lost"
	// CountExpired is an access token that ended without a refresh token.
	CountExpired        Counted = "expired"
	CountUnavailable    Counted = "provider_unavailable"
	CountClientRejected Counted = "client_rejected"

	// CountAmbiguous is a refresh token that was sent without a readable reply.
	CountAmbiguous Counted = "ambiguous_send"
	// CountReplayed is an entry of the journal that was dealt with after its refresh had ended.
	CountReplayed Counted = "journal_replay"
)

// Outcomes are the ways in which refreshes end.
func Outcomes() []Counted {
	return []Counted{CountRefreshed, CountDropped, CountRevoked, CountRotationLost, CountExpired, CountUnavailable, CountClientRejected}
}

// countOf is what the death of a grant for a reason counts as.
func countOf(reason string) Counted {
	switch reason {
	case ReasonRotationLost:
		return CountRotationLost
	case ReasonExpired:
		return CountExpired
	}
	return CountRevoked
}
