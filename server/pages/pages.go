package pages

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"strings"
)

//go:embed *.html *.js style.css
var files embed.FS

// Pages are the templates, parsed. It is immutable and safe for concurrent use.
type Pages struct {
	confirmation, choice, message, popup, posted *template.Template
	// style is the source expression of the one style sheet (CSP Level 3 section 2.3.1), popupScript,
	// closing and posting those of the only scripts there are.
	style, popupScript, closing, posting string
}

// Confirmation is what a person needs to judge whether to go on.
type Confirmation struct {
	// Provider is the provider's name, ProviderOrigin where its consent page is.
	Provider, ProviderOrigin string
	// UserLabel is what the application calls the user, UserID and OrganizationID are its own ids; the
	// first and the last may be empty.
	UserLabel, UserID, OrganizationID string
	// Shared is set where the account will be the organization's.
	Shared      bool
	Environment string
	Scopes      []string
	// ReturnToOrigin is empty where the flow ends on a page of ours.
	ReturnToOrigin string
	// Form is the hidden field that proves that the form is ours.
	Form string
}

// Title is the page's title and heading.
func (c Confirmation) Title() string { return "Connect " + c.Provider + "?" }

// Choice is what a person needs to choose between two accounts at the provider.
type Choice struct {
	// Provider, UserLabel, UserID and OrganizationID are as in [Confirmation].
	Provider, UserLabel, UserID, OrganizationID string
	// Connected is the account that is connected, SignedIn the other one. Its ID is empty if the provider did
	// not say.
	Connected, SignedIn Account
	// Form is the hidden field that proves that the form is ours.
	Form string
}

// Account is one at the provider, in the provider's words. Name may be empty.
type Account struct{ ID, Name string }

// Title is the page's title and heading.
func (c Choice) Title() string { return "Replace the account of " + c.Provider + "?" }

// Message is a page that says something and asks for nothing.
type Message struct {
	Title      string
	Paragraphs []string
	// RequestID is what an operator finds in the log; empty where nothing went wrong.
	RequestID string
	// Closes lets the page close its own window, if a script has opened that; it goes with
	// [Pages.ClosingPolicy].
	Closes bool
}

// Popup is the page that waits for the message of a handoff.
type Popup struct{ Provider string }

// Title is the page's title and heading.
func (p Popup) Title() string { return "Going to " + p.Provider + " …" }

// Posted is the page that posts what a provider's form brought once more, from here.
type Posted struct{ Fields []Field }

// Field is one of a form.
type Field struct{ Name, Value string }

// Title is the page's title and heading.
func (Posted) Title() string { return "One moment …" }

// New parses the templates.
func New() (*Pages, error) {
	css, err := files.ReadFile("style.css")
	if err != nil {
		return nil, fmt.Errorf("pages: %w", err)
	}
	popup, err := files.ReadFile("popup.js")
	if err != nil {
		return nil, fmt.Errorf("pages: %w", err)
	}
	closing, err := files.ReadFile("close.js")
	if err != nil {
		return nil, fmt.Errorf("pages: %w", err)
	}
	posting, err := files.ReadFile("posted.js")
	if err != nil {
		return nil, fmt.Errorf("pages: %w", err)
	}
	p := &Pages{style: source(css), popupScript: source(popup), closing: source(closing), posting: source(posting)}
	ours := template.FuncMap{
		"style":   func() template.CSS { return template.CSS(css) },
		"popup":   func() template.JS { return template.JS(popup) },
		"closing": func() template.JS { return template.JS(closing) },
		"posted":  func() template.JS { return template.JS(posting) },
	}
	for _, page := range []struct {
		file string
		to   **template.Template
	}{{"confirmation.html", &p.confirmation}, {"choice.html", &p.choice}, {"message.html", &p.message}, {"popup.html", &p.popup}, {"posted.html", &p.posted}} {
		*page.to, err = template.New("").Funcs(ours).ParseFS(files, "layout.html", page.file)
		if err != nil {
			return nil, fmt.Errorf("pages: %w", err)
		}
	}
	return p, nil
}

// Confirmation renders the page on which somebody goes on or not.
func (p *Pages) Confirmation(c Confirmation) ([]byte, error) { return render(p.confirmation, c) }

// Choice renders the page on which somebody chooses between two accounts.
func (p *Pages) Choice(c Choice) ([]byte, error) { return render(p.choice, c) }

// Message renders a page of sentences.
func (p *Pages) Message(m Message) ([]byte, error) { return render(p.message, m) }

// Popup renders the page that waits for the message of a handoff.
func (p *Pages) Popup(c Popup) ([]byte, error) { return render(p.popup, c) }

// Posted renders the page that posts a form once more.
func (p *Pages) Posted(c Posted) ([]byte, error) { return render(p.posted, c) }

// source is how a policy names a text within the page.
func source(text []byte) string {
	digest := sha256.Sum256(text)
	return "'sha256-" + base64.StdEncoding.EncodeToString(digest[:]) + "'"
}

func render(t *template.Template, data any) ([]byte, error) {
	var b bytes.Buffer
	if err := t.ExecuteTemplate(&b, "page", data); err != nil {
		return nil, fmt.Errorf("pages: %w", err)
	}
	return b.Bytes(), nil
}

// Policy is a page's Content-Security-Policy: it loads nothing, runs nothing, is framed by nobody, and
// sends forms to the given sources alone.
func (p *Pages) Policy(formAction ...string) string {
	if len(formAction) == 0 {
		formAction = []string{"'none'"}
	}
	return "default-src 'none'; style-src " + p.style + "; form-action " + strings.Join(formAction, " ") + nobody
}

// nobody frames a page, and nothing moves its relative URLs.
const nobody = "; frame-ancestors 'none'; base-uri 'none'"

// PopupPolicy is that of [Pages.Popup]: its one script runs, and calls this server.
func (p *Pages) PopupPolicy() string {
	return "default-src 'none'; style-src " + p.style + "; script-src " + p.popupScript + "; connect-src 'self'; form-action 'none'" + nobody
}

// ClosingPolicy is that of a message that closes its window.
func (p *Pages) ClosingPolicy() string {
	return "default-src 'none'; style-src " + p.style + "; script-src " + p.closing + "; form-action 'none'" + nobody
}

// PostedPolicy is that of [Pages.Posted]: its one script runs, and its form goes to this server, whose answer may lead
// to the given sources.
func (p *Pages) PostedPolicy(formAction ...string) string {
	return "default-src 'none'; style-src " + p.style + "; script-src " + p.posting + "; form-action " + strings.Join(formAction, " ") + nobody
}
