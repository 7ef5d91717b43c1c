package server_test

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"
)

// body wraps members into an otherwise good create.
func body(name, more string) string {
	return `{"name":"` + name + `","value":"` + marker + `","key_context":{"o":"1"}` + more + `}`
}

func good() request { return create(body(unique("good"), "")) }

// TestHostileJSON: bodies that are not what they should be.
func TestHostileJSON(t *testing.T) {
	d := newDoor(t)
	const invalid = "invalid_json"
	for _, h := range []hostile{
		{"empty", create(""), 400, invalid, good(), 201},
		{"white space", create(" \n"), 400, invalid, good(), 201},
		{"null", create("null"), 400, invalid, good(), 201},
		{"array", create("[" + body("x", "") + "]"), 400, invalid, good(), 201},
		{"string", create(`"` + marker + `"`), 400, invalid, good(), 201},
		{"number", create("1"), 400, invalid, good(), 201},
		{"cut short", create(strings.TrimSuffix(body("x", ""), "}")), 400, invalid, good(), 201},
		{"single quotes", create("{'name':'" + marker + "'}"), 400, invalid, good(), 201},
		{"comment", create("/* " + marker + " */" + body("x", "")), 400, invalid, good(), 201},
		{"comma at the end", create(body("x", ",")), 400, invalid, good(), 201},
		{"form", create("name=" + marker), 400, invalid, good(), 201},

		{"value twice", create(body("x", `,"value":"`+marker+`"`)), 400, invalid, good(), 201},
		{"value twice, escaped", create(body("x", `,"v\u0061lue":"`+marker+`"`)), 400, invalid, good(), 201},
		{"unknown member twice", create(body("x", `,"a":1,"a":2`)), 400, invalid, create(body(unique("g"), `,"a":1,"b":2`)), 201},
		{"duplicate far inside", create(body("x", `,"a":[{"b":1,"b":2}]`)), 400, invalid, create(body(unique("g"), `,"a":[{"b":1,"B":2}]`)), 201},
		{"context item twice", create(`{"name":"x","value":"v","key_context":{"o":"1","o":"` + marker + `"}}`), 400, invalid, good(), 201},
		{"member in another case", create(body("x", `,"Value":"`+marker+`"`)), 400, invalid, good(), 201},
		{"member in another case alone", create(`{"NAME":"x","value":"v","key_context":{}}`), 400, invalid, good(), 201},
		{"member in another case, Unicode", create(body("x", `,"\u212aey_context":{}`)), 400, invalid, good(), 201},

		{"brace behind", create(body("x", "") + "}"), 400, invalid, good(), 201},
		{"object behind", create(body("x", "") + body("y", "")), 400, invalid, create(body(unique("g"), "") + " \r\n\t"), 201},
		{"NUL behind", create(body("x", "") + "\x00"), 400, invalid, good(), 201},

		{"deep array", create(body("x", `,"a":`+strings.Repeat("[", 100_000))), 400, invalid,
			create(body(unique("g"), `,"a":`+strings.Repeat("[", 30)+strings.Repeat("]", 30))), 201},
		{"deep object", create(body("x", `,"a":`+strings.Repeat(`{"a":`, 100_000))), 400, invalid, good(), 201},
		{"deep value", create(`{"name":"x","key_context":{},"value":` + strings.Repeat("[", 9000) + strings.Repeat("]", 9000) + `}`), 400, invalid, good(), 201},
		{"100,000 members", create(body("x", members(100_000))), 400, invalid, create(body(unique("g"), members(5_000))), 201},

		{"surrogate in value", create(`{"name":"x","value":"\ud800","key_context":{}}`), 400, invalid,
			create(`{"name":"` + unique("g") + `","value":"\ud834\udd1e","key_context":{}}`), 201},
		{"surrogate in name", create(`{"name":"\udfff","value":"v","key_context":{}}`), 400, invalid, good(), 201},
		{"surrogate in context", create(`{"name":"x","value":"v","key_context":{"\ud800":"v"}}`), 400, invalid, good(), 201},
		{"surrogate in what is ignored", create(body("x", `,"a":"\ud800"`)), 400, invalid, good(), 201},
		{"byte 0xFF in value", create("{\"name\":\"x\",\"value\":\"\xff\",\"key_context\":{}}"), 400, invalid, good(), 201},
		{"overlong in name", create("{\"name\":\"\xc0\xaf\",\"value\":\"v\",\"key_context\":{}}"), 400, invalid, good(), 201},
		{"0xFF in what is ignored", create(body("x", ",\"a\":\"\xff\"")), 400, invalid, good(), 201},
		{"bare control character", create("{\"name\":\"x\",\"value\":\"a\nb\",\"key_context\":{}}"), 400, invalid,
			create(`{"name":"` + unique("g") + `","value":"a\nb","key_context":{}}`), 201},
		{"BOM", create("\ufeff" + body("x", "")), 400, invalid, good(), 201},
		{"UTF-16", create(utf16(body("x", ""))), 400, invalid, good(), 201},
		{"UTF-16 with BOM", create("\xff\xfe" + utf16(body("x", ""))), 400, invalid, good(), 201},
		{"NaN", create(body("x", `,"a":NaN`)), 400, invalid, create(body(unique("g"), `,"a":1e999`)), 201},
		{"leading zero", create(body("x", `,"a":01`)), 400, invalid, create(body(unique("g"), `,"a":-0`)), 201},
	} {
		h.run(t, d)
	}
}

func members(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `,"m%d":%d`, i, i)
	}
	return b.String()
}

func utf16(s string) string {
	var b strings.Builder
	for _, c := range []byte(s) {
		b.Write([]byte{c, 0})
	}
	return b.String()
}

// TestUnknownMembersAreIgnored: a later client may send what this server does not know.
func TestUnknownMembersAreIgnored(t *testing.T) {
	d := newDoor(t)
	for _, more := range []string{
		`,"future":{"a":[1,2,{"b":null}]}`, `,"big":123456789012345678901234567890`, `,"inf":1e999`, `,"__proto__":{"admin":true}`,
		`,"constructor":null`, `,"environment_id":"environment_01ARZ3NDEKTSV4RRFFQ69G5FAV"`, `,"":0`,
	} {
		d.do(t, create(body(unique("thing"), more)).with("X-Unknown", "1")).want(t, 201)
	}
}

// TestHostileValues: JSON that is well-formed and says something that is not allowed.
func TestHostileValues(t *testing.T) {
	d := newDoor(t)
	withContext := func(context string) request {
		return create(`{"name":"` + unique("thing") + `","value":"v","key_context":` + context + `}`)
	}
	const missing, kind, value = "required", "invalid_type", "invalid_value"
	for _, h := range []hostile{
		{"no name", create(`{"value":"v","key_context":{}}`), 422, missing, good(), 201},
		{"no value", create(`{"name":"x","key_context":{}}`), 422, missing, good(), 201},
		{"no context", create(`{"name":"x","value":"v"}`), 422, missing, good(), 201},
		{"nothing", create(`{}`), 422, missing, good(), 201},
		{"null value", create(`{"name":"x","value":null,"key_context":{}}`), 422, missing, good(), 201},
		{"null context", withContext(`null`), 422, missing, withContext(`{}`), 201},
		{"number as value", create(`{"name":"x","value":12345678901234567890,"key_context":{}}`), 422, kind, good(), 201},
		{"object as value", create(`{"name":"x","value":{"a":"` + marker + `"},"key_context":{}}`), 422, kind, good(), 201},
		{"array as name", create(`{"name":["` + marker + `"],"value":"v","key_context":{}}`), 422, kind, good(), 201},
		{"string as context", withContext(`"` + marker + `"`), 422, kind, withContext(`{}`), 201},
		{"array as context", withContext(`[]`), 422, kind, withContext(`{}`), 201},
		{"number in context", withContext(`{"a":1}`), 422, kind, withContext(`{"a":"1"}`), 201},
		{"null in context", withContext(`{"a":null}`), 422, kind, withContext(`{"a":""}`), 201},
		{"object in context", withContext(`{"a":{"b":"` + marker + `"}}`), 422, kind, withContext(`{"a":"b"}`), 201},

		{"11 items", withContext(contextOf(11)), 422, value, withContext(contextOf(10)), 201},
		{"1,000 items", withContext(contextOf(1000)), 422, value, withContext(contextOf(1)), 201},
		{"empty item name", withContext(`{"":"` + marker + `"}`), 422, value, withContext(`{"a":""}`), 201},
		{"item name of 121", withContext(`{"` + strings.Repeat("é", 121) + `":"v"}`), 422, value, withContext(`{"` + strings.Repeat("é", 120) + `":"v"}`), 201},
		{"item value of 501", withContext(`{"a":"` + strings.Repeat("é", 501) + `"}`), 422, value, withContext(`{"a":"` + strings.Repeat("é", 500) + `"}`), 201},
		{"control in item name", withContext(`{"` + marker + `\u0000":"v"}`), 422, value, withContext(`{"` + marker + `":"v"}`), 201},
		{"line break in item value", withContext(`{"a":"` + marker + `\n"}`), 422, value, withContext(`{"a":"` + marker + `"}`), 201},
		{"bidi in item value", withContext(`{"a":"\u202e"}`), 422, value, withContext(`{"a":"\u200b"}`), 201},
		{"reserved item name", withContext(`{"culvert:env":"` + marker + `"}`), 422, value, withContext(`{"culvert":"v","Culvert:env":"v","__proto__":"v"}`), 201},

		{"value above the limit", create(`{"name":"x","key_context":{},"value":"` + strings.Repeat("v", 1<<20+1) + `"}`), 422, value,
			create(`{"name":"` + unique("x") + `","key_context":{},"value":"` + strings.Repeat("v", 1<<20) + `"}`), 201},
	} {
		h.run(t, d)
	}
}

// contextOf is a context of n items.
func contextOf(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `,"k%d":"v"`, i)
	}
	return "{" + b.String()[1:] + "}"
}

// TestContextsAreBytes: contexts that a lenient parser would merge are two, and echoed as sent.
func TestContextsAreBytes(t *testing.T) {
	d := newDoor(t)
	keyIDs := map[any]string{}
	for _, context := range []string{
		`{"organizationId":"o"}`, `{"organization_id":"o"}`, `{"Organization_id":"o"}`, `{"organization_id":"O"}`,
		`{"organization_id":"o "}`, `{"organization_id":"\ufffd"}`, `{"organization_id":""}`, `{}`,
		`{"é":"o"}`, `{"e\u0301":"o"}`, `{"a":"b","c":"d"}`, `{"a":"b\",\"c\":\"d"}`, `{"__proto__":"o"}`,
	} {
		a := d.do(t, create(`{"name":"`+unique("thing")+`","value":"v","key_context":`+context+`}`)).want(t, 201)
		id := a.object(t)["key_id"]
		if other, taken := keyIDs[id]; taken {
			t.Errorf("%s and %s are one context", context, other)
		}
		keyIDs[id] = context
		echoed := a.object(t)["context"].(map[string]any)
		sent := answer{body: context}.object(t)
		shape(t, echoed, sent)
	}
	// The order of the items is none.
	x := d.do(t, create(`{"name":"x","value":"v","key_context":{"p":"1","q":"2"}}`)).object(t)["key_id"]
	y := d.do(t, create(`{"name":"y","value":"v","key_context":{"q":"2","p":"1"}}`)).object(t)["key_id"]
	if x != y {
		t.Error("the order of items makes another context")
	}
}

// TestHostileBlobs: data keys that are none of ours are a clean 400.
func TestHostileBlobs(t *testing.T) {
	d := newDoor(t)
	made := d.do(t, request{method: "POST", path: "/vault/v1/keys/data-key", body: `{"context":{"o":"1"}}`}).want(t, 200).object(t)
	blob := made["encrypted_keys"].(string)
	raw, err := base64.StdEncoding.DecodeString(blob)
	must(t, err)
	decrypt := func(keys string) request {
		return request{method: "POST", path: "/vault/v1/keys/decrypt", body: `{"keys":"` + keys + `"}`}
	}
	flipped := bytes.Clone(raw)
	flipped[len(flipped)-1] ^= 1
	padded := strings.TrimRight(base64.StdEncoding.EncodeToString(raw[:len(raw)-len(raw)%3+1-3]), "=")
	const code = "invalid_encrypted_keys"
	for name, bad := range map[string]string{
		"empty": "", "text": marker, "not base64": "%%%", "without padding": padded,
		"URL alphabet": "-_-_", "line break": blob[:8] + `\n` + blob[8:], "space": blob + " ",
		"stray bits": "AB==", "cut short": base64.StdEncoding.EncodeToString(raw[:len(raw)/2]),
		"longer":      base64.StdEncoding.EncodeToString(append(bytes.Clone(raw), 0)),
		"foreign":     base64.StdEncoding.EncodeToString([]byte("WOS.EKM.v1\x00" + strings.Repeat("a", 190))),
		"zeros":       base64.StdEncoding.EncodeToString(make([]byte, len(raw))),
		"one MiB":     base64.StdEncoding.EncodeToString(make([]byte, 1<<20)),
		"only a head": base64.StdEncoding.EncodeToString(raw[:8]),
	} {
		hostile{name, decrypt(bad), 400, code, decrypt(blob), 200}.run(t, d)
		rekey := func(keys string) request {
			return request{method: "POST", path: "/vault/v1/keys/rekey", body: `{"context":{"o":"1"},"encrypted_keys":"` + keys + `"}`}
		}
		hostile{name + ", rekey", rekey(bad), 400, code, rekey(blob), 200}.run(t, d)
	}
	hostile{"no keys", request{method: "POST", path: "/vault/v1/keys/decrypt", body: `{}`}, 422, "required", decrypt(blob), 200}.run(t, d)
	hostile{"keys as number", request{method: "POST", path: "/vault/v1/keys/decrypt", body: `{"keys":1}`}, 422, "invalid_type", decrypt(blob), 200}.run(t, d)
	// Every byte of a blob is bound: none can be flipped.
	for i := range raw {
		other := bytes.Clone(raw)
		other[i] ^= 0x80
		a := d.do(t, decrypt(base64.StdEncoding.EncodeToString(other)))
		if a.status < 400 || a.status > 499 || strings.Contains(a.body, made["data_key"].(string)) {
			t.Errorf("byte %d flipped: %d %s", i, a.status, a.body)
		}
	}
}

// TestHostileMedia: types and encodings of bodies.
func TestHostileMedia(t *testing.T) {
	d := newDoor(t)
	const code = "unsupported_media_type"
	typed := func(types ...string) request { return good().with("Content-Type", types...) }
	for _, h := range []hostile{
		{"text", typed("text/plain"), 415, code, typed("application/json"), 201},
		{"form", typed("application/x-www-form-urlencoded"), 415, code, typed("Application/JSON"), 201},
		{"multipart", typed("multipart/form-data; boundary=" + marker), 415, code, typed("application/json; charset=utf-8"), 201},
		{"another charset", typed("application/json; charset=utf-16"), 415, code, typed("application/json;charset=UTF-8"), 201},
		{"other JSON", typed("application/json-seq"), 415, code, typed("application/json; version=1"), 201},
		{"garbage", typed(marker + ";;;"), 415, code, good().with("Content-Type"), 201},
		{"two types", typed("application/json", "text/plain"), 415, code, typed("application/json"), 201},
		{"gzip", good().with("Content-Encoding", "gzip"), 415, code, good().with("Content-Encoding", "identity"), 201},
		{"zip bomb", bomb(), 415, code, good(), 201},
		{"deflate behind identity", good().with("Content-Encoding", "identity", "deflate"), 415, code, good(), 201},
	} {
		h.run(t, d)
	}
	// A GET has no body, whatever its header says: Node sends the type with every request.
	d.do(t, get(kv).with("Content-Type", "text/plain")).want(t, 200)
}

// bomb is a gzip of 64 MiB of zeros.
func bomb() request {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, _ = io.CopyN(w, zeros{}, 64<<20)
	_ = w.Close()
	return create(b.String()).with("Content-Encoding", "gzip")
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// TestBodyLimit: one byte below, at, and above the limit, with a length and without.
func TestBodyLimit(t *testing.T) {
	d := newDoor(t)
	const limit = 8 << 20
	sized := func(size int) string {
		head := body(unique("sized"), `,"pad":"`)
		head = strings.TrimSuffix(head, "}")
		return head + strings.Repeat("p", size-len(head)-2) + `"}`
	}
	for size, status := range map[int]int{limit - 1: 201, limit: 201, limit + 1: 413, limit + 1<<20: 413} {
		a := d.do(t, create(sized(size)))
		if a.want(t, status).status == 413 {
			a.mustRefuse(t, 413, "body_too_large")
		}
		if got := d.chunked(t, sized(size)); got.status != status {
			t.Errorf("%d bytes in chunks: status %d, want %d", size, got.status, status)
		}
	}
	// What is announced as too much is not waited for.
	d.raw(t, fmt.Sprintf("POST %s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Length: %d\r\n\r\n", kv, d.key(), limit+1)).
		mustRefuse(t, 413, "body_too_large")
	d.alive(t)
}

// chunked sends a create without saying how long it is.
func (d *door) chunked(t testing.TB, text string) answer {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), "POST", "http://"+d.addr+kv, struct{ io.Reader }{strings.NewReader(text)})
	must(t, err)
	r.Header.Set("Authorization", "Bearer "+d.key())
	response, err := client.Do(r)
	must(t, err)
	defer response.Body.Close()
	b, err := io.ReadAll(response.Body)
	must(t, err)
	return answer{response.StatusCode, response.Header, string(b)}
}

// TestBigBodyWithoutKey: 40 MB of a stranger are neither read nor kept.
func TestBigBodyWithoutKey(t *testing.T) {
	d := newDoor(t)
	conn, err := net.Dial("tcp", d.addr)
	must(t, err)
	defer conn.Close()
	must(t, conn.SetDeadline(time.Now().Add(20*time.Second)))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err = fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n", kv, 40<<20)
	must(t, err)
	sent := make(chan int64, 1)
	go func() {
		n, _ := io.CopyN(conn, zeros{}, 40<<20)
		sent <- n
	}()
	readAnswer(t, conn).mustRefuse(t, 401, "unauthorized")
	runtime.ReadMemStats(&after)
	if grown := after.TotalAlloc - before.TotalAlloc; grown > 20<<20 {
		t.Errorf("allocated %d bytes", grown)
	}
	// The twin holds the key, and is told that it is too much, not who it is not.
	must(t, conn.Close())
	<-sent
	d.do(t, create(strings.Repeat(" ", 9<<20))).mustRefuse(t, 413, "body_too_large")
	d.do(t, good()).want(t, 201)
}
