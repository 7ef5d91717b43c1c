package pipes

import (
	"context"
	"errors"
	"time"

	"culvert/connectors"
	"culvert/internal/origin"
	"culvert/internal/secret"
	"culvert/keys"
)

// connector is the provider that an integration stands for. [ErrNoIntegration] if the catalogue has
// lost it.
func (b *Broker) connector(i *Integration) (*connectors.Connector, error) {
	if i.Custom != nil {
		return i.Custom.connector(i.Slug)
	}
	conn, ok := b.catalog.Connector(i.Slug)
	if !ok {
		return nil, ErrNoIntegration
	}
	// Config fields that nobody has set have their defaults. One that is required has none: then the connector
	// stays a template, or one as far as accounts fill it in, of which no URL is built.
	if filled, err := conn.With(i.values()); err == nil {
		return filled, nil
	}
	if half, err := conn.ForIntegration(i.Config); err == nil {
		return half, nil
	}
	return conn, nil
}

// connector builds what a definition describes. The error is an [InvalidError].
func (p *CustomProvider) connector(slug string) (*connectors.Connector, error) {
	conn, err := connectors.Custom(slug, connectors.Definition{
		Name: p.Name, AuthorizationURL: p.AuthorizationURL, TokenURL: p.TokenURL, RefreshTokenURL: p.RefreshTokenURL,
		PKCE: p.PKCE, ScopeSeparator: p.ScopeSeparator, SecretRequired: p.SecretRequired,
		AuthorizeParams: p.AuthorizeParams, TokenContentType: p.TokenContentType, ClientAuth: p.ClientAuth,
		Issuer: p.Issuer, IdentityURL: p.IdentityURL, RevocationURL: p.RevocationURL, PushURL: p.PushURL,
		KillsPrevious: p.KillsPrevious,
	})
	var refused *connectors.DefinitionError
	if errors.As(err, &refused) {
		wrong := []error{invalid("custom_provider."+refused.Field, refused.Rule)}
		for _, other := range refused.Others {
			wrong = append(wrong, invalid("custom_provider."+other.Field, other.Rule))
		}
		return nil, gather(wrong...)
	}
	return conn, err
}

// requestedScopes are what an authorization asks for, and what missing scopes are counted from.
func requestedScopes(i *Integration, conn *connectors.Connector) []string {
	if i.Scopes != nil {
		return i.Scopes
	}
	return conn.DefaultScopes
}

// redirectURI is an integration's own: a callback of another provider's lands elsewhere (mix-up).
func (b *Broker) redirectURI(i *Integration) string {
	return b.publicURL + "/data-integrations/" + i.Slug + "/" + i.DIK + "/callback"
}

// endpointHeld reports whether everything that a grant or verifier bound to this origin would be sent to is at
// that origin. Nothing is sent anywhere while that is not known.
func endpointHeld(conn *connectors.Connector, bound string) bool {
	return bound != "" && conn.TokenOrigin() == bound && origin.Of(conn.TokenURL) == bound
}

// secretHeld is the same of a client secret, which may be bound to the pattern of hosts of which each account has
// one. What an earlier version sealed there is bound to one host, and goes to that one alone.
func secretHeld(conn *connectors.Connector, bound string) bool {
	if bound != "" && bound == conn.SecretOrigin() && conn.TokenOrigin() == origin.Of(conn.TokenURL) {
		return true
	}
	return endpointHeld(conn, bound)
}

// sealClientSecret seals a client's secret, bound to where it may be sent, under the key context that the
// client stands in.
func (o *operation) sealClientSecret(ctx context.Context, id IntegrationID, c *Client, slug string, conn *connectors.Connector, s secret.Bytes) (keys.Conditions, error) {
	kctx, err := organizationContext(c.Organization)
	if err != nil {
		return keys.Conditions{}, err
	}
	permit, err := o.permitFor(slug, kctx)
	if err != nil {
		return keys.Conditions{}, err
	}
	bound, at := conn.SecretOrigin(), o.broker.now()
	sealed, conditions, err := o.broker.keys.SealClientSecret(ctx, permit, kctx, keys.ClientSecretBinding{
		IntegrationID: string(id), ClientID: c.ID, Origin: bound, SealedAt: at,
	}, s, o.sealMeta())
	if err != nil {
		return keys.Conditions{}, err
	}
	c.Secret, c.Last4 = newSealedSecret(sealed, bound, at), s.Last4()
	return conditions, nil
}

func newSealedSecret(s keys.Sealed, bound string, at time.Time) *SealedSecret {
	return &SealedSecret{KeyID: s.KeyID, WrappedDEK: s.WrappedDEK, Ciphertext: s.Ciphertext, Origin: bound, SealedAt: at}
}

// SecretBinding is what the seal of one of the client's secrets proves.
func (i *Integration) SecretBinding(s *SealedSecret) keys.ClientSecretBinding {
	return i.Client.secretBinding(i.ID, s)
}

// Sealed is the secret in the form that keys opens.
func (s *SealedSecret) Sealed() keys.Sealed {
	return keys.Sealed{KeyID: s.KeyID, WrappedDEK: s.WrappedDEK, Ciphertext: s.Ciphertext}
}

// usable tells whether an integration can begin and refresh anything: it has the values that the provider needs of
// it and client credentials, and they may be sent to where the provider is now. What an account has to bring
// besides is for [Broker.configFor] to say.
func (i *Integration) usable(conn *connectors.Connector) error {
	if err := refusedConfig(conn.CheckIntegrationConfig(i.Config)); err != nil {
		return err
	}
	switch {
	case i.Client == nil || i.Client.ID == "" || conn.AuthorizationURL == "" || conn.TokenURL == "":
		return ErrNotConfigured
	case i.lacksSecret(conn):
		return ErrNotConfigured
	case i.Client.Secret != nil && !secretHeld(conn, i.Client.Secret.Origin):
		return ErrEndpointChanged
	}
	return nil
}

// lacksSecret tells that the provider wants a client secret and there is none.
func (i *Integration) lacksSecret(conn *connectors.Connector) bool {
	return i.Client != nil && !i.leavesClients() && i.Client.Secret == nil && !conn.NoSecret && conn.ClientAuth != connectors.ClientAuthNone
}
