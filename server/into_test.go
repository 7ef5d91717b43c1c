package server_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"culvert/server"
)

// FuzzDecode: whatever is accepted says the same to the standard library, and whatever is not is refused
// without repeating it.
func FuzzDecode(f *testing.F) {
	for _, seed := range []string{
		`{"text":"a"}`, `{"text":"\u00e9\n","flag":true,"list":["a","b"],"items":{"a":"b","":""},"at":"2026-11-23T12:00:00.5+02:00","inner":{"text":"x"}}`,
		`{"text":null,"inner":{"text":null}}`, `{"text":"a","inner":{"Text":"x"}}`, `{"text":"a","list":["a",1]}`, `{"text":"a","items":{"a":1}}`,
		`{"text":"a","no":null}`, `{"text":"a","no":[{"x":1}]}`, `{"text":"a","at":"0001-01-01T00:00:00Z"}`, `{"text":"a"} {}`, `{"text":"a","text":"b"}`,
		`{"text":"a","list":[`, `{"text":"a","inner":[]}`, `{"text":"\ud800"}`, `[]`, ``, `{"text":"a","x":{"inner":{"text":7}}}`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		var got, want server.Probe
		nulls, _, err := got.Decode([]byte(raw))
		if err != nil {
			if len(raw) > 8 && strings.Contains(err.Error(), raw) {
				t.Errorf("the error repeats the body: %v", err)
			}
			return
		}
		if err := json.Unmarshal([]byte(raw), &want); err != nil {
			t.Fatalf("accepted, and no JSON of these types: %v", err)
		}
		want.At = want.At.UTC()
		if diff := cmp.Diff(got, want, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("(-got +want):\n%s", diff)
		}
		if slices.Contains(nulls, "text") {
			t.Error("a required member was null")
		}
	})
}

// TestDecode: what is told of null, and by which name a nested member is refused.
func TestDecode(t *testing.T) {
	for raw, want := range map[string]string{
		`{"text":"a","flag":null,"inner":{"text":null},"unknown":null}`: "flag inner.text",
		`{"text":"a","inner":null}`:                                     "inner",
		`{"text":"a"}`:                                                  "",
	} {
		var p server.Probe
		nulls, _, err := p.Decode([]byte(raw))
		if got := strings.Join(nulls, " "); got != want || err != nil {
			t.Errorf("%s: %q, %v, want %q", raw, got, err, want)
		}
	}
	for _, raw := range []string{`{"flag":true}`, `{"text":null}`, `{"text":"a","no":1}`, `{"text":"a","inner":7}`, `{"text":"a","flag":0}`} {
		var p server.Probe
		if _, refused, err := p.Decode([]byte(raw)); err == nil || !refused {
			t.Errorf("%s: %v", raw, err)
		}
	}
}
