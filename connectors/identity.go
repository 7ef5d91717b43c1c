package connectors

// Identity is where a provider says whose account it is. A path leads to a member of JSON: names and
// positions joined by dots, as in data.0.id; ?name is the first of a list in which name is true. An empty path
// is not there.
type Identity struct {
	// ID are the paths of what names the account for good in the answer of IdentityURL. Several are joined
	// by a slash: none of them would do alone.
	ID []string
	// Name are the paths of what people call the account (an e-mail address, a name), of which the first
	// that is there counts.
	Name []string
	// Headers are those without which the call fails. One with ${token} in it takes the access token in place
	// of the header of RFC 6750.
	Headers map[string]string
	// Post is the JSON body of a call that is a POST; empty for a GET.
	Post string

	// TokenID and TokenName are paths in the token reply of an authorization, where the provider says it
	// there. They need no call. Behind id_token a path leads on into the claims of an ID token.
	TokenID, TokenName []string
	// CallbackID is the parameter of the callback that names the account, where only that does.
	CallbackID string
}
