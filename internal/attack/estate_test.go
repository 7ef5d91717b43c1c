package attack_test

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"culvert/internal/access"
	"culvert/internal/etcd"
	"culvert/keys"
)

// layout lists the kinds of the keyspace, out of the file that defines them.
func layout(t testing.TB) []string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "../etcd/layout.go", nil, parser.SkipObjectResolution)
	must(t, err)
	var kinds []string
	ast.Inspect(file, func(n ast.Node) bool {
		spec, isSpec := n.(*ast.ValueSpec)
		if !isSpec || !strings.HasPrefix(spec.Names[0].Name, "kind") {
			return true
		}
		kind, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
		must(t, err)
		kinds = append(kinds, kind)
		return true
	})
	if len(kinds) < 14 {
		t.Fatalf("found only the kinds %v in the layout", kinds)
	}
	return kinds
}

// estate is a house with a record of every kind in both of its environments.
type estate struct {
	*house
	// Objects by what leads to them: their ids, and the keys of the records that have nothing to do with
	// an id. requests are the creates that were sent with an Idempotency-Key.
	byID, byKey map[string]object
	requests    map[string]request
	apiKeys     map[string]access.APIKey
	// listed are the ids of the accounts, and their integrations, that are asked for by list.
	listed map[string]bool
	// made counts, for names and contexts that were never used before.
	made atomic.Int64
}

// shredded is the context item whose shred marker stands in both environments.
const shredded = "shredded"

// newEstate fills a house. The marker of a shred that is over, and a map with a customer's key that nobody has,
// are put there as Culvert would: with their MAC.
func newEstate(t *testing.T) *estate {
	t.Helper()
	e := &estate{
		house: newHouse(t), byID: map[string]object{}, byKey: map[string]object{},
		requests: map[string]request{}, apiKeys: map[string]access.APIKey{}, listed: map[string]bool{},
	}
	for _, node := range []string{"node-1", "node-2"} {
		_, err := e.stack.Store.Register(t.Context(), etcd.Registration{Node: node, At: time.Now().UTC()})
		must(t, err)
	}
	for _, env := range []*keys.Environment{e.stack.Environment, e.second} {
		for _, kind := range append(layout(t), "sibling") {
			e.remember(t, env, e.mustCreate(t, env.ID(), "of-"+kind, map[string]string{"of": kind}))
		}
		e.fillRequests(t, env)
		e.fillPipes(t, env)
		e.fillWebhooks(t, env)
		must(t, e.stack.Store.Checkpoints(env.ID()).Put(t.Context(), "node-1", time.Now(), []byte("signed by nobody")))
		e.mustDo(t, request{key: e.keyOf(env.ID()), method: http.MethodPost, path: "/culvert/v1/jobs", body: `{"kind":"rewrap","all":true}`})
		e.mustDo(t, request{key: e.keyOf(env.ID()), method: http.MethodPut, path: "/culvert/v1/rotation-schedule", body: `{"older_than":"2160h"}`})
		e.mustDo(t, request{key: e.keyOf(env.ID()), method: http.MethodPost, path: "/culvert/v1/roles",
			body: `{"name":"attacked","rules":[{"effect":"allow","actions":["vault.data.read"]}]}`})
		key := e.mustAPIKey(t, env)
		must(t, e.stack.Store.PutLastUse(t.Context(), access.Use{Environment: env.ID(), KeyID: key.ID, At: time.Now().UTC()}))
		e.apiKeys[key.ID] = key
		e.apiKeys[e.keyOf(env.ID()).ID] = e.keyOf(env.ID())
		for at, record := range map[string]any{
			"shred/" + string(env.ID()) + "/" + env.ItemIndex(shredded, "yes"): map[int]string{1: "to come"},
			"cmkmap/" + string(env.ID()): keys.CMKMap{CMKs: []keys.CMK{{
				ID: keys.CMKID(uuid.Must(uuid.NewV7()).String()), Item: keys.Item{Name: "customer", Value: "yes"}, KeyURI: "local:nobody", State: keys.CMKAttached,
			}}},
		} {
			body, err := e.stack.Codec.Encode(record)
			must(t, err)
			e.writer.MustPut(t, at, mac(t, env, at, body))
		}
	}
	return e
}

// remember gives an object two more versions and notes which records lead to it.
func (e *estate) remember(t *testing.T, env *keys.Environment, o object) {
	t.Helper()
	for _, value := range []string{"second", "third"} {
		e.mustDo(t, e.update(o, value))
	}
	c, err := keys.ParseContext(o.context)
	must(t, err)
	e.byID[o.id] = o
	for _, key := range []string{
		"name/" + string(o.env) + "/" + env.NameIndex(o.name),
		"kek/" + string(o.env) + "/" + o.keyID,
		"kekof/" + string(o.env) + "/" + env.ContextIndex(c),
		"kekby/" + string(o.env) + "/" + env.ItemIndex("of", o.context["of"]) + "/" + o.keyID,
	} {
		e.byKey[key] = o
	}
}

// fillRequests makes objects with an Idempotency-Key. The keys of their records are known but for the day.
func (e *estate) fillRequests(t *testing.T, env *keys.Environment) {
	t.Helper()
	for _, name := range []string{"first-request", "second-request"} {
		o := object{env: env.ID(), name: name, contextJSON: `{"of":"req"}`}
		q := e.createRequest(o, "idempotency of "+name)
		e.mustDo(t, q)
		e.requests[env.RequestIndex(q.method, q.path, q.idempotency)] = q
	}
}

// subject is a record as somebody meets it who needs it.
type subject struct {
	key string
	// ask needs the record and returns a verdict.
	ask func(testing.TB) string
	// intact is the verdict while the record is what it was; broken are those it may have otherwise.
	intact string
	broken []string
}

// request makes a subject of a call of the API.
func (e *estate) request(key string, q request) *subject {
	return &subject{key: key, intact: ok, broken: []string{integrity}, ask: func(t testing.TB) string {
		verdict, _ := e.do(t, q)
		return verdict
	}}
}

// subjectOf says who needs a record. It is nil for a record that nothing reads: a version that is not
// the current one, an object of which the tests know nothing, as those of a request.
func (e *estate) subjectOf(t testing.TB, key string) *subject {
	t.Helper()
	field := strings.Split(key, "/")
	kind := field[0]
	var env access.EnvironmentID
	if len(field) > 1 {
		env = access.EnvironmentID(field[1])
	}
	switch kind {
	case "format", "env":
		return &subject{key, e.start, ok, []string{noStart}}
	case "node":
		return e.exempt(key, e.stack.Environment.ID(), "of-node")
	case "epoch":
		return e.exempt(key, env, "of-epoch")
	case "registered":
		return &subject{key: key, ask: func(t testing.TB) string { return e.registrations(t, env) }, intact: ok, broken: []string{integrity}}
	case "checkpoint":
		return e.proved(key, env)
	case "shred":
		s := e.newContext(key, env, shredded)
		s.intact = "shred_in_progress"
		return s
	case "cmkmap":
		return e.newContext(key, env, "cmk")
	case "apikey":
		s := e.request(key, request{key: e.apiKeys[field[2]], method: http.MethodGet, path: "/vault/v1/kv?limit=1"})
		s.broken = []string{rejected}
		return s
	case "apikeyuse":
		return e.request(key, request{key: e.keyOf(env), method: http.MethodGet, path: "/culvert/v1/api-keys/api_key_" + field[2]})
	case "role":
		return e.request(key, request{key: e.keyOf(env), method: http.MethodGet, path: "/culvert/v1/roles/" + field[2]})
	case "event":
		return e.request(key, request{key: e.keyOf(env), method: http.MethodGet,
			path: "/events?limit=100&events=vault.data.created,vault.data.updated,vault.kek.created"})
	case "job":
		return e.request(key, request{key: e.keyOf(env), method: http.MethodGet, path: "/culvert/v1/jobs/" + field[2]})
	case "schedule":
		return e.request(key, request{key: e.keyOf(env), method: http.MethodGet, path: "/culvert/v1/rotation-schedule"})
	case "req":
		return e.request(key, e.requests[field[3]])
	}
	if s := e.subjectOfPipes(key, env, field); s != nil {
		return s
	}
	if s := e.subjectOfWebhooks(key, env, field); s != nil {
		return s
	}
	return e.subjectOfObject(t, key, field)
}

// subjectOfObject is the part of subjectOf for records that an object is made of.
func (e *estate) subjectOfObject(t testing.TB, key string, field []string) *subject {
	t.Helper()
	o, known := e.byKey[key]
	if field[0] == "object" || field[0] == "version" {
		o, known = e.byID[field[2]]
	}
	switch {
	case !known:
		return nil
	case field[0] == "version" && field[3] != fmt.Sprintf("%016x", ^uint64(3)):
		return nil
	}
	switch field[0] {
	case "object", "version", "kek":
		return e.request(key, e.get(o))
	case "name":
		return e.request(key, e.getByName(o))
	case "kekof":
		return e.request(key, e.update(o, "again"))
	case "kekby":
		return e.request(key, request{key: e.keyOf(o.env), method: http.MethodGet,
			path: "/culvert/v1/keks?context_name=of&context_value=" + o.context["of"]})
	}
	t.Fatalf("the kind %q has no case here: say who needs it, and what he is told if it is broken", field[0])
	return nil
}

// registrations asks for the state directories there are, as who checks the trail does.
func (e *estate) registrations(t testing.TB, env access.EnvironmentID) string {
	t.Helper()
	switch _, err := e.stack.Store.Registrations(t.Context(), env); {
	case err == nil:
		return ok
	case errors.Is(err, keys.ErrTampered):
		return integrity
	default:
		t.Errorf("registrations: %v", err)
		return "error"
	}
}

// proved is a record that nothing on the way of a request needs: a verification asks for it.
func (e *estate) proved(key string, env access.EnvironmentID) *subject {
	return e.stored(key, func(t testing.TB) error {
		_, err := e.stack.Store.Evidence(t.Context(), env, key)
		return err
	})
}

// exempt is a record without MAC, which every write in an environment depends on. What is written into
// it can stop writes or let them be; it can not make them go wrong.
func (e *estate) exempt(key string, env access.EnvironmentID, name string) *subject {
	for _, o := range e.byID {
		if o.env == env && o.name == name {
			s := e.request(key, e.update(o, "again"))
			s.broken = []string{ok, integrity, "storage_unavailable"}
			return s
		}
	}
	return nil
}

// newContext creates an object in a context that was never used, which asks for what guards new KEKs.
func (e *estate) newContext(key string, env access.EnvironmentID, item string) *subject {
	return &subject{key: key, intact: ok, broken: []string{integrity}, ask: func(t testing.TB) string {
		n := e.made.Add(1)
		verdict, _ := e.do(t, e.createRequest(object{
			env: env, name: fmt.Sprint("new-", n), contextJSON: fmt.Sprintf(`{"n":"%d",%q:"yes"}`, n, item),
		}, ""))
		return verdict
	}}
}

// targets are one record of each kind in an environment that something needs, and that no other kind's
// does: so that each can be attacked while the others are.
func (e *estate) targets(t testing.TB, env access.EnvironmentID) map[string]*subject {
	t.Helper()
	found := map[string]*subject{}
	all := e.writer.MustAll(t)
	for _, key := range sortedKeys(all) {
		field := strings.Split(key, "/")
		kind := field[0]
		if len(field) > 1 && field[1] != string(env) && kind != "node" {
			continue
		}
		o, known := e.byKey[key]
		if kind == "object" || kind == "version" {
			o, known = e.byID[field[2]]
		}
		if known && o.name != "of-"+kind || kind == "apikey" && field[2] == e.keyOf(env).ID {
			continue
		}
		if (kind == "account" || kind == "member") && e.listed[field[2]] != (kind == "member") {
			continue
		}
		if s := e.subjectOf(t, key); s != nil && found[kind] == nil {
			found[kind] = s
		}
	}
	for _, kind := range layout(t) {
		if found[kind] == nil {
			t.Fatalf("there is no record of the kind %q that anything needs: make one", kind)
		}
	}
	return found
}

// mustSay asks a subject and compares.
func (s *subject) mustSay(t testing.TB, what string, want ...string) {
	t.Helper()
	if got := s.ask(t); !slices.Contains(want, got) {
		t.Errorf("%s of %s: %s, want %v", what, s.key, got, want)
	}
}

// mustFind is an object that was made with the estate.
func (e *estate) mustFind(t testing.TB, env access.EnvironmentID, name string) object {
	t.Helper()
	for _, o := range e.byID {
		if o.env == env && o.name == name {
			return o
		}
	}
	t.Fatalf("there is no object %q", name)
	return object{}
}

func nameKey(env *keys.Environment, name string) string {
	return "name/" + string(env.ID()) + "/" + env.NameIndex(name)
}

func kekOfKey(env *keys.Environment, items map[string]string) string {
	c, err := keys.ParseContext(items)
	if err != nil {
		panic(err)
	}
	return "kekof/" + string(env.ID()) + "/" + env.ContextIndex(c)
}

// rawUUID is the sixteen bytes of a UUID.
func rawUUID(t testing.TB, text string) string {
	t.Helper()
	u, err := uuid.Parse(text)
	must(t, err)
	return string(u[:])
}

// versionKey is the key of one sealed value of an object.
func versionKey(o object, sequence uint64) string {
	return fmt.Sprintf("version/%s/%s/%016x", o.env, o.id, ^sequence)
}
