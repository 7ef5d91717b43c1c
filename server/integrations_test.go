package server_test

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"culvert/internal/events"
	"culvert/pipes/pipestest"
)

const integrations = "/data-integrations"

func put(path, body string) request  { return request{method: "PUT", path: path, body: body} }
func post(path, body string) request { return request{method: "POST", path: path, body: body} }
func remove(path string) request     { return request{method: "DELETE", path: path} }

// integrationPicture is an integration that says nothing but what it must, with the given members.
func integrationPicture(slug string, members map[string]any) map[string]any {
	picture := map[string]any{
		"object": "data_integration", "id": integrationShape, "slug": slug, "integration_type": "custom", "ownership": "user",
		"description": nil, "enabled": false, "state": "valid", "scopes": nil,
		"redirect_uri": regexp.MustCompile(`^https://culvert\.example/data-integrations/` + slug + `/dik_[0-9A-HJKMNP-TV-Z]{26}/callback$`),
		"auth_methods": []any{"oauth"}, "installation": nil, "config": map[string]any{}, "custom_provider": nil, "preview": false,
		"credentials": map[string]any{"type": "custom", "client_id": "id", "redacted_client_secret": "789z"},
		"created_at":  eventTimeShape, "updated_at": eventTimeShape, "revoke_at_provider": false, "state_reason": nil,
	}
	for name, value := range members {
		picture[name] = value
	}
	return picture
}

// TestRotatedSecret: the secret before the present one is shown by its end until null ends it, of an integration and
// of an organization's own client.
func TestRotatedSecret(t *testing.T) {
	d := newPipesDoor(t, pipestest.Config{})
	until := d.pipes.Clock.Now().Add(time.Hour).UTC().Format("2006-01-02T15:04:05.000Z")
	const one, two = `"client_id":"id","client_secret":"the-first-one"`, `"client_id":"id","client_secret":"the-second"`
	d.do(t, post(integrations, `{"provider":"provider","credentials":{"type":"custom","previous_secret_expires_at":"`+until+`",`+one+`}}`)).
		mustRefuse(t, 422, "invalid_request_parameters")
	d.do(t, post(integrations, `{"provider":"provider","credentials":{"type":"custom",`+one+`}}`)).want(t, 201)
	made := d.do(t, put(integrations+"/provider", `{"credentials":{"type":"custom","previous_secret_expires_at":"`+until+`",`+two+`}}`)).want(t, 200).object(t)
	shape(t, made["credentials"], map[string]any{
		"type": "custom", "client_id": "id", "redacted_client_secret": "cond",
		"redacted_previous_client_secret": "-one", "previous_secret_expires_at": until,
	})
	ended := d.do(t, put(integrations+"/provider", `{"credentials":{"type":"custom","client_id":"id","previous_secret_expires_at":null}}`)).want(t, 200).object(t)
	shape(t, ended["credentials"], map[string]any{"type": "custom", "client_id": "id", "redacted_client_secret": "cond"})

	d.do(t, post(integrations, `{"provider":"second","credentials":{"type":"organization"}}`)).want(t, 201)
	const own = "/organizations/org_1/data_integration_configurations/second"
	d.do(t, put(own, `{`+one+`}`)).want(t, 200)
	set := d.do(t, put(own, `{"previous_secret_expires_at":"`+until+`",`+two+`}`)).want(t, 200).object(t)["credentials"].(map[string]any)
	if set["previous_client_secret_last_four"] != "-one" || set["previous_secret_expires_at"] != until || set["client_secret_last_four"] != "cond" {
		t.Errorf("rotated: %v", set)
	}
	set = d.do(t, put(own, `{"previous_secret_expires_at":null}`)).want(t, 200).object(t)["credentials"].(map[string]any)
	if _, there := set["previous_secret_expires_at"]; there || set["client_secret_last_four"] != "cond" {
		t.Errorf("ended: %v", set)
	}
}

// TestIntegrationLife walks a built-in provider through its operations, on both roots.
func TestIntegrationLife(t *testing.T) {
	d := newPipesDoor(t, pipestest.Config{})
	const credentials = `"credentials":{"type":"custom","client_id":"id","client_secret":"123456789z"}`
	made := d.do(t, post(integrations, `{"provider":"provider",`+credentials+`}`)).want(t, 201).object(t)
	shape(t, made, integrationPicture("provider", nil))
	shape(t, d.do(t, get(integrations+"/provider")).want(t, 200).object(t), made)
	d.do(t, post(integrations, `{"provider":"provider",`+credentials+`}`)).mustRefuse(t, 409, "integration_exists")

	// The organizations' root is another integration.
	d.do(t, get(integrations+"/provider/organization")).mustRefuse(t, 404, "entity_not_found")
	shared := d.do(t, post(integrations, `{"provider":"provider","ownership":"organization","description":"é","enabled":true,
		"scopes":["read","write"],"auth_methods":["oauth"],"config":null,`+credentials+`}`)).want(t, 201).object(t)
	shape(t, shared, integrationPicture("provider", map[string]any{
		"ownership": "organization", "description": "é", "enabled": true, "scopes": []any{"read", "write"},
	}))
	shape(t, d.do(t, get(integrations+"/provider/organization")).want(t, 200).object(t), shared)

	// Updates change what they say; null takes back what has a null, and says nothing elsewhere.
	updated := d.do(t, put(integrations+"/provider/organization", `{"description":null,"scopes":null,"enabled":null,"credentials":null}`)).want(t, 200).object(t)
	shape(t, updated, integrationPicture("provider", map[string]any{"ownership": "organization", "enabled": true, "updated_at": eventTimeShape}))
	updated = d.do(t, put(integrations+"/provider", `{"description":"d","enabled":true,"scopes":["read"],
		"credentials":{"type":"custom","client_id":"other","client_secret":"another-secret"}}`)).want(t, 200).object(t)
	shape(t, updated, integrationPicture("provider", map[string]any{
		"description": "d", "enabled": true, "scopes": []any{"read"},
		"credentials": map[string]any{"type": "custom", "client_id": "other", "redacted_client_secret": "cret"},
	}))
	shape(t, d.do(t, put(integrations+"/provider", `{}`)).want(t, 200).object(t)["redirect_uri"], made["redirect_uri"])

	for _, path := range []string{"/provider", "/provider/organization"} {
		if a := d.do(t, remove(integrations+path)).want(t, 204); a.body != "" || a.header.Get("Content-Type") != "" {
			t.Errorf("204 with %v and %q", a.header, a.body)
		}
		d.do(t, get(integrations+path)).mustRefuse(t, 404, "entity_not_found")
		d.do(t, remove(integrations+path)).mustRefuse(t, 404, "entity_not_found")
	}
	told := d.pipes.MustEvents(t, events.IntegrationCreated, events.IntegrationUpdated, events.IntegrationDeleted)
	if len(told) != 7 {
		t.Errorf("%d events of integrations", len(told))
	}
	// Our own events can be asked for.
	page := d.do(t, get("/events?events=pipes.integration.created,pipes.grant.refreshed,pipes.connected_account.updated")).want(t, 200).object(t)
	if len(page["data"].([]any)) != 2 {
		t.Errorf("events %v", page)
	}
}

// TestCustomProvider defines one, with the contract's defaults and without.
func TestCustomProvider(t *testing.T) {
	d := newPipesDoor(t, pipestest.Config{})
	const credentials = `"credentials":{"type":"custom","client_id":"id","client_secret":"123456789z"}`
	custom := map[string]any{
		"name": "Mine", "authorization_url": "https://p.example/a", "token_url": "https://p.example/t", "refresh_token_url": nil,
		"pkce_enabled": true, "request_scope_separator": " ", "scopes_required": false, "client_secret_required": true,
		"additional_authorization_parameters": map[string]any{}, "token_body_content_type": "application/x-www-form-urlencoded",
		"authenticate_via": "request_body", "issuer": nil, "identity_url": nil, "revocation_url": nil, "pushed_authorization_request_url": nil,
		"kills_previous_access_token": false,
	}
	made := d.do(t, post(integrations, `{"provider":"mine",`+credentials+`,"custom_provider":{"name":"Mine",
		"authorization_url":"https://p.example/a","token_url":"https://p.example/t","refresh_token_url":null}}`)).want(t, 201).object(t)
	shape(t, made, integrationPicture("mine", map[string]any{"custom_provider": custom}))

	custom["name"], custom["refresh_token_url"], custom["pkce_enabled"] = "Other", "https://p.example/r", false
	custom["request_scope_separator"], custom["scopes_required"], custom["client_secret_required"] = ",", true, false
	custom["additional_authorization_parameters"] = map[string]any{"prompt": "consent", "a": "é"}
	custom["token_body_content_type"], custom["authenticate_via"] = "application/json", "basic_auth_header"
	custom["issuer"], custom["identity_url"], custom["revocation_url"] = "https://p.example/tenant", "https://p.example/me", "https://p.example/gone"
	updated := d.do(t, put(integrations+"/mine", `{"scopes":["x"],"custom_provider":{"name":"Other","refresh_token_url":"https://p.example/r",
		"pkce_enabled":false,"request_scope_separator":",","scopes_required":true,"client_secret_required":false,
		"additional_authorization_parameters":{"prompt":"consent","a":"é"},"token_body_content_type":"application/json",
		"authenticate_via":"basic_auth_header","issuer":"https://p.example/tenant","identity_url":"https://p.example/me","revocation_url":"https://p.example/gone","token_url":null}}`)).want(t, 200).object(t)
	shape(t, updated, integrationPicture("mine", map[string]any{"custom_provider": custom, "scopes": []any{"x"}}))

	custom["refresh_token_url"], custom["issuer"], custom["identity_url"], custom["revocation_url"] = nil, nil, nil, nil
	updated = d.do(t, put(integrations+"/mine", `{"custom_provider":{"refresh_token_url":null,"issuer":null,"identity_url":null,"revocation_url":null}}`)).want(t, 200).object(t)
	shape(t, updated, integrationPicture("mine", map[string]any{"custom_provider": custom, "scopes": []any{"x"}}))
}

// TestIntegrationList pages through integrations in the three orders of the contract.
func TestIntegrationList(t *testing.T) {
	d := newPipesDoor(t, pipestest.Config{})
	var ids []string
	for _, of := range [][2]string{{"provider", ""}, {"second", ""}, {"provider", "organization"}} {
		ids = append(ids, d.mustIntegration(t, of[0], of[1])["id"].(string))
		d.pipes.Clock.Advance(time.Second) // ids of one millisecond have no order
	}
	page := func(query string, want ...string) (before, after any) {
		t.Helper()
		o := d.do(t, get(integrations+"?"+query)).want(t, 200).object(t)
		var got []string
		for _, entry := range o["data"].([]any) {
			got = append(got, entry.(map[string]any)["id"].(string))
		}
		if strings.Join(got, " ") != strings.Join(want, " ") || o["object"] != "list" || len(o) != 3 {
			t.Errorf("%s: got %v of %v, want %v", query, got, ids, want)
		}
		meta := o["list_metadata"].(map[string]any)
		return meta["before"], meta["after"]
	}
	page("", ids[2], ids[1], ids[0])
	page("order=asc&limit=1000", ids[0], ids[1], ids[2])
	page("ownership=organization&surplus=1", ids[2])
	page("ownership=user&order=asc", ids[0], ids[1])
	before, after := page("limit=1&order=desc", ids[2])
	if before != nil || after != ids[2] {
		t.Errorf("cursors %v and %v", before, after)
	}
	before, after = page("limit=1&after="+ids[2], ids[1])
	if before != ids[1] || after != ids[1] {
		t.Errorf("cursors %v and %v", before, after)
	}
	page("before="+ids[0], ids[2], ids[1])
	// In normal order, after means newer.
	page("order=normal&after="+ids[0], ids[2], ids[1])
	for query, code := range map[string]string{
		"limit=0": "invalid_query", "limit=x" + marker: "invalid_query", "order=" + marker: "invalid_query", "ownership=" + marker: "invalid_query",
		"after=" + marker: "invalid_cursor", "before=data_integration_": "invalid_cursor", "after=x&after=y": "invalid_query", "after=%z": "invalid_query",
	} {
		d.do(t, get(integrations+"?"+query)).mustRefuse(t, 400, code)
	}
}

// TestHostileIntegrations: bodies that are refused, each next to one that is not.
func TestHostileIntegrations(t *testing.T) {
	d := newPipesDoor(t, pipestest.Config{})
	d.mustIntegration(t, pipestest.Slug, "")
	const secret = `"client_secret":"` + marker + `-secret"`
	const credentials = `"credentials":{"type":"custom","client_id":"id",` + secret + `}`
	custom := func(members string) string {
		return `{"provider":"mine","scopes":["x"],` + credentials + `,"custom_provider":{` + members + `}}`
	}
	const urls = `"authorization_url":"https://p.example/a","token_url":"https://p.example/t"`
	for name, c := range map[string]struct {
		body, code string
		status     int
	}{
		"no body":              {"", "invalid_json", 400},
		"cut":                  {`{"provider":"second",` + credentials, "invalid_json", 400},
		"twice":                {`{"provider":"second","provider":"second",` + credentials + `}`, "invalid_json", 400},
		"twice inside":         {`{"provider":"second","credentials":{"type":"custom","client_id":"id",` + secret + `,` + secret + `}}`, "invalid_json", 400},
		"another case":         {`{"provider":"second","credentials":{"type":"custom","client_id":"id","Client_Secret":"` + marker + `"}}`, "invalid_json", 400},
		"surrogate":            {`{"provider":"second","description":"\ud800",` + credentials + `}`, "invalid_json", 400},
		"deep":                 {`{"provider":"second","x":` + strings.Repeat(`[`, 40) + strings.Repeat(`]`, 40) + `,` + credentials + `}`, "invalid_json", 400},
		"no provider":          {`{` + credentials + `}`, "required", 422},
		"null provider":        {`{"provider":null,` + credentials + `}`, "required", 422},
		"provider of a number": {`{"provider":7,` + credentials + `}`, "invalid_type", 422},
		"no such provider":     {`{"provider":"` + strings.ToLower(marker) + `",` + credentials + `}`, "required", 422},
		"slug with a slash":    {`{"provider":"a/` + marker + `",` + credentials + `}`, "invalid_value", 422},
		"ownership":            {`{"provider":"second","ownership":"` + marker + `",` + credentials + `}`, "invalid_value", 422},
		"enabled as text":      {`{"provider":"second","enabled":"true",` + credentials + `}`, "invalid_type", 422},
		"scopes as text":       {`{"provider":"second","scopes":"read",` + credentials + `}`, "invalid_type", 422},
		"scopes of numbers":    {`{"provider":"second","scopes":["read",1],` + credentials + `}`, "invalid_type", 422},
		"scope with a space":   {`{"provider":"second","scopes":["a ` + marker + `"],` + credentials + `}`, "invalid_value", 422},
		"method":               {`{"provider":"second","auth_methods":["` + marker + `"],` + credentials + `}`, "invalid_value", 422},
		"API key":              {`{"provider":"second","api_key":{"secret":"` + marker + `","user_id":"u"},` + credentials + `}`, "invalid_value", 422},
		"config":               {`{"provider":"second","config":{"` + marker + `":"x"},` + credentials + `}`, "invalid_value", 422},
		"config of numbers":    {`{"provider":"second","config":{"a":1},` + credentials + `}`, "invalid_type", 422},
		"no credentials":       {`{"provider":"second"}`, "required", 422},
		"credentials as text":  {`{"provider":"second","credentials":"` + marker + `"}`, "invalid_type", 422},
		"no type":              {`{"provider":"second","credentials":{"client_id":"id",` + secret + `}}`, "required", 422},
		"type":                 {`{"provider":"second","credentials":{"type":"` + marker + `","client_id":"id",` + secret + `}}`, "invalid_value", 422},
		"a shared client":      {`{"provider":"second","credentials":{"type":"shared"}}`, "invalid_value", 422},
		"no client id":         {`{"provider":"second","credentials":{"type":"custom",` + secret + `}}`, "required", 422},
		"no secret":            {`{"provider":"second","credentials":{"type":"custom","client_id":"id"}}`, "required", 422},
		"secret of a number":   {`{"provider":"second","credentials":{"type":"custom","client_id":"id","client_secret":123}}`, "invalid_type", 422},
		"shadow":               {strings.Replace(custom(`"name":"x",`+urls), "mine", "second", 1), "invalid_value", 422},
		"custom as a list":     {`{"provider":"mine",` + credentials + `,"custom_provider":[]}`, "invalid_type", 422},
		"no name":              {custom(urls), "required", 422},
		"no token URL":         {custom(`"name":"x","authorization_url":"https://p.example/a"`), "required", 422},
		"http":                 {custom(`"name":"x","authorization_url":"https://p.example/a","token_url":"http://p.example/t"`), "invalid_value", 422},
		"metadata service":     {custom(`"name":"x","authorization_url":"https://p.example/a","token_url":"https://169.254.169.254/t"`), "invalid_value", 422},
		"userinfo":             {custom(`"name":"x","authorization_url":"https://p.example/a","token_url":"https://` + marker + `@p.example/t"`), "invalid_value", 422},
		"javascript":           {custom(`"name":"x","authorization_url":"javascript:alert(1)","token_url":"https://p.example/t"`), "invalid_value", 422},
		"own parameter":        {custom(`"name":"x",` + urls + `,"additional_authorization_parameters":{"state":"` + marker + `"}`), "invalid_value", 422},
		"issuer":               {custom(`"name":"x",` + urls + `,"issuer":"p.example"`), "invalid_value", 422},
		"identity elsewhere":   {custom(`"name":"x",` + urls + `,"identity_url":"https://q.example/me"`), "invalid_value", 422},
		"authenticate_via":     {custom(`"name":"x",` + urls + `,"authenticate_via":"` + marker + `"`), "invalid_value", 422},
	} {
		t.Run(name, func(t *testing.T) {
			a := d.do(t, post(integrations, c.body))
			if c.status == 422 {
				a.want(t, 422)
				mustList(t, a, c.code)
			} else {
				a.mustRefuse(t, c.status, c.code)
			}
			if strings.Contains(a.body, marker) || strings.Contains(a.body, strings.ToLower(marker)) {
				t.Errorf("the input is repeated: %s", a.body)
			}
		})
	}
	// A refused member of a nested object is named in full, whatever is wrong with it.
	for body, field := range map[string]string{
		`{"provider":"second","credentials":{}}`:                                             "credentials.type",
		`{"provider":"second","credentials":{"type":7}}`:                                     "credentials.type",
		`{"provider":"mine","custom_provider":{"name":"x","pkce_enabled":1}}`:                "custom_provider.pkce_enabled",
		`{"provider":"mine","custom_provider":{"name":7}}`:                                   "custom_provider.name",
		`{"provider":"mine","custom_provider":{"name":"x"},"credentials":{"type":"custom"}}`: "custom_provider.authorization_url",
	} {
		o := d.do(t, post(integrations, body)).want(t, 422).object(t)
		if got := o["errors"].([]any)[0].(map[string]any)["field"]; got != field {
			t.Errorf("%s: field %v, want %s", body, got, field)
		}
	}
	d.do(t, post(integrations, `{"provider":"second","unknown":[1,{}],`+credentials+`}`)).want(t, 201)
	d.do(t, post(integrations, custom(`"name":"x",`+urls+`,"more":null`))).want(t, 201)
	d.do(t, put(integrations+"/provider", `{"api_key":{"secret":"`+marker+`"}}`)).want(t, 422)
	d.do(t, put(integrations+"/provider", `{"custom_provider":{"name":"x"}}`)).want(t, 422)
	d.do(t, put(integrations+"/nobody", `{}`)).mustRefuse(t, 404, "entity_not_found")
	d.do(t, get(integrations+"/%FF")).mustRefuse(t, 400, "invalid_path")
	d.do(t, get(integrations+"/provider%2Forganization")).mustRefuse(t, 404, "entity_not_found")
}

// mustList checks the body of a refused value outside the vault: the array names the code, first if there
// are several.
func mustList(t testing.TB, a answer, code string) {
	t.Helper()
	o := a.object(t)
	all, _ := o["errors"].([]any)
	if o["code"] != "invalid_request_parameters" || o["message"] != "Validation failed." || len(all) == 0 {
		t.Fatalf("body %s", a.body)
	}
	for _, one := range all {
		if e := one.(map[string]any); e["code"] == "" || e["field"] == "" || e["message"] == "" || len(e) != 3 {
			t.Errorf("body %s", a.body)
		}
	}
	if got := all[0].(map[string]any)["code"]; got != code {
		t.Errorf("body %s, want the code %s", a.body, code)
	}
}

// TestEveryRefusedValueIsListed: who made three mistakes is told of three, in the order of the body and
// behind them what is missing; and of those that only the use case sees, when the body is otherwise right.
func TestEveryRefusedValueIsListed(t *testing.T) {
	d := newPipesDoor(t, pipestest.Config{})
	d.mustIntegration(t, pipestest.Slug, "")
	const credentials = `"credentials":{"type":"custom","client_id":"id","client_secret":"123456789z"}`
	for _, c := range []struct{ method, path, body, want string }{
		{"POST", integrations, `{"scopes":"read","enabled":1,"credentials":{"client_id":7,"client_secret":[]},"api_key":{}}`,
			"scopes invalid_type, enabled invalid_type, credentials.client_id invalid_type, credentials.client_secret invalid_type, " +
				"credentials.type required, api_key.secret required, api_key.user_id required, provider required"},
		{"POST", integrations, `{}`, "provider required"},
		{"POST", integrations, `{"provider":"A","ownership":"team","description":"\u0000","scopes":["a b"],"auth_methods":["basic","oauth"],
			"config":{"a":"b"},"credentials":{"type":"x"}}`,
			"provider invalid_value, ownership invalid_value, description invalid_value, scopes invalid_value, auth_methods invalid_value, " +
				"config invalid_value, credentials.type invalid_value"},
		{"POST", integrations, `{"provider":"mine",` + credentials + `,"custom_provider":{"name":"x","authorization_url":"a",
			"token_url":"b","authenticate_via":"c","issuer":"https://p.example?x"}}`,
			"custom_provider.authorization_url invalid_value, custom_provider.token_url invalid_value, custom_provider.issuer invalid_value, " +
				"custom_provider.authenticate_via invalid_value"},
		{"PUT", integrations + "/provider", `{"description":"\u0000","scopes":["a b"],"credentials":{"type":"custom"}}`,
			"description invalid_value, scopes invalid_value, credentials.client_id required"},
		{"POST", integrations + "/provider/authorize", `{"user_id":"","organization_id":"\u0000","connection_owner":"team","user_label":"\u0000","config":{"a":"b"}}`,
			"user_id required, organization_id invalid_value, connection_owner invalid_value, user_label invalid_value, config invalid_value"},
	} {
		a := d.do(t, request{method: c.method, path: c.path, body: c.body}).want(t, 422)
		var got []string
		for _, one := range a.object(t)["errors"].([]any) {
			e := one.(map[string]any)
			got = append(got, e["field"].(string)+" "+e["code"].(string))
		}
		if strings.Join(got, ", ") != c.want {
			t.Errorf("%s %s:\ngot  %s\nwant %s", c.method, c.body, strings.Join(got, ", "), c.want)
		}
	}
	// A body that is not JSON is that, whatever is wrong with its values.
	d.do(t, post(integrations, `{"scopes":"read","enabled":1,`)).mustRefuse(t, 400, "invalid_json")
	// In the vault one text says the first.
	if a := d.do(t, create(`{"name":1,"value":2}`)).want(t, 422).object(t); a["errors"] != nil || a["error"] != "name must be a string." {
		t.Errorf("vault: %v", a)
	}
}
