package etcd_test

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"culvert/connectors"
	"culvert/connectors/connectorstest"
	"culvert/internal/access"
	"culvert/internal/admission"
	"culvert/internal/etcd"
	"culvert/internal/events"
	"culvert/keys"
	"culvert/pipes"
	"culvert/pipes/pipestest"
	"culvert/vault"
	"culvert/vault/vaulttest"
)

// crime is a store with records of every kind, in which a writer of etcd is at work.
type crime struct {
	*pipestest.Stack
	env access.EnvironmentID
	// want are the records that a verification has to find, with what it says of them.
	want map[string]string
}

func mustCrime(t *testing.T) *crime {
	t.Helper()
	s := pipestest.New(t)
	c := &crime{Stack: s, env: s.Environment.ID(), want: map[string]string{}}
	s.MustIntegration(t, pipestest.Slug)
	_, err := s.Store.Register(t.Context(), etcd.Registration{Node: "node", Host: "host", Dir: "/dir", At: time.Now().UTC()})
	must(t, err)
	s.MustRunner(t)
	return c
}

// object stores an object of two versions under a context of its own, or of another object.
func (c *crime) object(t *testing.T, name, context string) vault.Metadata {
	t.Helper()
	m, err := c.Vault.Create(t.Context(), c.Call(), vault.CreateRequest{
		Name: name, Value: vaulttest.Value("first of " + name), Context: vaulttest.MustContext(t, "customer", context),
		Idempotency: &vault.Idempotency{Key: name, Method: "POST", Path: "/", Body: vaulttest.Value(name)},
	})
	must(t, err)
	c.MustUpdate(t, m.ID, "second of "+name)
	return m
}

func (c *crime) raw() *clientv3.Client { return c.Client.KV() }

// bytes are those at a relative key.
func (c *crime) bytes(t *testing.T, key string) []byte {
	t.Helper()
	resp, err := c.raw().Get(t.Context(), c.Client.Abs(key))
	must(t, err)
	if len(resp.Kvs) != 1 {
		t.Fatalf("nothing at %s", key)
	}
	return resp.Kvs[0].Value
}

// flip changes the last bit of what is at a key.
func (c *crime) flip(t *testing.T, key string) {
	t.Helper()
	value := slices.Clone(c.bytes(t, key))
	value[len(value)-1] ^= 1
	c.put(t, key, value)
}

func (c *crime) put(t *testing.T, key string, value []byte) {
	t.Helper()
	_, err := c.raw().Put(t.Context(), c.Client.Abs(key), string(value))
	must(t, err)
}

func (c *crime) remove(t *testing.T, key string) {
	t.Helper()
	resp, err := c.raw().Delete(t.Context(), c.Client.Abs(key))
	must(t, err)
	if resp.Deleted != 1 {
		t.Fatalf("nothing at %s", key)
	}
}

// first is the first key of a kind.
func (c *crime) first(t *testing.T, kind string) string {
	t.Helper()
	prefix := c.Client.Abs(kind + "/" + string(c.env))
	resp, err := c.raw().Get(t.Context(), prefix, clientv3.WithPrefix(), clientv3.WithLimit(1), clientv3.WithKeysOnly())
	must(t, err)
	if len(resp.Kvs) == 0 {
		t.Fatalf("there is no %s", kind)
	}
	return strings.TrimPrefix(string(resp.Kvs[0].Key), c.Client.Abs(""))
}

// expect says that a verification names these records.
func (c *crime) expect(records ...string) {
	for _, r := range records {
		c.want[r] = "integrity_failure"
	}
}

// verify runs a verification to its end.
func (c *crime) verify(t *testing.T) keys.Job {
	t.Helper()
	return c.MustEndJob(t, c.MustJob(t, keys.JobRequest{Kind: keys.VerifyJob, All: true}).ID)
}

// TestVerifyFindsNothingWhereNothingIs: every kind of record passes, before and after the operations on keys,
// and what was shredded is no fault.
func TestVerifyFindsNothingWhereNothingIs(t *testing.T) {
	c := mustCrime(t)
	a := c.object(t, "a", "a")
	c.object(t, "b", "b")
	c.MustConnect(t, "user")
	c.MustAuthorize(t, "other")
	c.mustPending(t, "gone")
	c.mustDrop(t, "never")
	c.schedule(t)
	clean := func(what string, shredded uint64) {
		t.Helper()
		ended := c.verify(t)
		n := ended.Counts
		if ended.State != keys.JobSucceeded || n.Failed != 0 || len(ended.Findings) != 0 || n.Done < n.Total || n.Total < 10 || n.Opened < 6 || n.Shredded != shredded {
			t.Errorf("%s: %+v", what, ended)
		}
	}
	clean("as it is", 0)
	for _, kind := range []keys.JobKind{keys.RotateJob, keys.RewrapJob, keys.ReencryptJob} {
		if ended := c.MustEndJob(t, c.MustJob(t, keys.JobRequest{Kind: kind, All: true}).ID); ended.State != keys.JobSucceeded || ended.Counts.Failed != 0 {
			t.Errorf("the %s job: %+v", kind, ended)
		}
		clean("after a job: "+string(kind), 0)
	}
	c.MustEndJob(t, c.MustJob(t, keys.JobRequest{
		Kind: keys.ShredJob, Scope: keys.Scope{Item: keys.Item{Name: "customer", Value: "b"}}, Confirm: "customer=b",
	}).ID)
	clean("after a shred", 1)
	c.MustDelete(t, a.ID)
	must(t, c.Broker.DeleteAccount(t.Context(), c.Call(), pipestest.Request("user")))
	clean("after deletions", 1)
}

// TestVerifyFindsWhatWasTamperedWith: one crime of each kind, each found at the record that it was done to.
func TestVerifyFindsWhatWasTamperedWith(t *testing.T) {
	c := mustCrime(t)
	env, e := c.env, c.Environment
	objects := map[string]vault.Metadata{}
	for _, name := range []string{"value", "lost value", "name", "header", "kek", "pointer", "entry", "here", "there", "fine"} {
		objects[name] = c.object(t, name, name)
	}
	header := func(name string) string { return etcd.KeyObject(env, objects[name].ID) }
	kek := func(name string) string { return "kek/" + string(env) + "/" + string(objects[name].KeyID) }
	context := func(name string) string { return e.ContextIndex(vaulttest.MustContext(t, "customer", name)) }

	c.flip(t, etcd.KeyVersion(env, objects["value"].ID, 1))
	c.remove(t, etcd.KeyVersion(env, objects["lost value"].ID, 2))
	c.flip(t, etcd.KeyName(env, e.NameIndex("name")))
	c.flip(t, header("header"))
	c.flip(t, kek("kek"))
	c.remove(t, "kekof/"+string(env)+"/"+context("pointer"))
	c.flip(t, "kekby/"+string(env)+"/"+e.ItemIndex("customer", "entry")+"/"+string(objects["entry"].KeyID))
	here, there := etcd.KeyVersion(env, objects["here"].ID, 1), etcd.KeyVersion(env, objects["there"].ID, 1)
	mine, other := c.bytes(t, here), c.bytes(t, there)
	c.put(t, here, other)
	c.put(t, there, mine)
	c.expect(header("value"), header("lost value"), header("name"), header("header"), kek("kek"), header("kek"),
		kek("pointer"), kek("entry"), header("here"), header("there"))

	c.tamperWithPipes(t)
	for _, kind := range []string{"apikey", "apikeyuse", "role", "registered", "event", "req", "job", "integration", "schedule"} {
		if kind == "schedule" {
			c.schedule(t)
		}
		if kind == "apikeyuse" {
			must(t, c.Store.PutLastUse(t.Context(), access.Use{Environment: env, KeyID: c.APIKey.ID, At: time.Now().UTC()}))
		}
		if kind == "role" {
			_, err := c.Register.CreateRole(t.Context(), c.Call(), admission.RoleRequest{Name: "r", Rules: []access.Rule{{Effect: access.Allow, Actions: []access.Action{access.DataRead}}}})
			must(t, err)
		}
		if kind == "job" {
			c.MustEndJob(t, c.MustJob(t, keys.JobRequest{Kind: keys.RewrapJob, All: true, DryRun: true}).ID)
		}
		if kind == "apikey" {
			c.MustAPIKey(t, access.RoleAdmin) // the first is the one that asks
			continue
		}
		key := c.first(t, kind)
		c.flip(t, key)
		c.expect(key)
	}

	ended := c.verify(t)
	got := map[string]string{}
	for _, f := range ended.Findings {
		got[f.Record] = f.Code
	}
	if !maps.Equal(got, c.want) {
		t.Errorf("found\n%s\nwant\n%s", lines(got), lines(c.want))
	}
	if n := ended.Counts; ended.State != keys.JobFailed || ended.Reason != "findings" || n.Failed != uint64(len(c.want)) || n.Refused != 0 || n.Done < n.Total {
		t.Errorf("the job ended as %s (%s) with %+v, want %d findings", ended.State, ended.Reason, n, len(c.want))
	}
}

// mustPending is an account that was disconnected, whose tokens wait for a provider that is busy.
func (c *crime) mustPending(t *testing.T, user string) pipes.AccountID {
	t.Helper()
	busy := connectorstest.JSON(503, "{}")
	busy.Header.Set("Retry-After", "3600")
	c.Provider.NextRevocation(busy)
	id, revoke := c.MustConnect(t, user), true
	must(t, c.Broker.DeleteAccount(t.Context(), c.Call(), pipes.Request{Slug: pipestest.Slug, UserID: user, RevokeAtProvider: &revoke}))
	c.await(t, id)
	return id
}

// mustDrop is the same of tokens that waited in vain, under the seal of a flow.
func (c *crime) mustDrop(t *testing.T, user string) {
	t.Helper()
	busy := connectorstest.JSON(503, "{}")
	busy.Header.Set("Retry-After", "3600")
	c.Provider.NextRevocation(busy)
	revoking := func(revoke bool) {
		_, err := c.Broker.UpdateIntegration(t.Context(), c.Call(), pipes.UpdateIntegration{Slug: pipestest.Slug, RevokeAtProvider: &revoke})
		must(t, err)
	}
	revoking(true)
	r := c.MustWait(t, user)
	for range pipes.MaxFinishTries {
		r.Verifier, _ = connectors.GenerateVerifier()
		if _, err := c.Broker.Finish(t.Context(), c.Call(), r); !errors.Is(err, pipes.ErrVerifier) {
			t.Fatal(err)
		}
	}
	revoking(false)
	page, err := c.Broker.Revocations(t.Context(), c.Call(), pipes.RevocationQuery{Limit: 100})
	must(t, err)
	for _, r := range page.Data {
		if r.Flow != "" {
			c.await(t, r.ID)
			return
		}
	}
	t.Fatalf("nothing to revoke: %+v", page.Data)
}

// await waits until the provider has been asked in vain.
func (c *crime) await(t *testing.T, id pipes.AccountID) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		r, err := c.Broker.Revocation(t.Context(), c.Call(), id)
		must(t, err)
		if r.Code != "" {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the revocation is %+v", r)
		}
	}
}

// schedule sets a schedule, which finds nothing that is old enough.
func (c *crime) schedule(t *testing.T) {
	t.Helper()
	_, err := c.Operations.SetSchedule(t.Context(), c.Call(), keys.ScheduleRequest{OlderThan: keys.MinScheduleAge})
	must(t, err)
}

// tamperWithPipes connects accounts and does something to each.
func (c *crime) tamperWithPipes(t *testing.T) {
	t.Helper()
	env := string(c.env)
	stored := func(user string) (account pipes.AccountID, grant pipes.GrantID) {
		account = c.MustConnect(t, user)
		must(t, c.Store.Fence(t.Context()))
		at, err := c.Store.Account(t.Context(), c.env, account)
		must(t, err)
		return account, at.Record.Grant
	}
	_, sealed := stored("sealed")
	c.flip(t, "grant/"+env+"/"+string(sealed))
	_, pointed := stored("pointed")
	at, err := c.Store.Grant(t.Context(), c.env, pointed)
	must(t, err)
	c.remove(t, etcd.KeyToken(c.env, at.Record.TokenMAC))
	owned, _ := stored("owned")
	c.flip(t, "owner/"+env+"/"+c.Environment.OwnerIndex(string(pipes.OwnedByUser), "owned", "", pipestest.Slug))
	listed, _ := stored("listed")
	member, err := c.Store.Account(t.Context(), c.env, listed)
	must(t, err)
	c.remove(t, "member/"+env+"/"+string(member.Record.Integration)+"/"+string(listed))
	// Whoever has the MAC key, as this store has, still cannot say where a token may be sent: that is sealed.
	_, forged := stored("forged")
	at, err = c.Store.Grant(t.Context(), c.env, forged)
	must(t, err)
	grant := *at.Record
	grant.Origin = "https://elsewhere.example"
	must(t, c.Store.Apply(t.Context(), pipes.Change{
		Environment: c.env, Grant: &pipes.Put[pipes.Grant]{Record: grant, Revision: at.Revision}, Previous: grant.TokenMAC,
		Events: []events.Event{{Type: events.JobCreated, Data: []byte("{}"), At: time.Now(), Node: "test"}},
	}))
	queued, held := c.mustPending(t, "queued"), c.mustPending(t, "held")
	c.remove(t, "revoking/"+env+"/"+string(queued))
	c.flip(t, "revocation/"+env+"/"+string(held))
	c.expect("revocation/"+env+"/"+string(queued), "revocation/"+env+"/"+string(held))
	_, err = c.Broker.Configure(t.Context(), c.Call(), pipes.Configure{Organization: "org_1", Slug: pipestest.Slug, Enabled: new(bool)})
	must(t, err)
	configuration := c.first(t, "configuration")
	c.flip(t, configuration)
	c.expect(configuration)
	flow := c.first(t, "flow")
	c.flip(t, flow)
	c.expect("grant/"+env+"/"+string(forged), "grant/"+env+"/"+string(sealed), "grant/"+env+"/"+string(pointed), "account/"+env+"/"+string(owned), "account/"+env+"/"+string(listed), flow)
}

func lines(found map[string]string) string {
	var all []string
	for _, record := range slices.Sorted(maps.Keys(found)) {
		all = append(all, fmt.Sprintf("%s: %s", record, found[record]))
	}
	return strings.Join(all, "\n")
}

// TestEveryKindIsVerified: a kind of record that is added is walked, or looked at with another, or has no MAC.
func TestEveryKindIsVerified(t *testing.T) {
	layout, err := os.ReadFile("layout.go")
	must(t, err)
	all := regexp.MustCompile(`(?m)^\tkind\w+ += "(\w+)"$`).FindAllSubmatch(layout, -1)
	if len(all) < 20 {
		t.Fatalf("found %d kinds in layout.go", len(all))
	}
	for _, kind := range all {
		if !slices.Contains(etcd.VerifiedKinds(), string(kind[1])) {
			t.Errorf("%s is not verified", kind[1])
		}
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
