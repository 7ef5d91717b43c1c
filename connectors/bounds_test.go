package connectors_test

import (
	"strings"
	"testing"
	"time"

	"culvert/connectors"
)

// A provider that says too much about scopes costs nobody a token; one whose token is no token does.
func TestBoundsOfReplies(t *testing.T) {
	many := strings.Repeat("a ", 131_073) + strings.Repeat("x", 501) + " b"
	distinct := make([]string, 300)
	for i := range distinct {
		distinct[i] = "s" + strings.Repeat("y", i)
	}
	for name, tc := range map[string]struct {
		body string
		want int // scopes; -1: refused
	}{
		"one scope, many times":  {`{"access_token":"at","scope":"` + many + `"}`, 2},
		"more scopes than exist": {`{"access_token":"at","scope":"` + strings.Join(distinct, " ") + `"}`, 200},
		"scopes of an array":     {`{"access_token":"at","scope":["a\u0000b","\u202e","ok"]}`, 1},
		"a token of 64 KiB":      {`{"access_token":"` + strings.Repeat("t", 64<<10) + `","scope":"a"}`, 1},
		"a longer token":         {`{"access_token":"` + strings.Repeat("t", 64<<10+1) + `","scope":"a"}`, -1},
	} {
		tokens, err := connectors.ReadReply(&connectors.Connector{}, 200, []byte(tc.body), start(), time.Time{})
		if (err != nil) != (tc.want < 0) || err == nil && len(tokens.Scopes) != tc.want {
			t.Errorf("%s: %d scopes, %v", name, len(tokens.Scopes), err)
		}
	}
}
