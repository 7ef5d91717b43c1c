package connectors

import (
	"context"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	"culvert/internal/secret"
	"culvert/internal/text"
)

// maxRequestURIBytes bounds what a provider calls a pushed request: it is part of a URL that a browser opens.
const maxRequestURIBytes = 1024

// Pushed is an authorization request that lies at its provider (RFC 9126), for a short while.
type Pushed struct {
	// RequestURI stands for all of it in the browser's URL.
	RequestURI string
	// Until is when it is of no use any more, counted from the moment it was sent.
	Until time.Time
}

// Push hands an authorization request to the provider, authenticated as its token requests are, so that nobody on
// the browser's way can read or change it. Nothing is used up by it: after any failure it may be pushed again.
// Errors are of type [Error].
func (c *Client) Push(ctx context.Context, conn *Connector, creds Credentials, r AuthorizationRequest) (Pushed, error) {
	_, query, err := c.authorization(conn, r)
	if err != nil {
		return Pushed{}, err
	}
	if err := c.egress.CheckURL(conn.PushURL); err != nil {
		return Pushed{}, blocked(err)
	}
	query.Del(conn.clientIDParam()) // newRequest says who is asking
	var p params
	for _, name := range slices.Sorted(maps.Keys(query)) {
		for _, value := range query[name] {
			p = append(p, param{name, hiddenText(value)})
		}
	}
	form := *conn
	form.Body = BodyForm // section 2.1, whatever token requests are
	if form.ClientAuth == ClientAuthBasic && creds.Secret.Len() > 0 {
		// Section 2.1 asks for client_id in the request itself, beside what authenticates the client.
		p = append(p, param{conn.clientIDParam(), hiddenText(creds.ID)})
	}
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	ctx, connected := noted(ctx)
	request, err := newRequest(ctx, &form, conn.PushURL, creds, p)
	if err != nil {
		return Pushed{}, err
	}
	a := &answer{conn: conn, sent: c.now().UTC(), secrets: []secret.Bytes{creds.Secret, secret.New([]byte(r.State))}}
	body, err := c.send(request, a, connected)
	var pushed Pushed
	if err == nil {
		pushed, err = a.pushed(body)
	}
	c.log(ctx, "pushed authorization request", conn, a, err)
	return pushed, err
}

// pushed reads the answer of section 2.2.
func (a *answer) pushed(body []byte) (Pushed, error) {
	r, err := a.parse(body)
	if err != nil {
		return Pushed{}, err
	}
	if code, failed := r.failure(); failed || a.status < 200 || a.status > 299 {
		return Pushed{}, r.Fail(code)
	}
	uri := r.Text("request_uri")
	life, ok := seconds(r.Text("expires_in"))
	if uri == "" || len(uri) > maxRequestURIBytes || text.Unprintable(uri) || !ok || life <= 0 {
		return Pushed{}, r.Unreadable("has no request_uri, or none that lives")
	}
	return Pushed{RequestURI: uri, Until: a.sent.Add(life)}, nil
}

// PushedURL is where the browser goes with a pushed request: section 4 has nothing else of it in the URL.
func (c *Client) PushedURL(conn *Connector, clientID string, p Pushed) (string, error) {
	u, err := c.egress.check(conn.AuthorizationURL, false)
	if err != nil {
		return "", blocked(err)
	}
	query, err := url.ParseQuery(u.RawQuery) // part of the endpoint (RFC 6749 section 3.1), such as a policy's name
	if err != nil {
		return "", refusal("the authorization URL has a malformed query")
	}
	maps.DeleteFunc(query, func(name string, _ []string) bool { return ownParam(name) })
	query.Set(conn.clientIDParam(), clientID)
	query.Set("request_uri", p.RequestURI)
	return conn.browserURL(u, query), nil
}

// browserURL is the authorization URL with parameters.
func (c *Connector) browserURL(u *url.URL, query url.Values) string {
	// A space is %20 to everybody, "+" only to those who decode forms. A "+" of a value is %2B already.
	encoded := strings.ReplaceAll(query.Encode(), "+", "%20")
	if c.Quirks.FragmentRoute != "" {
		u.RawQuery = ""
		return u.String() + "#" + c.Quirks.FragmentRoute + "?" + encoded
	}
	u.RawQuery = encoded
	return u.String()
}
