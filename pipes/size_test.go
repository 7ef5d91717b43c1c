package pipes_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"culvert/connectors"
	"culvert/connectors/connectorstest"
	"culvert/internal/outage"
	"culvert/pipes"
	"culvert/pipes/pipestest"
)

// A change that etcd would refuse for its size is refused before it is sent, and is no outage; one that
// fits is stored.
func TestTooLargeIsNoOutage(t *testing.T) {
	s := pipestest.New(t)
	for size, want := range map[int]error{1 << 20: nil, 1400 << 10: pipes.ErrTooLarge, 4 << 20: pipes.ErrTooLarge} {
		f := pipes.Flow{
			ID: pipes.FlowID(fmt.Sprintf("01KAR8Z3S3Z0C5M2N1V7W%05d", size%99991)), Environment: s.Environment.ID(), ReturnTo: strings.Repeat("x", size),
		}
		err := s.Store.Apply(t.Context(), pipes.Change{Environment: f.Environment, Flow: &pipes.Put[pipes.Flow]{Record: f}})
		if !errors.Is(err, want) || outage.Of(err) != nil {
			t.Errorf("%d bytes: got %v, want %v", size, err, want)
		}
	}
}

// As many accounts as may share a grant, each with as many scopes as an account may have, still fit into
// one transaction: nothing that the API lets in can stop a refresh from being stored.
func TestLargestSharedGrantFits(t *testing.T) {
	s := pipestest.New(t)
	pipes.Impatient(s.Broker)
	s.MustIntegration(t, pipestest.Slug)
	var scopes []string
	for n := range pipes.MaxScopesBytes / 400 {
		scopes = append(scopes, fmt.Sprintf("%03d", n)+strings.Repeat("s", 397))
	}
	reply := `{"access_token":"` + strings.Repeat("a", pipes.MaxToken) + `","refresh_token":"one for all","expires_in":3600,"scope":"` + strings.Join(scopes, " ") + `"}`
	s.Provider.Always(connectorstest.JSON(200, reply))
	for n := range pipes.MaxGrantAccounts {
		s.MustConnect(t, fmt.Sprint("user_", n+1))
	}
	if a := s.MustAccount(t, "user_16"); len(a.Scopes) != len(scopes) {
		t.Fatalf("%d scopes, want %d", len(a.Scopes), len(scopes))
	}
	// The refresh token is dead: all accounts turn in one transaction.
	s.Provider.Always(connectorstest.JSON(400, `{"error":"invalid_grant"}`))
	s.Clock.Advance(2 * time.Hour)
	v, err := token(t, s)
	must(t, err)
	if v.Error != pipes.VendNeedsReauthorization {
		t.Errorf("got %+v", v)
	}
	if a := s.MustAccount(t, "user_16"); a.State != pipes.NeedsReauthorization {
		t.Errorf("the last account is %s", a.State)
	}
	// More is refused.
	more := append(scopes[:len(scopes):len(scopes)], strings.Repeat("t", 400))
	err = errOf(s.Broker.UpdateIntegration(t.Context(), s.Call(), pipes.UpdateIntegration{Slug: pipestest.Slug, Scopes: &more}))
	var refused *pipes.InvalidError
	if !errors.As(err, &refused) || refused.Field != "scopes" {
		t.Errorf("scopes of more than 32 KiB: %v", err)
	}
	must(t, errOf(s.Broker.UpdateIntegration(t.Context(), s.Call(), pipes.UpdateIntegration{Slug: pipestest.Slug, Scopes: &scopes})))
}

// Tokens of the largest size are refreshed; of several of one grant, together, those that an entry of the journal
// takes, and no others are connected.
func TestLargeTokensAreRefreshed(t *testing.T) {
	long := func(size, n int) string { return fmt.Sprint(n) + strings.Repeat("t", size-1) }
	one := func(size, n int) string {
		return fmt.Sprintf(`{"access_token":%q,"refresh_token":%q,"expires_in":3600}`, long(size, n), long(size, n+1))
	}
	both := func(size, n int) string {
		return fmt.Sprintf(`{"access_token":%q,"refresh_token":%q,"expires_in":3600,"user":%s}`, long(size, n), long(size, n+1), one(size, n+2))
	}
	for name, c := range map[string]struct {
		reply func(size, n int) string
		size  int
		code  string
	}{
		"the largest": {one, pipes.MaxToken, ""}, "two": {both, 24 << 10, ""}, "two of the largest": {both, pipes.MaxToken, pipes.CodeTooLarge},
	} {
		t.Run(name, func(t *testing.T) {
			s := pipestest.WithConfig(t, pipestest.Config{Connector: func(conn *connectors.Connector) {
				if name != "the largest" {
					conn.Reply = twoTokens
				}
			}})
			pipes.Impatient(s.Broker)
			s.MustIntegration(t, pipestest.Slug)
			s.Provider.Next(connectorstest.JSON(200, c.reply(c.size, 1)))
			result, err := s.Broker.Callback(t.Context(), s.Browser().MustReturn(t, s.MustAuthorize(t, "user_1")))
			if err != nil || result.Code != c.code {
				t.Fatalf("connected with %q, %v", result.Code, err)
			}
			if c.code != "" {
				mustNotConnect(t, s, "user_1")
				return
			}
			s.Clock.Advance(2 * time.Hour)
			s.Provider.Next(connectorstest.JSON(200, one(c.size, 5)))
			if v := s.MustToken(t, "user_1"); v.AccessToken.Len() != c.size || s.Provider.Refreshes() != 1 || pipes.Pending(s.Broker) != 0 {
				t.Errorf("%d bytes after %d refreshes", v.AccessToken.Len(), s.Provider.Refreshes())
			}
		})
	}
}
