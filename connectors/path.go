package connectors

import (
	"bytes"
	"encoding/base64"
	"errors"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// maxDepth bounds how deep an answer in which a path is followed is nested; those of providers have a tenth of it.
const maxDepth = 64

// lookup follows a path (see [Identity]) and returns the text or number it leads to; "" if there is none.
func lookup(v jsontext.Value, path string) string {
	for path != "" {
		var step string
		step, path, _ = strings.Cut(path, ".")
		switch v.Kind() {
		case '{':
			var inner members
			// Text that is not UTF-8 is let be, and is not presentable; what else is wrong leads nowhere.
			if err := json.Unmarshal(v, &inner, jsontext.AllowInvalidUTF8(true)); err != nil {
				return ""
			}
			v = inner[step]
		case '[':
			var items []jsontext.Value
			if json.Unmarshal(v, &items, jsontext.AllowInvalidUTF8(true)) != nil {
				return ""
			}
			n := position(items, step)
			if n < 0 || n >= len(items) {
				return ""
			}
			v = items[n]
		default:
			return ""
		}
	}
	switch v.Kind() {
	case '0':
		return string(v)
	case '"':
		if found, err := jsontext.AppendUnquote(nil, v); err == nil {
			return string(found)
		}
	}
	return ""
}

// position is where a step leads to in a list: its number, or behind "?" the first item in which that member is
// true; -1 for nowhere.
func position(items []jsontext.Value, step string) int {
	if name, marked := strings.CutPrefix(step, "?"); marked {
		return slices.IndexFunc(items, func(item jsontext.Value) bool {
			var inner members
			return item.Kind() == '{' && json.Unmarshal(item, &inner, jsontext.AllowInvalidUTF8(true)) == nil && inner[name].Kind() == 't'
		})
	}
	if n, err := strconv.Atoi(step); err == nil {
		return n
	}
	return -1
}

// shallow reports one well-formed JSON value that is not nested too deeply.
func shallow(body []byte) bool {
	d := jsontext.NewDecoder(bytes.NewReader(body), jsontext.AllowInvalidUTF8(true))
	for {
		if _, err := d.ReadToken(); err != nil {
			return false
		}
		switch depth := d.StackDepth(); {
		case depth > maxDepth:
			return false
		case depth == 0:
			_, err := d.ReadToken()
			return errors.Is(err, io.EOF)
		}
	}
}

// idToken is the member of a token reply whose claims can be in a path (OpenID Connect Core section 3.1.3.3).
const idToken = "id_token"

// claims are those of an ID token. Its signature is not looked at: it came from the token endpoint itself
// over TLS, which is what vouches for the tokens beside it (OpenID Connect Core section 3.1.3.7, point 6).
func claims(v jsontext.Value) jsontext.Value {
	if v.Kind() != '"' {
		return nil
	}
	token, err := jsontext.AppendUnquote(nil, v)
	parts := bytes.Split(token, []byte("."))
	if err != nil || len(parts) != 3 {
		return nil
	}
	body, err := base64.RawURLEncoding.DecodeString(string(parts[1]))
	if err != nil || !shallow(body) {
		return nil
	}
	return body
}
