package connectors_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"culvert/connectors"
)

// A token without a lifetime has ended at once by a clock of milliseconds, and not only in the next one.
func TestEndsAreInMilliseconds(t *testing.T) {
	sent := start().Add(1999 * time.Microsecond)
	body := `{"access_token":"at","expires_in":%d,"refresh_token":"rt","refresh_token_expires_in":60}`
	for seconds, want := range map[int]time.Time{0: start().Add(time.Millisecond), 60: start().Add(time.Minute + time.Millisecond)} {
		tokens, err := connectors.ReadReply(&connectors.Connector{}, 200, fmt.Appendf(nil, body, seconds), sent, time.Time{})
		if err != nil || !tokens.ExpiresAt.Equal(want) {
			t.Errorf("after %d s: the token ends at %v, want %v (%v)", seconds, tokens.ExpiresAt, want, err)
		}
		if want := start().Add(time.Minute + time.Millisecond); !tokens.RefreshExpiresAt.Equal(want) {
			t.Errorf("the refresh token ends at %v, want %v", tokens.RefreshExpiresAt, want)
		}
	}
}

// A provider that says too much about scopes costs nobody a token; one whose token is no token does.
func TestBoundsOfReplies(t *testing.T) {
	many := strings.Repeat("a ", 131_073) + strings.Repeat("x", 501) + " b"
	distinct := make([]string, 300)
	for i := range distinct {
		distinct[i] = "s" + strings.Repeat("y", i)
	}
	long := make([]string, 200)
	for i := range long {
		long[i] = strings.Repeat("z", 300+i)
	}
	for name, tc := range map[string]struct {
		body string
		want int // scopes; -1: refused
	}{
		"one scope, many times":  {`{"access_token":"at","scope":"` + many + `"}`, 2},
		"more scopes than exist": {`{"access_token":"at","scope":"` + strings.Join(distinct, " ") + `"}`, 200},
		"long scopes":            {`{"access_token":"at","scope":"` + strings.Join(long, " ") + `"}`, 94},
		"scopes of an array":     {`{"access_token":"at","scope":["a\u0000b","\u202e","ok"]}`, 1},
		"a token of 64 KiB":      {`{"access_token":"` + strings.Repeat("t", 64<<10) + `","scope":"a"}`, 1},
		"lists within lists":     {`{"access_token":"at","scope":"a","more":` + strings.Repeat("[", 9_000) + strings.Repeat("]", 9_000) + `}`, 1},
		"without end":            {`{"access_token":"at","scope":"a","more":` + strings.Repeat("[", 500_000) + strings.Repeat("]", 500_000) + `}`, -1},
		"a longer token":         {`{"access_token":"` + strings.Repeat("t", 64<<10+1) + `","scope":"a"}`, -1},
	} {
		tokens, err := connectors.ReadReply(&connectors.Connector{}, 200, []byte(tc.body), start(), time.Time{})
		if (err != nil) != (tc.want < 0) || err == nil && len(tokens.Scopes) != tc.want {
			t.Errorf("%s: %d scopes, %v", name, len(tokens.Scopes), err)
		}
	}
}
