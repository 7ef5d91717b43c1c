package connectors

// Method is a way in which accounts are connected: the contract's auth_methods.
type Method string

// The methods of the contract.
const (
	MethodOAuth             Method = "oauth"
	MethodAPIKey            Method = "api_key"
	MethodClientCredentials Method = "client_credentials"
)

// APIKey is how a provider takes API keys. In Username and Password ${key} stands for the key, and there and in
// Headers ${config.name} for the value of a config field, which [Connector.With] puts in. Of Header, Query and
// Username exactly one is set.
type APIKey struct {
	// Label is what the provider calls the key, Help where people find it.
	Label, Help string

	// Header takes Prefix and the key.
	Header, Prefix string
	// Query is the parameter that takes the key, where there is no better way.
	Query string
	// Username and Password are those of HTTP Basic; one of them is ${key}.
	Username, Password string
	// Headers are further ones without which calls fail.
	Headers map[string]string

	// VerifyURL answers a request that carries a good key with 200; empty where no such call is known, or
	// where it would have the key in its URL. Nothing else that it answers says that a key is bad: a good one
	// may be forbidden this call. VerifyMethod is GET if empty.
	VerifyMethod, VerifyURL string
}
