package connectors

import (
	"bytes"
	"context"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"culvert/internal/origin"
)

// Finding is what one endpoint of a provider answered to somebody who has nothing there.
type Finding struct {
	// Check names the endpoint. Answer says what came, in our words.
	Check, Answer string
	// OK tells that it is what such an endpoint answers. Hint is what to do where it is not.
	OK   bool
	Hint string
}

// probeTimeout bounds each request of a probe. There are at most six.
const probeTimeout = 10 * time.Second

// Probe asks a provider's endpoints without any credentials, each once, and says whether they answer as such
// endpoints do: it tells a wrong or dead URL from a living one. The connector must be complete. Nothing is
// created at the provider; what is sent is a client, a code and a key that nobody has.
func (c *Client) Probe(ctx context.Context, conn *Connector) []Finding {
	var findings []Finding
	if slices.Contains(conn.Methods, MethodOAuth) {
		findings = append(findings, c.probeAuthorization(ctx, conn), c.probeTokens(ctx, conn))
		findings = append(findings, c.probeMetadata(ctx, conn)...)
	}
	if conn.IdentityURL != "" {
		findings = append(findings, c.probeClosed(ctx, "identity", http.MethodGet, conn.IdentityURL))
	}
	if conn.APIKey.VerifyURL != "" {
		method := conn.APIKey.VerifyMethod
		if method == "" {
			method = http.MethodGet
		}
		findings = append(findings, c.probeClosed(ctx, "verification of keys", method, conn.APIKey.VerifyURL))
	}
	return findings
}

// nobody is an id, a code and an address that belong to no one (RFC 2606).
const nobody = "culvert-probe"

func (c *Client) probeAuthorization(ctx context.Context, conn *Connector) Finding {
	f := Finding{Check: "authorization"}
	_, challenge := GenerateVerifier()
	to, err := c.AuthorizationURL(conn, AuthorizationRequest{
		ClientID: nobody, RedirectURI: "https://culvert-probe.invalid/callback", State: nobody, Challenge: challenge, Scopes: conn.DefaultScopes,
	})
	if err != nil {
		return f.failed(err)
	}
	to, _, _ = strings.Cut(to, "#")
	status, _, err := c.probe(ctx, http.MethodGet, to)
	if err != nil {
		return f.failed(err)
	}
	f.Answer = "answers " + strconv.Itoa(status)
	if f.OK = status < 500 && status != http.StatusNotFound && status != http.StatusGone; !f.OK {
		f.Hint = "compare authorization_url with the provider's documentation"
	}
	return f
}

// probeTokens sends a code that nobody was given.
func (c *Client) probeTokens(ctx context.Context, conn *Connector) Finding {
	f := Finding{Check: "tokens"}
	verifier, _ := GenerateVerifier()
	_, err := c.Exchange(ctx, conn, Credentials{ID: nobody, Secret: hiddenText(nobody)}, ExchangeRequest{
		Code: hiddenText(nobody), Verifier: verifier, RedirectURI: "https://culvert-probe.invalid/callback",
	})
	e := Of(err)
	switch {
	case err == nil:
		f.Answer, f.Hint = "gives tokens for a code that nobody has", "this is no provider; compare token_url with its documentation"
	case e == nil:
		return f.failed(err)
	case e.Class == DeadGrant || e.Class == ClientRejected || e.Class == Refused && e.Code != "":
		f.OK, f.Answer = true, "refuses a made-up code: "+e.Code
	case e.Class == Refused && e.Status != http.StatusNotFound && e.Status != http.StatusMethodNotAllowed && e.Status < 500 && e.Status >= 400:
		f.OK, f.Answer = true, "refuses a made-up code with "+strconv.Itoa(e.Status)
	default:
		f = f.failed(err)
		f.Hint = "compare token_url with the provider's documentation"
	}
	return f
}

// probeMetadata compares the token endpoint with the provider's own word (RFC 8414, OpenID Connect Discovery),
// where it has any. Most have none, which is no finding.
func (c *Client) probeMetadata(ctx context.Context, conn *Connector) []Finding {
	for _, path := range []string{"/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"} {
		status, body, err := c.probe(ctx, http.MethodGet, origin.Of(conn.TokenURL)+path)
		if err != nil || status != http.StatusOK {
			continue
		}
		var metadata struct {
			TokenEndpoint string `json:"token_endpoint"`
		}
		if json.Unmarshal(bytes.TrimSpace(body), &metadata) != nil || metadata.TokenEndpoint == "" {
			continue
		}
		f := Finding{Check: "metadata", OK: metadata.TokenEndpoint == conn.TokenURL, Answer: "names the same token endpoint"}
		if !f.OK {
			f.Answer, f.Hint = "names another token endpoint", "read "+path+" at the provider and compare"
		}
		return []Finding{f}
	}
	return nil
}

// probeClosed asks what should not be answered without a credential.
func (c *Client) probeClosed(ctx context.Context, check, method, endpoint string) Finding {
	f := Finding{Check: check}
	status, _, err := c.probe(ctx, method, endpoint)
	if err != nil {
		return f.failed(err)
	}
	f.Answer = "answers " + strconv.Itoa(status)
	switch {
	case status == http.StatusNotFound || status == http.StatusGone || status == http.StatusMethodNotAllowed || status >= 500:
		f.Hint = "compare the URL with the provider's documentation"
	case status >= 400, status == http.StatusOK: // some say no with status 200
		f.OK = true
	default:
		f.Hint = "it leads elsewhere; no call of ours follows"
	}
	return f
}

// failed is a finding that there was no answer to judge.
func (f Finding) failed(err error) Finding {
	f.OK, f.Answer = false, "no usable answer: "+strings.TrimPrefix(err.Error(), "connectors: provider call failed: ")
	f.Hint = "check the network and pipes.egress.allow, and then the URL"
	return f
}

// probe sends one request without a body, under the rules of all requests.
func (c *Client) probe(ctx context.Context, method, endpoint string) (int, []byte, error) {
	if err := c.egress.CheckURL(endpoint); err != nil {
		return 0, nil, blocked(err)
	}
	ctx, cancel := context.WithTimeout(ctx, min(c.timeout, probeTimeout))
	defer cancel()
	ctx, connected := noted(ctx)
	request, err := http.NewRequestWithContext(ctx, method, endpoint, http.NoBody)
	if err != nil {
		return 0, nil, refusal("the endpoint is not a URL") // the error would quote it
	}
	request.Header.Set("Accept", "application/json, text/html;q=0.9")
	request.Header.Set("User-Agent", userAgent)
	a := &answer{conn: &Connector{}, sent: c.now().UTC()}
	body, err := c.send(request, a, connected)
	return a.status, body, err
}
