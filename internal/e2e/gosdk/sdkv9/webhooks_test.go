package sdkv9_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/workos/workos-go/v9"

	"culvert/internal/e2e/gosdk/sdktest"
)

// TestWebhooks: the SDK makes an endpoint, verifies what arrives there, and removes it.
func TestWebhooks(t *testing.T) {
	c := newClient(t)
	type delivery struct{ signature, body string }
	arrived := make(chan delivery, 100)
	receiver := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		arrived <- delivery{r.Header.Get("WorkOS-Signature"), string(body)}
	}))
	defer receiver.Close()
	endpoint, err := c.Webhooks().CreateEndpoint(t.Context(), &workos.WebhooksCreateEndpointParams{
		EndpointURL: receiver.URL, Events: []workos.CreateWebhookEndpointEvents{"vault.data.created"},
	})
	if err != nil {
		t.Fatal(err)
	}
	o := mustCreate(t, c, sdktest.Unique(""), map[string]string{"mark": sdktest.Unique("")})
	verifier := workos.NewWebhookVerifier(endpoint.Secret)
	for found := false; !found; {
		select {
		case d := <-arrived:
			event, err := verifier.ConstructEvent(d.signature, d.body)
			if err != nil {
				t.Fatalf("the SDK does not verify %s: %v", d.signature, err)
			}
			if _, err := workos.NewWebhookVerifier("whsec_another").ConstructEvent(d.signature, d.body); err == nil {
				t.Error("the SDK verifies with any secret")
			}
			found = event.Data["kv_name"] == o.Name && event.Event == "vault.data.created"
		case <-time.After(30 * time.Second):
			t.Fatal("the event does not arrive")
		}
	}
	if err := c.Webhooks().DeleteEndpoint(t.Context(), endpoint.ID); err != nil {
		t.Fatal(err)
	}
}
