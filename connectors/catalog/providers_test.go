package catalog_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"culvert/connectors"
	"culvert/connectors/catalog"
	"culvert/internal/secret"

	gocmp "github.com/google/go-cmp/cmp"
)

// TestClientAuthentication: each provider is sent the client's secret in the one way that it takes, once: also
// if it says that the client is none, when another try would be a replay of the code.
func TestClientAuthentication(t *testing.T) {
	const form, asJSON = "application/x-www-form-urlencoded", "application/json"
	var got []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		id, password, _ := r.BasicAuth()
		got = append(got, strings.Join([]string{r.Header.Get("Content-Type"), id + ":" + password, inBody(string(body))}, " "))
		w.Header().Set("Content-Type", asJSON)
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = io.WriteString(w, `{"error":"invalid_client"}`)
	}))
	defer server.Close()
	egress, err := connectors.NewEgress(connectors.EgressConfig{AllowLoopback: true})
	if err != nil {
		t.Fatal(err)
	}
	client, err := connectors.NewClient(connectors.ClientConfig{Egress: egress})
	if err != nil {
		t.Fatal(err)
	}
	for slug, want := range map[string]string{
		"airtable": form + " id:secret ", "figma": form + " id:secret ", "fitbit": form + " id:secret ",
		"quickbooks": form + " id:secret ", "x": form + " id:secret ", "xero": form + " id:secret ", "zoom": form + " id:secret ",
		"notion": asJSON + " id:secret ",
		"github": form + " : client_id=id client_secret=secret", "hubspot": form + " : client_id=id client_secret=secret",
		"datadog-oauth": form + " : client_id=id client_secret=secret", "tiktok": form + " : client_key=id client_secret=secret",
	} {
		conn := moved(t, slug, server.URL)
		got = nil
		_, err := client.Exchange(t.Context(), conn, connectors.Credentials{ID: "id", Secret: secret.New([]byte("secret"))}, connectors.ExchangeRequest{
			Code: secret.New([]byte("code")), Verifier: secret.New([]byte("verifier")), RedirectURI: "https://culvert.example/cb",
		})
		if failed := connectors.Of(err); failed == nil || failed.Class != connectors.ClientRejected {
			t.Errorf("%s: %v", slug, err)
		}
		if diff := gocmp.Diff(got, []string{want}); diff != "" {
			t.Errorf("%s (-got +want):\n%s", slug, diff)
		}
	}
}

// inBody is what a body says of the client; in JSON too, if it says anything.
func inBody(body string) string {
	if strings.HasPrefix(body, "{") {
		return map[bool]string{true: "the client in JSON"}[strings.Contains(body, "client_")]
	}
	form, err := url.ParseQuery(body)
	if err != nil {
		return err.Error()
	}
	var said []string
	for _, name := range []string{"client_id", "client_key", "client_secret"} {
		if form.Has(name) {
			said = append(said, name+"="+form.Get(name))
		}
	}
	return strings.Join(said, " ")
}

// moved is a connector whose endpoints are at a server of the test's.
func moved(t *testing.T, slug, base string) *connectors.Connector {
	t.Helper()
	all, err := connectors.NewCatalog(catalog.All(), map[string]connectors.Endpoints{slug: {BaseURL: base}})
	if err != nil {
		t.Fatal(err)
	}
	conn, _ := all.Connector(slug)
	if conn, err = conn.With(conn.ExampleConfig()); err != nil {
		t.Fatal(err)
	}
	return conn
}

// TestScopeSeparators: who wants commas is asked with commas.
func TestScopeSeparators(t *testing.T) {
	for slug, want := range map[string]string{
		"adobe": "a,b", "facebook": "a,b", "instagram": "a,b", "linear": "a,b", "pinterest": "a,b", "shopify": "a,b", "slack": "a,b",
		"strava": "a,b", "threads": "a,b", "tiktok": "a,b", "todoist": "a,b", "wrike": "a,b", "zoho-crm": "a,b",
		"github": "a b", "google": "a b", "microsoft": "a b",
	} {
		c := block(t, slug)
		conn, err := c.With(c.ExampleConfig())
		if err != nil {
			t.Fatal(err)
		}
		conn.DefaultScopes = []string{"a", "b"} // the copy is the test's
		to, err := url.Parse(authorizationURL(t, conn))
		if err != nil || to.Query().Get("scope") != want {
			t.Errorf("%s is asked for %q, want %q (%v)", slug, to.Query().Get("scope"), want, err)
		}
	}
}

// TestEndsOfGrants: how long a refresh token lives that nobody uses, and when a consent ends whoever uses it.
func TestEndsOfGrants(t *testing.T) {
	const day = 24 * time.Hour
	type ends struct{ Idle, Fixed time.Duration }
	want := map[string]ends{
		"ringcentral": {Idle: 7 * day}, "outreach": {Idle: 14 * day}, "docusign": {Idle: 30 * day},
		"airtable": {Idle: 60 * day}, "box": {Idle: 60 * day}, "miro": {Idle: 60 * day}, "xero": {Idle: 60 * day},
		"klaviyo": {Idle: 90 * day}, "microsoft": {Idle: 90 * day}, "zoom": {Idle: 90 * day}, "quickbooks": {Idle: 100 * day},
		"atlassian": {Idle: 90 * day, Fixed: 365 * day}, "linkedin": {Fixed: 365 * day}, "facebook": {Fixed: 60 * day},
		"amazon-selling-partner": {Fixed: 365 * day},
	}
	got := map[string]ends{}
	for slug := range want {
		c := block(t, slug)
		got[slug] = ends{c.RefreshIdle, c.GrantLifetime}
	}
	if diff := gocmp.Diff(got, want); diff != "" {
		t.Errorf("ends (-got +want):\n%s", diff)
	}
}

// TestConsentsInCommon: where one account's end can be another's.
func TestConsentsInCommon(t *testing.T) {
	for slug, want := range map[string]bool{"atlassian": true, "freshbooks": true, "google": true, "github": false, "salesforce": false} {
		c := block(t, slug)
		if got := c.RevocationEndsGrant(); got != want {
			t.Errorf("%s ends what others have: %v", slug, got)
		}
	}
}
