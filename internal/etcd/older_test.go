package etcd_test

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"culvert/internal/etcd"
	"culvert/keys"
	"culvert/keys/keystest"
	"culvert/pipes/pipestest"
)

// oneKey is a customer's key that any customer may have.
type oneKey struct{ keys.RootKey }

func (o oneKey) Name(text string) (string, bool) { return text, text == o.URI() }
func (o oneKey) Key(context.Context, string) (keys.RootKey, error) {
	return o.RootKey, nil
}

// found is what a verification says of each record.
func found(j keys.Job) map[string]string {
	all := map[string]string{}
	for _, f := range j.Findings {
		all[f.Record] = f.Code
	}
	return all
}

// mustFind wants a verification to say that of these records, and of no others.
func (c *crime) mustFind(t *testing.T, what string, records ...string) {
	t.Helper()
	c.want = map[string]string{}
	c.expect(records...)
	if got := found(c.verify(t)); !maps.Equal(got, c.want) {
		t.Errorf("%s: found\n%s\nwant\n%s", what, lines(got), lines(c.want))
	}
}

// A map of CMKs, or a KEK, of another time is genuine at its own key. That the two do not fit is found.
func TestVerifyFindsOlderCMKMaps(t *testing.T) {
	source := oneKey{keystest.NewRoot(t)}
	s := pipestest.WithConfig(t, pipestest.Config{CMKs: source})
	c := &crime{Stack: s, env: s.Environment.ID()}
	s.MustRunner(t)
	a, b := c.object(t, "a", "a"), c.object(t, "b", "b")
	c.object(t, "nobody's", "nobody")
	attach := func(customer string) {
		t.Helper()
		job, err := c.Operations.AttachCMK(t.Context(), c.Call(), keys.AttachRequest{Item: keys.Item{Name: "customer", Value: customer}, Key: source.URI()})
		must(t, err)
		if ended := c.MustEndJob(t, job.ID); ended.State != keys.JobSucceeded {
			t.Fatalf("attached as %+v", ended)
		}
	}
	cmks, kekA, kekB := etcd.KeyCMKMap(c.env), etcd.KeyKEK(c.env, a.KeyID), etcd.KeyKEK(c.env, b.KeyID)
	ofA := c.bytes(t, kekA)
	attach("a")
	older := c.bytes(t, cmks)
	attach("b")
	now, nowA := c.bytes(t, cmks), c.bytes(t, kekA)
	c.mustFind(t, "as it is")

	c.put(t, cmks, older)
	c.mustFind(t, "the map from before", kekB)
	c.remove(t, cmks)
	c.mustFind(t, "no map", kekA, kekB)
	c.put(t, cmks, now)
	c.put(t, kekA, ofA)
	c.mustFind(t, "a KEK from before", kekA, etcd.KeyObject(c.env, a.ID)) // whose DEK is under the key that came with the CMK
	c.put(t, kekA, nowA)
	c.mustFind(t, "all put back")
}

// The moment that a job which attached a key tells of backups holds for one that is taken then: the history of the
// store, which goes along, does not have the KEKs as they were.
func TestNoHistoryFromBeforeTheCMK(t *testing.T) {
	source := oneKey{keystest.NewRoot(t)}
	s := pipestest.WithConfig(t, pipestest.Config{CMKs: source})
	c := &crime{Stack: s, env: s.Environment.ID()}
	s.MustRunner(t)
	kek := etcd.KeyKEK(c.env, c.object(t, "a", "a").KeyID)
	was, err := c.raw().Get(t.Context(), c.Client.Abs(kek))
	must(t, err)
	before := func() error {
		_, err := c.raw().Get(t.Context(), c.Client.Abs(kek), clientv3.WithRev(was.Header.Revision))
		return err
	}
	request := keys.AttachRequest{Item: keys.Item{Name: "customer", Value: "a"}, Key: source.URI(), DryRun: true}
	for _, request.DryRun = range []bool{true, false} {
		job, err := c.Operations.AttachCMK(t.Context(), c.Call(), request)
		must(t, err)
		if ended := c.MustEndJob(t, job.ID); ended.State != keys.JobSucceeded || ended.BackupsBefore().IsZero() != request.DryRun {
			t.Fatalf("attached as %+v", ended)
		}
		if err := before(); errors.Is(err, rpctypes.ErrCompacted) == request.DryRun || err != nil && request.DryRun {
			t.Errorf("dry run %v: the KEK from before: %v", request.DryRun, err)
		}
	}
}

// Keys that nobody here has made are named so that neither the record of the job nor the terminal of who reads
// the report suffers, and the verification comes to its end.
func TestVerifyNamesForeignKeys(t *testing.T) {
	c := mustCrime(t)
	c.object(t, "fine", "fine")
	env := "/" + string(c.env) + "/"
	c.mustFind(t, "as it is")
	foreign := []string{
		"apikey" + env + "\x1b[2J\rnothing is wrong", "registered" + env + "\xff\xfe", "req" + env + "\u202egnorw",
		"integration" + env + strings.Repeat("x", 100_000), "job" + env + "\x00",
	}
	var quoted []string
	for _, key := range foreign {
		c.put(t, key, []byte("x"))
		quoted = append(quoted, strconv.QuoteToASCII(key[:min(len(key), 512)]))
	}
	c.mustFind(t, "beside foreign keys", quoted...)
	for _, kind := range []keys.JobKind{keys.RewrapJob, keys.RotateJob} {
		if ended := c.MustEndJob(t, c.MustJob(t, keys.JobRequest{Kind: kind, All: true}).ID); ended.State == keys.JobRunning {
			t.Errorf("%s: %+v", kind, ended)
		}
	}
	for _, key := range slices.Backward(foreign) {
		c.remove(t, key)
	}
	c.mustFind(t, "without them")
}
