package pipes_test

import (
	"errors"
	"net/url"
	"testing"
	"time"

	"culvert/connectors/connectorstest"
	"culvert/internal/events"
	"culvert/pipes"
	"culvert/pipes/pipestest"
)

func withPushes(t *testing.T) *pipestest.Stack {
	t.Helper()
	s := pipestest.WithConfig(t, pipestest.Config{Provider: connectorstest.Config{Rotate: true, Push: true}})
	pipes.Impatient(s.Broker)
	s.MustIntegration(t, pipestest.Slug)
	return s
}

// Where the provider takes authorization requests ahead of the browser, nothing of one is in the browser's URL. One that
// lay there for too long is pushed anew with the next departure, as another one.
func TestPushedRequest(t *testing.T) {
	s := withPushes(t)
	browser, ticket := s.Browser(), s.MustAuthorize(t, "user_1")
	late := browser.MustDepart(t, ticket)
	u, err := url.Parse(late)
	must(t, err)
	if q := u.Query(); len(q) != 2 || q.Get("client_id") != pipestest.ClientID || q.Get("request_uri") == "" {
		t.Errorf("the browser goes to %s", late)
	}
	s.Clock.Advance(2 * time.Minute)
	onTime := browser.MustDepart(t, ticket)
	if onTime == late || s.Provider.Pushes() != 2 {
		t.Fatalf("%d pushes, to %s", s.Provider.Pushes(), onTime)
	}
	result, err := s.Broker.Callback(t.Context(), browser.Visit(t, onTime))
	if err != nil || result.Account == "" {
		t.Errorf("back: %+v, %v", result, err)
	}
}

// A provider that refuses what is pushed ends the flow, as it would by way of the browser; one that is down does not:
// the button can be pressed again.
func TestPushRefused(t *testing.T) {
	s := withPushes(t)
	browser, ticket := s.Browser(), s.MustAuthorize(t, "user_1")
	browser.MustOpen(t, ticket)
	s.Provider.Next(connectorstest.HTML(503))
	var down *pipes.ProviderError
	if err := errOf(s.Broker.Depart(t.Context(), browser.Request(ticket))); !errors.As(err, &down) {
		t.Fatalf("a provider that is down: %v", err)
	}
	s.Provider.Next(connectorstest.JSON(400, `{"error":"invalid_scope"}`))
	d, err := s.Broker.Depart(t.Context(), browser.Request(ticket))
	if err != nil || d.Ended == nil || d.Ended.Code != pipes.CodeProviderError || d.Ended.ProviderError != "invalid_scope" {
		t.Errorf("a request that is refused: %+v, %v", d, err)
	}
	if all := s.MustEvents(t, events.ConnectionFailed); len(all) != 1 {
		t.Errorf("%d events", len(all))
	}
	s.MustConnect(t, "user_2")
}

// What is pushed has the client's secret with it, so a custom provider's requests are pushed to the origin of its
// token endpoint, and with the one of two secrets that it takes.
func TestPushOfACustomProvider(t *testing.T) {
	s := withPushes(t)
	definition := custom(s)
	create := func() error {
		return errOf(s.Broker.CreateIntegration(t.Context(), s.Call(), pipes.CreateIntegration{
			Slug: "mine", Enabled: true, Custom: definition, Credentials: pipestest.Credentials(), Scopes: []string{"read"},
		}))
	}
	definition.PushURL = "https://elsewhere.example/par"
	wantInvalid(t, create(), "custom_provider.pushed_authorization_request_url")
	definition.PushURL = s.Provider.URL + connectorstest.PushPath
	must(t, create())
	change := rotation(s, newSecret)
	change.Slug = "mine"
	must(t, errOf(s.Broker.UpdateIntegration(t.Context(), s.Call(), change)))
	begun, err := s.Broker.Authorize(t.Context(), s.Call(), pipes.AuthorizeRequest{Slug: "mine", UserID: "user_1"})
	must(t, err)
	result, err := s.Broker.Callback(t.Context(), s.Browser().MustReturn(t, pipestest.Ticket(t, begun.URL)))
	if err != nil || result.Account == "" {
		t.Errorf("connect: %+v, %v", result, err)
	}
	wantTexts(t, secretsSent(s, 0), newSecret, pipestest.ClientSecret, pipestest.ClientSecret)
}
