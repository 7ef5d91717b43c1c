package connectors_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"culvert/connectors"
	"culvert/connectors/connectorstest"
	"culvert/internal/secret"
)

// The canaries: one for each thing that must stay out of errors and logs.
const (
	canaryCode     = "canary-code-7hQ2xv"
	canaryVerifier = "canary-verifier-9mTz41"
	canarySecret   = "canary-secret-k3Wd0p"
	canaryRefresh  = "canary-refresh-b8Lc6s"
	canaryAccess   = "canary-access-n5Gy2r"
	canaryQuery    = "canary-query-t4Fj1e"
	canaryReply    = "canary-reply-w6Ma9u"
)

func canaries() []string {
	return []string{canaryCode, canaryVerifier, canarySecret, canaryRefresh, canaryAccess, canaryQuery, canaryReply}
}

// seek looks for canaries in a text, also in the encodings of a request.
func seek(t *testing.T, where, text string) {
	t.Helper()
	for _, canary := range canaries() {
		if strings.Contains(text, canary) || strings.Contains(text, strings.TrimPrefix(canary, "canary-")) {
			t.Errorf("%s holds %s", where, canary)
		}
	}
}

// TestCanaries makes calls fail in every way there is, with a provider that sends back all it knows.
func TestCanaries(t *testing.T) {
	echo := strings.Join(canaries(), " ")
	for name, answer := range map[string]string{
		"no HTTP":             "SSH-2.0-" + echo + "\r\n",
		"a broken status":     "HTTP/1.1 " + echo + "\r\n\r\n",
		"a broken header":     "HTTP/1.1 200 OK\r\n" + echo + "\r\n\r\n",
		"a broken length":     "HTTP/1.1 200 OK\r\nContent-Length: " + canaryReply + "\r\n\r\n",
		"a broken encoding":   "HTTP/1.1 200 OK\r\nTransfer-Encoding: " + canaryReply + "\r\n\r\n",
		"a broken chunk":      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + canaryReply + "\r\n",
		"a broken trailer":    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X\r\n\r\n0\r\n" + canaryReply + "\r\n\r\n",
		"a redirect":          "HTTP/1.1 302 Found\r\nLocation: https://x.example/?c=" + canaryCode + "\r\nContent-Length: 0\r\n\r\n",
		"a reason":            "HTTP/1.1 400 " + canaryReply + "\r\nContent-Length: 0\r\n\r\n",
		"Retry-After":         "HTTP/1.1 503 x\r\nRetry-After: " + canaryReply + "\r\nContent-Length: 0\r\n\r\n",
		"HTML":                body(200, "text/html", "<html>"+echo),
		"prose":               body(400, "text/plain", echo),
		"cut JSON":            body(200, "application/json", `{"access_token":"`+canaryAccess+`"`),
		"a name twice":        body(200, "application/json", `{"`+canaryReply+`":1,"`+canaryReply+`":2}`),
		"a code":              body(400, "application/json", `{"error":"`+canaryRefresh+`","error_description":"`+echo+`"}`),
		"another code":        body(400, "application/json", `{"error":"`+strings.ToUpper(canaryReply)+`","error_uri":"`+echo+`"}`),
		"the client's secret": body(401, "application/json", `{"error":{"code":"`+canarySecret+`","message":"`+echo+`"}}`),
		"a form":              body(400, "application/x-www-form-urlencoded", "error="+canaryCode+"&error_description="+canaryReply),
		"no visible token":    body(200, "application/json", `{"access_token":"`+canaryAccess+`\u0000"}`),
		"a dead grant":        body(400, "application/json", `{"error":"invalid_grant","error_description":"`+echo+`"}`),
		"success":             body(200, "application/json", `{"access_token":"`+canaryAccess+`","refresh_token":"`+canaryRefresh+`"}`),
		"nothing":             "",
	} {
		t.Run(name, func(t *testing.T) {
			var log bytes.Buffer
			client := MustClient(t, connectors.ClientConfig{
				Logger: slog.New(slog.NewJSONHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})),
			})
			conn := connectors.Connector{
				Slug: "test", TokenURL: MustAnswer(t, answer) + "/token?key=" + canaryQuery,
				ClientAuth: connectors.ClientAuthBasic, Body: connectors.BodyForm, PKCE: true,
			}
			creds := connectors.Credentials{ID: "id", Secret: hidden(canarySecret)}
			_, err := client.Exchange(t.Context(), &conn, creds, connectors.ExchangeRequest{
				Code: hidden(canaryCode), Verifier: hidden(canaryVerifier), RedirectURI: "https://culvert.example/cb",
			})
			seekError(t, err)
			_, err = client.Refresh(t.Context(), &conn, creds, hidden(canaryRefresh))
			seekError(t, err)
			if name != "success" && err == nil {
				t.Error("the call did not fail")
			}
			seek(t, "the log", log.String())
			if got := strings.Count(log.String(), `"connector":"test"`); got != 2 {
				t.Errorf("%d lines of log for two calls:\n%s", got, &log)
			}
		})
	}
}

// TestCanariesNotSent: the same for calls that reach nobody.
func TestCanariesNotSent(t *testing.T) {
	tls := connectorstest.Start(t, connectorstest.Config{TLS: true})
	client := MustClient(t, connectors.ClientConfig{})
	for _, origin := range []string{
		"http://127.0.0.1:1", "https://127.0.0.1:1", tls.URL, "https://10.0.0.1", "http://provider.invalid", "https://u:" + canarySecret + "@x.example",
		"https://provider.invalid", "://", "https://x.example\n",
	} {
		conn := connectors.Connector{
			TokenURL: origin + "/token?key=" + canaryQuery, AuthorizationURL: origin + "/authorize?key=" + canaryQuery + ";",
			Body: connectors.BodyJSON,
		}
		_, err := client.Refresh(t.Context(), &conn, connectors.Credentials{Secret: hidden(canarySecret)}, hidden(canaryRefresh))
		if err == nil {
			t.Errorf("%s was reached", origin)
		}
		seekError(t, err)
		_, err = client.AuthorizationURL(&conn, connectors.AuthorizationRequest{State: canaryCode})
		if err == nil {
			t.Errorf("%s is an authorization URL", origin)
		}
		seekError(t, err)
	}
	// A secret that JSON cannot hold.
	conn := connectors.Connector{TokenURL: tls.URL, Body: connectors.BodyJSON}
	_, err := client.Refresh(t.Context(), &conn, connectors.Credentials{}, hidden(canaryRefresh+"\xff"))
	if err == nil {
		t.Error("a token that is no text was sent")
	}
	seekError(t, err)
}

// TestCanariesPrinted renders every type that holds a secret in every way there is.
func TestCanariesPrinted(t *testing.T) {
	var reply connectors.Reply
	conn := connectors.Connector{Reply: func(r connectors.Reply) (connectors.Tokens, error) {
		reply = r
		return r.Tokens()
	}}
	body := `{"access_token":"` + canaryAccess + `","refresh_token":"` + canaryRefresh + `","x":{"y":"` + canaryReply + `"}}`
	tokens, err := connectors.ReadReply(&conn, 200, []byte(body), start(), time.Time{}, hidden(canaryCode))
	if err != nil {
		t.Fatal(err)
	}
	tokens.Named = map[string]secret.Bytes{"bot": tokens.Access}
	verifier, _ := connectors.GenerateVerifier()
	for _, v := range []any{
		tokens, &tokens, reply, &reply, reply.Object("x"),
		connectors.Credentials{ID: "id", Secret: hidden(canarySecret)},
		connectors.ExchangeRequest{Code: hidden(canaryCode), Verifier: verifier},
		struct{ inner connectors.Tokens }{tokens},
	} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
			seek(t, fmt.Sprintf("%T under %s", v, verb), fmt.Sprintf(verb, v))
		}
		if text, err := json.Marshal(v); err == nil {
			seek(t, fmt.Sprintf("%T as JSON", v), string(text))
		}
		var log bytes.Buffer
		slog.New(slog.NewTextHandler(&log, nil)).Info("x", "v", v)
		seek(t, fmt.Sprintf("%T in the log", v), log.String())
	}
}

// seekError looks through an error and all that it wraps.
func seekError(t *testing.T, err error) {
	t.Helper()
	for ; err != nil; err = errors.Unwrap(err) {
		for _, verb := range []string{"%v", "%+v", "%#v", "%q"} {
			seek(t, fmt.Sprintf("%T under %s", err, verb), fmt.Sprintf(verb, err))
		}
	}
}

func body(status int, contentType, text string) string {
	return fmt.Sprintf("HTTP/1.1 %d %s\r\nContent-Type: %s\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s",
		status, http.StatusText(status), contentType, len(text), text)
}

// MustAnswer serves every connection with the same bytes and returns the origin.
func MustAnswer(t *testing.T, answer string) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				buffer := make([]byte, 4096)
				_, _ = conn.Read(buffer)
				_, _ = conn.Write([]byte(answer))
			}()
		}
	}()
	return "http://" + listener.Addr().String()
}
