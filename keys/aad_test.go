package keys_test

import (
	"bytes"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"culvert/keys"
	"culvert/keys/keystest"
)

// bound says for each input which AADs it must change, and for all others that it must not.
func bound() map[string][]string {
	perKEK := []string{
		"value", "dek", "data-key",
		"grant", "grant-dek", "client-secret", "client-secret-dek", "verifier", "verifier-dek",
		"waiting", "waiting-dek", "journal", "journal-dek",
	}
	perEnvironment := []string{"environment/mac", "environment/index", "environment/pepper", "environment/signing"}
	return map[string][]string{
		"Environment": append(append([]string{"kek", "kek/rotated", "probe", "share/kek", "share/mac", "root", "root/cmk", "root/items", "record", "pepper", "webhook-secret"}, perKEK...), perEnvironment...),
		"KeyID":       append([]string{"kek", "kek/rotated", "probe", "share/kek", "share/mac", "root", "root/cmk", "root/items"}, perKEK...),
		"Context":     append([]string{"kek", "kek/rotated", "probe", "share/kek", "share/mac", "root", "root/cmk", "root/items", "index/context"}, perKEK...),
		"DataKeyID":   {"data-key"},
		"At":          append([]string{"kek", "kek/rotated"}, perEnvironment...),
		"Versions":    {"kek/rotated"},
		"RotatedAt":   {"kek/rotated"},
		"Primary":     {"kek/rotated"},
		"Name":        append([]string{"index/item", "index/name", "index/request", "index/owner", "hash/flow", "root/items", "webhook-secret"}, perEnvironment...),
		"Value":       {"index/item", "index/request", "index/owner", "root/items"},
		"Key":         {"record", "index/request", "index/owner"},
		"Slot":        {"root", "root/items", "index/owner", "hash/flow"},
		"Body":        {"record", "pepper", "hash/refresh-token", "hash/flow", "webhook-secret"},
		"Digest":      {"index/body"},
		"Shares":      {"share/kek", "share/mac"},

		"Object.ObjectID":   {"value", "dek"},
		"Object.VersionID":  {"value", "dek"},
		"Object.Sequence":   {"value", "dek"},
		"Object.Name":       {"value"},
		"Object.CreatedAt":  {"value"},
		"Object.UpdatedAt":  {"value"},
		"Object.AuthorID":   {"value"},
		"Object.AuthorName": {"value"},

		"Grant.GrantID":          {"grant", "grant-dek"},
		"Grant.Generation":       {"grant", "grant-dek"},
		"Grant.IntegrationID":    {"grant"},
		"Grant.Origin":           {"grant"},
		"Grant.ExpiresAt":        {"grant"},
		"Grant.RefreshExpiresAt": {"grant"},
		"Grant.ObtainedAt":       {"grant"},
		"Grant.Refreshable":      {"grant"},

		"ClientSecret.IntegrationID": {"client-secret", "client-secret-dek"},
		"ClientSecret.ClientID":      {"client-secret"},
		"ClientSecret.Origin":        {"client-secret"},
		"ClientSecret.SealedAt":      {"client-secret"},

		"Verifier.FlowID":    {"verifier", "verifier-dek"},
		"Verifier.Departure": {"verifier", "verifier-dek"},
		"Verifier.Origin":    {"verifier"},
		"Verifier.SealedAt":  {"verifier"},

		"Waiting.FlowID":           {"waiting", "waiting-dek"},
		"Waiting.Departure":        {"waiting", "waiting-dek"},
		"Waiting.IntegrationID":    {"waiting"},
		"Waiting.Origin":           {"waiting"},
		"Waiting.ExpiresAt":        {"waiting"},
		"Waiting.RefreshExpiresAt": {"waiting"},
		"Waiting.ObtainedAt":       {"waiting"},

		"Journal.Node":             {"journal", "journal-dek"},
		"Journal.GrantID":          {"journal", "journal-dek"},
		"Journal.Generation":       {"journal", "journal-dek"},
		"Journal.IntegrationID":    {"journal"},
		"Journal.AccountID":        {"journal"},
		"Journal.Origin":           {"journal"},
		"Journal.ClientID":         {"journal"},
		"Journal.ObtainedAt":       {"journal"},
		"Journal.ExpiresAt":        {"journal"},
		"Journal.RefreshExpiresAt": {"journal"},
		"Journal.Scopes":           {"journal"},
	}
}

func TestAADBindsEachField(t *testing.T) {
	original := goldenInput(t)
	before := keys.AADs(original)
	want := bound()
	for path, changed := range eachFieldChanged(t, original) {
		got := map[string]bool{}
		for name, a := range keys.AADs(changed) {
			if !bytes.Equal(a, before[name]) {
				got[name] = true
			}
		}
		expected := map[string]bool{}
		for _, name := range want[path] {
			expected[name] = true
		}
		if diff := cmp.Diff(expected, got); diff != "" {
			t.Errorf("%s changes other AADs than it should (-want +got):\n%s", path, diff)
		}
		delete(want, path)
	}
	for path := range want {
		t.Errorf("%s was not tried", path)
	}
}

// eachFieldChanged walks the fields by reflection: a field that is added later is tried too, and fails
// above until someone has said what binds it.
func eachFieldChanged(t *testing.T, original keys.AADInput) map[string]keys.AADInput {
	t.Helper()
	all := map[string]keys.AADInput{}
	for i := range reflect.TypeFor[keys.AADInput]().NumField() {
		field := reflect.TypeFor[keys.AADInput]().Field(i)
		if !strings.HasSuffix(field.Type.Name(), "Binding") {
			changed := original
			change(t, reflect.ValueOf(&changed).Elem().Field(i))
			all[field.Name] = changed
			continue
		}
		for j := range field.Type.NumField() {
			changed := original
			change(t, reflect.ValueOf(&changed).Elem().Field(i).Field(j))
			all[field.Name+"."+field.Type.Field(j).Name] = changed
		}
	}
	return all
}

// change sets a field to something as close to what it was as its type allows.
func change(t *testing.T, field reflect.Value) {
	t.Helper()
	switch v := field.Interface().(type) {
	case time.Time:
		field.Set(reflect.ValueOf(v.Add(time.Nanosecond)))
	case keys.Context:
		items := v.Items()
		items["z"] = "other"
		field.Set(reflect.ValueOf(mustParse(t, items)))
	case []keys.Share:
		field.Set(reflect.ValueOf(v[1:]))
	case []string:
		field.Set(reflect.ValueOf(v[1:]))
	case []byte:
		field.Set(reflect.ValueOf(append([]byte{v[0] ^ 1}, v[1:]...)))
	default:
		switch field.Kind() {
		case reflect.String:
			field.SetString(field.String() + " ")
		case reflect.Int:
			field.SetInt(field.Int() + 1)
		case reflect.Uint32, reflect.Uint64:
			field.SetUint(field.Uint() + 1)
		case reflect.Bool:
			field.SetBool(!field.Bool())
		default:
			t.Fatalf("no change for a %T", v)
		}
	}
}

func mustParse(t testing.TB, items map[string]string) keys.Context {
	t.Helper()
	c, err := keys.ParseContext(items)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// Every AAD of one input differs from every other and from every prefix of it, so that no purpose can
// stand in for another.
func TestAADsOfDifferentPurposesNeverMeet(t *testing.T) {
	for _, in := range []keys.AADInput{goldenInput(t), {Digest: make([]byte, 32), Context: keystest.MustContext(t)}} {
		all := keys.AADs(in)
		for name, a := range all {
			for other, b := range all {
				if name != other && bytes.HasPrefix(a, b) {
					t.Errorf("%s begins with the whole of %s", name, other)
				}
			}
		}
	}
}

// A byte that moves from the end of one field to the beginning of the next must not cancel out.
func TestAADFieldsDoNotRunTogether(t *testing.T) {
	in, moved := goldenInput(t), goldenInput(t)
	in.Object.AuthorID, in.Object.AuthorName = "key_1", "2"
	moved.Object.AuthorID, moved.Object.AuthorName = "key_", "12"
	if bytes.Equal(keys.AADs(in)["value"], keys.AADs(moved)["value"]) {
		t.Error("two different authors give one AAD")
	}
	in.Verifier.FlowID, in.Verifier.Departure = "flow", "x/y"
	for _, twin := range []keys.VerifierBinding{{FlowID: "flo", Departure: "wx/y"}, {FlowID: "flow/x", Departure: "y"}} {
		moved.Verifier = in.Verifier
		moved.Verifier.FlowID, moved.Verifier.Departure = twin.FlowID, twin.Departure
		if bytes.Equal(keys.AADs(in)["verifier-dek"], keys.AADs(moved)["verifier-dek"]) {
			t.Error("two different departures give one AAD")
		}
	}
}

// The zone a time was read in must not count, or records could not be opened after a restart elsewhere.
func TestAADTakesTheInstantAlone(t *testing.T) {
	in, moved := goldenInput(t), goldenInput(t)
	moved.Object.CreatedAt = in.Object.CreatedAt.In(time.FixedZone("elsewhere", -7*3600))
	if !bytes.Equal(keys.AADs(in)["value"], keys.AADs(moved)["value"]) {
		t.Error("the same instant in another zone gives another AAD")
	}
}
