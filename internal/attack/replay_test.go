package attack_test

import (
	"encoding/json"
	"maps"
	"os"
	"strings"
	"testing"
	"time"

	"culvert/internal/access"
)

// What this file shows is NOT stopped: the package documentation of keys says so to whoever decides what
// to rely on. A test here that fails means that something got better, or that the text has to change.

// TestReplayIsDocumented holds the sentence in its place.
func TestReplayIsDocumented(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../keys/doc.go")
	must(t, err)
	plain := strings.Join(strings.Fields(strings.ReplaceAll(string(text), "//", "")), " ")
	for _, want := range []string{"NOT stopped", "return of a whole older genuine record", "removal"} {
		if !strings.Contains(plain, want) {
			t.Errorf("keys/doc.go does not say %q", want)
		}
	}
}

// TestOlderState puts an object's header and value back to what they were. Every byte is genuine and at
// its own key: the old value is served as the current one.
func TestOlderState(t *testing.T) {
	t.Parallel()
	e := newEstate(t)
	o := e.mustFind(t, e.stack.Environment.ID(), "of-object")
	old := e.records(t, o)
	e.mustDo(t, e.update(o, "fourth"))
	e.mustRewind(t, old)
	if got := e.mustValue(t, o); got != "third" {
		t.Errorf("after the return of the older state the value is %q", got)
	}
	// Case: by half it is stopped: the old header alone finds an old value only while that is kept, and
	// never a newer one.
	e.mustDo(t, e.update(o, "fourth again"))
	current := e.records(t, o)
	header := "object/" + string(o.env) + "/" + o.id
	e.writer.MustPut(t, versionKey(o, 3), current[versionKey(o, 4)])
	e.writer.MustPut(t, header, old[header])
	e.request(header, e.get(o)).mustSay(t, "older header over a newer value", integrity)
	e.mustRewind(t, current)
	if got := e.mustValue(t, o); got != "fourth again" {
		t.Errorf("in the end the value is %q", got)
	}
	e.checkTrail(t)
}

// TestDeletedObjectReturns puts back what a delete removed.
func TestDeletedObjectReturns(t *testing.T) {
	t.Parallel()
	e := newEstate(t)
	o := e.mustFind(t, e.stack.Environment.ID(), "of-object")
	old := e.records(t, o)
	e.mustDo(t, request{e.keyOf(o.env), "DELETE", o.path, "", ""})
	e.request(o.path, e.get(o)).mustSay(t, "deleted object", "entity_not_found")
	e.mustRewind(t, old)
	if got := e.mustValue(t, o); got != "third" {
		t.Errorf("the deleted object returns with the value %q", got)
	}
	e.mustDo(t, e.getByName(o))
	e.checkTrail(t)
}

// TestRevocationReturns puts the record of an API key back to the time before it was revoked.
func TestRevocationReturns(t *testing.T) {
	t.Parallel()
	e := newEstate(t)
	key := e.mustAPIKey(t, e.stack.Environment)
	at := "apikey/" + string(key.Environment) + "/" + key.ID
	genuine := e.writer.MustAll(t)[at]
	revoked := decode[access.KeyRecord](t, e, genuine)
	revoked.RevokedAt = time.Now().UTC()
	list := e.request(at, request{key, "GET", "/vault/v1/kv", "", ""})
	e.writer.MustPut(t, at, remade(t, e, at, revoked))
	list.mustSay(t, "revoked key", rejected)
	e.writer.MustPut(t, at, genuine)
	list.mustSay(t, "key whose revocation was undone", ok)
	e.checkTrail(t)
}

// TestRemoval takes records away: nothing is left that could tell.
func TestRemoval(t *testing.T) {
	t.Parallel()
	e := newEstate(t)
	env := e.stack.Environment
	o, sibling := e.mustFind(t, env.ID(), "of-object"), e.mustFind(t, env.ID(), "of-sibling")
	events := func() int {
		var page struct {
			Data []json.RawMessage `json:"data"`
		}
		must(t, json.Unmarshal(e.mustDo(t, request{e.keyOf(o.env), "GET", "/events?limit=100&events=vault.data.created", "", ""}), &page))
		return len(page.Data)
	}
	before := events()
	for key := range e.writer.MustAll(t) {
		if strings.HasPrefix(key, "event/"+string(env.ID())+"/") {
			e.writer.MustDelete(t, key)
		}
	}
	if got := events(); got != 0 || before == 0 {
		t.Errorf("%d events before the removal, %d after it", before, got)
	}
	for key := range e.records(t, o) {
		e.writer.MustDelete(t, key)
	}
	e.request(o.path, e.get(o)).mustSay(t, "removed object", "entity_not_found")
	e.request(o.path, e.getByName(o)).mustSay(t, "removed object", "entity_not_found")
	// Case: by half it is noticed: a name that leads to no object.
	e.writer.MustDelete(t, "object/"+string(env.ID())+"/"+sibling.id)
	e.request(sibling.path, e.getByName(sibling)).mustSay(t, "name without its object", integrity)
	e.mustDo(t, e.get(e.mustFind(t, env.ID(), "of-kek")))
	e.checkTrail(t)
}

// records are the header, name and values of an object as they are now.
func (e *estate) records(t testing.TB, o object) map[string][]byte {
	t.Helper()
	all := e.writer.MustAll(t)
	maps.DeleteFunc(all, func(key string, _ []byte) bool {
		return key != "object/"+string(o.env)+"/"+o.id && key != nameKey(e.environment(o.env), o.name) &&
			!strings.HasPrefix(key, "version/"+string(o.env)+"/"+o.id+"/")
	})
	return all
}

// mustRewind puts records back.
func (e *estate) mustRewind(t testing.TB, old map[string][]byte) {
	t.Helper()
	for key, value := range old {
		e.writer.MustPut(t, key, value)
	}
}
