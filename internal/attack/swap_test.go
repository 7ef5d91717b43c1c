package attack_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"culvert/internal/access"
	"culvert/internal/id"
	"culvert/keys"
)

// TestSwapped puts genuine records where they do not belong: in the place of one record of each kind
// stands every other record of that kind, of this environment, of the other one, and of another store
// with its own keys; and one record of every other kind.
func TestSwapped(t *testing.T) {
	t.Parallel()
	e, foreign := newEstate(t), newEstate(t)
	ours, theirs := e.writer.MustAll(t), foreign.writer.MustAll(t)
	targets, twins := e.targets(t, e.stack.Environment.ID()), e.targets(t, e.second.ID())
	for kind, s := range targets {
		genuine := ours[s.key]
		for _, source := range []map[string][]byte{ours, theirs} {
			others := map[string]bool{}
			for _, key := range sortedKeys(source) {
				other, _, _ := strings.Cut(key, "/")
				if string(source[key]) == string(genuine) || other != kind && others[other] {
					continue
				}
				others[other] = true
				e.writer.MustPut(t, s.key, source[key])
				s.mustSay(t, "record of "+key+" in the place", s.broken...)
			}
		}
		e.writer.MustPut(t, s.key, genuine)
		s.mustSay(t, "the record again", s.intact)
		twins[kind].mustSay(t, "the twin", twins[kind].intact)
	}
	e.checkTrail(t)
	foreign.checkTrail(t)
}

// TestNamesSwapped lets two names lead to each other's objects.
func TestNamesSwapped(t *testing.T) {
	t.Parallel()
	e := newEstate(t)
	env := e.stack.Environment
	all := e.writer.MustAll(t)
	one, other := e.mustFind(t, env.ID(), "of-name"), e.mustFind(t, env.ID(), "of-sibling")
	oneKey, otherKey := nameKey(env, one.name), nameKey(env, other.name)
	e.writer.MustPut(t, oneKey, all[otherKey])
	e.writer.MustPut(t, otherKey, all[oneKey])
	e.request(oneKey, e.getByName(one)).mustSay(t, "swapped name", integrity)
	e.request(otherKey, e.getByName(other)).mustSay(t, "swapped name", integrity)
	// By their ids both are what they were, and a third name too.
	e.mustDo(t, e.get(one))
	e.mustDo(t, e.get(other))
	e.mustDo(t, e.getByName(e.mustFind(t, env.ID(), "of-kek")))
	e.writer.MustPut(t, oneKey, all[oneKey])
	e.writer.MustPut(t, otherKey, all[otherKey])
	e.mustDo(t, e.getByName(one))
	e.mustDo(t, e.getByName(other))
	e.checkTrail(t)
}

// TestMoved takes genuine records away from their keys and puts them where something else is looked for
// that does not exist.
func TestMoved(t *testing.T) {
	t.Parallel()
	e := newEstate(t)
	env := e.stack.Environment
	in := string(env.ID())
	o := e.mustFind(t, env.ID(), "of-sibling")
	unknown := e.stack.IDs.UUID()
	key, err := access.GenerateAPIKey(env.ID(), time.Now())
	must(t, err)
	fresh := object{env: env.ID(), name: "fresh", contextJSON: `{"fresh":"yes"}`}
	c, err := keys.ParseContext(map[string]string{"fresh": "yes"})
	must(t, err)
	q := e.createRequest(fresh, "fresh idempotency key")
	read := func(path string) request { return request{key: e.keyOf(env.ID()), method: http.MethodGet, path: path} }

	// The twin of all rows is every other test: where the records came from they are read.
	for _, row := range []struct {
		from, to string
		ask      request
		want     string
	}{
		// The header of one object under the id of another.
		{"object/" + in + "/" + o.id, "object/" + in + "/" + unknown, read("/vault/v1/kv/" + unknown), integrity},
		{nameKey(env, o.name), nameKey(env, "moved"), read("/vault/v1/kv/name/moved"), integrity},
		{"kek/" + in + "/" + o.keyID, "kek/" + in + "/" + unknown, e.decrypt(t, env, unknown), integrity},
		{kekOfKey(env, o.context), "kekof/" + in + "/" + env.ContextIndex(c), e.createRequest(fresh, ""), integrity},
		// The API key of somebody who may, under the id of one that nobody made.
		{"apikey/" + in + "/" + e.stack.APIKey.ID, "apikey/" + in + "/" + key.ID, request{key, http.MethodGet, "/vault/v1/kv", "", ""}, rejected},
		{"req", "req/" + in + "/" + time.Now().UTC().Format("2006-01-02") + "/" + env.RequestIndex(q.method, q.path, q.idempotency), q, integrity},
		{"event", fmt.Sprintf("event/%s/%016x/%s", in, 1, id.Event(time.Now(), 1)), read("/events?limit=100&events=vault.data.created"), integrity},
		{"shred", "shred/" + in + "/" + env.ItemIndex("fresh", "yes"), e.createRequest(fresh, ""), integrity},
	} {
		all := e.writer.MustAll(t)
		if !strings.Contains(row.from, "/") {
			row.from = sortedKeys(all)[slices.IndexFunc(sortedKeys(all), func(k string) bool { return strings.HasPrefix(k, row.from+"/"+in+"/") })]
		}
		e.writer.MustPut(t, row.to, all[row.from])
		e.request(row.to, row.ask).mustSay(t, "moved from "+row.from, row.want)
		e.writer.MustDelete(t, row.to)
	}
	e.request("nothing moved", e.createRequest(fresh, "")).mustSay(t, "in the end", ok)
	e.checkTrail(t)
}

// TestBlobOfMissingKEK is a client's blob whose KEK was removed. Nobody can tell it from one that names
// a KEK that never was, so it is the client who is told.
func TestBlobOfMissingKEK(t *testing.T) {
	t.Parallel()
	e := newEstate(t)
	verdict, _ := e.do(t, e.decrypt(t, e.stack.Environment, e.stack.IDs.UUID()))
	if verdict != "invalid_encrypted_keys" {
		t.Errorf("blob of a KEK that is not there: %s", verdict)
	}
	e.checkTrail(t)
}

// decrypt asks for a client data key whose blob names this KEK; every other byte of it is of a genuine one.
func (e *estate) decrypt(t *testing.T, env *keys.Environment, kek string) request {
	t.Helper()
	q := request{key: e.keyOf(env.ID()), method: http.MethodPost, path: "/vault/v1/keys/data-key", body: `{"context":{"of":"sibling"}}`}
	var made struct {
		Blob []byte `json:"encrypted_keys"`
	}
	must(t, json.Unmarshal(e.mustDo(t, q), &made))
	header, err := e.stack.Keys.ParseDataKey(made.Blob)
	must(t, err)
	blob := strings.Replace(string(made.Blob), rawUUID(t, string(header.KeyID)), rawUUID(t, kek), 1)
	q.path = "/vault/v1/keys/decrypt"
	q.body = fmt.Sprintf(`{"keys":%q}`, base64.StdEncoding.EncodeToString([]byte(blob)))
	return q
}
