package catalog

import (
	"time"

	"culvert/connectors"
)

// operations is connectors of networks, monitoring, search and analysis.
func operations() []connectors.Connector {
	return []connectors.Connector{
		algolia(),
		cloudflare(),
		datadog(),
		datadogOAuth(),
		fastly(),
		grafanaCloud(),
		newRelic(),
		postHog(),
		prefect(),
		pydanticLogfire(),
	}
}

// algolia wants the id of the application beside the key. Its call that would verify a key has it in the
// URL.
func algolia() connectors.Connector {
	key := inHeader("API key", "In the Algolia dashboard under Settings, API Keys.", "X-Algolia-Api-Key", "")
	key.Headers = map[string]string{"X-Algolia-Application-Id": "${config.app_id}"}
	return takesKeys(connectors.Connector{
		Slug:    "algolia",
		Name:    "Algolia",
		DocsURL: "https://www.algolia.com/doc/rest-api/search/",
		Config: []connectors.ConfigField{{
			Key: "app_id", Label: "Application ID", Required: true, Scope: connectors.ConfigInstallation, Order: 1,
			Description: "Beside the keys in the Algolia dashboard.", Example: "AB12CD34EF", Pattern: `^(?:[A-Za-z0-9]{6,20})$`,
		}},
		APIKey: key,
	})
}

// cloudflare is tokens of a user: those that an account owns are verified by another call.
func cloudflare() connectors.Connector {
	return takesKeys(connectors.Connector{
		Slug:    "cloudflare",
		Name:    "Cloudflare",
		DocsURL: "https://developers.cloudflare.com/fundamentals/api/get-started/",
		APIKey: bearer("API token", "In the Cloudflare dashboard under My Profile, API Tokens.",
			"https://api.cloudflare.com/client/v4/user/tokens/verify"),
	})
}

// datadog wants an application key besides in most calls. Only the API key is verified.
func datadog() connectors.Connector {
	return takesKeys(connectors.Connector{
		Slug:    "datadog",
		Name:    "Datadog",
		DocsURL: "https://docs.datadoghq.com/api/latest/authentication/",
		Config: []connectors.ConfigField{datadogSite(connectors.ConfigInstallation), {
			Key: "app_key", Label: "Application key", Scope: connectors.ConfigInstallation, Order: 2, Secret: true,
			Description: "For calls that read, in the header DD-APPLICATION-KEY.", Example: "0123456789abcdef",
			Pattern: `^(?:[\x21-\x7e]{1,200})$`,
		}},
		APIKey: inHeader("API key", "In Datadog under Organization Settings, API Keys.", "Dd-Api-Key",
			"https://api.${config.site}/api/v1/validate"),
	})
}

// datadogSite is where an organisation's data is.
func datadogSite(scope connectors.ConfigScope) connectors.ConfigField {
	return connectors.ConfigField{
		Key: "site", Label: "Datadog site", Scope: scope, Order: 1, Description: "The site of the organisation.",
		Example: "datadoghq.eu", Default: "datadoghq.com",
		Pattern: `^(?:datadoghq\.com|datadoghq\.eu|us3\.datadoghq\.com|us5\.datadoghq\.com|ap1\.datadoghq\.com)$`,
		Domains: []string{"datadoghq.com", "datadoghq.eu"},
	}
}

func fastly() connectors.Connector {
	return takesKeys(connectors.Connector{
		Slug:    "fastly",
		Name:    "Fastly",
		DocsURL: "https://www.fastly.com/documentation/reference/api/auth-tokens/",
		APIKey: inHeader("API token", "In the Fastly control panel under Account, API tokens.", "Fastly-Key",
			"https://api.fastly.com/tokens/self"),
	})
}

// grafanaCloud is a stack of Grafana Cloud and the token of a service account in it.
func grafanaCloud() connectors.Connector {
	return takesKeys(connectors.Connector{
		Slug:    "grafana-cloud",
		Name:    "Grafana Cloud",
		DocsURL: "https://grafana.com/docs/grafana/latest/developers/http_api/authentication/",
		Config:  []connectors.ConfigField{label("stack", "Stack", "The name before .grafana.net.", "acme")},
		APIKey: bearer("Service account token", "In Grafana under Administration, Service accounts.",
			"https://${config.stack}.grafana.net/api/org"),
	})
}

// newRelic is verified by a query only, to which failures too come with status 200.
func newRelic() connectors.Connector {
	return takesKeys(connectors.Connector{
		Slug:    "new-relic",
		Name:    "New Relic",
		DocsURL: "https://docs.newrelic.com/docs/apis/intro-apis/new-relic-api-keys/",
		APIKey:  inHeader("User key", "In New Relic in the menu of the user under API Keys.", "Api-Key", ""),
	})
}

// postHog is personal keys: those of a project are public and no secrets.
func postHog() connectors.Connector {
	return takesKeys(connectors.Connector{
		Slug:    "posthog",
		Name:    "PostHog",
		DocsURL: "https://posthog.com/docs/api",
		Config: []connectors.ConfigField{{
			Key: "region", Label: "Region", Scope: connectors.ConfigInstallation, Order: 1,
			Description: "Where the data of the organisation are.", Example: "eu", Pattern: `^(?:us|eu)$`, Default: "us",
		}},
		APIKey: bearer("Personal API key", "In the settings of the account under Personal API keys.",
			"https://${config.region}.posthog.com/api/users/@me/"),
	})
}

func prefect() connectors.Connector {
	return takesKeys(connectors.Connector{
		Slug:    "prefect",
		Name:    "Prefect Cloud",
		DocsURL: "https://docs.prefect.io/v3/how-to-guides/cloud/manage-users/api-keys",
		APIKey:  bearer("API key", "In Prefect Cloud in the menu of the user under API keys.", "https://api.prefect.cloud/api/me/"),
		Preview: true,
	})
}

// pydanticLogfire is tokens that read: those that write are for the data that an application sends.
func pydanticLogfire() connectors.Connector {
	return takesKeys(connectors.Connector{
		Slug:    "pydantic-logfire",
		Name:    "Pydantic Logfire",
		DocsURL: "https://logfire.pydantic.dev/docs/how-to-guides/query-api/",
		APIKey:  bearer("Read token", "In the settings of the project under Read tokens.", ""),
		Preview: true,
	})
}

// datadogOAuth is apps of Datadog's marketplace. The callback names the site that the user is in; a code is good
// there alone.
func datadogOAuth() connectors.Connector {
	site := datadogSite(connectors.ConfigInstallation)
	site.Pattern = `^(?:datadoghq\.com|datadoghq\.eu)$` // the pages of other sites are not at app.
	return ordinary(connectors.Connector{
		Slug:             "datadog-oauth",
		Name:             "Datadog (OAuth)",
		Type:             "datadog",
		DocsURL:          "https://docs.datadoghq.com/developers/authorization/oauth2_endpoints/",
		AuthorizationURL: "https://app.${config.site}/oauth2/v1/authorize",
		TokenURL:         "https://api.${config.site}/oauth2/v1/token",
		Config:           []connectors.ConfigField{site},
		PKCE:             true,
		Quirks:           connectors.Quirks{CallbackPins: map[string]string{"domain": "${config.site}"}},
		Lifetime:         time.Hour,
	})
}
