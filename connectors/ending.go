package connectors

import (
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Ending is why a provider ended a grant, where a code in its reply tells. It is one of ours, and never
// text of the provider's.
type Ending string

// The endings that codes are known for. A reply that only says that a token is no longer good has none.
const (
	// EndingRevoked: the user or an administrator took the consent back.
	EndingRevoked Ending = "revoked"
	// EndingIdle: the refresh token was not used for too long; EndingExpired: its time was over, used or not.
	EndingIdle    Ending = "expired_idle"
	EndingExpired Ending = "refresh_expired"
	// EndingPolicy: a changed password, a disabled user, or a policy that wants the user to sign in again.
	EndingPolicy Ending = "password_or_policy"
)

// Known reports whether it is one of the endings.
func (e Ending) Known() bool {
	switch e {
	case EndingRevoked, EndingIdle, EndingExpired, EndingPolicy:
		return true
	}
	return false
}

// ending is what the codes of a reply mean at this connector: those of its EndingMember first, which say
// more than the error code does.
func (r Reply) ending(code string) Ending {
	if member := r.conn.EndingMember; member != "" {
		// An error that is an object has the finer code inside.
		for _, at := range []Reply{r, r.Object("error")} {
			for _, fine := range at.codes(member) {
				if e, ok := r.conn.Endings[fine]; ok {
					return e
				}
			}
		}
	}
	return r.conn.Endings[code]
}

// codes is a member that is a code or a list of codes, as texts or as numbers.
func (r Reply) codes(name string) []string {
	if r.member(name).Kind() != '[' {
		return []string{r.Text(name)}
	}
	var list []jsontext.Value
	// It cannot fail on what has been parsed already; if it did, there would be no codes.
	_ = json.Unmarshal(r.member(name), &list, jsontext.AllowInvalidUTF8(true))
	codes := make([]string, len(list))
	for i, each := range list {
		codes[i] = textOf(each)
	}
	return codes
}
