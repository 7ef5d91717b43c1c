package pipestest

import (
	"strings"
	"testing"
	"time"

	"culvert/internal/id"
	"culvert/internal/secret"
	"culvert/pipes"
)

// Secret is a secret of a test.
func Secret(text string) secret.Bytes { return secret.New([]byte(text)) }

// Credentials are those that the provider accepts.
func Credentials() *pipes.ClientCredentials {
	return &pipes.ClientCredentials{Type: "custom", ID: ClientID, Secret: Secret(ClientSecret)}
}

// MustIntegration configures a slug of the catalogue, enabled, for accounts of users.
func (s *Stack) MustIntegration(t testing.TB, slug string) pipes.IntegrationView {
	t.Helper()
	i, err := s.Broker.CreateIntegration(t.Context(), s.Call(), pipes.CreateIntegration{
		Slug: slug, Enabled: true, Credentials: Credentials(),
	})
	must(t, "create integration", err)
	return i
}

// MustAuthorize begins a flow of a user with [Slug], and returns its ticket.
func (s *Stack) MustAuthorize(t testing.TB, user string) (ticket string) {
	t.Helper()
	begun, err := s.Broker.Authorize(t.Context(), s.Call(), pipes.AuthorizeRequest{
		Slug: Slug, UserID: user, UserLabel: user + "@example.com", ReturnTo: ReturnTo + "/done?a=1",
	})
	must(t, "authorize", err)
	return Ticket(t, begun.URL)
}

// Ticket is the ticket in a URL of authorize.
func Ticket(t testing.TB, url string) string {
	t.Helper()
	const before, behind = PublicURL + "/data-integrations/", "/authorize-redirect"
	if len(url) < len(before)+len(behind) || url[:len(before)] != before || url[len(url)-len(behind):] != behind {
		t.Fatalf("authorize gave a URL of another form: %d bytes", len(url))
	}
	return url[len(before) : len(url)-len(behind)]
}

// Browser is a browser with its flow cookie.
type Browser struct {
	stack  *Stack
	Cookie secret.Bytes
	// Form is the hidden field of the confirmation page that was seen last.
	Form string
}

// Browser is one without a cookie.
func (s *Stack) Browser() *Browser { return &Browser{stack: s} }

// Request is what the browser sends to the legs before the provider.
func (b *Browser) Request(ticket string) pipes.BrowserRequest {
	return pipes.BrowserRequest{RequestID: "req_" + id.ULID(time.Now()), Ticket: ticket, Binding: b.Cookie, Form: b.Form}
}

// MustOpen shows the confirmation page and keeps its cookie and form.
func (b *Browser) MustOpen(t testing.TB, ticket string) pipes.ConfirmationPage {
	t.Helper()
	page, err := b.stack.Broker.Confirmation(t.Context(), b.Request(ticket))
	must(t, "confirmation page", err)
	b.Cookie, b.Form = page.Binding, page.Form
	return page
}

// MustDepart opens the page, goes on, and returns the provider's URL.
func (b *Browser) MustDepart(t testing.TB, ticket string) string {
	t.Helper()
	b.MustOpen(t, ticket)
	d, err := b.stack.Broker.Depart(t.Context(), b.Request(ticket))
	must(t, "depart", err)
	return d.URL
}

// MustReturn goes through the whole flow up to the callback, which it returns without sending it.
func (b *Browser) MustReturn(t testing.TB, ticket string) pipes.CallbackRequest {
	t.Helper()
	return b.Visit(t, b.MustDepart(t, ticket))
}

// Visit opens the provider's URL, where the user says yes, and returns the callback that follows.
func (b *Browser) Visit(t testing.TB, url string) pipes.CallbackRequest {
	t.Helper()
	back := b.stack.Provider.Visit(t, url)
	slug, dik, ok := splitCallback(back.Path)
	if !ok || back.Scheme+"://"+back.Host != PublicURL {
		t.Fatalf("the provider sent the browser to %s://%s%s", back.Scheme, back.Host, back.Path)
	}
	q := back.Query()
	return pipes.CallbackRequest{
		RequestID: "req_" + id.ULID(time.Now()), Slug: slug, DIK: dik, State: q.Get("state"), Code: Secret(q.Get("code")),
		Issuer: q.Get("iss"), ProviderError: q.Get("error"), ProviderErrorDescription: q.Get("error_description"),
		Binding: b.Cookie,
	}
}

// MustConnect connects a user's account in a browser of its own.
func (s *Stack) MustConnect(t testing.TB, user string) pipes.AccountID {
	t.Helper()
	result, err := s.Broker.Callback(t.Context(), s.Browser().MustReturn(t, s.MustAuthorize(t, user)))
	must(t, "callback", err)
	if result.Code != "" || result.Account == "" {
		t.Fatalf("connect %s: got %+v", user, result)
	}
	return result.Account
}

// Request is one about a user's account with [Slug].
func Request(user string) pipes.Request { return pipes.Request{Slug: Slug, UserID: user} }

// MustToken vends a token that is active.
func (s *Stack) MustToken(t testing.TB, user string) pipes.Vended {
	t.Helper()
	v, err := s.Broker.Token(t.Context(), s.Call(), Request(user))
	must(t, "token", err)
	if !v.Active {
		t.Fatalf("token of %s: %s", user, v.Error)
	}
	return v
}

// MustAccount reads a user's account.
func (s *Stack) MustAccount(t testing.TB, user string) pipes.Account {
	t.Helper()
	a, err := s.Broker.Account(t.Context(), s.Call(), Request(user))
	must(t, "account", err)
	return a
}

// splitCallback takes the path of a callback apart.
func splitCallback(path string) (slug, dik string, ok bool) {
	parts := strings.Split(path, "/")
	if len(parts) != 5 || parts[1] != "data-integrations" || parts[4] != "callback" {
		return "", "", false
	}
	return parts[2], parts[3], true
}
