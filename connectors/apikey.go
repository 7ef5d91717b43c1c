package connectors

// Method is a way in which accounts are connected: the contract's auth_methods.
type Method string

// The methods of the contract.
const (
	MethodOAuth             Method = "oauth"
	MethodAPIKey            Method = "api_key"
	MethodClientCredentials Method = "client_credentials"
)

// APIKey is how a provider takes API keys. In its texts ${key} stands for the key, and ${config.name} for
// the value of a config field. Of Header, Query and Username exactly one is set.
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

	// VerifyURL answers a request that carries a good key with 200; empty where no such call is known.
	// VerifyMethod is GET if empty.
	VerifyMethod, VerifyURL string
}
