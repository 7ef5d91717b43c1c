package pipes_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"culvert/connectors"
	"culvert/connectors/connectorstest"
	"culvert/internal/events"
	"culvert/pipes"
	"culvert/pipes/pipestest"
)

// Every dead grant says why, in one word of ours, and what to do about it: to who asks for a token, in the
// account and in the event. What the provider wrote stands nowhere.
func TestReasonOfADeadGrant(t *testing.T) {
	const prose = "canary-description"
	dead := func(more string) []connectorstest.Fault {
		return []connectorstest.Fault{connectorstest.JSON(400, `{"error":"invalid_grant","error_description":"`+prose+`"`+more+`}`)}
	}
	lost := func(more string) []connectorstest.Fault {
		return append([]connectorstest.Fault{{Drop: true}}, dead(more)...)
	}
	other := pipestest.Credentials()
	other.ID = "another client"
	for name, c := range map[string]struct {
		// tokens, if set, are what the provider gives at first.
		tokens  string
		client  *pipes.ClientCredentials
		refresh []connectorstest.Fault
		// after is how long the account was left alone.
		after time.Duration
		want  string
	}{
		"no more than that":                 {refresh: dead(""), want: pipes.ReasonRevoked},
		"a code that nobody knows":          {refresh: dead(`,"detail":"strange"`), want: pipes.ReasonRevoked},
		"consent taken back":                {refresh: dead(`,"detail":[1,65001]`), want: pipes.ReasonRevoked},
		"a changed password":                {refresh: dead(`,"detail":50173`), want: pipes.ReasonPolicy},
		"left alone for long":               {refresh: dead(""), after: 31 * 24 * time.Hour, want: pipes.ReasonExpiredIdle},
		"left alone for less":               {refresh: dead(""), after: 29 * 24 * time.Hour, want: pipes.ReasonRevoked},
		"unused":                            {refresh: dead(`,"detail":"700082"`), want: pipes.ReasonExpiredIdle},
		"a lost reply":                      {refresh: lost(""), want: pipes.ReasonRotationLost},
		"a lost reply, and a revoked token": {refresh: lost(`,"detail":65001`), want: pipes.ReasonRotationLost},
		"a lost reply, and a new password":  {refresh: lost(`,"detail":50173`), want: pipes.ReasonPolicy},
		"another client":                    {client: other, refresh: dead(""), want: pipes.ReasonClientChanged},
		"the same client, a new secret":     {client: pipestest.Credentials(), refresh: dead(""), want: pipes.ReasonRevoked},
		"the end of the refresh token": {
			tokens:  `{"access_token":"a","refresh_token":"r1","expires_in":60,"refresh_token_expires_in":600}`,
			refresh: dead(""), want: pipes.ReasonRefreshExpired,
		},
		"long before that end": {
			tokens:  `{"access_token":"a","refresh_token":"r2","expires_in":60,"refresh_token_expires_in":600000}`,
			refresh: dead(""), want: pipes.ReasonRevoked,
		},
		"no refresh token": {tokens: `{"access_token":"a","expires_in":60}`, want: pipes.ReasonExpired},
	} {
		t.Run(name, func(t *testing.T) {
			s := pipestest.WithConfig(t, pipestest.Config{
				Provider: connectorstest.Config{Rotate: true},
				Connector: func(conn *connectors.Connector) {
					conn.EndingMember, conn.RefreshIdle = "detail", 30*24*time.Hour
					conn.Endings = map[string]connectors.Ending{
						"65001": connectors.EndingRevoked, "50173": connectors.EndingPolicy, "700082": connectors.EndingIdle,
					}
				},
			})
			pipes.Impatient(s.Broker)
			s.MustIntegration(t, pipestest.Slug)
			if c.tokens != "" {
				s.Provider.Next(connectorstest.JSON(200, c.tokens))
			}
			s.MustConnect(t, "user_1")
			if c.client != nil {
				must(t, errOf(s.Broker.UpdateIntegration(t.Context(), s.Call(), pipes.UpdateIntegration{Slug: pipestest.Slug, Credentials: c.client})))
			}
			s.Clock.Advance(max(c.after, time.Hour))
			s.Provider.Next(c.refresh...)
			v, err := token(t, s)
			if err != nil || v.Error != pipes.VendNeedsReauthorization || v.Reason != c.want {
				t.Fatalf("vended %+v, %v; want the reason %s", v, err, c.want)
			}
			if a := s.MustAccount(t, "user_1"); a.Reason != c.want {
				t.Errorf("account %+v", a)
			}
			for _, e := range s.MustEvents(t, events.ReauthorizationAsked) {
				var data struct {
					Reason string `json:"reason"`
					Hint   string `json:"reason_hint"`
				}
				must(t, json.Unmarshal(e.Data, &data))
				if data.Reason != c.want || data.Hint != pipes.ReasonHint(c.want) {
					t.Errorf("event %s", e.Data)
				}
			}
			if strings.Contains(s.Log.String(), prose) {
				t.Error("the provider's prose is in the log")
			}
		})
	}
}

// Each reason has a hint of its own, also one that a later version has stored; no reason has none.
func TestReasonHints(t *testing.T) {
	seen := map[string]string{}
	for _, reason := range []string{
		pipes.ReasonRevoked, pipes.ReasonRotationLost, pipes.ReasonExpiredIdle, pipes.ReasonRefreshExpired, pipes.ReasonExpired,
		pipes.ReasonPolicy, pipes.ReasonClientChanged, pipes.ReasonImported, pipes.ReasonSetByCaller, pipes.ReasonRefusedByAPI, "of_tomorrow",
	} {
		hint := pipes.ReasonHint(reason)
		if hint == "" || seen[hint] != "" {
			t.Errorf("%s: the hint %q is also that of %q", reason, hint, seen[hint])
		}
		seen[hint] = reason
	}
	if hint := pipes.ReasonHint(""); hint != "" {
		t.Errorf("a hint about nothing: %s", hint)
	}
}
