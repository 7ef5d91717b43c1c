package server_test

import (
	"regexp"
	"strings"
	"testing"

	"culvert/connectors"
	"culvert/internal/events"
	"culvert/pipes/pipestest"
)

const configurations = "/organizations/org_1/data_integration_configurations"

// configurationPicture is an integration as an organization sees it that has set nothing.
func configurationPicture(slug string, members map[string]any) map[string]any {
	picture := map[string]any{
		"object": "data_integration_configuration", "id": integrationShape, "organization_id": "org_1", "slug": slug,
		"name": "Test provider", "ownership": "user", "preview": false, "enabled": true, "scopes": nil, "config": map[string]any{},
		"credentials": map[string]any{
			"credentials_type": "custom", "has_credentials": false, "client_id": nil, "client_secret_last_four": nil,
			"redirect_uri": redirectShape(slug),
		},
		"created_at": eventTimeShape, "updated_at": eventTimeShape,
	}
	for name, value := range members {
		picture[name] = value
	}
	return picture
}

func redirectShape(slug string) *regexp.Regexp {
	return regexp.MustCompile(`^https://culvert\.example/data-integrations/` + slug + `/dik_[0-9A-HJKMNP-TV-Z]{26}/callback$`)
}

// TestConfigurationOfAPreview: an organization's list says, too, that nobody has verified a provider's URLs.
func TestConfigurationOfAPreview(t *testing.T) {
	d := newPipesDoor(t, pipestest.Config{Connector: func(c *connectors.Connector) { c.Preview = true }})
	d.mustIntegration(t, pipestest.Slug, "user")
	picture := configurationPicture(pipestest.Slug, map[string]any{"preview": true})
	shape(t, d.do(t, get(configurations)).want(t, 200).object(t), map[string]any{"object": "list", "data": []any{picture}})
}

// TestConfigurationLife walks what an organization sets of integrations through all of it.
func TestConfigurationLife(t *testing.T) {
	d := newPipesDoor(t, pipestest.Config{})
	d.do(t, post(integrations, `{"provider":"provider","enabled":true,"scopes":["read","write"],"credentials":{"type":"organization"}}`)).want(t, 201)
	d.mustIntegration(t, pipestest.Second, "organization")
	credentials := map[string]any{
		"credentials_type": "organization", "has_credentials": false, "client_id": nil, "client_secret_last_four": nil, "redirect_uri": redirectShape("provider"),
	}
	first := configurationPicture("provider", map[string]any{"scopes": []any{"read", "write"}, "credentials": credentials})
	second := configurationPicture("second", map[string]any{"ownership": "organization"})
	shape(t, d.do(t, get(configurations)).want(t, 200).object(t), map[string]any{"object": "list", "data": []any{first, second}})

	credentials["has_credentials"], credentials["client_id"], credentials["client_secret_last_four"] = true, "theirs", "789z"
	first["scopes"] = []any{"read"}
	made := d.do(t, put(configurations+"/provider", `{"scopes":["read"],"client_id":"theirs","client_secret":"123456789z","config":{}}`)).want(t, 200).object(t)
	shape(t, made, first)
	first["enabled"] = false
	shape(t, d.do(t, put(configurations+"/provider", `{"enabled":false,"scopes":null}`)).want(t, 200).object(t)["scopes"], []any{"read", "write"})
	first["scopes"] = []any{"read", "write"}
	second["enabled"] = false
	shape(t, d.do(t, put(configurations+"/second", `{"enabled":false}`)).want(t, 200).object(t), second) // the only one of the slug
	second["enabled"] = true
	shape(t, d.do(t, put(configurations+"/second/organization", `{"enabled":true}`)).want(t, 200).object(t), second)
	shape(t, d.do(t, get(configurations)).want(t, 200).object(t), map[string]any{"object": "list", "data": []any{first, second}})
	other := d.do(t, get(strings.Replace(configurations, "org_1", "org_2", 1))).want(t, 200).object(t)["data"].([]any)[0].(map[string]any)
	if other["enabled"] != true || other["credentials"].(map[string]any)["client_id"] != nil {
		t.Errorf("another organization sees %v", other)
	}

	d.do(t, post(integrations+"/provider/authorize", `{"user_id":"user_1","organization_id":"org_1"}`)).mustRefuse(t, 400, "integration_disabled")
	d.do(t, post(tokenPath, `{"user_id":"user_1","organization_id":"org_1"}`)).mustRefuse(t, 400, "integration_disabled")
	d.do(t, post(integrations+"/provider/authorize", `{"user_id":"user_1","organization_id":"org_2"}`)).mustRefuse(t, 422, "client_credentials_not_configured")
	d.do(t, put(configurations+"/provider", `{"enabled":true}`)).want(t, 200)
	d.do(t, post(integrations+"/provider/authorize", `{"user_id":"user_1","organization_id":"org_1"}`)).want(t, 200)

	if told := d.pipes.MustEvents(t, events.ConfigurationUpdated); len(told) != 5 {
		t.Errorf("%d events of configurations", len(told))
	}
	page := d.do(t, get("/events?events=pipes.configuration.updated&organization_id=org_1")).want(t, 200).object(t)
	if len(page["data"].([]any)) != 5 {
		t.Errorf("events %v", page)
	}
}

// TestHostileConfigurations: what is refused, beside what is not.
func TestHostileConfigurations(t *testing.T) {
	d := newPipesDoor(t, pipestest.Config{})
	d.mustIntegration(t, pipestest.Slug, "")
	d.do(t, post(integrations, `{"provider":"second","enabled":true,"credentials":{"type":"organization"}}`)).want(t, 201)
	path := configurations + "/provider"
	for body, code := range map[string]string{
		`{}`: "required", `{"more":1}`: "required", `{"enabled":null,"config":null}`: "required", `{"client_secret":"` + marker + `"}`: "required",
		`{"client_id":"` + marker + `"}`: "required", `{"client_id":"a","client_secret":"` + marker + `"}`: "invalid_value",
		`{"config":{"` + marker + `":"a"}}`: "invalid_value", `{`: "invalid_json", `[]`: "invalid_json", `{"Enabled":true}`: "invalid_json",
	} {
		a := d.do(t, put(path, body))
		if a.mustRefuse(t, 400, code); strings.Contains(a.body, marker) {
			t.Errorf("the input is repeated: %s", a.body)
		}
	}
	d.do(t, request{method: "PUT", path: path}).mustRefuse(t, 400, "invalid_json")
	for body, code := range map[string]string{
		`{"enabled":"yes"}`: "invalid_type", `{"scopes":"` + marker + `"}`: "invalid_type", `{"scopes":["` + marker + `"]}`: "invalid_value",
		`{"client_id":7,"client_secret":"x"}`: "invalid_type", `{"client_secret":["` + marker + `"]}`: "invalid_type",
	} {
		a := d.do(t, put(path, body)).want(t, 422)
		if mustList(t, a, code); strings.Contains(a.body, marker) {
			t.Errorf("the input is repeated: %s", a.body)
		}
	}
	d.do(t, put(configurations+"/nowhere", `{"enabled":true}`)).mustRefuse(t, 404, "entity_not_found")
	d.do(t, put(path+"/organization", `{"enabled":true}`)).mustRefuse(t, 404, "entity_not_found")
	d.do(t, put(strings.Replace(path, "org_1", "%FF", 1), `{"enabled":true}`)).mustRefuse(t, 400, "invalid_path")
	mustList(t, d.do(t, get(strings.Replace(configurations, "org_1", marker+"%00", 1))).want(t, 422), "invalid_value")
	d.do(t, put(path, `{"enabled":true,"more":1}`)).want(t, 200)
	d.do(t, put(configurations+"/second", `{"client_id":"a","client_secret":"`+marker+`"}`)).want(t, 200)
}
