package keys_test

import (
	"bytes"
	"testing"
	"time"

	"culvert/internal/events"
	"culvert/internal/id"
	"culvert/keys"
	"culvert/pipes"
	"culvert/vault/vaulttest"
)

// What pipes keeps is rewrapped and re-encrypted too: the tokens of a grant and the secret of an integration.
func TestRewrapAndReencryptOfPipes(t *testing.T) {
	s := vaulttest.New(t)
	s.MustRunner(t)
	env, now, ctx := s.Environment.ID(), time.Now().UTC(), t.Context()
	org, none := vaulttest.MustContext(t, "organization_id", "org_1"), vaulttest.MustContext(t)
	permit := func(c keys.Context) keys.ID { return mustStoredKEK(t, s, pairsOf(c)...) }
	orgKEK, emptyKEK := permit(org), permit(none)
	must(t, s.Store.Fence(ctx))

	secret := keys.ClientSecretBinding{IntegrationID: "data_integration_" + id.ULID(now), ClientID: "client", Origin: "https://provider.example", SealedAt: now}
	sealed, secretConditions, err := s.Keys.SealClientSecret(ctx, s.MustPermit(t, none), none, secret, vaulttest.Value("secret"), keys.SealMeta{})
	must(t, err)
	before := secret
	before.SealedAt = now.Add(-time.Hour)
	previous, previousConditions, err := s.Keys.SealClientSecret(ctx, s.MustPermit(t, none), none, before, vaulttest.Value("previous"), keys.SealMeta{})
	must(t, err)
	integration := pipes.Integration{
		ID: pipes.IntegrationID(secret.IntegrationID), Environment: env, Slug: "provider", Ownership: pipes.OwnedByUser, DIK: "dik_" + id.ULID(now),
		AuthMethods: []pipes.AuthMethod{pipes.MethodOAuth}, CreatedAt: now, UpdatedAt: now,
		Client: &pipes.Client{Type: "custom", ID: "client", Secret: &pipes.SealedSecret{
			KeyID: sealed.KeyID, WrappedDEK: sealed.WrappedDEK, Ciphertext: sealed.Ciphertext, Origin: secret.Origin, SealedAt: now},
			Previous: &pipes.PreviousSecret{Until: now.Add(time.Hour), Secret: &pipes.SealedSecret{
				KeyID: previous.KeyID, WrappedDEK: previous.WrappedDEK, Ciphertext: previous.Ciphertext, Origin: secret.Origin, SealedAt: before.SealedAt}}},
	}
	binding := keys.GrantBinding{GrantID: "grant_" + id.ULID(now), IntegrationID: secret.IntegrationID, Origin: secret.Origin, Generation: 3, ObtainedAt: now}
	tokens, grantConditions, err := s.Keys.SealGrant(ctx, s.MustPermit(t, org), org, binding, keys.GrantTokens{Access: vaulttest.Value("token")}, keys.SealMeta{})
	must(t, err)
	grant := pipes.Grant{
		ID: pipes.GrantID(binding.GrantID), Environment: env, Integration: integration.ID, Generation: 3, Items: org.Items(),
		KeyID: tokens.KeyID, WrappedDEK: tokens.WrappedDEK, Sealed: tokens.Ciphertext, Origin: secret.Origin, ObtainedAt: now,
	}
	must(t, s.Store.Apply(ctx, pipes.Change{
		Environment: env, Integration: &pipes.Put[pipes.Integration]{Record: integration}, Grant: &pipes.Put[pipes.Grant]{Record: grant},
		Conditions: []keys.Conditions{secretConditions, previousConditions, grantConditions},
		Events:     []events.Event{{Type: events.IntegrationCreated, Data: []byte("{}"), At: now, Node: "test"}},
	}))
	mustRotate(t, s, orgKEK)
	mustRotate(t, s, emptyKEK)
	for id, tally := range mustTallies(t, s) {
		if tally != (keys.Tally{Records: 2, Stale: 2}) {
			t.Errorf("%s has %+v, want an object and what pipes keeps", id, tally)
		}
	}
	ended := s.MustEndJob(t, s.MustJob(t, keys.JobRequest{Kind: keys.RewrapJob, All: true}).ID)
	if want := (keys.Counts{Total: 4, Done: 4, Changed: 4}); ended.State != keys.JobSucceeded || ended.Counts != want {
		t.Errorf("the job ended as %+v", ended)
	}
	g, i := mustOpenPipes(t, s, grant.ID, binding, secret)
	for kek, wrapped := range map[keys.ID][]byte{orgKEK: g.WrappedDEK, emptyKEK: i.Client.Secret.WrappedDEK} {
		r, _, err := s.Store.KEK(ctx, env, kek)
		must(t, err)
		if r.Versions != 2 || r.Stale(wrapped) {
			t.Errorf("a DEK under %s is stale", kek)
		}
	}
	ended = s.MustEndJob(t, s.MustJob(t, keys.JobRequest{Kind: keys.ReencryptJob, All: true}).ID)
	if want := (keys.Counts{Total: 4, Done: 4, Changed: 4}); ended.State != keys.JobSucceeded || ended.Counts != want {
		t.Errorf("the job ended as %+v", ended)
	}
	fresh, again := mustOpenPipes(t, s, grant.ID, binding, secret)
	if bytes.Equal(fresh.WrappedDEK, g.WrappedDEK) || bytes.Equal(fresh.Sealed, g.Sealed) || fresh.Generation != g.Generation {
		t.Error("the grant is not sealed again")
	}
	for at, now := range again.Client.Secrets() {
		if before := i.Client.Secrets()[at]; bytes.Equal(now.WrappedDEK, before.WrappedDEK) || bytes.Equal(now.Ciphertext, before.Ciphertext) {
			t.Errorf("client secret %d is not sealed again", at)
		}
	}
}

// mustOpenPipes reads the grant and the integration of the test, and proves that both open to what they were.
func mustOpenPipes(t testing.TB, s *vaulttest.Stack, id pipes.GrantID, b keys.GrantBinding, secret keys.ClientSecretBinding) (*pipes.Grant, *pipes.Integration) {
	t.Helper()
	env, ctx := s.Environment.ID(), t.Context()
	must(t, s.Store.Fence(ctx))
	g, err := s.Store.Grant(ctx, env, id)
	must(t, err)
	i, err := s.Store.Integration(ctx, env, "provider", pipes.OwnedByUser)
	must(t, err)
	got, err := s.Keys.OpenGrant(ctx, s.MustPermit(t, vaulttest.MustContext(t, "organization_id", "org_1")), keys.Sealed{KeyID: g.Record.KeyID, WrappedDEK: g.Record.WrappedDEK, Ciphertext: g.Record.Sealed}, b)
	if err != nil || !got.Access.Equal(vaulttest.Value("token")) {
		t.Errorf("the grant does not open to what it was: %v", err)
	}
	for at, want := range []string{"secret", "previous"} {
		sealed := i.Record.Client.Secrets()[at]
		secret.SealedAt = sealed.SealedAt
		opened, err := s.Keys.OpenClientSecret(ctx, s.MustPermit(t, vaulttest.MustContext(t)), sealed.Sealed(), secret)
		if err != nil || !opened.Equal(vaulttest.Value(want)) {
			t.Errorf("the %s does not open to what it was: %v", want, err)
		}
	}
	return g.Record, i.Record
}

func pairsOf(c keys.Context) (pairs []string) {
	for name, value := range c.All() {
		pairs = append(pairs, name, value)
	}
	return pairs
}
