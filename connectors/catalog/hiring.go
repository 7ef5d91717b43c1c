package catalog

import (
	"net/http"

	"culvert/connectors"
)

// hiring is connectors of recruiting and personnel that take keys.
func hiring() []connectors.Connector {
	return []connectors.Connector{
		ashby(),
		bambooHR(),
		greenhouse(),
	}
}

// ashby verifies a key by a POST.
func ashby() connectors.Connector {
	return takesKeys(connectors.Connector{
		Slug:    "ashby",
		Name:    "Ashby",
		DocsURL: "https://developers.ashbyhq.com/reference/authentication",
		APIKey: connectors.APIKey{
			Label: "API key", Help: "In Ashby under Admin, Integrations, API Keys.", Username: "${key}",
			VerifyMethod: http.MethodPost, VerifyURL: "https://api.ashbyhq.com/apiKey.info",
		},
	})
}

// bambooHR takes any password beside the key.
func bambooHR() connectors.Connector {
	return takesKeys(connectors.Connector{
		Slug:    "bamboohr",
		Name:    "BambooHR",
		DocsURL: "https://documentation.bamboohr.com/docs/getting-started",
		Config:  []connectors.ConfigField{label("subdomain", "Subdomain", "The name before .bamboohr.com.", "acme")},
		APIKey: connectors.APIKey{
			Label: "API key", Help: "In BambooHR in the menu of the user under API Keys.", Username: "${key}", Password: "x",
			VerifyURL: "https://${config.subdomain}.bamboohr.com/api/v1/meta/users",
		},
	})
}

// greenhouse is Harvest. A key has rights call by call, so a good one may be forbidden the one that verifies.
func greenhouse() connectors.Connector {
	return takesKeys(connectors.Connector{
		Slug:    "greenhouse",
		Name:    "Greenhouse",
		DocsURL: "https://developers.greenhouse.io/harvest.html",
		APIKey: connectors.APIKey{
			Label: "Harvest API key", Help: "In Greenhouse under Configure, Dev Center, API Credential Management.",
			Username: "${key}", VerifyURL: "https://harvest.greenhouse.io/v1/users?per_page=1",
		},
	})
}
