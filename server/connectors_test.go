package server_test

import (
	"testing"

	"culvert/connectors"
	"culvert/pipes/pipestest"
)

// TestConnectors: what integrations can be made of, with every member; and a preview is one wherever it is
// listed.
func TestConnectors(t *testing.T) {
	d := newPipesDoor(t, pipestest.Config{Connector: func(c *connectors.Connector) {
		if c.Slug != pipestest.Slug {
			c.Methods = []connectors.Method{connectors.MethodOAuth}
			return
		}
		c.Preview, c.Methods = true, []connectors.Method{connectors.MethodOAuth, connectors.MethodAPIKey}
		c.RefreshIdle, c.GrantLifetime = 7*24*3600e9, 365*24*3600e9
		c.APIKey = connectors.APIKey{Label: "Key", Help: "Under Keys.", Header: "Key"}
		c.Config = []connectors.ConfigField{{
			Key: "region", Label: "Region", Scope: connectors.ConfigInstallation, Example: "eu", Pattern: `^(?:eu|us)$`, Default: "us", Order: 1,
		}}
	}})
	const path = "/culvert/v1/connectors"
	all := map[string]map[string]any{}
	for _, c := range d.do(t, get(path)).want(t, 200).object(t)["data"].([]any) {
		all[c.(map[string]any)["slug"].(string)] = c.(map[string]any)
	}
	shape(t, all[pipestest.Slug], map[string]any{
		"object": "connector", "slug": pipestest.Slug, "name": "Test provider", "integration_type": "custom", "preview": true,
		"docs_url": "https://provider.example/docs", "auth_methods": []any{"oauth", "api_key"}, "default_scopes": []any{"read"}, "ignores_scopes": false,
		"refresh_token_idle_lifetime": 604800.0, "grant_lifetime": 31536000.0,
		"config_fields": []any{map[string]any{
			"key": "region", "label": "Region", "required": false, "scope": "installation", "description": nil, "example": "eu",
			"pattern": "^(?:eu|us)$", "order": 1.0, "secret": false, "default": "us",
		}},
		"api_key": map[string]any{"label": "Key", "help": "Under Keys."},
	})
	if c := all[pipestest.Second]; c["preview"] != false || c["api_key"] != nil || c["grant_lifetime"] != nil {
		t.Errorf("the other one: %v", c)
	}
	for slug, want := range map[string]bool{pipestest.Slug: true, pipestest.Second: false} {
		d.mustIntegration(t, slug, "")
		if got := d.do(t, get(integrations+"/"+slug)).want(t, 200).object(t)["preview"]; got != want {
			t.Errorf("the integration %s: preview is %v", slug, got)
		}
	}
	for _, p := range d.do(t, get("/user_management/users/user_1/data_providers")).want(t, 200).object(t)["data"].([]any) {
		if p := p.(map[string]any); p["preview"] != (p["slug"] == pipestest.Slug) {
			t.Errorf("the data provider %v: preview is %v", p["slug"], p["preview"])
		}
	}
}
