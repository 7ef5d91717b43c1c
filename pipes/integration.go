package pipes

import (
	"time"

	"culvert/internal/access"
	"culvert/keys"
)

// IntegrationID is "data_integration_" and a ULID.
type IntegrationID string

// Ownership says whose accounts an integration holds: each user's own, or one organization's.
type Ownership string

// The ownerships of contract section 2.3: one integration per provider slug and ownership.
const (
	OwnedByUser         Ownership = "user"
	OwnedByOrganization Ownership = "organization"
)

// AuthMethod is how an account was connected.
type AuthMethod string

// The methods of contract section 2.
const (
	MethodOAuth             AuthMethod = "oauth"
	MethodAPIKey            AuthMethod = "api_key"
	MethodClientCredentials AuthMethod = "client_credentials"
)

// Integration is a connector configured with client credentials in an environment, as stored. The store
// adds a MAC; the client secret is sealed, bound to the origin it may be sent to.
type Integration struct {
	ID          IntegrationID        `cbor:"1,keyasint"`
	Environment access.EnvironmentID `cbor:"2,keyasint"`
	Slug        string               `cbor:"3,keyasint"`
	Ownership   Ownership            `cbor:"4,keyasint"`
	// DIK is "dik_" and a ULID: the part of the redirect URI that is this integration's alone.
	DIK         string            `cbor:"5,keyasint"`
	Description string            `cbor:"6,keyasint,omitempty"`
	Enabled     bool              `cbor:"7,keyasint,omitempty"`
	Scopes      []string          `cbor:"8,keyasint,omitempty"` // nil: the provider's defaults
	AuthMethods []AuthMethod      `cbor:"9,keyasint"`
	Config      map[string]string `cbor:"10,keyasint,omitempty"`
	// Client is nil for integrations without OAuth.
	Client *Client `cbor:"11,keyasint,omitempty"`
	// Custom is set for a provider of the caller's own.
	Custom    *CustomProvider `cbor:"12,keyasint,omitempty"`
	CreatedAt time.Time       `cbor:"13,keyasint"`
	UpdatedAt time.Time       `cbor:"14,keyasint"`
}

// Client is an integration's client credentials at the provider.
type Client struct {
	// Type is the contract's credentials.type: "custom" or "organization".
	Type string `cbor:"1,keyasint"`
	ID   string `cbor:"2,keyasint,omitempty"`
	// Last4 is what may be shown of the secret.
	Last4 string `cbor:"3,keyasint,omitempty"`
	// Secret is sealed under the environment's KEK of the empty context, bound to Origin, the
	// integration and the client id. Nil for a client without a secret.
	Secret *SealedSecret `cbor:"4,keyasint,omitempty"`
}

// SealedSecret is a sealed client secret or verifier, with what its seal is bound to.
type SealedSecret struct {
	KeyID      keys.ID `cbor:"1,keyasint"`
	WrappedDEK []byte  `cbor:"2,keyasint"`
	Ciphertext []byte  `cbor:"3,keyasint"`
	// Origin is that of the token endpoint the secret may be sent to.
	Origin   string    `cbor:"4,keyasint"`
	SealedAt time.Time `cbor:"5,keyasint"`
}

// CustomProvider is a provider that the caller defined (contract section 2.1, custom_provider).
type CustomProvider struct {
	Name             string            `cbor:"1,keyasint"`
	AuthorizationURL string            `cbor:"2,keyasint,omitempty"`
	TokenURL         string            `cbor:"3,keyasint,omitempty"`
	RefreshTokenURL  string            `cbor:"4,keyasint,omitempty"`
	PKCE             bool              `cbor:"5,keyasint,omitempty"`
	ScopeSeparator   string            `cbor:"6,keyasint,omitempty"`
	ScopesRequired   bool              `cbor:"7,keyasint,omitempty"`
	SecretRequired   bool              `cbor:"8,keyasint,omitempty"`
	AuthorizeParams  map[string]string `cbor:"9,keyasint,omitempty"`
	TokenContentType string            `cbor:"10,keyasint,omitempty"`
	ClientAuth       string            `cbor:"11,keyasint,omitempty"`
}
