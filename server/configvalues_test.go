package server_test

import (
	"strings"
	"testing"

	"culvert/connectors"
	"culvert/pipes/pipestest"
)

// TestConfigValues: values of config fields on every path that takes them, and in every answer that shows them; secret ones
// in that of /credentials alone.
func TestConfigValues(t *testing.T) {
	d := newPipesDoor(t, pipestest.Config{Connector: func(c *connectors.Connector) {
		c.Config = []connectors.ConfigField{
			{Key: "region", Label: "Region", Scope: connectors.ConfigInstallation, Required: true, Example: "eu", Pattern: `^(?:eu|us)$`, Order: 1},
			{Key: "app", Label: "App", Scope: connectors.ConfigIntegration, Required: true, Example: "a1", Pattern: `^(?:[a-z0-9]+)$`, Order: 2},
			{Key: "app_key", Label: "App key", Scope: connectors.ConfigInstallation, Secret: true, Example: "k", Pattern: `^(?:.+)$`, Order: 3},
		}
	}})
	const create = `{"provider":"provider","enabled":true,"auth_methods":["oauth","api_key"],"credentials":{"type":"custom","client_id":"c","client_secret":"0123456789"}`
	refused := func(q request, code, field string) {
		t.Helper()
		if body := string(d.do(t, q).want(t, 422).body); !strings.Contains(body, `"code":"`+code+`","field":"`+field+`"`) || !strings.Contains(body, ", as in ") {
			t.Errorf("%s %s: %s", q.method, q.path, body)
		}
	}
	refused(post(integrations, create+`}`), "required", "config.app")
	values := func(of map[string]any, want map[string]any) {
		t.Helper()
		shape(t, of["config"], want)
	}
	values(d.do(t, post(integrations, create+`,"config":{"app":"a1"}}`)).want(t, 201).object(t), map[string]any{"app": "a1"})
	one := integrations + "/provider"
	values(d.do(t, put(one, `{"config":{"app":"a2","region":"eu"}}`)).want(t, 200).object(t), map[string]any{"app": "a2", "region": "eu"})
	values(d.do(t, put(one, `{"config":{"region":""}}`)).want(t, 200).object(t), map[string]any{"app": "a2"})
	refused(put(one, `{"config":{"app":"A/../b"}}`), "invalid_value", "config.app")

	refused(post(one+"/authorize", `{"user_id":"user_1"}`), "required", "config.region")
	refused(post(one+"/authorize", `{"user_id":"user_1","config":{"region":"mars"}}`), "invalid_value", "config.region")
	d.do(t, post(one+"/authorize", `{"user_id":"user_1","config":{"region":"eu"}}`)).want(t, 200)
	// Where a field can have no value an example of one would mislead.
	elsewhere := d.do(t, post(one+"/authorize", `{"user_id":"user_1","config":{"region":"eu","app":"a1"}}`)).want(t, 422).body
	if want := `"config.app is set for the data integration, and not for an account."`; !strings.Contains(string(elsewhere), want) {
		t.Errorf("%s, want %s", elsewhere, want)
	}

	d.do(t, put(configurations+"/provider", `{"config":{"app":"a1"}}`)).mustRefuse(t, 400, "invalid_value")
	values(d.do(t, put(configurations+"/provider", `{"config":{"region":"us"}}`)).want(t, 200).object(t), map[string]any{"region": "us"})
	d.do(t, post(one+"/authorize", `{"user_id":"user_1","organization_id":"org_1"}`)).want(t, 200)

	key := `{"user_id":"user_1","secret":"sk-1234567890","config":{"region":"us","app_key":"` + marker + `wxyz"}}`
	a := d.do(t, put(one+"/api-key", key)).want(t, 200)
	account := a.object(t)
	values(account, map[string]any{"region": "us"})
	shape(t, account["redacted_config"], map[string]any{"app_key": "wxyz"})
	for _, path := range []string{"/user_management/users/user_1/connected_accounts/provider", "/user_management/users/user_1/data_providers", one} {
		if body := d.do(t, get(path)).want(t, 200).body; strings.Contains(string(body), marker) {
			t.Errorf("%s shows a secret value", path)
		}
	}
	vended := d.do(t, post(one+"/credentials", `{"user_id":"user_1"}`)).want(t, 200).object(t)
	values(vended["credential"].(map[string]any), map[string]any{"region": "us", "app_key": marker + "wxyz"})

	imported := d.do(t, post("/user_management/users/user_2/connected_accounts/provider", `{"access_token":"at","config":{"region":"eu"}}`)).want(t, 201).object(t)
	values(imported, map[string]any{"region": "eu"})
}
