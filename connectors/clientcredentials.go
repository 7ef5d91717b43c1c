package connectors

import (
	"context"
	"strings"

	"culvert/internal/secret"
)

// ClientCredentials asks for an access token in the client's own name (RFC 6749 section 4.4). Nothing is
// used up by it: after any failure it may be asked again. No scopes send no scope parameter. A refresh token
// beside it is dropped (section 4.4.3: there should be none). Errors are of type [Error].
func (c *Client) ClientCredentials(ctx context.Context, conn *Connector, creds Credentials, scopes []string) (Tokens, error) {
	p := params{{"grant_type", hiddenText("client_credentials")}}
	if len(scopes) > 0 && !conn.NoScopes {
		p = append(p, param{"scope", hiddenText(strings.Join(scopes, " "))}) // section 3.3: by spaces
	}
	tokens, err := c.call(ctx, conn, conn.TokenURL, creds, p, []secret.Bytes{creds.Secret})
	if err != nil {
		return Tokens{}, err
	}
	tokens.Refresh, tokens.NamedRefresh = secret.Bytes{}, nil
	return tokens, nil
}
