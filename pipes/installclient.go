package pipes

import (
	"cmp"
	"context"
	"log/slog"
	"slices"
	"time"

	"culvert/connectors"
	"culvert/internal/access"
	"culvert/internal/secret"
	"culvert/keys"
)

// ClientInstall connects an account with a client that its owner has at the provider.
type ClientInstall struct {
	Request
	Labels
	Intent   Intent
	ClientID string
	Secret   secret.Bytes
	// Config is as in [APIKeyInstall].
	Config map[string]string
}

// InstallClientCredentials connects an account with a client of its owner's own, or replaces that of the one
// there is, once the provider has given it a token. The secret is sealed beside the token, bound to the origin
// of the endpoint that it was sent to.
//
// Errors: those of [Broker.InstallAPIKey]; [ErrBadClient], [ErrRefused]; [*ProviderError]: nothing is known of
// the client yet.
func (b *Broker) InstallClientCredentials(ctx context.Context, call access.Call, r ClientInstall) (Account, error) {
	o, err := b.begin(ctx, call, access.AccountsManage)
	if err != nil {
		return Account{}, err
	}
	account, err := o.once(ctx, func(ctx context.Context) (Account, error) { return o.installClient(ctx, &r) })
	return committed(ctx, o, account, err)
}

func (r *ClientInstall) check() error {
	return gather(
		r.Labels.check(), checkID("client_id", r.ClientID), checkSecret("client_secret", r.Secret, 1),
	)
}

func (o *operation) installClient(ctx context.Context, r *ClientInstall) (Account, error) {
	i, s, err := o.installable(ctx, &r.Request, r.Intent, MethodClientCredentials, gather(r.check(), o.broker.checkConfig(r.Slug, r.Config)))
	if err != nil {
		return Account{}, err
	}
	config, err := o.broker.configFor(i, s.account.Record, r.Config, MethodClientCredentials, false)
	if err != nil {
		return Account{}, err
	}
	i = i.at(config.plain)
	conn, err := o.broker.connector(i)
	if err == nil {
		err = refusedConfig(conn.CheckIntegrationConfig(i.Config))
	}
	if err != nil {
		return Account{}, err
	}
	if err := o.Intend(ctx); err != nil {
		return Account{}, err
	}
	got, err := o.fetched(ctx, i, conn, r)
	if err != nil {
		return Account{}, err
	}
	var stored Account
	err = o.retry(ctx, func() error {
		i, s, err := o.installable(ctx, &r.Request, r.Intent, MethodClientCredentials, nil)
		if err != nil {
			return err
		}
		if i.ID != got.integration.ID {
			return ErrNoIntegration // another one has the slug by now, maybe at another endpoint
		}
		got.owner, got.config = s.owner, config
		if a := s.account.Record; a != nil {
			if err := o.keepSecrets(ctx, a, &got.config); err != nil {
				return err
			}
			got.account = connectors.Account{ID: cmp.Or(r.Identifier, a.Identifier), Name: cmp.Or(r.DisplayName, a.DisplayName)}
		}
		change, account, err := o.arrive(ctx, s, got, false)
		if err != nil {
			return err
		}
		o.Makes(string(account.ID))
		if err := o.broker.store.Apply(ctx, change); err != nil {
			return err
		}
		stored = *account
		return nil
	})
	return stored, err
}

// fetched asks the provider for the client's first token, in a turn as every refresh: an integration is asked by so
// many at once, whatever they come for.
func (o *operation) fetched(ctx context.Context, i *Integration, conn *connectors.Connector, r *ClientInstall) (arrival, error) {
	b := o.broker
	done, _, err := b.takeTurn(ctx, i, b.timing.wait)
	if err != nil {
		return arrival{}, err
	}
	defer done()
	sentAt := b.now()
	tokens, err := b.client.ClientCredentials(ctx, conn, connectors.Credentials{ID: r.ClientID, Secret: r.Secret}, i.Scopes)
	if failed := connectors.Of(err); failed != nil {
		b.log.LogAttrs(ctx, slog.LevelWarn, "client credentials not installed", slog.String("provider", i.Slug),
			slog.String("class", failed.Class.String()), slog.String("code", failed.Code), slog.Any("error", failed.Cause))
		return arrival{}, notInstalled(i.Slug, failed)
	}
	if err != nil {
		return arrival{}, err
	}
	return arrival{
		integration: i, method: MethodClientCredentials, origin: conn.TokenOrigin(),
		tokens: keys.GrantTokens{Access: tokens.Access, ClientSecret: r.Secret}, obtainedAt: sentAt, expiresAt: tokens.ExpiresAt,
		scopes: granted(tokens, i.Scopes), account: connectors.Account{ID: r.Identifier, Name: r.DisplayName},
		client: r.ClientID, secretLast4: r.Secret.Last4(), metadata: tokens.Metadata,
	}, nil
}

// granted are the scopes of a reply: what was asked for, where it does not say (RFC 6749 section 5.1).
func granted(t connectors.Tokens, asked []string) []string {
	if t.Scopes != nil {
		return slices.Clone(t.Scopes)
	}
	return slices.Clone(asked)
}

// notInstalled is what a provider's failure means for who has brought a client: an outage says nothing of it.
func notInstalled(slug string, failed *connectors.Error) error {
	switch failed.Class {
	case connectors.ClientRejected, connectors.DeadGrant:
		return ErrBadClient
	case connectors.Refused, connectors.Blocked:
		return ErrRefused
	}
	return &ProviderError{Slug: slug, RetryAfter: max(failed.RetryAfter, time.Second), Err: ErrProvider}
}
