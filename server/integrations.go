package server

import (
	"context"
	"net/http"
	"slices"
	"time"

	"culvert/internal/access"
	"culvert/pipes"
)

// createIntegration is POST /data-integrations.
func (s *Server) createIntegration() handler {
	return handle(endpoint[pipes.CreateIntegration, pipes.IntegrationView]{
		status: http.StatusCreated,
		decode: decodeCreateIntegration,
		call:   s.pipes.CreateIntegration,
		encode: encodeIntegration,
	})
}

func decodeCreateIntegration(x *exchange) (pipes.CreateIntegration, error) {
	var q pipes.CreateIntegration
	var credentials pipes.ClientCredentials
	// The contract's defaults, where they are not the zero value.
	custom := pipes.CustomProvider{
		PKCE: true, ScopeSeparator: defaultSeparator, SecretRequired: true, TokenContentType: defaultTokenBody,
		ClientAuth: defaultClientAuth,
	}
	var key pipes.OwnedKey
	var hasCredentials, hasKey, hasCustom bool
	err := x.object(
		required("provider", textInto, &q.Slug),
		optional("ownership", textInto, &q.Ownership),
		optional("description", textInto, &q.Description),
		optional("enabled", flagInto, &q.Enabled),
		optional("revoke_at_provider", flagInto, &q.RevokeAtProvider),
		optional("scopes", listInto, &q.Scopes),
		optional("auth_methods", listInto, &q.AuthMethods),
		optional("config", itemsInto, &q.Config),
		credentialsMember(&hasCredentials, &credentials),
		ownedKeyMember(&hasKey, &key),
		nested("custom_provider", &hasCustom,
			required("name", textInto, &custom.Name),
			optional("authorization_url", textInto, &custom.AuthorizationURL),
			optional("token_url", textInto, &custom.TokenURL),
			optional("refresh_token_url", textInto, &custom.RefreshTokenURL),
			optional("pkce_enabled", flagInto, &custom.PKCE),
			optional("request_scope_separator", textInto, &custom.ScopeSeparator),
			optional("scopes_required", flagInto, &custom.ScopesRequired),
			optional("client_secret_required", flagInto, &custom.SecretRequired),
			optional("additional_authorization_parameters", itemsInto, &custom.AuthorizeParams),
			optional("token_body_content_type", textInto, &custom.TokenContentType),
			optional("authenticate_via", textInto, &custom.ClientAuth),
			optional("issuer", textInto, &custom.Issuer),
			optional("identity_url", textInto, &custom.IdentityURL),
			optional("revocation_url", textInto, &custom.RevocationURL),
			optional("pushed_authorization_request_url", textInto, &custom.PushURL),
			optional("kills_previous_access_token", flagInto, &custom.KillsPrevious),
		),
	)
	if hasCredentials {
		q.Credentials = &credentials
	}
	if hasKey {
		q.APIKey = &key
	}
	if hasCustom {
		q.Custom = &custom
	}
	return q, err
}

// What the contract documents for a custom provider that says nothing.
const (
	defaultSeparator  = " "
	defaultTokenBody  = "application/x-www-form-urlencoded"
	defaultClientAuth = "request_body"
)

// previousSecretMember is Culvert's own, of credentials: until when the secret before the present one is used.
const previousSecretMember = "previous_secret_expires_at"

func credentialsMember(present *bool, to *pipes.ClientCredentials) member {
	return nested("credentials", present,
		required("type", textInto, &to.Type),
		optional("client_id", textInto, &to.ID),
		optional("client_secret", secretInto, &to.Secret),
		changed(previousSecretMember, momentInto, &to.PreviousUntil),
	)
}

// ownedKeyMember is an API key that comes with its integration.
func ownedKeyMember(present *bool, to *pipes.OwnedKey) member {
	return nested("api_key", present,
		required("secret", secretInto, &to.Secret),
		required("user_id", textInto, &to.UserID),
		optional("organization_id", textInto, &to.OrganizationID),
	)
}

// root is an integration by slug; each slug has one for users and one for organizations, on two paths.
type root struct {
	slug  string
	owner pipes.Ownership
}

func rootOf(owner pipes.Ownership) func(*exchange) (root, error) {
	return func(x *exchange) (root, error) {
		if _, err := x.query(); err != nil {
			return root{}, err
		}
		slug, err := x.segment("slug")
		return root{slug, owner}, err
	}
}

// readIntegration is GET /data-integrations/{slug} and …/organization.
func (s *Server) readIntegration(owner pipes.Ownership) handler {
	return handle(endpoint[root, pipes.IntegrationView]{
		status: http.StatusOK,
		decode: rootOf(owner),
		call: func(ctx context.Context, c access.Call, q root) (pipes.IntegrationView, error) {
			return s.pipes.Integration(ctx, c, q.slug, q.owner)
		},
		encode: encodeIntegration,
	})
}

// removedRoot is one that goes, and whether its accounts' tokens are revoked.
type removedRoot struct {
	root
	revoke *bool
}

// deleteIntegration is DELETE /data-integrations/{slug} and …/organization. A body is ignored.
func (s *Server) deleteIntegration(owner pipes.Ownership) handler {
	return handle(endpoint[removedRoot, struct{}]{
		status: http.StatusNoContent,
		decode: func(x *exchange) (q removedRoot, err error) {
			if q.root, err = rootOf(owner)(x); err != nil {
				return q, err
			}
			q.revoke, err = decodeRevoke(x)
			return q, err
		},
		call: func(ctx context.Context, c access.Call, q removedRoot) (struct{}, error) {
			return struct{}{}, s.pipes.DeleteIntegration(ctx, c, q.slug, q.owner, q.revoke)
		},
	})
}

// updateIntegration is PUT /data-integrations/{slug} and …/organization.
func (s *Server) updateIntegration(owner pipes.Ownership) handler {
	return handle(endpoint[pipes.UpdateIntegration, pipes.IntegrationView]{
		status: http.StatusOK,
		decode: func(x *exchange) (pipes.UpdateIntegration, error) { return decodeUpdateIntegration(x, owner) },
		call:   s.pipes.UpdateIntegration,
		encode: encodeIntegration,
	})
}

// decodeUpdateIntegration reads a change. null is as good as absent, as everywhere, but for the members
// whose schema has null as a value: it takes them back to what they are without being set.
func decodeUpdateIntegration(x *exchange, owner pipes.Ownership) (pipes.UpdateIntegration, error) {
	q := pipes.UpdateIntegration{Ownership: owner}
	var err error
	if q.Slug, err = x.segment("slug"); err != nil {
		return q, err
	}
	raw, err := x.bodyAlone()
	if err != nil {
		return q, err
	}
	var credentials pipes.ClientCredentials
	var custom pipes.CustomUpdate
	var key pipes.OwnedKey
	var hasCredentials, hasKey, hasCustom bool
	nulls, err := decodeNullable(raw,
		changed("description", textInto, &q.Description),
		changed("enabled", flagInto, &q.Enabled),
		changed("revoke_at_provider", flagInto, &q.RevokeAtProvider),
		changed("scopes", listInto, &q.Scopes),
		optional("config", itemsInto, &q.Config),
		credentialsMember(&hasCredentials, &credentials),
		ownedKeyMember(&hasKey, &key),
		nested("custom_provider", &hasCustom,
			changed("name", textInto, &custom.Name),
			changed("authorization_url", textInto, &custom.AuthorizationURL),
			changed("token_url", textInto, &custom.TokenURL),
			changed("refresh_token_url", textInto, &custom.RefreshTokenURL),
			changed("pkce_enabled", flagInto, &custom.PKCE),
			changed("request_scope_separator", textInto, &custom.ScopeSeparator),
			changed("scopes_required", flagInto, &custom.ScopesRequired),
			changed("client_secret_required", flagInto, &custom.SecretRequired),
			optional("additional_authorization_parameters", itemsInto, &custom.AuthorizeParams),
			changed("token_body_content_type", textInto, &custom.TokenContentType),
			changed("authenticate_via", textInto, &custom.ClientAuth),
			changed("issuer", textInto, &custom.Issuer),
			changed("identity_url", textInto, &custom.IdentityURL),
			changed("revocation_url", textInto, &custom.RevocationURL),
			changed("pushed_authorization_request_url", textInto, &custom.PushURL),
			changed("kills_previous_access_token", flagInto, &custom.KillsPrevious),
		),
	)
	if slices.Contains(nulls, "scopes") {
		q.Scopes = new([]string)
	}
	if slices.Contains(nulls, "credentials."+previousSecretMember) {
		credentials.PreviousUntil = new(time.Time)
	}
	for name, text := range map[string]**string{
		"description":                                      &q.Description,
		"custom_provider.refresh_token_url":                &custom.RefreshTokenURL,
		"custom_provider.issuer":                           &custom.Issuer,
		"custom_provider.identity_url":                     &custom.IdentityURL,
		"custom_provider.revocation_url":                   &custom.RevocationURL,
		"custom_provider.pushed_authorization_request_url": &custom.PushURL,
	} {
		if slices.Contains(nulls, name) {
			*text = new(string)
		}
	}
	if hasCredentials {
		q.Credentials = &credentials
	}
	if hasKey {
		q.APIKey = &key
	}
	if hasCustom {
		q.Custom = &custom
	}
	return q, err
}

// listIntegrations is GET /data-integrations.
func (s *Server) listIntegrations() handler {
	return handle(endpoint[pipes.IntegrationQuery, pipes.IntegrationPage]{
		status: http.StatusOK,
		decode: decodeListIntegrations,
		call:   s.pipes.Integrations,
		encode: func(b []byte, p pipes.IntegrationPage) ([]byte, error) {
			w := &jsonWriter{b: b}
			list(w, p.Data, string(p.Before), string(p.After), w.integration)
			return w.done()
		},
	})
}

func decodeListIntegrations(x *exchange) (pipes.IntegrationQuery, error) {
	var q pipes.IntegrationQuery
	parameters, err := x.query()
	if err != nil {
		return q, err
	}
	p, err := parameters.paging("desc", "asc", "desc", "normal")
	if err != nil {
		return q, err
	}
	q.Limit, q.Order = p.limit, pipes.Order(p.order)
	q.Before, q.After = pipes.IntegrationID(p.before), pipes.IntegrationID(p.after)
	ownership, err := parameters.text("ownership")
	q.Ownership = pipes.Ownership(ownership)
	return q, err
}

func encodeIntegration(b []byte, v pipes.IntegrationView) ([]byte, error) {
	w := &jsonWriter{b: b}
	w.integration(v)
	return w.done()
}

// integration appends every member the contract has, with null where there is nothing.
func (w *jsonWriter) integration(v pipes.IntegrationView) {
	w.raw(`{"object":"data_integration","id":`)
	w.text(string(v.ID))
	w.raw(`,"slug":`)
	w.text(v.Slug)
	w.raw(`,"integration_type":`)
	w.text(integrationType(v))
	w.raw(`,"ownership":`)
	w.text(string(v.Ownership))
	w.raw(`,"description":`)
	w.textOrNull(v.Description)
	w.raw(`,"enabled":`)
	w.bool(v.Enabled)
	w.raw(`,"state":`)
	w.text(v.State)
	w.raw(`,"scopes":`)
	w.scopes(v.Scopes)
	w.raw(`,"redirect_uri":`)
	w.text(v.RedirectURI) // empty where no method has a callback
	w.raw(`,"auth_methods":`)
	texts(w, v.AuthMethods)
	w.raw(`,"credentials":`)
	w.client(v.Client)
	w.raw(`,"installation":`)
	w.installation(v.Installation)
	w.raw(`,"config":`)
	w.items(v.Config)
	w.raw(`,"custom_provider":`)
	w.customProvider(v.Custom)
	w.raw(`,"preview":`)
	w.bool(preview(v))
	w.raw(`,"created_at":`)
	w.time(v.CreatedAt, generalTime)
	w.raw(`,"updated_at":`)
	w.time(v.UpdatedAt, generalTime)
	// Culvert's own.
	w.raw(`,"revoke_at_provider":`)
	w.bool(v.RevokeAtProvider)
	w.raw(`,"state_reason":`)
	w.textOrNull(v.StateReason)
	w.raw(`}`)
}

// integrationType is the connector's name in the contract's catalogue; of a connector that the catalogue
// has lost, the slug is all there is.
func integrationType(v pipes.IntegrationView) string {
	if v.Provider == nil {
		return v.Slug
	}
	return v.Provider.Type
}

// scopes appends null for the provider's defaults.
func (w *jsonWriter) scopes(list []string) {
	if list == nil {
		w.raw("null")
		return
	}
	texts(w, list)
}

// client appends credentials: of the secret only what may be shown of it.
func (w *jsonWriter) client(c *pipes.Client) {
	if c == nil {
		w.raw("null")
		return
	}
	w.raw(`{"type":`)
	w.text(c.Type)
	w.raw(`,"client_id":`)
	w.textOrNull(c.ID)
	w.raw(`,"redacted_client_secret":`)
	w.textOrNull(c.Last4)
	w.previousSecret(`,"redacted_previous_client_secret":`, c.Previous)
	w.raw(`}`)
}

// previousSecret appends what may be shown of the secret before the present one, where there is one: Culvert's own.
func (w *jsonWriter) previousSecret(member string, p *pipes.PreviousSecret) {
	if p == nil {
		return
	}
	w.raw(member)
	w.text(p.Last4)
	w.raw(`,"` + previousSecretMember + `":`)
	w.time(p.Until, generalTime)
}

func (w *jsonWriter) customProvider(p *pipes.CustomProvider) {
	if p == nil {
		w.raw("null")
		return
	}
	w.raw(`{"name":`)
	w.text(p.Name)
	w.raw(`,"authorization_url":`)
	w.textOrNull(p.AuthorizationURL)
	w.raw(`,"token_url":`)
	w.textOrNull(p.TokenURL)
	w.raw(`,"refresh_token_url":`)
	w.textOrNull(p.RefreshTokenURL)
	w.raw(`,"pkce_enabled":`)
	w.bool(p.PKCE)
	w.raw(`,"request_scope_separator":`)
	w.text(p.ScopeSeparator)
	w.raw(`,"scopes_required":`)
	w.bool(p.ScopesRequired)
	w.raw(`,"client_secret_required":`)
	w.bool(p.SecretRequired)
	w.raw(`,"additional_authorization_parameters":`)
	w.items(p.AuthorizeParams)
	w.raw(`,"token_body_content_type":`)
	w.text(p.TokenContentType)
	w.raw(`,"authenticate_via":`)
	w.text(p.ClientAuth)
	// Culvert's own.
	w.raw(`,"issuer":`)
	w.textOrNull(p.Issuer)
	w.raw(`,"identity_url":`)
	w.textOrNull(p.IdentityURL)
	w.raw(`,"revocation_url":`)
	w.textOrNull(p.RevocationURL)
	w.raw(`,"pushed_authorization_request_url":`)
	w.textOrNull(p.PushURL)
	w.raw(`,"kills_previous_access_token":`)
	w.bool(p.KillsPrevious)
	w.raw(`}`)
}
