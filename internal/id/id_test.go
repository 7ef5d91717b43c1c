package id_test

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"
	"pgregory.net/rapid"

	"culvert/internal/id"
)

var ulidForm = regexp.MustCompile(`^[0-7][0-9A-HJKMNP-TV-Z]{25}$`)

func TestULID(t *testing.T) {
	first, second := id.ULID(noon), id.ULID(noon)
	if !ulidForm.MatchString(first) || first == second || first[:10] != second[:10] {
		t.Errorf("got %q and %q, want two ULIDs of one time", first, second)
	}
	if later := id.ULID(noon.Add(time.Millisecond)); later <= first {
		t.Errorf("%s of a millisecond later does not follow %s", later, first)
	}
	if parsed := ulid.MustParse(first); parsed.Time() != uint64(noon.UnixMilli()) {
		t.Errorf("time: got %d, want %d", parsed.Time(), noon.UnixMilli())
	}
}

// refused are texts that look like ULIDs to a lenient reader.
func refused(good string) map[string]string {
	return map[string]string{
		"lower case": strings.ToLower(good),
		"overflow":   "8" + good[1:],
		"letter I":   good[:25] + "I",
		"letter U":   good[:25] + "U",
		"short":      good[:25],
		"long":       good + "0",
		"empty":      "",
		"space":      good[:25] + " ",
		"not ASCII":  good[:24] + "é",
	}
}

func TestIsULID(t *testing.T) {
	good := "01JD8Z6Q5RN5T4M0A1B2C3D4EX"
	for name, text := range refused(good) {
		if id.IsULID(text) {
			t.Errorf("%s: accepted", name)
		}
	}
	if !id.IsULID(good) {
		t.Errorf("refused %s", good)
	}
}

func TestEventContainsItsEpoch(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		epoch := rapid.Uint64Range(0, 1<<40-1).Draw(t, "epoch")
		text := id.Event(noon, epoch)
		got, ok := id.EventEpoch(text)
		if !ok || got != epoch {
			t.Fatalf("epoch of %s: got %d and %v, want %d", text, got, ok, epoch)
		}
		if text == id.Event(noon, epoch) {
			t.Fatal("two events of one id")
		}
		if !ulidForm.MatchString(strings.TrimPrefix(text, "event_")) {
			t.Fatalf("form: %s", text)
		}
		later := rapid.Uint64Range(epoch, 1<<40-1).Draw(t, "later")
		if later > epoch && id.Event(noon, later) <= text {
			t.Fatalf("events of one millisecond are not in the order of epochs %d and %d", epoch, later)
		}
	})
}

func TestEventEpochRefusesOtherForms(t *testing.T) {
	good := id.Event(noon, 7)
	texts := refused(strings.TrimPrefix(good, "event_"))
	for name, text := range texts {
		texts[name] = "event_" + text
	}
	texts["no prefix"] = strings.TrimPrefix(good, "event_")
	texts["other prefix"] = "key_" + strings.TrimPrefix(good, "event_")
	texts["twice"] = "event_" + good
	for name, text := range texts {
		if _, ok := id.EventEpoch(text); ok {
			t.Errorf("%s: accepted %q", name, text)
		}
	}
	if _, ok := id.EventEpoch(good); !ok {
		t.Errorf("refused %s", good)
	}
}
