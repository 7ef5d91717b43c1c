package server_test

import (
	"strings"
	"testing"

	"culvert/internal/access"
	"culvert/pipes/pipestest"
	"culvert/server"
)

// pipesRoutes is the part of the table that the broker has.
func pipesRoutes() []server.Route {
	const (
		account = "/user_management/users/:user_id/connected_accounts/:slug"
		shared  = "/organizations/:organization_id/connected_accounts/:slug"

		configurations = "/organizations/:organization_id/data_integration_configurations"
	)
	rows := []server.Route{
		{Method: "POST", Path: "/data-integrations", Action: access.IntegrationsManage},
		{Method: "GET", Path: "/data-integrations", Action: access.IntegrationsRead},
		{Method: "GET", Path: "/data-integrations/:slug", Action: access.IntegrationsRead},
		{Method: "PUT", Path: "/data-integrations/:slug", Action: access.IntegrationsManage},
		{Method: "DELETE", Path: "/data-integrations/:slug", Action: access.IntegrationsManage},
		{Method: "GET", Path: "/data-integrations/:slug/organization", Action: access.IntegrationsRead},
		{Method: "PUT", Path: "/data-integrations/:slug/organization", Action: access.IntegrationsManage},
		{Method: "DELETE", Path: "/data-integrations/:slug/organization", Action: access.IntegrationsManage},
		{Method: "POST", Path: "/data-integrations/:slug/authorize", Action: access.PipesAuthorize},
		{Method: "POST", Path: "/data-integrations/:slug/token", Action: access.TokenVend},
		{Method: "POST", Path: "/data-integrations/:slug/credentials", Action: access.TokenVend},
		{Method: "PUT", Path: "/data-integrations/:slug/api-key", Action: access.AccountsManage},
		{Method: "POST", Path: "/data-integrations/:slug/api-key", Action: access.AccountsManage},
		{Method: "PUT", Path: "/data-integrations/:slug/client-credentials", Action: access.AccountsManage},
		{Method: "POST", Path: "/data-integrations/:slug/client-credentials", Action: access.AccountsManage},
		{Method: "GET", Path: "/data-integrations/:ticket/authorize-redirect", Action: access.FlowConfirm, Browser: true},
		{Method: "POST", Path: "/data-integrations/:ticket/authorize-redirect", Action: access.FlowConfirm, Browser: true},
		{Method: "POST", Path: "/data-integrations/:ticket/cancel", Action: access.FlowConfirm, Browser: true},
		{Method: "GET", Path: "/data-integrations/:slug/:dik/callback", Action: access.FlowComplete, Browser: true},
		{Method: "POST", Path: "/data-integrations/:slug/:dik/callback", Action: access.FlowComplete, Browser: true},
		{Method: "GET", Path: "/data-integrations/:flow/account-choice", Action: access.FlowComplete, Browser: true},
		{Method: "POST", Path: "/data-integrations/:flow/account-choice", Action: access.FlowComplete, Browser: true},
		{Method: "GET", Path: "/pipes/redirecting", Browser: true},
		{Method: "GET", Path: "/pipes/authorize", Action: access.FlowConfirm, Browser: true},
		{Method: "POST", Path: "/pipes/authorize", Action: access.FlowConfirm, Browser: true},
		{Method: "GET", Path: account, Action: access.AccountsRead},
		{Method: "POST", Path: account, Action: access.AccountsManage},
		{Method: "PUT", Path: account, Action: access.AccountsManage},
		{Method: "DELETE", Path: account, Action: access.AccountsManage},
		{Method: "GET", Path: "/user_management/users/:user_id/data_providers", Action: access.AccountsRead},
		{Method: "GET", Path: shared, Action: access.AccountsRead},
		{Method: "POST", Path: shared, Action: access.AccountsManage},
		{Method: "PUT", Path: shared, Action: access.AccountsManage},
		{Method: "DELETE", Path: shared, Action: access.AccountsManage},
		{Method: "GET", Path: "/organizations/:organization_id/data_providers", Action: access.AccountsRead},
		{Method: "GET", Path: configurations, Action: access.IntegrationsRead},
		{Method: "PUT", Path: configurations + "/:slug", Action: access.IntegrationsManage},
		{Method: "PUT", Path: configurations + "/:slug/organization", Action: access.IntegrationsManage},
		{Method: "POST", Path: "/culvert/v1/authorizations/finish", Action: access.PipesFinish},
		{Method: "GET", Path: "/culvert/v1/connectors", Action: access.IntegrationsRead},
		{Method: "GET", Path: "/culvert/v1/data-integrations/:slug/attempts", Action: access.AttemptsRead},
		{Method: "POST", Path: "/culvert/v1/data-integrations/:slug/token-refused", Action: access.TokenReport},
		{Method: "GET", Path: "/culvert/v1/revocations", Action: access.AccountsRead},
		{Method: "GET", Path: "/culvert/v1/revocations/:id", Action: access.AccountsRead},
	}
	for i, row := range rows {
		if strings.HasPrefix(row.Path, "/data-integrations") {
			rows[i].Alias = strings.Replace(row.Path, "-", "_", 1)
		}
	}
	return rows
}

// pipesBodies are bodies that pass decoding, by route.
func pipesBodies() map[string]string {
	const user = `{"user_id":"user_1"}`
	return map[string]string{
		"POST /data-integrations":                   `{"provider":"provider"}`,
		"PUT /data-integrations/:slug":              `{}`,
		"PUT /data-integrations/:slug/organization": `{}`,
		"POST /data-integrations/:slug/authorize":   user,
		"POST /data-integrations/:slug/token":       user,
		"POST /data-integrations/:slug/credentials": user,

		"POST /organizations/:organization_id/connected_accounts/:slug": user,
		"PUT /organizations/:organization_id/connected_accounts/:slug":  user,

		"PUT /organizations/:organization_id/data_integration_configurations/:slug":              `{"enabled":true}`,
		"PUT /organizations/:organization_id/data_integration_configurations/:slug/organization": `{"enabled":true}`,

		"POST /culvert/v1/data-integrations/:slug/token-refused": `{"user_id":"user_1","access_token":"t"}`,

		"POST /culvert/v1/authorizations/finish": `{"result_id":"x","code_verifier":"` + strings.Repeat("v", 43) + `"}`,
		"PUT /data-integrations/:slug/api-key":   `{"user_id":"user_1","secret":"s"}`,
		"POST /data-integrations/:slug/api-key":  `{"user_id":"user_1","secret":"s","connection_intent":"add"}`,

		"PUT /data-integrations/:slug/client-credentials":  `{"user_id":"user_1","client_id":"c","client_secret":"s"}`,
		"POST /data-integrations/:slug/client-credentials": `{"user_id":"user_1","client_id":"c","client_secret":"s","connection_intent":"add"}`,
	}
}

// TestBothSpellings: every row below /data-integrations is served under the other spelling too, by the
// same row: the audit trail and the metrics know one name.
func TestBothSpellings(t *testing.T) {
	d := newPipesDoor(t, pipestest.Config{})
	d.mustIntegration(t, pipestest.Slug, "")
	aliased := 0
	for _, row := range d.server.Routes() {
		if row.Alias == "" {
			continue
		}
		aliased++
		fill := strings.NewReplacer(":slug", pipestest.Second, ":ticket", "x", ":flow", "z", ":dik", "y")
		body := pipesBodies()[row.Method+" "+row.Path]
		first := d.do(t, request{method: row.Method, path: fill.Replace(row.Path), body: body})
		second := d.do(t, request{method: row.Method, path: fill.Replace(row.Alias), body: body})
		if first.status != second.status || first.header.Get("Content-Type") != second.header.Get("Content-Type") {
			t.Errorf("%s %s: %d, and %d under the other spelling", row.Method, row.Path, first.status, second.status)
		}
		if row.Browser {
			continue
		}
		for _, a := range []answer{first, second} {
			records := d.stack.MustAuditOf(t, a.header.Get("X-Request-Id"))
			if len(records) == 0 || records[0].Route != row.Method+" "+row.Path {
				t.Errorf("%s: audit records %+v", row.Alias, records)
			}
		}
	}
	if aliased == 0 {
		t.Error("no row has a second spelling")
	}
	if text := metrics(d.server); strings.Contains(text, "data_integrations") || !strings.Contains(text, `route="/data-integrations/:slug"`) {
		t.Error("metrics know the second spelling, or not the first")
	}
	// No other path has two.
	d.do(t, get("/user-management/users/user_1/data_providers")).mustRefuse(t, 404, "route_not_found")
	d.do(t, get("/culvert/v1/data_integrations/provider/attempts")).mustRefuse(t, 404, "route_not_found")
}
