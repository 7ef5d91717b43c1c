package server_test

import (
	"cmp"
	"net/http"
	"slices"
	"strings"
	"testing"

	"culvert/internal/access"
	"culvert/server"
)

// TestUnauthenticated: whatever is wrong with the credential, the answer is the same to the byte (but
// for the request id), on every route that asks for one.
func TestUnauthenticated(t *testing.T) {
	d := newDoor(t)
	id := d.mustCreate(t, "thing", "value")["id"].(string)
	key := d.key()
	other, err := access.GenerateAPIKey(d.stack.Environment.ID(), d.stack.IDs.Now())
	must(t, err)
	unknown := string(other.Text().Reveal())
	before := d.dump(t)
	for name, header := range map[string][]string{
		"missing": nil, "empty": {""}, "scheme alone": {"Bearer"}, "scheme and space": {"Bearer "}, "no scheme": {key},
		"another scheme": {"Basic " + key}, "two": {"Bearer " + key, "Bearer " + key}, "good and bad": {"Bearer " + key, "Bearer x"},
		"list": {"Bearer " + key + ", Bearer " + key}, "in quotes": {`Bearer "` + key + `"`}, "tab": {"Bearer\t" + key},
		"garbage": {"Bearer " + marker}, "cut": {"Bearer " + key[:len(key)-1]}, "longer": {"Bearer " + key + "x"},
		"upper case": {"Bearer " + strings.ToUpper(key)}, "flipped checksum": {"Bearer " + flipLast(key)},
		"unknown": {"Bearer " + unknown}, "known id, another secret": {"Bearer " + spliced(t, key, unknown)},
		"huge": {"Bearer " + strings.Repeat("x", 32<<10)},
	} {
		for _, row := range d.server.Routes() {
			if row.Action == "" || row.Browser {
				continue
			}
			path := strings.NewReplacer(":id", id, ":name", "thing", ":slug", "provider", ":user_id", "user_1").Replace(row.Path)
			a := d.do(t, request{method: row.Method, path: path, body: marker, header: map[string][]string{"Authorization": header}})
			a.mustRefuse(t, http.StatusUnauthorized, "unauthorized")
			want := map[string]any{"message": "Unauthorized", "code": "unauthorized", "request_id": requestShape}
			if strings.HasPrefix(row.Path, "/vault/") {
				want["error"] = "Unauthorized"
			}
			shape(t, a.object(t), want)
			if got := a.header.Get("Www-Authenticate"); got != "Bearer" {
				t.Errorf("%s: WWW-Authenticate %q", name, got)
			}
			if len(d.stack.MustAuditOf(t, a.header.Get("X-Request-Id"))) > 0 {
				t.Errorf("%s: a refusal before authentication is in the audit trail", name)
			}
		}
	}
	if after := d.dump(t); after != before {
		t.Error("the store changed")
	}
	for _, header := range []string{"Bearer " + key, "bearer " + key, "BEARER  " + key} {
		d.do(t, get(kv).with("Authorization", header)).want(t, 200)
	}
	// A key anywhere else is no key, and no obstacle.
	d.do(t, get(kv+"?access_token="+key).with("Authorization")).want(t, 401)
	d.do(t, get(kv).with("Authorization").with("X-Api-Key", key)).want(t, 401)
	d.do(t, get(kv).with("X-Api-Key", "x")).want(t, 200)
}

func flipLast(key string) string {
	last := byte('0')
	if key[len(key)-1] == last {
		last = '1'
	}
	return key[:len(key)-1] + string(last)
}

// spliced is a well-formed key with the id of one and the secret of another, which only its checksum
// and its hash give away.
func spliced(t testing.TB, id, secret string) string {
	t.Helper()
	a, b := strings.Split(id, "_"), strings.Split(secret, "_")
	a[3], a[4] = b[3], b[4]
	return strings.Join(a, "_")
}

// TestRoutesAndActions: the table of the server is this one, and each row asks for its action.
func TestRoutesAndActions(t *testing.T) {
	d := newDoor(t)
	want := append([]server.Route{
		{Method: "POST", Path: "/vault/v1/kv", Action: access.DataCreate},
		{Method: "GET", Path: "/vault/v1/kv", Action: access.NamesList},
		{Method: "GET", Path: "/vault/v1/kv/name/:name", Action: access.DataRead},
		{Method: "GET", Path: "/vault/v1/kv/:id", Action: access.DataRead},
		{Method: "PUT", Path: "/vault/v1/kv/:id", Action: access.DataUpdate},
		{Method: "DELETE", Path: "/vault/v1/kv/:id", Action: access.DataDelete},
		{Method: "GET", Path: "/vault/v1/kv/:id/metadata", Action: access.MetadataRead},
		{Method: "GET", Path: "/vault/v1/kv/:id/versions", Action: access.MetadataRead},
		{Method: "POST", Path: "/vault/v1/keys/data-key", Action: access.DEKCreate},
		{Method: "POST", Path: "/vault/v1/keys/decrypt", Action: access.DEKDecrypt},
		{Method: "POST", Path: "/vault/v1/keys/rekey", Action: access.DEKRekey},
		{Method: "GET", Path: "/culvert/v1/usage", Action: access.UsageRead},
		{Method: "GET", Path: "/culvert/v1/keks", Action: access.KEKRead},
		{Method: "GET", Path: "/culvert/v1/keks/:id", Action: access.KEKRead},
		{Method: "POST", Path: "/culvert/v1/keks/:id/rotate", Action: access.KEKRotate},
		{Method: "POST", Path: "/culvert/v1/jobs", Action: access.JobCreate},
		{Method: "GET", Path: "/culvert/v1/jobs", Action: access.JobRead},
		{Method: "GET", Path: "/culvert/v1/jobs/:id", Action: access.JobRead},
		{Method: "POST", Path: "/culvert/v1/jobs/:id/cancel", Action: access.JobCancel},
		{Method: "POST", Path: "/culvert/v1/cmks", Action: access.CMKAttach},
		{Method: "GET", Path: "/culvert/v1/cmks", Action: access.CMKRead},
		{Method: "GET", Path: "/culvert/v1/cmks/:id", Action: access.CMKRead},
		{Method: "POST", Path: "/culvert/v1/cmks/:id/verify", Action: access.CMKVerify},
		{Method: "DELETE", Path: "/culvert/v1/cmks/:id", Action: access.CMKDetach},
		{Method: "POST", Path: "/culvert/v1/jobs/:id/resume", Action: access.JobCreate},
		{Method: "GET", Path: "/culvert/v1/rotation-schedule", Action: access.ScheduleRead},
		{Method: "PUT", Path: "/culvert/v1/rotation-schedule", Action: access.ScheduleManage},
		{Method: "DELETE", Path: "/culvert/v1/rotation-schedule", Action: access.ScheduleManage},
		{Method: "POST", Path: "/culvert/v1/api-keys", Action: access.APIKeyCreate},
		{Method: "GET", Path: "/culvert/v1/api-keys", Action: access.APIKeyRead},
		{Method: "GET", Path: "/culvert/v1/api-keys/:id", Action: access.APIKeyRead},
		{Method: "POST", Path: "/culvert/v1/api-keys/:id/rotate", Action: access.APIKeyRotate},
		{Method: "POST", Path: "/culvert/v1/api-keys/:id/expire", Action: access.APIKeyExpire},
		{Method: "DELETE", Path: "/culvert/v1/api-keys/:id", Action: access.APIKeyRevoke},
		{Method: "POST", Path: "/culvert/v1/roles", Action: access.RoleCreate},
		{Method: "GET", Path: "/culvert/v1/roles", Action: access.RoleRead},
		{Method: "GET", Path: "/culvert/v1/roles/:name", Action: access.RoleRead},
		{Method: "PUT", Path: "/culvert/v1/roles/:name", Action: access.RoleUpdate},
		{Method: "DELETE", Path: "/culvert/v1/roles/:name", Action: access.RoleDelete},
		{Method: "POST", Path: "/culvert/v1/access/explain", Action: access.AccessExplain},
		{Method: "POST", Path: "/culvert/v1/environments", Action: access.EnvironmentsCreate},
		{Method: "GET", Path: "/culvert/v1/environments", Action: access.EnvironmentsRead},
		{Method: "GET", Path: "/culvert/v1/environments/:id", Action: access.EnvironmentsRead},
		{Method: "GET", Path: "/organizations/:organization_id/api_keys", Action: access.APIKeyRead},
		{Method: "POST", Path: "/organizations/:organization_id/api_keys", Action: access.APIKeyCreate},
		{Method: "POST", Path: "/api_keys/validations", Action: access.APIKeyValidate},
		{Method: "POST", Path: "/api_keys/:id/expire", Action: access.APIKeyExpire},
		{Method: "DELETE", Path: "/api_keys/:id", Action: access.APIKeyRevoke},
		{Method: "GET", Path: "/events", Action: access.EventsList},
		{Method: "POST", Path: "/webhook_endpoints", Action: access.WebhooksCreate},
		{Method: "GET", Path: "/webhook_endpoints", Action: access.WebhooksRead},
		{Method: "PATCH", Path: "/webhook_endpoints/:id", Action: access.WebhooksUpdate},
		{Method: "DELETE", Path: "/webhook_endpoints/:id", Action: access.WebhooksDelete},
		{Method: "GET", Path: "/culvert/v1/webhooks/:id", Action: access.WebhooksRead},
		{Method: "POST", Path: "/culvert/v1/webhooks/:id/rotate-secret", Action: access.WebhooksRotate},
		{Method: "POST", Path: "/culvert/v1/webhooks/:id/replay", Action: access.WebhooksReplay},
		{Method: "GET", Path: "/culvert/v1/webhooks/:id/deliveries", Action: access.WebhooksRead},
		{Method: "GET", Path: "/culvert/v1/webhooks/:id/dead-letters", Action: access.WebhooksRead},
		{Method: "GET", Path: "/culvert/v1/audit/records", Action: access.AuditRead},
		{Method: "GET", Path: "/culvert/v1/audit/checkpoints", Action: access.AuditProve},
		{Method: "POST", Path: "/culvert/v1/audit/key/rotate", Action: access.AuditKeyRotate},
		{Method: "GET", Path: "/culvert/v1/audit/proofs/inclusion", Action: access.AuditProve},
		{Method: "GET", Path: "/culvert/v1/audit/proofs/consistency", Action: access.AuditProve},
		{Method: "POST", Path: "/audit_logs/exports", Action: access.AuditExport},
		{Method: "GET", Path: "/audit_logs/exports/:id", Action: access.AuditExportRead},
		{Method: "GET", Path: "/audit_logs/exports/:id/file", Action: access.AuditExportRead},
		{Method: "GET", Path: "/culvert/v1/audit/streams", Action: access.AuditStreamsRead},
		{Method: "POST", Path: "/culvert/v1/audit/streams/:name/rewind", Action: access.AuditStreamsRewind},
		{Method: "GET", Path: "/healthz"},
		{Method: "GET", Path: "/readyz"},
	}, pipesRoutes()...)
	compare := func(a, b server.Route) int { return cmp.Compare(a.Path+a.Method, b.Path+b.Method) }
	got := d.server.Routes()
	for i := range got {
		got[i].Once = false // TestOnce has a list of its own
	}
	slices.SortFunc(got, compare)
	slices.SortFunc(want, compare)
	shape(t, toAny(got), toAny(want))

	id := d.mustCreate(t, "thing", "value")["id"].(string)
	before := d.dump(t)
	powerless := "Bearer " + string(d.stack.MustAPIKey(t, "no such role").Text().Reveal())
	bodies := map[string]string{
		"POST /vault/v1/kv": createBody("x", "v"), "PUT /vault/v1/kv/:id": `{"value":"v"}`,
		"POST /vault/v1/keys/data-key": `{"context":{}}`, "POST /vault/v1/keys/decrypt": `{"keys":"AAAA"}`,
		"POST /culvert/v1/jobs":             `{"kind":"rewrap","all":true}`,
		"PUT /culvert/v1/rotation-schedule": `{"older_than":"2160h"}`,
		"POST /culvert/v1/cmks":             `{"context_name":"organization_id","context_value":"org_1","key":"x"}`,
		"POST /vault/v1/keys/rekey":         `{"context":{},"encrypted_keys":"AAAA"}`,
		"POST /webhook_endpoints":           `{"endpoint_url":"http://127.0.0.1:1/","events":["vault.data.created"]}`, "PATCH /webhook_endpoints/:id": `{}`,
		"POST /culvert/v1/audit/streams/:name/rewind":   `{"index":0}`,
		"POST /audit_logs/exports":                      `{"range_start":"2026-01-01T00:00:00Z","range_end":"2027-01-01T00:00:00Z"}`,
		"POST /culvert/v1/webhooks/:id/replay":          `{"since":"2026-01-01T00:00:00Z"}`,
		"POST /culvert/v1/api-keys":                     `{"name":"x","role":"reader"}`,
		"POST /culvert/v1/roles":                        roleBody,
		"POST /culvert/v1/environments":                 `{"name":"x"}`,
		"PUT /culvert/v1/roles/:name":                   roleBody,
		"POST /culvert/v1/access/explain":               `{"action":"vault.data.read"}`,
		"POST /api_keys/validations":                    `{"value":"x"}`,
		"POST /organizations/:organization_id/api_keys": `{"name":"x"}`,
	}
	for name, body := range pipesBodies() {
		bodies[name] = body
	}
	for _, row := range d.server.Routes() {
		name := row.Method + " " + row.Path
		path := strings.NewReplacer(":id", id, ":name", "thing", "/events", allEvents, "/inclusion", "/inclusion?index=0", "/consistency", "/consistency?from=1", ":slug", "provider", ":user_id", "user_1").Replace(row.Path)
		if row.Browser {
			continue // whoever holds a ticket or flow state may, and nobody else: TestTickets
		}
		a := d.do(t, request{method: row.Method, path: path, body: bodies[name]}.with("Authorization", powerless))
		if row.Action == "" {
			a.want(t, 200)
			continue
		}
		a.mustRefuse(t, 403, "forbidden")
		records := d.stack.MustAuditOf(t, a.header.Get("X-Request-Id"))
		if len(records) != 1 || records[0].Result != "denied" || records[0].Action != row.Action || records[0].Route != name {
			t.Errorf("%s: audit records %+v", name, records)
		}
	}
	if after := d.dump(t); after != before {
		t.Error("the store changed")
	}
}

// Every call is told within seconds that storage is away, but for those that may be in the middle of something
// with a provider.
func TestOnlyWhatMayAskAProviderWaitsLonger(t *testing.T) {
	want := []string{
		"DELETE /data-integrations/:slug", "DELETE /data-integrations/:slug/organization",
		"DELETE /organizations/:organization_id/connected_accounts/:slug",
		"DELETE /user_management/users/:user_id/connected_accounts/:slug",
		"GET /data-integrations/:flow/account-choice", "GET /data-integrations/:slug/:dik/callback", "GET /data-integrations/:ticket/authorize-redirect",
		"GET /pipes/authorize", "GET /pipes/redirecting",
		"POST /culvert/v1/data-integrations/:slug/token-refused", "POST /data-integrations", "POST /data-integrations/:flow/account-choice", "POST /data-integrations/:slug/:dik/callback", "POST /data-integrations/:slug/api-key", "POST /data-integrations/:slug/authorize", "POST /data-integrations/:slug/client-credentials", "POST /data-integrations/:slug/credentials",
		"POST /data-integrations/:slug/token", "POST /data-integrations/:ticket/authorize-redirect", "POST /data-integrations/:ticket/cancel",
		"POST /organizations/:organization_id/connected_accounts/:slug", "POST /pipes/authorize",
		"POST /user_management/users/:user_id/connected_accounts/:slug",
		"PUT /data-integrations/:slug", "PUT /data-integrations/:slug/api-key", "PUT /data-integrations/:slug/client-credentials", "PUT /data-integrations/:slug/organization",
		"PUT /organizations/:organization_id/connected_accounts/:slug",
		"PUT /organizations/:organization_id/data_integration_configurations/:slug",
		"PUT /organizations/:organization_id/data_integration_configurations/:slug/organization",
		"PUT /user_management/users/:user_id/connected_accounts/:slug",
	}
	got := newDoor(t).server.Unhurried()
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("routes that may wait longer: %q", got)
	}
}

func toAny(rows []server.Route) []any {
	out := make([]any, len(rows))
	for i, r := range rows {
		out[i] = r
	}
	return out
}
