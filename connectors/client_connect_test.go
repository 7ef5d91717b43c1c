package connectors_test

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"

	"culvert/connectors"
	"culvert/connectors/connectorstest"
)

// TestClientNotSent: failures before there is a connection leave nothing in doubt.
func TestClientNotSent(t *testing.T) {
	provider := connectorstest.Start(t, connectorstest.Config{})
	tls := connectorstest.Start(t, connectorstest.Config{TLS: true})
	silent := httptest.NewUnstartedServer(http.NotFoundHandler()) // accepts connections, and no TLS
	silent.Start()
	defer silent.Close()

	egress := MustEgress(t, connectors.EgressConfig{AllowLoopback: true})
	egress.SetResolver(MustDNS(t, netip.MustParseAddr("10.1.2.3")))
	client := MustClient(t, connectors.ClientConfig{Egress: egress})
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	for _, tc := range []struct {
		name  string
		ctx   context.Context
		url   string
		class connectors.Class
		cause string
	}{
		{"nobody there", t.Context(), "http://127.0.0.1:1/token", connectors.Transient, "connection refused"},
		{"an unknown authority", t.Context(), tls.URL + "/token", connectors.Transient, "unknown authority"},
		{"no TLS", t.Context(), strings.Replace(silent.URL, "http:", "https:", 1) + "/token", connectors.Transient, "not TLS"},
		{"given up already", canceled, provider.URL + "/token", connectors.Transient, "canceled"},
		{"a name that leads inside", t.Context(), "https://provider.example/token", connectors.Blocked, "private"},
		{"an inside address", t.Context(), "https://169.254.169.254/token", connectors.Blocked, "metadata"},
		{"http to the outside", t.Context(), "http://provider.example/token", connectors.Blocked, "https"},
		{"no endpoint", t.Context(), "", connectors.Refused, "no token endpoint"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			conn := provider.Connector("test")
			conn.TokenURL = tc.url
			_, err := client.Refresh(tc.ctx, &conn, provider.Credentials(), hidden("r"))
			if got := MustFail(t, err); got.Class != tc.class || !strings.Contains(err.Error(), tc.cause) {
				t.Errorf("got %v (%v), want %v with %q", got.Class, err, tc.class, tc.cause)
			}
		})
	}
	if n := len(provider.Requests()) + len(tls.Requests()); n != 0 {
		t.Errorf("%d requests arrived", n)
	}
	// The twin: the authority that the client was told to trust.
	if _, err := tls.Client(t).Refresh(t.Context(), pointer(tls.Connector("test")), tls.Credentials(), hidden("r")); err == nil {
		t.Error("an unknown refresh token was taken")
	} else if got := MustFail(t, err); got.Class != connectors.DeadGrant {
		t.Errorf("over TLS: %v", err)
	}
}

// TestClientConnectsAnew: no connection is used twice, so that none can be found dead with a request on it.
func TestClientConnectsAnew(t *testing.T) {
	var connections atomic.Int32
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(`{"access_token":"a"}`))
	}))
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			connections.Add(1)
		}
	}
	server.Start()
	defer server.Close()
	client := MustClient(t, connectors.ClientConfig{})
	conn := &connectors.Connector{TokenURL: server.URL, Body: connectors.BodyForm}
	for range 3 {
		if _, err := client.Refresh(t.Context(), conn, connectors.Credentials{ID: "id"}, hidden("r")); err != nil {
			t.Fatal(err)
		}
	}
	if got := connections.Load(); got != 3 {
		t.Errorf("%d connections for 3 calls", got)
	}
}

// TestClientAsksNoProxy: a proxy of the environment would resolve names behind the back of the rules. The
// environment is read once per process, so the call is made in one of its own.
func TestClientAsksNoProxy(t *testing.T) {
	if os.Getenv("HTTPS_PROXY") == "" {
		var asked atomic.Int32
		proxy := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Add(1) }))
		defer proxy.Close()
		child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestClientAsksNoProxy$")
		child.Env = append(os.Environ(), "HTTPS_PROXY="+proxy.URL)
		if out, err := child.CombinedOutput(); err != nil || asked.Load() != 0 {
			t.Errorf("%v, and the proxy was asked %d times\n%s", err, asked.Load(), out)
		}
		return
	}
	egress := MustEgress(t, connectors.EgressConfig{AllowLoopback: true})
	egress.SetResolver(MustDNS(t, netip.MustParseAddr("10.1.2.3")))
	conn := &connectors.Connector{TokenURL: "https://provider.example/token", Body: connectors.BodyForm}
	_, err := MustClient(t, connectors.ClientConfig{Egress: egress}).Refresh(t.Context(), conn, connectors.Credentials{}, hidden("r"))
	if got := MustFail(t, err); got.Class != connectors.Blocked {
		t.Errorf("got %v (%v), want it blocked", got.Class, err)
	}
}
