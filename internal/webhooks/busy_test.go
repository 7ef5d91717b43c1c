package webhooks_test

import (
	"errors"
	"net/http"
	"testing"

	"culvert/internal/webhooks"
	"culvert/vault/vaulttest"
)

// TestBusyEndpoints: with as many endpoints as there may be, every fourth of which answers nothing, all others get every
// event while those hang; and there is no room for one more.
func TestBusyEndpoints(t *testing.T) {
	s := vaulttest.New(t)
	r := newReplica(t, s, func(c *webhooks.DelivererConfig) { c.Timing.Timeout = 2 * patience })
	hang := func(_ http.ResponseWriter, q *http.Request, _ received) { <-q.Context().Done() }
	var prompt, silent []*receiver
	for i := range webhooks.MaxEndpoints {
		if i%4 == 0 {
			silent = append(silent, newReceiver(t, hang))
			r.mustEndpoint(t, silent[len(silent)-1].URL)
			continue
		}
		prompt = append(prompt, newReceiver(t, ok))
		r.mustEndpoint(t, prompt[len(prompt)-1].URL)
	}
	_, err := r.hooks.Create(t.Context(), r.Call(), webhooks.CreateRequest{URL: "https://one.too.many.example/", Events: []string{"vault.data.created"}})
	if !errors.Is(err, webhooks.ErrTooMany) {
		t.Errorf("one endpoint too many: %v", err)
	}
	r.mustObjects(t, "first")
	for _, hanging := range silent {
		hanging.mustReceive(t, "first")
	}
	names := numbered("thing", 20)
	r.mustObjects(t, names...)
	for _, receiver := range prompt {
		receiver.mustReceive(t, append([]string{"first"}, names...)...)
	}
	for _, hanging := range silent {
		if got := hanging.deliveries(); len(got) != 1 {
			t.Errorf("one that hangs got %d deliveries", len(got))
		}
	}
}
