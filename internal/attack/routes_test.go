package attack_test

import (
	"net/http"
	"strings"
	"testing"
)

// TestEveryRoute asks for an object with a broken header on every way that leads to it. A list that would
// show it fails as a whole: one with a hole would pass for the truth. Other pages are shown.
func TestEveryRoute(t *testing.T) {
	t.Parallel()
	e := newEstate(t)
	env := e.stack.Environment
	o := e.mustFind(t, env.ID(), "of-object")
	key := "object/" + string(env.ID()) + "/" + o.id
	genuine := e.writer.MustAll(t)[key]
	call := func(method, path, body string) request {
		return request{key: e.keyOf(o.env), method: method, path: path, body: body}
	}
	needs := []request{
		e.get(o), e.getByName(o), e.update(o, "again"),
		call(http.MethodGet, o.path+"/metadata", ""),
		call(http.MethodGet, o.path+"/versions", ""),
		call(http.MethodGet, "/vault/v1/kv?limit=100&order=asc", ""),
		call(http.MethodGet, "/vault/v1/kv?limit=100&order=desc", ""),
		call(http.MethodGet, "/vault/v1/kv?limit=100&search=of-object", ""),
		// Nobody can vouch for the name of a broken object, so it fails every search.
		call(http.MethodGet, "/vault/v1/kv?limit=100&search=of-sibling", ""),
		call(http.MethodGet, "/vault/v1/kv?limit=100&updated_after=2020-01-01T00:00:00Z", ""),
		call(http.MethodPut, o.path, `{"value":"again","version_check":"`+o.id+`"}`),
		call(http.MethodDelete, o.path+"?version_check="+o.id, ""),
		call(http.MethodDelete, o.path, ""),
	}
	needsNot := []request{
		e.get(e.mustFind(t, env.ID(), "of-sibling")),
		call(http.MethodGet, "/vault/v1/kv?limit=1&order=asc", ""),
		call(http.MethodGet, "/vault/v1/kv?limit=1&order=desc", ""),
		call(http.MethodGet, "/events?events=vault.data.created", ""),
		call(http.MethodGet, "/healthz", ""), call(http.MethodGet, "/readyz", ""),
	}
	broken := []byte(strings.Replace(string(genuine), "of-object", "of-nobody", 1))
	for _, value := range [][]byte{broken, nil} {
		e.writer.MustPut(t, key, value)
		for _, q := range needs {
			e.request(key, q).mustSay(t, q.method+" "+q.path, integrity)
		}
		for _, q := range needsNot {
			e.request(key, q).mustSay(t, q.method+" "+q.path, ok)
		}
	}
	e.writer.MustPut(t, key, genuine)
	for _, q := range needs {
		if q.method == http.MethodGet {
			e.request(key, q).mustSay(t, q.method+" "+q.path, ok)
		}
	}
	e.checkTrail(t)
}

// TestRubbish puts what Culvert never wrote beside what it did: none of it stops anybody, and what looks
// like an object is shown as a broken one.
func TestRubbish(t *testing.T) {
	t.Parallel()
	e := newEstate(t)
	env := e.stack.Environment
	in := string(env.ID())
	o := e.mustFind(t, env.ID(), "of-sibling")
	rubbish := []string{
		"", "/", "rubbish", "fence", "object", "object/", "object/" + in, "object/" + in + "/", "object/" + in + "/not-an-id",
		"object/" + in + "/" + strings.ToUpper(o.id), "object/nowhere/" + o.id, "object/" + in + "/" + o.id + "/deeper",
		"version/" + in + "/" + o.id + "/", "version/" + in + "/" + o.id + "/zzzz", "name/" + in + "/of-sibling",
		"epoch/nowhere", "event/" + in, "event/" + in + "/", "event/nowhere/1/x", "apikey/" + in, "apikey/" + in + "/", "apikey//",
		"kek/" + in + "/\xff\x00", "kekof/" + in + "/" + strings.Repeat("x", 60_000), "shred/" + in + "/", "node/", "node/\xff", "req/" + in + "/2020-01-01/x",
		"account/" + in + "/", "integration/nowhere/x/user", "flow/" + in + "/", "\xff\xfe",
	}
	for _, key := range rubbish {
		for _, value := range []string{"", "\x00", strings.Repeat("\xff", 300)} {
			e.writer.MustPut(t, key, []byte(value))
		}
		for _, q := range []request{
			e.get(o), e.getByName(o), e.update(o, "again"),
			{key: e.keyOf(o.env), method: http.MethodGet, path: "/vault/v1/kv?limit=100"},
			{key: e.keyOf(o.env), method: http.MethodGet, path: "/readyz"},
		} {
			e.request(key, q).mustSay(t, q.method+" "+q.path+" beside rubbish", ok)
		}
	}
	e.mustDo(t, request{key: e.keyOf(o.env), method: http.MethodGet, path: "/events?limit=100&events=vault.data.updated"})
	for _, key := range rubbish {
		e.writer.MustDelete(t, key)
	}
	// Case: the id of an object that never was.
	unknown := "object/" + in + "/" + e.stack.IDs.UUID()
	list := e.request(unknown, request{key: e.keyOf(o.env), method: http.MethodGet, path: "/vault/v1/kv?limit=100"})
	e.writer.MustPut(t, unknown, []byte("rubbish"))
	list.mustSay(t, "list with an object that never was", integrity)
	e.writer.MustDelete(t, unknown)
	list.mustSay(t, "list without it", ok)
	e.checkTrail(t)
}
