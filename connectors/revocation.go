package connectors

// RevocationCall is a provider's own way to end a grant, where it is not that of RFC 7009 at
// [Connector.RevocationURL]. A connector has one or the other.
type RevocationCall struct {
	// Method and URL are those of the request; an empty URL: there is no such call. ${client_id} in the
	// URL's path stands for the client's id.
	Method, URL string
	// Auth is what the request proves.
	Auth RevocationAuth
	// TokenParam is the parameter that takes the token; empty: the token is in the header only, and there is
	// no body. ClientParam is the one that takes the client's id, if there is one.
	TokenParam, ClientParam string
	// Body is how these are sent.
	Body Body
	// Refresh sends the refresh token where there is one, and not the access token.
	Refresh bool
	// EndsGrant is a call that ends all tokens of the app for this account, also those of other grants.
	EndsGrant bool
	// Gone are the statuses by which it says that it does not know the token, or no longer: there is nothing
	// left to revoke.
	Gone []int
}

// RevocationAuth is the Authorization header of a revocation call.
type RevocationAuth string

// The headers that providers want.
const (
	// RevokeAsClient is HTTP Basic with the client's id and secret.
	RevokeAsClient RevocationAuth = "client"
	// RevokeAsSecret is the client's secret alone, in the scheme Client.
	RevokeAsSecret RevocationAuth = "secret"
	// RevokeAsToken is the access token as bearer.
	RevokeAsToken RevocationAuth = "token"
	// RevokeAsNobody has no header.
	RevokeAsNobody RevocationAuth = "none"
)
