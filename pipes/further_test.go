package pipes_test

import (
	"errors"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"

	"culvert/pipes"
	"culvert/pipes/pipestest"
)

// added imports a further account with an access token.
func added(s *pipestest.Stack, t *testing.T, user, token string) (pipes.Account, error) {
	return s.Broker.ImportAccount(t.Context(), s.Call(), pipestest.Request(user), pipes.AccountTokens{
		AccessToken: pipestest.Secret(token), Intent: pipes.IntentAdd,
	})
}

func mustAdd(t *testing.T, s *pipestest.Stack, token string) pipes.Account {
	t.Helper()
	a, err := added(s, t, "user_1", token)
	must(t, err)
	return a
}

// The first account fills the compatibility slot, which is all that a caller sees who knows of one; the others
// are beside it, until the slot is free again.
func TestFurtherConnections(t *testing.T) {
	s := pipestest.New(t)
	s.MustIntegration(t, pipestest.Slug)
	first, second, third := mustAdd(t, s, "at-1"), mustAdd(t, s, "at-2"), mustAdd(t, s, "at-3")
	if first.Standard || !second.Standard || !third.Standard {
		t.Fatalf("roles: %v, %v, %v", first.Standard, second.Standard, third.Standard)
	}
	vend := func(plural bool, id pipes.AccountID, token string, want error) {
		t.Helper()
		r := pipestest.Request("user_1")
		r.Plural, r.AccountID = plural, id
		v, err := s.Broker.Token(t.Context(), s.Call(), r)
		if !errors.Is(err, want) || err == nil && string(v.AccessToken.Reveal()) != token {
			t.Errorf("plural %v, account %q: %q, %v; want %q, %v", plural, id, v.AccessToken.Reveal(), err, token, want)
		}
		if err := errOf(s.Broker.Account(t.Context(), s.Call(), r)); token != "" && err != nil || want != nil && !errors.Is(err, want) {
			t.Errorf("plural %v, account %q: read: %v", plural, id, err)
		}
	}
	vend(false, "", "at-1", nil)
	vend(true, "", "", pipes.ErrAccountSelection)
	vend(false, second.ID, "at-2", nil)
	vend(true, third.ID, "at-3", nil)
	stranger, err := added(s, t, "user_2", "at-1") // another owner may have the same token
	must(t, err)
	vend(true, stranger.ID, "", pipes.ErrNoAccount)

	remove := func(plural bool, id pipes.AccountID) error {
		r := pipestest.Request("user_1")
		r.Plural, r.AccountID = plural, id
		return s.Broker.DeleteAccount(t.Context(), s.Call(), r)
	}
	if err := remove(true, ""); !errors.Is(err, pipes.ErrAccountSelection) {
		t.Errorf("which one is not said: %v", err)
	}
	// Whose compatibility slot is empty is not connected for who knows of one.
	must(t, remove(false, ""))
	vend(false, "", "", nil)
	if err := remove(false, ""); !errors.Is(err, pipes.ErrNoAccount) {
		t.Errorf("a standard connection is removed though nobody named it: %v", err)
	}
	list, err := s.Broker.DataProviders(t.Context(), s.Call(), pipes.Request{UserID: "user_1", Plural: true})
	must(t, err)
	if len(list) != 1 || list[0].Account != nil || len(list[0].Accounts) != 2 {
		t.Errorf("listed: %+v", list)
	}
	must(t, remove(true, second.ID))
	vend(true, "", "at-3", nil)
	// The next one fills it, whether it is added or connected.
	if again := mustAdd(t, s, "at-4"); again.Standard {
		t.Error("added beside an empty slot")
	}
	must(t, remove(false, ""))
	plain, err := s.Broker.ImportAccount(t.Context(), s.Call(), pipestest.Request("user_1"), pipes.AccountTokens{AccessToken: pipestest.Secret("at-5")})
	if err != nil || plain.Standard {
		t.Errorf("connected: %+v, %v", plain, err)
	}
	vend(false, "", "at-5", nil)
	vend(false, third.ID, "at-3", nil)
}

// An import that is repeated because its answer was lost makes no second account, where it can be seen.
func TestAddIsNotRepeated(t *testing.T) {
	s := pipestest.New(t)
	s.MustIntegration(t, pipestest.Slug)
	mustAdd(t, s, "at-1")
	mustAdd(t, s, "at-2")
	for _, token := range []string{"at-1", "at-2"} {
		if _, err := added(s, t, "user_1", token); !errors.Is(err, pipes.ErrAccountExists) {
			t.Errorf("%s again: %v, want ErrAccountExists", token, err)
		}
	}
	with := mustTokens(t, s)
	with.Intent = pipes.IntentAdd
	must(t, errOf(s.Broker.ImportAccount(t.Context(), s.Call(), pipestest.Request("user_1"), with)))
	if err := errOf(s.Broker.ImportAccount(t.Context(), s.Call(), pipestest.Request("user_1"), with)); !errors.Is(err, pipes.ErrTokenInUse) {
		t.Errorf("a refresh token again: %v, want ErrTokenInUse", err)
	}
	for intent, call := range map[pipes.Intent]func(pipes.AccountTokens) error{
		pipes.IntentReauthorize: func(x pipes.AccountTokens) error {
			return errOf(s.Broker.ImportAccount(t.Context(), s.Call(), pipestest.Request("user_1"), x))
		},
		pipes.IntentAdd: func(x pipes.AccountTokens) error {
			return errOf(s.Broker.UpdateAccount(t.Context(), s.Call(), pipestest.Request("user_1"), x))
		},
		"both": func(x pipes.AccountTokens) error {
			return errOf(s.Broker.UpdateAccount(t.Context(), s.Call(), pipestest.Request("user_1"), x))
		},
	} {
		var refused *pipes.InvalidError
		if err := call(pipes.AccountTokens{Intent: intent}); !errors.As(err, &refused) || refused.Field != "connection_intent" {
			t.Errorf("%q where it has no meaning: %v", intent, err)
		}
	}
	must(t, errOf(s.Broker.UpdateAccount(t.Context(), s.Call(), pipestest.Request("user_1"), pipes.AccountTokens{Intent: pipes.IntentReauthorize})))
}

// Two at the same moment are two accounts, of which one has the slot.
func TestAddAtOnce(t *testing.T) {
	s := pipestest.New(t)
	s.MustIntegration(t, pipestest.Slug)
	results := make(chan pipes.Account)
	for i := range 2 {
		go func() {
			a, err := added(s, t, "user_1", "at-"+strconv.Itoa(i))
			if err != nil {
				t.Errorf("add %d: %v", i, err)
			}
			results <- a
		}()
	}
	a, b := <-results, <-results
	if a.ID == b.ID || a.Standard == b.Standard {
		t.Errorf("accounts %s (standard: %v) and %s (%v)", a.ID, a.Standard, b.ID, b.Standard)
	}
}

func TestTooManyConnections(t *testing.T) {
	s := pipestest.New(t)
	s.MustIntegration(t, pipestest.Slug)
	add := func() error {
		return errOf(s.Broker.ImportAccount(t.Context(), s.Call(), pipestest.Request("user_1"), pipes.AccountTokens{Intent: pipes.IntentAdd}))
	}
	for range pipes.MaxConnections {
		must(t, add())
	}
	if err := add(); !errors.Is(err, pipes.ErrTooManyConnections) {
		t.Errorf("one more: %v", err)
	}
	adds := pipes.AuthorizeRequest{Slug: pipestest.Slug, UserID: "user_1", Intent: pipes.IntentAdd}
	if err := errOf(s.Broker.Authorize(t.Context(), s.Call(), adds)); !errors.Is(err, pipes.ErrTooManyConnections) {
		t.Errorf("one more by a flow: %v", err)
	}
	must(t, s.Broker.DeleteAccount(t.Context(), s.Call(), pipestest.Request("user_1")))
	must(t, add())
}

// begin begins a flow of user_1 that says which account it is about, and goes through it up to the callback.
func begin(t *testing.T, s *pipestest.Stack, b *pipestest.Browser, intent pipes.Intent, id pipes.AccountID) pipes.CallbackRequest {
	t.Helper()
	begun, err := s.Broker.Authorize(t.Context(), s.Call(), pipes.AuthorizeRequest{
		Slug: pipestest.Slug, UserID: "user_1", ReturnTo: pipestest.ReturnTo + "/done?a=1", Intent: intent, AccountID: id,
	})
	must(t, err)
	return b.MustReturn(t, pipestest.Ticket(t, begun.URL))
}

func mustRead(t *testing.T, s *pipestest.Stack, id pipes.AccountID) pipes.Account {
	t.Helper()
	r := pipestest.Request("user_1")
	r.AccountID = id
	a, err := s.Broker.Account(t.Context(), s.Call(), r)
	must(t, err)
	return a
}

// A flow that adds an account changes none, and asks nothing; one that renews an account renews that one.
func TestAuthorizeWithIntent(t *testing.T) {
	s := identified(t, nil)
	first := s.MustConnect(t, "user_1")
	before, token := mustRead(t, s, first), s.MustToken(t, "user_1")
	s.Provider.SignIn("user-2", "Other User")
	result, err := s.Broker.Callback(t.Context(), begin(t, s, s.Browser(), pipes.IntentAdd, ""))
	must(t, err)
	if result.Choice != "" || result.Code != "" || result.Account == first || result.Account == "" {
		t.Fatalf("added: %+v", result)
	}
	second := mustRead(t, s, result.Account)
	if !second.Standard || second.Identifier != "user-2" || second.Grant == before.Grant {
		t.Errorf("added: %+v", second)
	}
	if diff := cmp.Diff(before, mustRead(t, s, first)); diff != "" {
		t.Errorf("the first one changed:\n%s", diff)
	}
	if now := s.MustToken(t, "user_1"); !now.AccessToken.Equal(token.AccessToken) {
		t.Error("another token is vended")
	}
	// Case 1: renewed by its id, by the same account at the provider.
	result, err = s.Broker.Callback(t.Context(), begin(t, s, s.Browser(), pipes.IntentReauthorize, second.ID))
	must(t, err)
	if result.Account != second.ID || !mustRead(t, s, second.ID).UpdatedAt.After(second.UpdatedAt) {
		t.Errorf("renewed: %+v", result)
	}
	if diff := cmp.Diff(before, mustRead(t, s, first)); diff != "" {
		t.Errorf("the first one changed:\n%s", diff)
	}
	// Case 2: by another account at the provider: he is asked about the one that he named.
	s.Provider.SignIn("user-3", "Third User")
	browser := s.Browser()
	r := mustAsk(t, s, browser, begin(t, s, browser, "", second.ID))
	if page := mustShow(t, s, &r); page.Connected.ID != "user-2" || page.SignedIn.ID != "user-3" {
		t.Errorf("asked about %+v", page)
	}
	r.Replace = true
	if result, err = s.Broker.Choose(t.Context(), r); err != nil || result.Account != second.ID {
		t.Errorf("replaced: %+v, %v", result, err)
	}
	// Case 3: gone meanwhile. Nothing is connected in its place.
	callback := begin(t, s, s.Browser(), pipes.IntentReauthorize, second.ID)
	named := pipestest.Request("user_1")
	named.AccountID = second.ID
	must(t, s.Broker.DeleteAccount(t.Context(), s.Call(), named))
	if result, err = s.Broker.Callback(t.Context(), callback); err != nil || result.Code != pipes.CodeAccountRemoved {
		t.Errorf("removed meanwhile: %+v, %v", result, err)
	}
	if diff := cmp.Diff(before, mustRead(t, s, first)); diff != "" {
		t.Errorf("the first one changed:\n%s", diff)
	}
}

// What a flow is about is decided when it begins.
func TestAuthorizeWithIntentRefused(t *testing.T) {
	s := pipestest.New(t)
	s.MustIntegration(t, pipestest.Slug)
	authorize := func(intent pipes.Intent, id pipes.AccountID) error {
		return errOf(s.Broker.Authorize(t.Context(), s.Call(), pipes.AuthorizeRequest{Slug: pipestest.Slug, UserID: "user_1", Intent: intent, AccountID: id}))
	}
	if err := authorize(pipes.IntentReauthorize, ""); !errors.Is(err, pipes.ErrNoAccount) {
		t.Errorf("nothing to renew: %v", err)
	}
	mine := mustAdd(t, s, "at-1")
	others, err := added(s, t, "user_2", "at-2")
	must(t, err)
	must(t, authorize(pipes.IntentReauthorize, ""))
	must(t, authorize("", mine.ID))
	if err := authorize("", others.ID); !errors.Is(err, pipes.ErrNoAccount) {
		t.Errorf("another owner's: %v", err)
	}
	mustAdd(t, s, "at-3")
	if err := authorize(pipes.IntentReauthorize, ""); !errors.Is(err, pipes.ErrAccountSelection) {
		t.Errorf("which one is not said: %v", err)
	}
	must(t, authorize("", ""))
	for field, err := range map[string]error{
		"connection_intent": authorize("both", ""), "connected_account_id": authorize(pipes.IntentAdd, mine.ID),
	} {
		var refused *pipes.InvalidError
		if !errors.As(err, &refused) || refused.Field != field {
			t.Errorf("%s: %v", field, err)
		}
	}
	var refused *pipes.InvalidError
	if err := authorize("", "data_installation_x"); !errors.As(err, &refused) || !refused.Malformed {
		t.Errorf("malformed: %v", err)
	}
}
