package connectors_test

import (
	"testing"
	"time"

	"culvert/connectors"
	"culvert/internal/secret"
)

// start is when every call of these tests happens, unless a test says otherwise.
func start() time.Time { return time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC) }

func hidden(text string) secret.Bytes { return secret.New([]byte(text)) }

// plainTokens is what tests compare: [connectors.Tokens] in clear, with times as distances from the call.
type plainTokens struct {
	Access, Refresh            string
	Lifetime, RefreshLifetime  time.Duration
	Endless, RefreshEndUnknown bool
	Scopes                     []string
}

func reveal(t connectors.Tokens) plainTokens {
	p := plainTokens{
		Access:            string(t.Access.Reveal()),
		Refresh:           string(t.Refresh.Reveal()),
		Endless:           t.ExpiresAt.IsZero(),
		RefreshEndUnknown: t.RefreshExpiresAt.IsZero(),
		Scopes:            t.Scopes,
	}
	if !p.Endless {
		p.Lifetime = t.ExpiresAt.Sub(start())
	}
	if !p.RefreshEndUnknown {
		p.RefreshLifetime = t.RefreshExpiresAt.Sub(start())
	}
	return p
}

// failure is what tests compare of an [connectors.Error].
type failure struct {
	Class  connectors.Class
	Code   string
	Status int
	After  time.Duration
}

func MustFail(t *testing.T, err error) failure {
	t.Helper()
	e := connectors.Of(err)
	if e == nil {
		t.Fatalf("error is %v, want a *connectors.Error", err)
	}
	return failure{e.Class, e.Code, e.Status, e.RetryAfter}
}

func MustEgress(t testing.TB, c connectors.EgressConfig) *connectors.Egress {
	t.Helper()
	e, err := connectors.NewEgress(c)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func MustClient(t testing.TB, c connectors.ClientConfig) *connectors.Client {
	t.Helper()
	if c.Egress == nil {
		c.Egress = MustEgress(t, connectors.EgressConfig{AllowLoopback: true})
	}
	client, err := connectors.NewClient(c)
	if err != nil {
		t.Fatal(err)
	}
	return client
}
