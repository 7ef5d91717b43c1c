package keys_test

import (
	"encoding/binary"
	"errors"
	"maps"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"culvert/keys"
	"culvert/keys/keystest"
)

func TestContextLimits(t *testing.T) {
	ten := map[string]string{}
	for i := range keys.MaxContextItems {
		ten[strconv.Itoa(i)] = ""
	}
	eleven := maps.Clone(ten)
	eleven["one more"] = ""
	// Lengths count code points: each of these is several bytes.
	longName, longValue := strings.Repeat("ü", keys.MaxContextName), strings.Repeat("𝄞", keys.MaxContextValue)

	for what, items := range map[string]map[string]string{
		"nil":                nil,
		"empty":              {},
		"ten items":          ten,
		"longest name":       {longName: ""},
		"longest value":      {"n": longValue},
		"spaces":             {" ": " "},
		"slash, quote, star": {"a/b*\"": "../.."},
		"culvert, no colon":  {"culvert": "x", "Culvert:": "x"},
		"not normalised":     {"é": "é"},
	} {
		c, err := keys.ParseContext(items)
		if err != nil {
			t.Errorf("%s: %v", what, err)
			continue
		}
		if diff := cmp.Diff(items, c.Items()); diff != "" && len(items) > 0 {
			t.Errorf("%s (-sent +kept):\n%s", what, diff)
		}
	}
	for what, items := range map[string]map[string]string{
		"eleven items":     eleven,
		"name too long":    {longName + "u": ""},
		"value too long":   {"n": longValue + "u"},
		"no name":          {"": "canary-value"},
		"reserved":         {"culvert:env": "canary-value"},
		"control in name":  {"canary\nname": ""},
		"control in value": {"n": "canary\x7fvalue"},
		"C1":               {"n": "canary\u0085value"},
		"bidi":             {"n": "canary\u202evalue"},
		"invalid UTF-8":    {"n": "canary\xffvalue"},
		"lone surrogate":   {"n": "canary\xed\xa0\x80"},
	} {
		_, err := keys.ParseContext(items)
		var refused *keys.ContextError
		if !errors.As(err, &refused) {
			t.Errorf("%s: %v, want a ContextError", what, err)
			continue
		}
		if strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: the error repeats what was sent: %v", what, err)
		}
	}
}

func TestContextIsComparedAsBytes(t *testing.T) {
	one := keystest.MustContext(t, "organizationId", "o", "b", "c")
	same := keystest.MustContext(t, "b", "c", "organizationId", "o")
	if !one.Equal(same) || one.Canonical() != same.Canonical() {
		t.Error("the order of items counts")
	}
	for _, other := range []keys.Context{
		keystest.MustContext(t, "organization_id", "o", "b", "c"),
		keystest.MustContext(t, "OrganizationId", "o", "b", "c"),
		keystest.MustContext(t, "organizationId", "o"),
		keystest.MustContext(t, "organizationId", "oc", "b", ""),
		keystest.MustContext(t, "organizationId", "o", "c", "b"),
		{},
	} {
		if one.Equal(other) {
			t.Errorf("%v equals %v", one.Items(), other.Items())
		}
	}
}

// A context is what a permit was given for: nobody changes it afterwards.
func TestContextIsACopy(t *testing.T) {
	items := map[string]string{"a": "b"}
	c := mustParse(t, items)
	items["a"] = "x"
	c.Items()["a"] = "y"
	if got := c.Items()["a"]; got != "b" {
		t.Errorf("item = %q, want %q", got, "b")
	}
}

// FuzzParseContext: whatever is accepted comes back as it was, and its canonical form can be read back,
// which is what makes two contexts with one form impossible.
func FuzzParseContext(f *testing.F) {
	f.Add("organization_id", "org_1", "b", "c")
	f.Add("culvert:x", "\x00", "é", "\u202e")
	f.Fuzz(func(t *testing.T, n1, v1, n2, v2 string) {
		items := map[string]string{n1: v1, n2: v2}
		c, err := keys.ParseContext(items)
		if err != nil {
			var refused *keys.ContextError
			if !errors.As(err, &refused) {
				t.Fatalf("error of another kind: %v", err)
			}
			return
		}
		if diff := cmp.Diff(items, c.Items()); diff != "" {
			t.Errorf("items changed:\n%s", diff)
		}
		if diff := cmp.Diff(items, readCanonical(t, c.Canonical())); diff != "" {
			t.Errorf("canonical form does not say the items:\n%s", diff)
		}
		if !strings.HasPrefix(n1, "culvert:") && n1 != "" && !keystest.MustContext(t, n1, v1, n2, v2).Equal(c) {
			t.Error("the same items give another context")
		}
	})
}

func readCanonical(t *testing.T, canonical string) map[string]string {
	t.Helper()
	var fields []string
	for len(canonical) > 0 {
		if len(canonical) < 4 || len(canonical[4:]) < int(binary.BigEndian.Uint32([]byte(canonical))) {
			t.Fatalf("canonical form is cut short: %q", canonical)
		}
		n := int(binary.BigEndian.Uint32([]byte(canonical)))
		fields, canonical = append(fields, canonical[4:4+n]), canonical[4+n:]
	}
	items := map[string]string{}
	for i := 0; i+1 < len(fields); i += 2 {
		items[fields[i]] = fields[i+1]
	}
	return items
}
