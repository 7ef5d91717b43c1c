package connectors_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"culvert/connectors"
)

// FuzzReply: no body makes the reader panic, take an unusable token for a good one, or put what it read
// into an error.
func FuzzReply(f *testing.F) {
	for _, body := range []string{
		`{"access_token":"canary-token-9Qx","expires_in":3600,"refresh_token":"r","scope":"a b"}`,
		`{"ok":false,"error":"invalid_code"}`,
		`{"error":{"code":190}}`,
		`access_token=canary-token-9Qx&scope=a%2Cb`,
		`<html>canary-token-9Qx</html>`,
		"{\"access_token\":\"canary-token-9Qx\"",
		`{"access_token":"canary-token-9Qx","access_token":"b"}`,
		`{"expires_at":"2026-03-01T14:00:00Z","access_token":"canary-token-9Qx"}`,
		"\xef\xbb\xbf{}",
	} {
		f.Add(200, []byte(body))
		f.Add(400, []byte(body))
		f.Add(503, []byte(body))
	}
	f.Fuzz(func(t *testing.T, status int, body []byte) {
		conn := &connectors.Connector{DeadGrantCodes: []string{"dead"}}
		tokens, err := connectors.ReadReply(conn, status, body, start(), start().Add(time.Hour), hidden("canary-token-9Qx"))
		if err == nil {
			if status < 200 || status > 299 || tokens.Access.Len() == 0 {
				t.Fatalf("status %d gave tokens", status)
			}
			if strings.ContainsFunc(string(tokens.Access.Reveal()), func(r rune) bool { return r < ' ' || r > '~' }) {
				t.Fatal("an access token that no header can hold")
			}
			if !tokens.ExpiresAt.IsZero() && tokens.ExpiresAt.Year() > 9999 {
				t.Fatal("an end that no JSON can hold")
			}
			return
		}
		e := connectors.Of(err)
		switch {
		case e == nil || e.Class == 0:
			t.Fatalf("error without a class: %v", err)
		case status >= 500 && e.Class != connectors.Transient && e.Class != connectors.Ambiguous:
			t.Fatalf("an outage (%d) is taken for a %v", status, e.Class)
		case strings.Contains(err.Error(), "canary-token-9Qx"):
			t.Fatal("the error holds the token")
		}
	})
}

func FuzzRetryAfter(f *testing.F) {
	f.Add("120", "")
	f.Add("Sun, 01 Mar 2026 12:01:00 GMT", "Sun, 01 Mar 2026 11:00:00 GMT")
	f.Add("Sun Mar  1 12:01:00 0001", "Sunday, 01-Mar-99 12:01:00 GMT")
	f.Fuzz(func(t *testing.T, value, date string) {
		got := connectors.RetryAfter(http.Header{"Retry-After": {value}, "Date": {date}}, start())
		if got < 0 || got > 24*time.Hour {
			t.Fatalf("%v", got)
		}
	})
}
