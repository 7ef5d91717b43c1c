package catalog

import (
	"time"

	"culvert/connectors"
)

// data is connectors of data platforms.
func data() []connectors.Connector {
	return []connectors.Connector{
		databricks(),
		snowflake(),
	}
}

// databricks is a workspace of Databricks on any of its clouds. Refresh tokens need the scope offline_access.
func databricks() connectors.Connector {
	return ordinary(connectors.Connector{
		Slug:             "databricks",
		Name:             "Databricks",
		DocsURL:          "https://docs.databricks.com/aws/en/integrations/single-use-tokens",
		AuthorizationURL: "https://${config.host}/oidc/v1/authorize",
		TokenURL:         "https://${config.host}/oidc/v1/token",
		IdentityURL:      "https://${config.host}/api/2.0/preview/scim/v2/Me",
		Identity:         connectors.Identity{ID: []string{"id"}, Name: []string{"userName"}},
		Config: []connectors.ConfigField{{
			Key: "host", Label: "Workspace host", Required: true, Scope: connectors.ConfigInstallation, Order: 1,
			Description: "The host of the workspace's URL.", Example: "dbc-a1b2c3d4-e5f6.cloud.databricks.com",
			Pattern: `^(?:[a-z0-9-]{1,63}\.cloud\.databricks\.com|adb-[0-9]{1,20}\.[0-9]{1,3}\.azuredatabricks\.net|[0-9]{1,20}\.[0-9]{1,3}\.gcp\.databricks\.com)$`,
			Domains: []string{"cloud.databricks.com", "azuredatabricks.net", "gcp.databricks.com"},
		}},
		PKCE:          true,
		DefaultScopes: []string{"all-apis", "offline_access"},
		Lifetime:      time.Hour,
		Preview:       true,
	})
}

// snowflake gives tokens for ten minutes. Where the security integration has single-use refresh tokens, a
// refresh ends all earlier access tokens; how long they live is a setting of it too. The client is registered
// in one account, so that is the integration's.
func snowflake() connectors.Connector {
	account := label("account", "Account", "The account identifier before .snowflakecomputing.com, with hyphens.", "acme-prod1")
	account.Scope = connectors.ConfigIntegration
	return ordinary(connectors.Connector{
		Slug:                     "snowflake",
		Name:                     "Snowflake",
		DocsURL:                  "https://docs.snowflake.com/en/user-guide/oauth-custom",
		AuthorizationURL:         "https://${config.account}.snowflakecomputing.com/oauth/authorize",
		TokenURL:                 "https://${config.account}.snowflakecomputing.com/oauth/token-request",
		Identity:                 connectors.Identity{TokenID: []string{"username"}, TokenName: []string{"username"}},
		Config:                   []connectors.ConfigField{account},
		ClientAuth:               connectors.ClientAuthBasic,
		PKCE:                     true,
		DefaultScopes:            []string{"refresh_token"},
		Lifetime:                 10 * time.Minute,
		KillsPreviousAccessToken: true,
	})
}
