package server_test

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"culvert/vault/vaulttest"
)

// Shapes of what cannot be predicted. Times have all six digits (vault) or three (events).
var (
	uuidShape      = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}$`)
	ulidShape      = `[0-9A-HJKMNP-TV-Z]{26}$`
	requestShape   = regexp.MustCompile(`^req_` + ulidShape)
	envShape       = regexp.MustCompile(`^environment_` + ulidShape)
	actorShape     = regexp.MustCompile(`^key_` + ulidShape)
	eventShape     = regexp.MustCompile(`^event_` + ulidShape)
	vaultTimeShape = regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$`)
	eventTimeShape = regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$`)
	etagShape      = regexp.MustCompile(`^[0-9a-f]{32}$`)
)

// shape compares a decoded body with a picture of it: a regexp stands for a string of that form, and
// nothing may be missing or there in addition.
func shape(t testing.TB, got, want any) {
	t.Helper()
	if diff := cmp.Diff(picture(got, want), want, cmp.Comparer(func(a, b *regexp.Regexp) bool { return a == b })); diff != "" {
		t.Fatalf("(-got +want)\n%s", diff)
	}
}

// picture is got with every string that fits the pattern at its place replaced by the pattern.
func picture(got, want any) any {
	switch w := want.(type) {
	case *regexp.Regexp:
		if s, ok := got.(string); ok && w.MatchString(s) {
			return w
		}
	case map[string]any:
		g, ok := got.(map[string]any)
		if !ok {
			return got
		}
		p := make(map[string]any, len(g))
		for name, value := range g {
			p[name] = picture(value, w[name])
		}
		return p
	case []any:
		g, ok := got.([]any)
		if !ok || len(g) != len(w) {
			return got
		}
		p := make([]any, len(g))
		for i := range g {
			p[i] = picture(g[i], w[i])
		}
		return p
	}
	return got
}

func metadataShape(context map[string]any) map[string]any {
	return map[string]any{
		"id": uuidShape, "environment_id": envShape, "context": context, "key_id": uuidShape,
		"updated_at": vaultTimeShape, "updated_by": map[string]any{"id": actorShape, "name": "test admin"},
		"version_id": uuidShape,
	}
}

// TestObjectLife walks one object through the eight operations of the store.
func TestObjectLife(t *testing.T) {
	d := newDoor(t)
	const value = "4111 1111 \u0000 \u2028 <&> \\ \" é 𝄞"
	context := map[string]any{"organization_id": "org_1", "z": ""}

	// Case 1: create answers the bare metadata.
	created := d.do(t, request{
		method: "POST", path: "/vault/v1/kv",
		body: createBody("card of a/b", value, "organization_id", "org_1", "z", ""),
	}).want(t, 201)
	shape(t, created.object(t), metadataShape(context))
	metadata := created.object(t)
	id := metadata["id"].(string)

	// Case 2: reads by id and by name are the same, hold the value, and may not be cached.
	read := d.do(t, request{method: "GET", path: "/vault/v1/kv/" + id}).want(t, 200)
	shape(t, read.object(t), map[string]any{
		"id": id, "name": "card of a/b", "value": value, "metadata": metadata,
	})
	byName := d.do(t, request{method: "GET", path: "/vault/v1/kv/name/card%20of%20a%2Fb"}).want(t, 200)
	if byName.body != read.body {
		t.Errorf("by name:\n%s\nby id:\n%s", byName.body, read.body)
	}
	for _, a := range []answer{read, byName} {
		if got := a.header.Get("Cache-Control"); got != "no-store" {
			t.Errorf("Cache-Control %q", got)
		}
	}

	// Case 3: describe has no member "value".
	described := d.do(t, request{method: "GET", path: "/vault/v1/kv/" + id + "/metadata"}).want(t, 200)
	shape(t, described.object(t), map[string]any{"id": id, "name": "card of a/b", "metadata": metadata})

	// Case 4: update makes a version, answers it with 201, and keeps the context.
	updated := d.do(t, request{
		method: "PUT", path: "/vault/v1/kv/" + id,
		body: `{"value":"second","version_check":"` + metadata["version_id"].(string) + `"}`,
	}).want(t, 201)
	shape(t, updated.object(t), map[string]any{"id": id, "name": "card of a/b", "metadata": metadataShape(context)})
	second := updated.object(t)["metadata"].(map[string]any)["version_id"]
	if second == metadata["version_id"] {
		t.Error("the version stayed the same")
	}

	// Case 5: versions, oldest first, one of them current.
	versions := d.do(t, request{method: "GET", path: "/vault/v1/kv/" + id + "/versions"}).want(t, 200).object(t)
	version := func(id any, current bool, size float64) map[string]any {
		return map[string]any{"id": id, "created_at": vaultTimeShape, "current_version": current, "etag": etagShape, "size": size}
	}
	data := versions["data"].([]any)
	if len(data) != 2 {
		t.Fatalf("%d versions", len(data))
	}
	size := func(i int) float64 { return data[i].(map[string]any)["size"].(float64) }
	shape(t, versions, map[string]any{
		"object": "list",
		"data": []any{
			version(metadata["version_id"], false, size(0)), version(second, true, size(1)),
		},
		"list_metadata": map[string]any{"before": nil, "after": nil},
	})
	if size(1) <= float64(len("second")) {
		t.Errorf("size %v is not that of the ciphertext", size(1))
	}

	// Case 6: the list has summaries.
	listed := d.do(t, request{method: "GET", path: "/vault/v1/kv"}).want(t, 200)
	shape(t, listed.object(t), map[string]any{
		"object":        "list",
		"data":          []any{map[string]any{"id": id, "name": "card of a/b", "updated_at": vaultTimeShape}},
		"list_metadata": map[string]any{"before": nil, "after": nil},
	})

	// Case 7: delete answers the name, and then there is nothing.
	deleted := d.do(t, request{method: "DELETE", path: "/vault/v1/kv/" + id + "?version_check=" + second.(string)}).want(t, 200)
	shape(t, deleted.object(t), map[string]any{"name": "card of a/b", "success": true})
	for _, path := range []string{"/vault/v1/kv/" + id, "/vault/v1/kv/" + id + "/metadata", "/vault/v1/kv/" + id + "/versions"} {
		d.do(t, request{method: "GET", path: path}).want(t, 404)
	}

	// Case 8: the name is free again.
	d.mustCreate(t, "card of a/b", "third")
}

// TestEveryAnswer holds what is said of every answer, good or bad.
func TestEveryAnswer(t *testing.T) {
	d := newDoor(t)
	id := d.mustCreate(t, "thing", "value")["id"].(string)
	for _, q := range []request{
		{method: "GET", path: "/vault/v1/kv/" + id},
		{method: "GET", path: "/vault/v1/kv/nothing"},
		{method: "GET", path: "/vault/v1/kv", header: map[string][]string{"Authorization": nil}},
		{method: "POST", path: "/vault/v1/kv", body: "{"},
		{method: "GET", path: "/nowhere"},
		{method: "PATCH", path: "/vault/v1/kv"},
		{method: "GET", path: allEvents},
		{method: "GET", path: "/healthz"},
		{method: "GET", path: "/readyz"},
	} {
		t.Run(q.method+q.path, func(t *testing.T) {
			if q.header == nil {
				q.header = map[string][]string{}
			}
			q.header["X-Request-Id"] = []string{"req_of_the_caller"}
			a := d.do(t, q)
			if got := a.header.Get("Content-Type"); got != "application/json" {
				t.Errorf("Content-Type %q", got)
			}
			if got := a.header.Values("X-Request-Id"); len(got) != 1 || !requestShape.MatchString(got[0]) {
				t.Errorf("X-Request-ID %q", got)
			}
			if !json.Valid([]byte(a.body)) || strings.HasSuffix(a.body, "\n") {
				t.Errorf("body %q", a.body)
			}
			if a.status >= 400 && a.object(t)["request_id"] != a.header.Get("X-Request-Id") {
				t.Errorf("request_id differs from X-Request-ID: %s", a.body)
			}
		})
	}
}

// TestVersionCheck is the optimistic lock of PUT and DELETE.
func TestVersionCheck(t *testing.T) {
	d := newDoor(t)
	first := d.mustCreate(t, "thing", "1")
	path := "/vault/v1/kv/" + first["id"].(string)
	old := first["version_id"].(string)
	d.do(t, request{method: "PUT", path: path, body: `{"value":"2","version_check":"` + old + `"}`}).want(t, 201)

	stale := d.do(t, request{method: "PUT", path: path, body: `{"value":"3","version_check":"` + old + `"}`}).want(t, 409)
	if got := stale.code(t); got != "version_conflict" {
		t.Errorf("code %q", got)
	}
	d.do(t, request{method: "DELETE", path: path + "?version_check=" + old}).want(t, 409)

	// null is as good as absent: Node always sends the member.
	d.do(t, request{method: "PUT", path: path, body: `{"value":"4","version_check":null}`}).want(t, 201)
	d.do(t, request{method: "PUT", path: path, body: `{"value":"5"}`}).want(t, 201)

	// A client that lost its version id does not overwrite blindly.
	d.do(t, request{method: "PUT", path: path, body: `{"value":"6","version_check":""}`}).want(t, 422)
	d.do(t, request{method: "DELETE", path: path + "?version_check="}).want(t, 422)
	d.do(t, request{method: "DELETE", path: path}).want(t, 200)
}

// TestDuplicate has the contract's text, letter for letter.
func TestDuplicate(t *testing.T) {
	d := newDoor(t)
	d.mustCreate(t, "thing", "1")
	a := d.do(t, request{method: "POST", path: "/vault/v1/kv", body: createBody("thing", "2")}).want(t, 409)
	shape(t, a.object(t), map[string]any{
		"error": "Item already exists", "message": "Item already exists", "code": "item_already_exists",
		"request_id": requestShape,
	})
}

// TestIdempotencyKey: the first answer again, also after the object changed; another body is refused.
func TestIdempotencyKey(t *testing.T) {
	d := newDoor(t)
	create := func(key, body string) answer {
		return d.do(t, request{
			method: "POST", path: "/vault/v1/kv", body: body,
			header: map[string][]string{"Idempotency-Key": {key}},
		})
	}
	body := createBody("thing", "1")
	first := create("retry-1", body).want(t, 201)
	id := first.object(t)["id"].(string)
	d.do(t, request{method: "PUT", path: "/vault/v1/kv/" + id, body: `{"value":"2"}`}).want(t, 201)

	if again := create("retry-1", body).want(t, 201); again.body != first.body {
		t.Errorf("first %s\nagain %s", first.body, again.body)
	}
	if got := create("retry-1", createBody("thing", "other")).want(t, 409).code(t); got != "idempotency_error" {
		t.Errorf("code %q", got)
	}
	create("retry-2", body).want(t, 409)
	create("retry-3", createBody("other thing", "1")).want(t, 201)

	// Elsewhere the header is ignored, whatever is in it: every SDK sends it with every POST.
	for range 2 {
		a := d.do(t, request{
			method: "POST", path: "/vault/v1/keys/data-key", body: `{"context":{}}`,
			header: map[string][]string{"Idempotency-Key": {"retry-1"}},
		}).want(t, 200)
		if a.body == first.body {
			t.Error("an answer with a key was replayed")
		}
	}
}

// TestTimesHaveAllDigits: also where the last ones are zero. Some SDKs refuse other widths.
func TestTimesHaveAllDigits(t *testing.T) {
	d := newDoorWith(t, vaulttest.Config{Now: func() time.Time { return time.Now().Truncate(time.Second) }}, nil)
	if got := d.mustCreate(t, "thing", "value")["updated_at"].(string); !strings.HasSuffix(got, ".000000Z") {
		t.Errorf("updated_at %q", got)
	}
	if got := d.do(t, get(allEvents)).want(t, 200).body; !strings.Contains(got, `.000Z"`) {
		t.Errorf("events %s", got)
	}
}
