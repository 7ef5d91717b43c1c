package connectors

import (
	"context"
	"regexp"
	"slices"
	"strings"

	"culvert/internal/secret"
)

// ClientCredentials asks for an access token in the client's own name (RFC 6749 section 4.4). Nothing is
// used up by it: after any failure it may be asked again. No scopes send no scope parameter. A refresh token
// beside it is dropped (section 4.4.3: there should be none). Errors are of type [Error].
func (c *Client) ClientCredentials(ctx context.Context, conn *Connector, creds Credentials, scopes []string) (Tokens, error) {
	p := params{{"grant_type", secret.New([]byte("client_credentials"))}}
	if len(scopes) > 0 && !conn.NoScopes {
		p = append(p, param{"scope", secret.New([]byte(strings.Join(scopes, " ")))}) // section 3.3: by spaces
	}
	tokens, err := c.call(ctx, conn, conn.TokenURL, creds, p, []secret.Bytes{creds.Secret})
	if err != nil {
		return Tokens{}, err
	}
	tokens.Refresh, tokens.NamedRefresh = secret.Bytes{}, nil
	return tokens, nil
}

// ReplyField is a member of a token reply that callers need besides the token, such as the host of a
// customer's API.
type ReplyField struct {
	// Name is the member's. Pattern is what its whole value must match, written ^(?:…)$.
	Name, Pattern string
}

// maxReplyFieldBytes bounds the value of a field.
const maxReplyFieldBytes = 1024

// mistake is the rule that a field breaks in itself, "" for none.
func (f *ReplyField) mistake() string {
	_, err := regexp.Compile(f.Pattern)
	if f.Name == "" || err != nil || !strings.HasPrefix(f.Pattern, "^(?:") || !strings.HasSuffix(f.Pattern, ")$") {
		return "needs a name, and a pattern that is written ^(?:…)$"
	}
	return ""
}

// replyFieldsRule is the rule that the connector's fields of replies break, "" for none.
func (c *Connector) replyFieldsRule() string {
	if i := slices.IndexFunc(c.Metadata, func(f ReplyField) bool { return f.mistake() != "" }); i >= 0 {
		return c.Metadata[i].mistake()
	}
	return ""
}

// metadata reads the connector's fields. A value that does not match its pattern is left out: a hostile
// reply could steer a caller's token to a host of its own.
func (r Reply) metadata() map[string]string {
	found := map[string]string{}
	for _, f := range r.conn.Metadata {
		value := r.Text(f.Name)
		pattern, err := regexp.Compile(f.Pattern)
		if err == nil && value != "" && len(value) <= maxReplyFieldBytes && visible(value) && pattern.MatchString(value) {
			found[f.Name] = value
		}
	}
	if len(found) == 0 {
		return nil
	}
	return found
}
