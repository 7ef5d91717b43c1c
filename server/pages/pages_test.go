package pages_test

import (
	"crypto/sha256"
	"encoding/base64"
	"html"
	"regexp"
	"strings"
	"testing"

	"culvert/server/pages"
)

const hostile = `"'><script>alert(1)</script><img src=x onerror=alert(1)> javascript:alert(1) </style> {{.}} ` + "`"

var (
	style = regexp.MustCompile(`(?s)<style>(.*?)</style>`)
	// tags are all the markup of a page.
	tags = regexp.MustCompile(`</?([a-z0-9]+)[^>]*>`)
	// values are those of attributes; dangerous is the name of one that fetches or runs something.
	values    = regexp.MustCompile(`="[^"]*"`)
	dangerous = regexp.MustCompile(` (on[a-z]+|style|src|href|action)\b`)
	// harmless are the elements that our templates use: none of them fetches or runs anything.
	harmless = regexp.MustCompile(`^(html|head|meta|title|style|body|main|h1|p|dl|div|dt|dd|ul|li|strong|bdi|br|code|span|form|label|input|button)$`)
)

func mustNew(t *testing.T) *pages.Pages {
	t.Helper()
	p, err := pages.New()
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// mustBeHarmless checks a page's elements and that its policy is for its own style sheet.
func mustBeHarmless(t *testing.T, p *pages.Pages, body []byte) {
	t.Helper()
	text := string(body)
	sheet := style.FindStringSubmatch(text)
	if sheet == nil {
		t.Fatalf("no style sheet in\n%s", text)
	}
	digest := sha256.Sum256([]byte(sheet[1]))
	if !strings.Contains(p.Policy(), "style-src 'sha256-"+base64.StdEncoding.EncodeToString(digest[:])+"';") {
		t.Error("the policy is for another style sheet")
	}
	if strings.Contains(sheet[1], "url(") || strings.Contains(sheet[1], "@import") {
		t.Error("the style sheet loads something")
	}
	for _, tag := range tags.FindAllStringSubmatch(text, -1) {
		names := strings.Replace(values.ReplaceAllString(tag[0], ""), " method action", "", 1) // the form's own
		if !harmless.MatchString(tag[1]) || dangerous.MatchString(names) {
			t.Errorf("the page has %s", tag[0])
		}
	}
	for _, leftover := range []string{"<no value>", "ZgotmplZ", "%!", "{{template"} {
		if strings.Contains(text, leftover) {
			t.Errorf("the page has %q", leftover)
		}
	}
}

// TestConfirmation: whatever the ids, names and labels are, they stay text.
func TestConfirmation(t *testing.T) {
	p := mustNew(t)
	for name, c := range map[string]pages.Confirmation{
		"least": {Provider: "P", ProviderOrigin: "https://p.example", UserID: "u", Environment: "environment_1", Form: "f"},
		"full": {
			Provider: "P", ProviderOrigin: "https://p.example", UserLabel: "alice", UserID: "u", OrganizationID: "o", Shared: true,
			Environment: "environment_1", Scopes: []string{"a", "b"}, ReturnToOrigin: "https://app.example", Form: "f",
		},
		"hostile": {
			Provider: hostile, ProviderOrigin: hostile, UserLabel: hostile, UserID: hostile, OrganizationID: hostile, Shared: true,
			Environment: hostile, Scopes: []string{hostile}, ReturnToOrigin: hostile, Form: hostile,
		},
	} {
		t.Run(name, func(t *testing.T) {
			body, err := p.Confirmation(c)
			if err != nil {
				t.Fatal(err)
			}
			mustBeHarmless(t, p, body)
			text := string(body)
			if got := strings.Contains(text, "belong to the organization"); got != c.Shared {
				t.Errorf("whose the account will be: %v", got)
			}
			if got := strings.Contains(text, "a page that says how it went"); got != (c.ReturnToOrigin == "") {
				t.Errorf("where the flow ends: %v", got)
			}
			label := c.UserLabel
			if label == "" {
				label = c.UserID
			}
			if !strings.Contains(text, `<input type="checkbox" name="confirmed" value="yes" required>`) ||
				!strings.Contains(text, "and <strong><bdi>"+html.EscapeString(label)+"</bdi></strong> is me") && name != "hostile" {
				t.Errorf("nobody has to say who he is:\n%s", text)
			}
			if strings.Count(text, "<form ") != 1 || strings.Count(text, "<button ") != 2 || strings.Count(text, "<h1>") != 1 {
				t.Errorf("page\n%s", text)
			}
		})
	}
}

// TestChoice: both accounts are named, whatever they are called.
func TestChoice(t *testing.T) {
	p := mustNew(t)
	for name, c := range map[string]pages.Choice{
		"least": {Provider: "P", UserID: "u", Connected: pages.Account{ID: "one"}, Form: "f"},
		"full": {
			Provider: "P", UserLabel: "alice", UserID: "u", OrganizationID: "o",
			Connected: pages.Account{ID: "one", Name: "One"}, SignedIn: pages.Account{ID: "two", Name: "Two"}, Form: "f",
		},
		"hostile": {
			Provider: hostile, UserLabel: hostile, UserID: hostile, OrganizationID: hostile,
			Connected: pages.Account{ID: hostile, Name: hostile}, SignedIn: pages.Account{ID: hostile, Name: hostile}, Form: hostile,
		},
	} {
		t.Run(name, func(t *testing.T) {
			body, err := p.Choice(c)
			if err != nil {
				t.Fatal(err)
			}
			mustBeHarmless(t, p, body)
			text := string(body)
			for _, named := range []string{c.Connected.ID, c.Connected.Name, c.SignedIn.ID, c.SignedIn.Name} {
				if name != "hostile" && !strings.Contains(text, "<bdi>"+named) && named != "" {
					t.Errorf("%q is not named", named)
				}
			}
			if got := strings.Contains(text, "did not say which account"); got != (c.SignedIn.ID == "") {
				t.Errorf("an unknown account: %v", got)
			}
			if strings.Count(text, "<form ") != 1 || strings.Count(text, "<button ") != 2 || strings.Count(text, "<h1>") != 1 {
				t.Errorf("page\n%s", text)
			}
		})
	}
}

// TestWords: every code has a page that says what happened and what to do.
func TestWords(t *testing.T) {
	p := mustNew(t)
	// An underscore would be a code, which says nothing to people.
	check := func(name string, m pages.Message) {
		t.Run(name, func(t *testing.T) {
			m.RequestID = "req_1"
			body, err := p.Message(m)
			if err != nil {
				t.Fatal(err)
			}
			mustBeHarmless(t, p, body)
			if m.Title == "" || len(m.Paragraphs) < 2 || strings.Contains(m.Title+strings.Join(m.Paragraphs, ""), "_") {
				t.Errorf("%+v", m)
			}
		})
	}
	titles := map[string]bool{}
	for _, code := range []string{
		pages.Connected + "!", "canceled", "access_denied", "provider_error", "invalid_callback", "issuer_mismatch",
		"authorization_code_exchange_error", "exchange_interrupted", "integration_unavailable", "endpoint_changed",
		"refresh_token_in_use", "account_mismatch", "account_removed", "too_many_connections", "authorization_expired", "authorization_not_finished",
		"code_verifier_mismatch", "a code of tomorrow",
	} {
		m := pages.Outcome(code, hostile)
		check(code, m)
		titles[m.Title] = true
	}
	if len(titles) != 1 {
		t.Errorf("failures have the titles %v", titles)
	}
	if done := pages.Outcome(pages.Connected, "P"); done.Title != "P is connected" {
		t.Errorf("success is called %q", done.Title)
	}
	for code, status := range map[string]int{
		"ticket_not_usable": 410, "other_browser": 403, "rate_limit_exceeded": 429, "cross_site_request": 403, "invalid_callback": 400, "not_confirmed": 400, "origin_not_allowed": 403,
		"invalid_path": 400, "storage_unavailable": 503, "internal_error": 500, "a code of tomorrow": 418,
	} {
		check(code, pages.Trouble(code, status))
	}
}

// TestPolicy: a page without a form sends none, whatever the style sheet is.
func TestPolicy(t *testing.T) {
	p := mustNew(t)
	for want, got := range map[string]string{
		"; form-action 'none';": p.Policy(), "; form-action 'self' https:;": p.Policy("'self'", "https:"),
	} {
		if !strings.HasPrefix(got, "default-src 'none'; style-src 'sha256-") || !strings.Contains(got, want) ||
			!strings.HasSuffix(got, "; frame-ancestors 'none'; base-uri 'none'") || strings.Contains(got, "unsafe") {
			t.Errorf("policy %q, want %q in it", got, want)
		}
	}
}

// TestScripts: the pages that run a script run that one alone, and what stands in them stays text.
func TestScripts(t *testing.T) {
	p := mustNew(t)
	popup, err := p.Popup(pages.Popup{Provider: hostile})
	if err != nil {
		t.Fatal(err)
	}
	closing, err := p.Message(pages.Message{Title: hostile, Paragraphs: []string{hostile}, Closes: true})
	if err != nil {
		t.Fatal(err)
	}
	posted, err := p.Posted(pages.Posted{Fields: []pages.Field{{Name: hostile, Value: hostile}}})
	if err != nil {
		t.Fatal(err)
	}
	for policy, body := range map[string]string{
		p.PopupPolicy(): string(popup), p.ClosingPolicy(): string(closing), p.PostedPolicy("'self'"): string(posted),
	} {
		before, script, ok := strings.Cut(body, "<script>")
		script, after, closed := strings.Cut(script, "</script>")
		if !ok || !closed || strings.Contains(before+after, "<script") || strings.Contains(before+after, "<img") || !strings.Contains(before, html.EscapeString("<img")) {
			t.Fatalf("page\n%s", body)
		}
		digest := sha256.Sum256([]byte(script))
		if !strings.Contains(policy, "; script-src 'sha256-"+base64.StdEncoding.EncodeToString(digest[:])+"'; ") || strings.Contains(policy, "unsafe") {
			t.Errorf("the policy %s is for another script", policy)
		}
	}
}
