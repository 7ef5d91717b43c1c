package connectors

import (
	"encoding/base64"
	"net/url"

	"github.com/go-json-experiment/json/jsontext"

	"culvert/internal/secret"
)

// params are a token request's, in the order of sending. All values are secrets: most of them are.
type params []param

type param struct {
	name  string
	value secret.Bytes
}

// hiddenText is a value that is no secret, in the form of those that are.
func hiddenText(text string) secret.Bytes { return secret.New([]byte(text)) }

// encode renders the body. A JSON body holds the same members as strings.
func (p params) encode(body Body) ([]byte, error) {
	if body == BodyJSON {
		return p.encodeJSON()
	}
	var b []byte
	for i, each := range p {
		if i > 0 {
			b = append(b, '&')
		}
		b = append(b, each.name...)
		b = append(b, '=')
		b = append(b, url.QueryEscape(string(each.value.Reveal()))...)
	}
	return b, nil
}

// encodeJSON fails on values that are not UTF-8; the error would quote them, so callers drop it.
func (p params) encodeJSON() ([]byte, error) {
	b := []byte{'{'}
	for i, each := range p {
		if i > 0 {
			b = append(b, ',')
		}
		var err error
		if b, err = jsontext.AppendQuote(b, each.name); err != nil {
			return nil, err
		}
		b = append(b, ':')
		if b, err = jsontext.AppendQuote(b, each.value.Reveal()); err != nil {
			return nil, err
		}
	}
	return append(b, '}'), nil
}

// basicAuth is the header of RFC 6749 section 2.3.1: id and secret are form-encoded first, each, so that
// a colon or a letter beyond ASCII in them keeps its meaning. Servers that skip the decoding break on
// such secrets, not on others.
func basicAuth(creds Credentials) string {
	pair := url.QueryEscape(creds.ID) + ":" + url.QueryEscape(string(creds.Secret.Reveal()))
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(pair))
}
