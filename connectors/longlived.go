package connectors

import (
	"context"
	"net/http"
	"net/url"

	"culvert/internal/secret"
)

// prolong trades the token that a code gave for a long-lived one. Where that fails, the short one is what
// there is: it works, and its user can be asked again when it ends.
func (c *Client) prolong(ctx context.Context, conn *Connector, creds Credentials, short Tokens) Tokens {
	l := &conn.LongLived
	query := params{{"grant_type", hiddenText(l.Grant)}, {"client_secret", creds.Secret}, {l.TokenParam, short.Access}}
	if l.ClientID {
		query = append(query, param{conn.clientIDParam(), hiddenText(creds.ID)})
	}
	long, err := c.trade(ctx, conn, l.URL, query, []secret.Bytes{short.Access, creds.Secret})
	if err != nil {
		return short // c.log has said why
	}
	if long.Scopes == nil {
		long.Scopes = short.Scopes
	}
	if long.Account == (Account{}) {
		long.Account = short.Account
	}
	return conn.ownRefresh(long)
}

// renew trades a long-lived token for its successor.
func (c *Client) renew(ctx context.Context, conn *Connector, token secret.Bytes) (Tokens, error) {
	query := params{{"grant_type", hiddenText(conn.LongLived.RefreshGrant)}, {"access_token", token}}
	long, err := c.trade(ctx, conn, conn.RefreshEndpoint(), query, []secret.Bytes{token})
	if err != nil {
		return Tokens{}, err
	}
	return conn.ownRefresh(long), nil
}

// ownRefresh makes a token its own refresh token, if it can be renewed.
func (c *Connector) ownRefresh(t Tokens) Tokens {
	if c.LongLived.RefreshGrant != "" {
		t.Refresh, t.RefreshExpiresAt = t.Access, t.ExpiresAt
	}
	return t
}

// trade sends one GET with secrets in its query. Attacker: whoever reads URLs on the way, or in a log: TLS
// hides them on the way, nothing of ours writes them down, and a proxy is never asked. What stays open are
// the provider's own logs.
func (c *Client) trade(ctx context.Context, conn *Connector, endpoint string, query params, sent []secret.Bytes) (Tokens, error) {
	if err := c.egress.CheckURL(endpoint); err != nil {
		return Tokens{}, blocked(err)
	}
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	ctx, connected := noted(ctx)
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, endpoint, http.NoBody)
	if err != nil {
		return Tokens{}, refusal("the token endpoint is not a URL") // the error would quote it
	}
	values := url.Values{}
	for _, each := range query {
		values.Set(each.name, string(each.value.Reveal()))
	}
	request.URL.RawQuery = values.Encode()
	request.Header.Set("Accept", "application/json")
	request.Header.Set("User-Agent", userAgent)
	a := &answer{conn: conn, sent: c.now().UTC(), secrets: sent}
	tokens, err := c.roundTrip(request, a, connected)
	c.log(ctx, "token trade", conn, a, err)
	return tokens, err
}
