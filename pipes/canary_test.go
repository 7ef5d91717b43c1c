package pipes_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"culvert/connectors/connectorstest"
	"culvert/internal/secret"
	"culvert/pipes"
	"culvert/pipes/pipestest"
)

// forms are how a secret could stand somewhere.
func forms(plain string) map[string]string {
	return map[string]string{
		"as it is": plain, "in hex": hex.EncodeToString([]byte(plain)), "in HEX": strings.ToUpper(hex.EncodeToString([]byte(plain))),
		"in base64": base64.StdEncoding.EncodeToString([]byte(plain)), "as numbers": strings.Trim(fmt.Sprint([]byte(plain)), "[]"),
	}
}

// No token, code, verifier, client secret, ticket, flow state or cookie stands anywhere on the disk, in
// the log, in an event or in an error, whatever a flow and a refresh went through.
func TestCanaryIsNowhere(t *testing.T) {
	s := pipestest.New(t)
	pipes.Impatient(s.Broker)
	s.MustIntegration(t, pipestest.Slug)
	secrets := map[string]string{"client secret": pipestest.ClientSecret, "API key": string(s.APIKey.Text().Reveal())}
	var said strings.Builder
	say := func(err error) { fmt.Fprintf(&said, "%v %+v %#v\n", err, err, err) }
	note := func(what string, b secret.Bytes) { secrets[what] = string(b.Reveal()) }

	// A flow with everything that can go wrong before it goes right.
	ticket := s.MustAuthorize(t, "user_1")
	secrets["ticket"] = ticket[strings.LastIndexByte(ticket, '-')+1:]
	browser := s.Browser()
	callback := browser.MustReturn(t, ticket)
	secrets["flow state"] = callback.State[strings.LastIndexByte(callback.State, '-')+1:]
	note("cookie", browser.Cookie)
	note("code", callback.Code)
	wrong := callback
	wrong.Binding = pipestest.Secret(strings.Repeat("x", 43))
	say(errOf(s.Broker.Callback(t.Context(), wrong)))
	wrong = callback
	wrong.State += "A"
	say(errOf(s.Broker.Callback(t.Context(), wrong)))
	say(errOf(s.Broker.Confirmation(t.Context(), browser.Request(ticket+"A"))))
	result, err := s.Broker.Callback(t.Context(), callback)
	must(t, err)
	fmt.Fprintf(&said, "%+v\n", result)
	for _, r := range s.Provider.Requests() {
		secrets["verifier"] = r.Params.Get("code_verifier")
	}
	// One that is bound to a session, finished wrongly and rightly.
	bound := s.MustWait(t, "user_4")
	note("session's verifier", bound.Verifier)
	secrets["result id"] = bound.ResultID[strings.LastIndexByte(bound.ResultID, '-')+1:]
	fmt.Fprintf(&said, "%+v\n", bound.Verifier)
	say(errOf(s.Broker.Finish(t.Context(), s.Call(), pipes.FinishRequest{ResultID: bound.ResultID, Verifier: pipestest.Secret(strings.Repeat("v", 43))})))
	say(errOf(s.Broker.Finish(t.Context(), s.Call(), pipes.FinishRequest{ResultID: bound.ResultID + "A", Verifier: bound.Verifier})))
	finished, err := s.Broker.Finish(t.Context(), s.Call(), bound)
	must(t, err)
	fmt.Fprintf(&said, "%+v\n", finished)
	// One in a pop-up.
	handed := s.MustAuthorizeHandoff(t, "user_5")
	note("handoff token", handed.HandoffToken)
	secrets["redirect token"] = handed.RedirectToken[strings.LastIndexByte(handed.RedirectToken, '-')+1:]
	fmt.Fprintf(&said, "%+v\n", handed.HandoffToken)
	popup := s.Browser().Request(handed.RedirectToken)
	must(t, errOf(s.Broker.Popup(t.Context(), popup)))
	say(errOf(s.Broker.Handoff(t.Context(), popup, pipestest.Secret(strings.Repeat("h", 43)))))
	must(t, errOf(s.Broker.Handoff(t.Context(), popup, handed.HandoffToken)))
	note("access token", s.MustToken(t, "user_1").AccessToken)

	// Reports of tokens, of the account's and of others.
	for _, text := range []string{secrets["access token"], "canary-reported-token"} {
		found, err := s.Broker.TokenRefused(t.Context(), s.Call(), pipes.RefusedToken{Request: pipestest.Request("user_1"), Token: pipestest.Secret(text)})
		say(err)
		fmt.Fprintf(&said, "%+v\n", found)
	}
	secrets["reported token"] = "canary-reported-token"

	// Refreshes that fail in every way, with replies that repeat what was sent.
	for n, fault := range []connectorstest.Fault{
		connectorstest.JSON(400, `{"error":"canary-in-an-error-code-4711"}`), connectorstest.HTML(500), connectorstest.LostReply(),
		connectorstest.JSON(200, `{"access_token":"canary-reply-token","expires_in":60,"refresh_token":"canary-reply-refresh"}`),
		connectorstest.JSON(401, `{"error":"invalid_client","error_description":"`+pipestest.ClientSecret+`"}`),
	} {
		s.Clock.Advance(2 * time.Hour)
		s.Provider.Always(fault)
		v, err := token(t, s)
		say(err)
		fmt.Fprintf(&said, "%d %+v\n", n, v)
	}
	s.Provider.Heal()
	secrets["replied access token"], secrets["replied refresh token"] = "canary-reply-token", "canary-reply-refresh"
	for _, r := range s.Provider.Requests() {
		if sent := r.Params.Get("refresh_token"); sent != "" {
			secrets["sent refresh token "+sent[len(sent)-4:]] = sent
		}
	}
	must(t, errOf(s.Broker.ImportAccount(t.Context(), s.Call(), pipestest.Request("user_2"), pipes.AccountTokens{
		AccessToken: pipestest.Secret("canary-imported-access"), RefreshToken: pipestest.Secret("canary-imported-refresh"),
	})))
	secrets["imported access token"], secrets["imported refresh token"] = "canary-imported-access", "canary-imported-refresh"
	say(errOf(s.Broker.ImportAccount(t.Context(), s.Call(), pipestest.Request("user_3"), pipes.AccountTokens{
		AccessToken: pipestest.Secret("canary-refused-access"), RefreshToken: pipestest.Secret("canary-imported-refresh"),
	})))
	secrets["refused access token"] = "canary-refused-access"
	must(t, errOf(s.Broker.CreateIntegration(t.Context(), s.Call(), pipes.CreateIntegration{
		Slug: keySlug, Enabled: true, AuthMethods: []pipes.AuthMethod{pipes.MethodAPIKey}, Custom: &pipes.CustomProvider{Name: "Keys"},
		APIKey: &pipes.OwnedKey{Secret: pipestest.Secret("canary-owned-api-key"), UserID: "user_1"},
	})))
	must(t, errOf(s.Broker.InstallAPIKey(t.Context(), s.Call(), keyOf(keySlug, "user_2", apiKey))))
	say(errOf(s.Broker.InstallAPIKey(t.Context(), s.Call(), keyOf(pipestest.Slug, "user_2", "canary-refused-api-key"))))
	secrets["owned API key"], secrets["user's API key"], secrets["refused API key"] = "canary-owned-api-key", apiKey, "canary-refused-api-key"
	for _, e := range s.MustEvents(t) {
		fmt.Fprintf(&said, "%s\n", e.Data)
	}
	must(t, s.Audit.Close())

	places := map[string][]byte{"disk": disk(t, s.DataDir, s.AuditDir), "log": []byte(s.Log.String()), "events, errors and answers": []byte(said.String())}
	for place, content := range places {
		if !bytes.Contains(content, []byte(pipestest.Slug)) {
			t.Fatalf("the search does not even find the slug in the %s: it would find nothing", place)
		}
		for what, plain := range secrets {
			if plain == "" {
				t.Errorf("there is no %s to look for", what)
				continue
			}
			for form, text := range forms(plain) {
				if bytes.Contains(content, []byte(text)) {
					t.Errorf("the %s stands in the %s %s", what, place, form)
				}
			}
		}
	}
	if len(secrets) < 12 {
		t.Errorf("only %d secrets were looked for", len(secrets))
	}
}

// disk is every file below these directories.
func disk(t *testing.T, dirs ...string) []byte {
	t.Helper()
	var all []byte
	for _, dir := range dirs {
		must(t, filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
			if err != nil || !entry.Type().IsRegular() {
				return err
			}
			content, err := os.ReadFile(path)
			all = append(all, content...)
			return err
		}))
	}
	return all
}

// No exported type of the package prints a secret it holds, however it is rendered.
func TestCanaryIsNotRendered(t *testing.T) {
	const canary = "CANARY-5e1f-token"
	b := pipestest.Secret(canary)
	for _, v := range []any{
		pipes.Vended{AccessToken: b}, &pipes.Vended{AccessToken: b}, pipes.ClientCredentials{Secret: b},
		pipes.CreateIntegration{Credentials: &pipes.ClientCredentials{Secret: b}},
		pipes.UpdateIntegration{Credentials: &pipes.ClientCredentials{Secret: b}},
		pipes.APIKeyInstall{Secret: b}, pipes.ClientInstall{Secret: b}, pipes.CreateIntegration{APIKey: &pipes.OwnedKey{Secret: b}},
		pipes.AccountTokens{AccessToken: b, RefreshToken: b}, pipes.CallbackRequest{Code: b, Binding: b},
		pipes.BrowserRequest{Binding: b}, pipes.FinishRequest{Verifier: b}, pipes.Authorized{HandoffToken: b}, pipes.Departed{Binding: b}, pipes.ConfirmationPage{Binding: b},
		[]pipes.Vended{{AccessToken: b}}, struct{ hidden pipes.Vended }{pipes.Vended{AccessToken: b}},
	} {
		var out strings.Builder
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d"} {
			fmt.Fprintf(&out, verb, v)
		}
		encoded, err := json.Marshal(v)
		must(t, err)
		out.Write(encoded)
		slog.New(slog.NewJSONHandler(&out, nil)).Info("text", "v", v)
		slog.New(slog.NewTextHandler(&out, nil)).Info("text", "v", v)
		for _, text := range forms(canary) {
			if strings.Contains(out.String(), text) {
				t.Errorf("%T renders its secret", v)
			}
		}
	}
}

// What is stored is bound to its place: another grant's tokens, an older generation's, or another
// origin's do not open.
func TestSealedTokensAreBound(t *testing.T) {
	for what, edit := range map[string]func(*pipes.Grant, *pipes.Grant){
		"another grant's tokens":  func(g, other *pipes.Grant) { g.Sealed, g.WrappedDEK = other.Sealed, other.WrappedDEK },
		"another generation":      func(g, _ *pipes.Grant) { g.Generation++ },
		"another origin":          func(g, _ *pipes.Grant) { g.Origin = "https://evil.example" },
		"another end":             func(g, _ *pipes.Grant) { g.ExpiresAt = g.ExpiresAt.Add(time.Hour) },
		"another integration":     func(g, _ *pipes.Grant) { g.Integration += "X" },
		"another key context":     func(g, _ *pipes.Grant) { g.Items = map[string]string{"organization_id": "org_1"} },
		"nothing (the twin)":      func(*pipes.Grant, *pipes.Grant) {},
		"a field that is not one": func(g, _ *pipes.Grant) { g.Reason = "edited" },
	} {
		t.Run(what, func(t *testing.T) {
			lie := &lying{}
			s := pipestest.WithConfig(t, pipestest.Config{Wrap: func(inner pipes.Store) pipes.Store { lie.Store = inner; return lie }})
			s.MustIntegration(t, pipestest.Slug)
			s.MustConnect(t, "user_1")
			s.MustConnect(t, "user_2")
			other := mustGrant(t, s, s.MustAccount(t, "user_2").Grant)
			mine := s.MustAccount(t, "user_1").Grant
			lie.grant = func(g *pipes.Grant) {
				if g.ID == mine {
					edit(g, &other)
				}
			}
			v, err := token(t, s)
			if good := strings.Contains(what, "twin") || strings.Contains(what, "not one"); good != (err == nil) {
				t.Errorf("got %+v, %v", v, err)
			} else if !good && v.AccessToken.Len() != 0 {
				t.Error("a token came with the error")
			}
		})
	}
}
