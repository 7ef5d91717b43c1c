//go:build pipes

package pipes_test

import (
	"html"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
)

// browser is as much of one as the flow needs. Cookies are kept by host and sent everywhere: browsers
// take loopback for secure, the standard library's jar does not.
type browser struct {
	cookies map[string]map[string]string
	// stop is where navigation ends: nobody listens there.
	stop string
}

func newBrowser(stop string) *browser {
	return &browser{cookies: map[string]map[string]string{}, stop: stop}
}

// page is where a navigation ended.
type page struct {
	url    *url.URL
	status int
	html   string
}

func (b *browser) open(t *testing.T, address string) page {
	t.Helper()
	return b.navigate(t, http.MethodGet, address, nil)
}

var (
	formOf  = regexp.MustCompile(`(?s)<form\b[^>]*\baction="([^"]*)"[^>]*>(.*?)</form>`)
	inputOf = regexp.MustCompile(`<input\b[^>]*>`)
	nameOf  = regexp.MustCompile(`\bname="([^"]*)"`)
	valueOf = regexp.MustCompile(`\bvalue="([^"]*)"`)
)

// attribute is the first group of a match, "" if there is none.
func attribute(in string, of *regexp.Regexp) string {
	if m := of.FindStringSubmatch(in); m != nil {
		return html.UnescapeString(m[1])
	}
	return ""
}

// submit sends the first form of a page that shows the text.
func (b *browser) submit(t *testing.T, p page, text string) page {
	t.Helper()
	for _, form := range formOf.FindAllStringSubmatch(p.html, -1) {
		if !strings.Contains(form[2], text) {
			continue
		}
		fields := url.Values{}
		for _, input := range inputOf.FindAllString(form[2], -1) {
			value := attribute(input, valueOf)
			if value == "" && !strings.Contains(input, `type="hidden"`) {
				value = "alice" // whatever is asked for
			}
			fields.Set(attribute(input, nameOf), value)
		}
		action, err := p.url.Parse(html.UnescapeString(form[1]))
		if err != nil {
			t.Fatal(err)
		}
		return b.navigate(t, http.MethodPost, action.String(), fields)
	}
	t.Fatalf("no form with %q at %s (%d):\n%s", text, p.url, p.status, p.html)
	return page{}
}

func (b *browser) navigate(t *testing.T, method, address string, form url.Values) page {
	t.Helper()
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	for range 20 {
		at, err := url.Parse(address)
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(address, b.stop) {
			return page{url: at}
		}
		req, err := http.NewRequestWithContext(t.Context(), method, address, strings.NewReader(form.Encode()))
		if err != nil {
			t.Fatal(err)
		}
		if method == http.MethodPost {
			req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		}
		for name, value := range b.cookies[at.Hostname()] {
			req.AddCookie(&http.Cookie{Name: name, Value: value})
		}
		res, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(res.Body)
		_ = res.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		b.keep(at.Hostname(), res)
		next := res.Header.Get("Location")
		if res.StatusCode < 300 || res.StatusCode > 399 || next == "" {
			return page{url: at, status: res.StatusCode, html: string(body)}
		}
		to, err := at.Parse(next)
		if err != nil {
			t.Fatal(err)
		}
		method, address, form = http.MethodGet, to.String(), nil
	}
	t.Fatalf("redirected without end, at %s", address)
	return page{}
}

func (b *browser) keep(host string, res *http.Response) {
	if b.cookies[host] == nil {
		b.cookies[host] = map[string]string{}
	}
	for _, c := range res.Cookies() {
		if c.MaxAge < 0 || c.Value == "" {
			delete(b.cookies[host], c.Name)
			continue
		}
		b.cookies[host][c.Name] = c.Value
	}
}
