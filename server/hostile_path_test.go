package server_test

import (
	"encoding/json"
	"net/url"
	"strings"
	"testing"
	"time"

	"culvert/vault"
)

const kv = "/vault/v1/kv"

// TestHostilePaths: dots, empty segments, separators, controls and overlong encodings in paths.
func TestHostilePaths(t *testing.T) {
	d := newDoor(t)
	d.mustCreate(t, marker, "value")
	known := get(kv + "/name/" + marker)
	for _, h := range []hostile{
		// Dots are names that nothing can have; a router that resolves them would read elsewhere.
		{"dots", get(kv + "/name/.."), 404, "entity_not_found", known, 200},
		{"dot", get(kv + "/name/."), 404, "entity_not_found", known, 200},
		{"encoded dots", get(kv + "/name/%2e%2e"), 404, "entity_not_found", known, 200},
		{"dots as id", get(kv + "/../metadata"), 404, "entity_not_found", known, 200},
		{"encoded dots as id", get(kv + "/%2E%2E/versions"), 404, "entity_not_found", known, 200},
		{"dots through the tree", get(kv + "/name/x/../" + marker), 404, "route_not_found", known, 200},
		{"dots out of the vault", get("/vault/../events"), 404, "route_not_found", get(allEvents), 200},
		{"dots encoded twice", get(kv + "/name/%252e%252e"), 404, "entity_not_found", known, 200},

		{"two slashes in front", get("/" + kv), 404, "route_not_found", get(kv), 200},
		{"two slashes inside", get("/vault/v1//kv"), 404, "route_not_found", get(kv), 200},
		{"trailing slash", get(kv + "/"), 404, "route_not_found", get(kv), 200},
		{"empty name", get(kv + "/name/"), 404, "route_not_found", known, 200},
		{"empty id", get(kv + "//metadata"), 404, "route_not_found", known, 200},
		{"slash after a name", get(kv + "/name/" + marker + "/"), 404, "route_not_found", known, 200},
		{"name as id", get(kv + "/name"), 404, "entity_not_found", known, 200},
		{"path in another case", get("/Vault/V1/KV"), 404, "route_not_found", get(kv), 200},

		{"NUL", get(kv + "/name/" + marker + "%00"), 404, "entity_not_found", known, 200},
		{"CR LF", get(kv + "/name/" + marker + "%0D%0AX-Evil:%201"), 404, "entity_not_found", known, 200},
		{"DEL", get(kv + "/name/" + marker + "%7F"), 404, "entity_not_found", known, 200},
		{"C1", get(kv + "/name/" + marker + "%C2%85"), 404, "entity_not_found", known, 200},
		{"bidi override", get(kv + "/name/" + marker + "%E2%80%AE"), 404, "entity_not_found", known, 200},

		{"overlong dot", get(kv + "/name/" + marker + "%C0%AE"), 400, "invalid_path", known, 200},
		{"overlong slash", get(kv + "/name/" + marker + "%E0%80%AF"), 400, "invalid_path", known, 200},
		{"encoded surrogate", get(kv + "/name/" + marker + "%ED%A0%80"), 400, "invalid_path", known, 200},
		{"byte 0xFF", get(kv + "/name/" + marker + "%FF"), 400, "invalid_path", known, 200},
		{"0xFF as id", get(kv + "/%FF"), 400, "invalid_path", known, 200},
		{"raw byte 0xFF", get(kv + "/name/" + marker + "\xff"), 400, "invalid_path", known, 200},
		{"half an escape", get(kv + "/name/" + marker + "%4"), 400, "malformed_request", known, 200},
		{"no escape", get(kv + "/name/" + marker + "%zz"), 400, "malformed_request", known, 200},

		{"long name", get(kv + "/name/" + strings.Repeat("n", 1<<10)), 404, "entity_not_found", known, 200},
		{"path at the limit", get(kv + "/name/" + strings.Repeat("n", 8<<10-len(kv+"/name/"))), 404, "entity_not_found", known, 200},
		{"path above the limit", get(kv + "/name/" + strings.Repeat("n", 8<<10-len(kv+"/name/")+1)), 414, "path_too_long", known, 200},
		{"path of 64 KiB", get(kv + "/name/" + strings.Repeat("n", 64<<10)), 414, "path_too_long", known, 200},
		{"64 KiB of segments", get(strings.Repeat("/a", 32<<10)), 414, "path_too_long", known, 200},

		// Ids become keys of the store: nothing but an id may reach it.
		{"internal key as id", get(kv + "/%2Fculvert%2F" + marker), 404, "entity_not_found", known, 200},
		{"name as an id", get(kv + "/" + marker), 404, "entity_not_found", known, 200},
		{"id in upper case", get(kv + "/0123ABCD-0000-7000-8000-000000000000"), 404, "entity_not_found", known, 200},
	} {
		h.run(t, d)
	}
}

// TestPathLengthIsCheap: refusing a path of 64 KiB takes no longer than one of 9 KiB, by far.
func TestPathLengthIsCheap(t *testing.T) {
	d := newDoor(t)
	took := func(size int) time.Duration {
		best := time.Hour
		for range 20 {
			started := time.Now()
			d.do(t, get(kv+"/name/"+strings.Repeat("n", size))).want(t, 414)
			best = min(best, time.Since(started))
		}
		return best
	}
	short, long := took(9<<10), took(64<<10)
	if long > 5*short+5*time.Millisecond {
		t.Errorf("9 KiB: %v, 64 KiB: %v", short, long)
	}
}

// oddNames are legal and stay what they are, byte for byte; every pair of them is two names.
func oddNames() []string {
	return []string{
		"a/b", "a%2Fb", "a/b/", "/a/b", "//", "a b", "a+b", "a%20b", " lead", "trail ", "trail.", ".lead", "...",
		"%2e%2e", "%", "name", "Name", "NAME", "ſame", "same", "kv", "metadata", "x/metadata", "x/versions",
		"é", "é/b", "\"a/b\"", "e\u0301", "Å", "\u212b", "zero\u200bwidth", "zerowidth", "\ufeffbom", "\ufffd", "\uffff", "𝄞",
		"/vault/meta", "dek/", "culvert/1/object", "acme", "acme2", "acme/", "acme\u00a0", "__proto__", "*", "?a=b", "#frag",
		"a;b", "a:b", "a@b", "a&b=c", "\"quoted\"", "<script>", "back\\slash", "[]", "{}", "|", "^", "`", "~", "'",
		strings.Repeat("l", vault.MaxName), strings.Repeat("é", vault.MaxName),
	}
}

// TestOddNames: what is legal is stored exactly as sent and found under exactly that name, whichever
// way a client escapes it.
func TestOddNames(t *testing.T) {
	d := newDoor(t)
	ids := map[string]string{}
	for _, name := range oddNames() {
		ids[name] = d.mustCreate(t, name, "value of "+name)["id"].(string)
	}
	for _, name := range oddNames() {
		for _, escaped := range escapings(name) {
			a := d.do(t, get(kv+"/name/"+escaped)).want(t, 200)
			o := a.object(t)
			if o["id"] != ids[name] || o["name"] != name || o["value"] != "value of "+name {
				t.Errorf("%q as %s: %s", name, escaped, a.body)
			}
		}
	}
	// Each is deleted alone.
	victim := ids["acme"]
	d.do(t, request{method: "DELETE", path: kv + "/" + victim}).want(t, 200)
	for _, neighbour := range []string{"acme2", "acme/"} {
		d.do(t, get(kv+"/name/"+url.PathEscape(neighbour))).want(t, 200)
	}
	d.do(t, get(kv+"/name/acme")).want(t, 404)
}

// escapings are the ways in which clients write a name into a path.
func escapings(name string) []string {
	var all strings.Builder
	for _, c := range []byte(name) {
		const hex = "0123456789abcdef"
		all.WriteString("%" + string(hex[c>>4]) + string(hex[c&15]))
	}
	ways := []string{url.PathEscape(name), all.String()}
	// curl sends UTF-8 and quotes as they are; what would end the path is escaped by everyone.
	raw := strings.NewReplacer("%", "%25", "/", "%2F", "?", "%3F", "#", "%23", " ", "%20").Replace(name)
	return append(ways, raw)
}

// TestRefusedNames: names that cannot be stored, each next to one that can.
func TestRefusedNames(t *testing.T) {
	d := newDoor(t)
	for name, bad := range map[string]string{
		"empty": "", "dot": ".", "dots": "..", "NUL": "a\u0000b", "CR LF": "a\r\nb", "tab": "a\tb", "DEL": "a\u007fb",
		"C1": "a\u0085b", "bidi override": "a\u202eb", "bidi isolate": "a\u2066b", "Arabic letter mark": "a\u061cb",
		"too long": marker + strings.Repeat("n", vault.MaxName),
	} {
		hostile{
			name, create(createBody(bad, "value", "o", "1")), 422, "invalid_value",
			create(createBody(unique("good"), "value", "o", "1")), 201,
		}.run(t, d)
	}
}

// TestOddValues: values come back byte for byte.
func TestOddValues(t *testing.T) {
	d := newDoor(t)
	for name, value := range map[string]string{
		"empty": "", "space": " ", "NUL": "\u0000", "controls": "\u0001\u001f\u007f\u0085", "lines": "a\r\nb\n",
		"big number": "123456789012345678901234567890", "exponent": "1e999", "minus zero": "-0",
		"replacement": "\ufffd", "non-characters": "\ufffe\uffff", "separators": "\u2028\u2029", "astral": "𝄞😀",
		"HTML": "<script>&amp;</script>", "JSON": `{"a":[1,"\u0000"]}`, "BOM": "\ufeffx", "bidi": "\u202e\u2066",
		"decomposed": "e\u0301", "quotes": `\"\\"`, "binary as base64": "AAECAwQFBgcICQ==",
		"1 MiB": strings.Repeat("v", 1<<20),
	} {
		t.Run(name, func(t *testing.T) {
			id := d.mustCreate(t, name, value)["id"].(string)
			var got struct{ Value string }
			must(t, json.Unmarshal([]byte(d.do(t, get(kv+"/"+id)).want(t, 200).body), &got))
			if got.Value != value {
				t.Errorf("got %.100q, want %.100q", got.Value, value)
			}
		})
	}
	// The same character escaped and not is the same value: JSON says so, and nothing else is touched.
	a := d.do(t, create(`{"name":"escaped","value":"\u00e9\/\ud834\udd1e","key_context":{}}`)).want(t, 201)
	if got := d.do(t, get(kv+"/"+a.object(t)["id"].(string))).object(t)["value"]; got != "é/𝄞" {
		t.Errorf("got %q", got)
	}
}
