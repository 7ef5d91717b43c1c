package catalog

import "culvert/connectors"

// mail is connectors of services that send mail and text messages.
func mail() []connectors.Connector {
	return []connectors.Connector{
		mailgun(),
		postmark(),
		resend(),
		sendGrid(),
		twilio(),
	}
}

// mailgun has accounts of two regions, each at a host of its own.
func mailgun() connectors.Connector {
	return takesKeys(connectors.Connector{
		Slug:    "mailgun",
		Name:    "Mailgun",
		DocsURL: "https://documentation.mailgun.com/docs/mailgun/api-reference/",
		Config: []connectors.ConfigField{{
			Key: "host", Label: "API host", Scope: connectors.ConfigInstallation, Order: 1,
			Description: "The host of the account's region.", Example: "api.eu.mailgun.net",
			Pattern: `^(?:api\.(?:eu\.)?mailgun\.net)$`, Default: "api.mailgun.net", Domains: []string{"mailgun.net"},
		}},
		APIKey: connectors.APIKey{
			Label: "API key", Help: "In the Mailgun control panel under API keys.",
			Username: "api", Password: "${key}", VerifyURL: "https://${config.host}/v4/domains?limit=1",
		},
	})
}

// postmark is one of its servers; tokens of the account go in another header.
func postmark() connectors.Connector {
	return takesKeys(connectors.Connector{
		Slug:    "postmark",
		Name:    "Postmark",
		DocsURL: "https://postmarkapp.com/developer/api/overview",
		APIKey: inHeader("Server API token", "On the API Tokens page of the server.", "X-Postmark-Server-Token",
			"https://api.postmarkapp.com/server"),
	})
}

// resend answers a key that may only send with 401 where it would read.
func resend() connectors.Connector {
	return takesKeys(connectors.Connector{
		Slug:    "resend",
		Name:    "Resend",
		DocsURL: "https://resend.com/docs/api-reference/introduction",
		APIKey:  bearer("API key", "In the Resend dashboard under API Keys.", "https://api.resend.com/domains"),
	})
}

func sendGrid() connectors.Connector {
	return takesKeys(connectors.Connector{
		Slug:    "sendgrid",
		Name:    "SendGrid",
		DocsURL: "https://www.twilio.com/docs/sendgrid/api-reference",
		APIKey:  bearer("API key", "In the SendGrid app under Settings, API Keys.", "https://api.sendgrid.com/v3/scopes"),
	})
}

// twilio takes the token of an account beside its SID.
func twilio() connectors.Connector {
	return takesKeys(connectors.Connector{
		Slug:    "twilio",
		Name:    "Twilio",
		DocsURL: "https://www.twilio.com/docs/iam/api",
		Config: []connectors.ConfigField{{
			Key: "account_sid", Label: "Account SID", Required: true, Scope: connectors.ConfigInstallation, Order: 1,
			Description: "Beside the auth token in the Twilio console.",
			Example:     "AC00000000000000000000000000000000", Pattern: `^(?:AC[0-9a-f]{32})$`,
		}},
		APIKey: connectors.APIKey{
			Label: "Auth token", Help: "In the Twilio console under Account info.",
			Username: "${config.account_sid}", Password: "${key}",
			VerifyURL: "https://api.twilio.com/2010-04-01/Accounts/${config.account_sid}.json",
		},
	})
}
