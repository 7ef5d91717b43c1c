package server_test

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
)

// TestHostileQueries: parameters of the list and of version checks.
func TestHostileQueries(t *testing.T) {
	d := newDoor(t)
	m := d.mustCreate(t, "thing", "value")
	thing := kv + "/" + m["id"].(string)
	const invalid = "invalid_query"
	list := func(query string) request { return get(kv + "?" + query) }
	put := func(check string) request {
		return request{method: "PUT", path: thing, body: `{"value":"` + marker + `","version_check":` + check + `}`}
	}
	remove := func(check string) request { return request{method: "DELETE", path: thing + "?version_check=" + check} }
	everything := get(kv)
	for _, h := range []hostile{
		{"limit 0", list("limit=0"), 400, invalid, list("limit=1"), 200},
		{"limit -1", list("limit=-1"), 400, invalid, list("limit=100"), 200},
		{"limit 1.5", list("limit=1.5"), 400, invalid, list("limit=101"), 200},
		{"limit 1e3", list("limit=1e3"), 400, invalid, list("limit=99999999999999999999"), 200},
		{"limit with plus", list("limit=%2B5"), 400, invalid, list("limit=005"), 200},
		{"limit in other digits", list("limit=%D9%A3"), 400, invalid, list("limit=3"), 200},
		{"limit as text", list("limit=" + marker), 400, invalid, everything, 200},
		{"limit empty", list("limit="), 400, invalid, everything, 200},
		{"limit twice", list("limit=1&limit=1"), 400, invalid, list("limit=1"), 200},
		{"order unknown", list("order=" + marker), 400, invalid, list("order=asc"), 200},
		{"order normal", list("order=normal"), 400, invalid, list("order=desc"), 200},
		{"order in upper case", list("order=ASC"), 400, invalid, list("order=asc"), 200},
		{"half an escape", list("search=%2"), 400, invalid, list("search=%25"), 200},
		{"no escape", list("search=" + marker + "%zz"), 400, invalid, list("search=" + marker), 200},
		{"semicolon", list("limit=1;order=asc"), 400, invalid, list("limit=1&order=asc"), 200},
		{"invalid UTF-8", list("search=" + marker + "%FF"), 400, invalid, list("search=%C3%A9"), 200},
		{"search twice", list("search=a&search=b"), 400, invalid, list("search=a&unknown=1&unknown=2"), 200},
		{"time as text", list("updatedAfter=" + marker), 400, invalid, list("updatedAfter=2024-01-01T00:00:00Z"), 200},
		{"time without zone", list("updated_after=2024-01-01T00:00:00"), 400, invalid, list("updated_after=2024-01-01T00:00:00%2B02:00"), 200},
		{"date alone", list("updatedAfter=2024-01-01"), 400, invalid, list("updatedAfter=2024-01-01T00:00:00.123456789Z"), 200},
		{"two times", list("updatedAfter=2024-01-01T00:00:00Z&updated_after=2025-01-01T00:00:00Z"), 400, invalid,
			list("updatedAfter=2024-01-01T00:00:00Z&updated_after=2024-01-01T00:00:00Z"), 200},
		{"query of another route", get(thing + "?a=%zz"), 400, invalid, get(thing + "?a=1"), 200},

		{"cursor as text", list("after=" + marker), 400, "invalid_cursor", list("after="), 200},
		{"cursor with a path", list("before=..%2F..%2F" + marker), 400, "invalid_cursor", list("before="), 200},
		{"cursor as number", list("after=-1"), 400, "invalid_cursor", everything, 200},
		{"event id as cursor", list("after=event_01ARZ3NDEKTSV4RRFFQ69G5FAV"), 400, "invalid_cursor", everything, 200},

		{"version -1", put(`"-1"`), 409, "version_conflict", get(thing), 200},
		{"version 0", put(`"0"`), 409, "version_conflict", get(thing), 200},
		{"huge version", put(`"` + strings.Repeat("9", 100_000) + `"`), 409, "version_conflict", get(thing), 200},
		{"version as text", put(`"` + marker + `"`), 409, "version_conflict", get(thing), 200},
		{"version in upper case", put(`"` + strings.ToUpper(m["version_id"].(string)) + `"`), 409, "version_conflict", get(thing), 200},
		{"version as number", put(`-1`), 422, "invalid_type", get(thing), 200},
		{"version as object", put(`{"` + marker + `":1}`), 422, "invalid_type", get(thing), 200},
		{"delete version -1", remove("-1"), 409, "version_conflict", get(thing), 200},
		{"delete version as text", remove(marker), 409, "version_conflict", get(thing), 200},
		{"delete two versions", remove("a&version_check=b"), 400, invalid, get(thing), 200},
	} {
		h.run(t, d)
	}
	hostile{"delete another version", remove("x" + m["version_id"].(string)), 409, "version_conflict", remove(m["version_id"].(string)), 200}.run(t, d)
}

// TestIdempotencyKeysRefused: keys that are none.
func TestIdempotencyKeysRefused(t *testing.T) {
	d := newDoor(t)
	const code = "invalid_idempotency_key"
	for name, bad := range map[string][]string{
		"empty": {""}, "two": {"a", "b"}, "too long": {strings.Repeat("k", 256)}, "not ASCII": {marker + "é"}, "tab": {"a\tb"},
	} {
		hostile{name, good().with("Idempotency-Key", bad...), 400, code, good().with("Idempotency-Key", strings.Repeat("k", 255-len(name))+name), 201}.run(t, d)
	}
}

// TestListWhileDeleting: a walk that deletes what it sees neither misses nor repeats anything, in both
// orders, though every cursor it holds is of an object that is gone.
func TestListWhileDeleting(t *testing.T) {
	d := newDoor(t)
	for _, order := range []string{"asc", "desc"} {
		var want, got []string
		for i := range 25 {
			name := fmt.Sprintf("%s-%02d", order, i)
			d.mustCreate(t, name, "value")
			want = append(want, name)
		}
		if order == "desc" {
			slices.Reverse(want)
		}
		for after, more := "", true; more; {
			page := d.do(t, get(kv+"?limit=4&order="+order+"&after="+after)).want(t, 200).object(t)
			data := page["data"].([]any)
			if len(data) == 0 {
				t.Fatal("an empty page was announced")
			}
			for _, entry := range data {
				e := entry.(map[string]any)
				got = append(got, e["name"].(string))
				d.do(t, request{method: "DELETE", path: kv + "/" + e["id"].(string)}).want(t, 200)
			}
			after, more = page["list_metadata"].(map[string]any)["after"].(string)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: got %v, want %v", order, got, want)
		}
	}
}

// TestPages walks forth and back, filters, and clamps.
func TestPages(t *testing.T) {
	d := newDoor(t)
	for i := range 120 {
		d.mustCreate(t, fmt.Sprintf("item %03d%%_*", i), "value")
	}
	names := func(query string) []string {
		var names []string
		for _, entry := range d.do(t, get(kv+"?"+query)).want(t, 200).object(t)["data"].([]any) {
			names = append(names, entry.(map[string]any)["name"].(string))
		}
		return names
	}
	if got := len(names("")); got != 10 {
		t.Errorf("%d entries by default", got)
	}
	if got := len(names("limit=100000")); got != 100 {
		t.Errorf("%d entries at most", got)
	}
	if got := names("limit=2"); !slices.Equal(got, []string{"item 119%_*", "item 118%_*"}) {
		t.Errorf("by default %v", got)
	}

	first := d.do(t, get(kv+"?limit=50&order=asc")).object(t)["list_metadata"].(map[string]any)
	second := d.do(t, get(kv+"?limit=50&order=asc&after="+first["after"].(string))).object(t)["list_metadata"].(map[string]any)
	if first["before"] != nil || second["before"] == nil || second["after"] == nil {
		t.Errorf("cursors %v %v", first, second)
	}
	back := names("limit=50&order=asc&before=" + second["before"].(string))
	if !slices.Equal(back, names("limit=50&order=asc")) {
		t.Errorf("back: %v", back)
	}

	// Both cursors mean what lies between them: pagers of SDKs repeat the one they began with.
	entries := d.do(t, get(kv+"?limit=10&order=asc")).object(t)["data"].([]any)
	id := func(i int) string { return entries[i].(map[string]any)["id"].(string) }
	if got := names("order=asc&after=" + id(1) + "&before=" + id(4)); !slices.Equal(got, []string{"item 002%_*", "item 003%_*"}) {
		t.Errorf("between two cursors: %v", got)
	}

	// Search is by substring, and its text is no pattern.
	for search, want := range map[string]int{"item 01": 10, "119": 1, "%_*": 100, "*": 100, "item%": 0, ".": 0, "ITEM": 0} {
		if got := len(names("limit=100&search=" + url.QueryEscape(search))); got != want {
			t.Errorf("search %q: %d entries, want %d", search, got, want)
		}
	}
	all := d.do(t, get(kv+"?limit=100&order=asc")).object(t)["data"].([]any)
	at := all[49].(map[string]any)["updated_at"].(string)
	for _, name := range []string{"updatedAfter", "updated_after"} {
		if got := len(names("limit=100&" + name + "=" + at)); got != 70 {
			t.Errorf("%s: %d entries, want 70", name, got)
		}
	}
}
