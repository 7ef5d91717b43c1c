package id_test

import (
	"fmt"
	"regexp"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"culvert/internal/id"
)

// hands is a clock whose hands the test moves. It is safe for concurrent use.
type hands struct{ nanos atomic.Int64 }

func at(t time.Time) *hands {
	h := &hands{}
	h.nanos.Store(t.UnixNano())
	return h
}

func (h *hands) now() time.Time       { return time.Unix(0, h.nanos.Load()) }
func (h *hands) move(d time.Duration) { h.nanos.Add(int64(d)) }

var noon = time.Date(2026, 11, 23, 12, 0, 0, 123456789, time.UTC)

var uuidv7 = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)

func TestUUIDForm(t *testing.T) {
	c := id.NewClock(at(noon).now)
	first := c.UUID()
	if !uuidv7.MatchString(first) {
		t.Errorf("got %q, want a UUIDv7", first)
	}
	// 123456789 ns are 123 ms and 456789/1000000 of the next one: 0.456789 * 4096 = 1871 = 0x74f.
	if got, want := first[:18], fmt.Sprintf("%08x-%04x-774f", noon.UnixMilli()>>16, noon.UnixMilli()&0xffff); got != want {
		t.Errorf("time: got %s, want %s", got, want)
	}
	if second := c.UUID(); second[:18] != fmt.Sprintf("%s750", first[:15]) || second[19:] == first[19:] {
		t.Errorf("second id of an instant: got %s behind %s", second, first)
	}
	if got, ok := id.UUIDTime(first); !ok || !got.Equal(noon.Truncate(time.Millisecond)) || got.Location() != time.UTC {
		t.Errorf("UUIDTime: got %v, %v", got, ok)
	}
}

// TestUUIDsRise: whatever the machine's clock does and whichever ids are observed, ids rise, and
// behind every observed id that is not too far ahead.
func TestUUIDsRise(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		mine := at(noon)
		c := id.NewClock(mine.now)
		last := c.UUID()
		t.Repeat(map[string]func(*rapid.T){
			"stand": func(t *rapid.T) {},
			"move": func(t *rapid.T) {
				mine.move(time.Duration(rapid.Int64Range(-int64(time.Hour), int64(time.Hour)).Draw(t, "by")))
			},
			"observe": func(t *rapid.T) {
				skew := time.Duration(rapid.Int64Range(-int64(5*time.Second), int64(5*time.Second)).Draw(t, "skew"))
				theirs := at(mine.now().Add(skew))
				seen := id.NewClock(theirs.now).UUID()
				before := last
				c.Observe(seen)
				last = c.UUID()
				if last <= before || skew <= id.MaxAhead && last <= seen {
					t.Fatalf("skew %v: %s does not follow %s and %s", skew, last, before, seen)
				}
				// What is too far ahead moves nothing: the clock goes on from where it was.
				if skew > id.MaxAhead && !follows(last, before, mine.now()) {
					t.Fatalf("skew %v: %s was dragged ahead", skew, last)
				}
			},
			"": func(t *rapid.T) {
				next := c.UUID()
				if next <= last {
					t.Fatalf("%s does not follow %s", next, last)
				}
				last = next
			},
		})
	})
}

// follows tells whether the time in next is the later of the machine's and that of the id before it.
func follows(next, before string, now time.Time) bool {
	got, _ := id.UUIDTime(next)
	previous, _ := id.UUIDTime(before)
	return got.Sub(now) < 2*time.Millisecond || got.Sub(previous) < 2*time.Millisecond
}

func TestUUIDsRiseAcrossGoroutines(t *testing.T) {
	const goroutines, each = 16, 3000
	mine := at(noon)
	c := id.NewClock(mine.now)
	lists := make([][]string, goroutines)
	var group sync.WaitGroup
	for g := range goroutines {
		group.Go(func() {
			for i := range each {
				lists[g] = append(lists[g], c.UUID())
				switch i % 100 {
				case 50:
					mine.move(-time.Minute) // the clock goes back under everyone's feet
				case 60:
					c.Observe(lists[g][i])
				}
			}
		})
	}
	group.Wait()
	seen := make(map[string]bool)
	for g, list := range lists {
		if !slices.IsSorted(list) {
			t.Errorf("ids of goroutine %d are not in order", g)
		}
		for _, uuid := range list {
			seen[uuid[:18]] = true
		}
	}
	if len(seen) != goroutines*each {
		t.Errorf("hybrid times: %d different ones for %d ids", len(seen), goroutines*each)
	}
}

func TestObserve(t *testing.T) {
	theirs := at(noon.Add(id.MaxAhead - time.Millisecond))
	near := id.NewClock(theirs.now).UUID()
	theirs.move(2 * time.Millisecond)
	far := id.NewClock(theirs.now).UUID()

	c := id.NewClock(at(noon).now)
	for _, ignored := range []string{
		far, "", "x", near[:35], near + "0", far[:14] + "4" + far[15:], "urn:uuid:" + near,
		"FFFFFFFF-FFFF-7FFF-BFFF-FFFFFFFFFFFF", "ffffffff-ffff-7fff-bfff-ffffffffffff",
	} {
		c.Observe(ignored)
		if got := c.UUID(); got >= near {
			t.Errorf("observed %q: got %s, ahead of %s", ignored, got, near)
		}
	}
	c.Observe(near)
	if got := c.UUID(); got <= near {
		t.Errorf("observed %s: got %s, which does not follow", near, got)
	}
}

func TestUUIDTimeRefusesOtherForms(t *testing.T) {
	good := id.NewClock(at(noon).now).UUID()
	for name, text := range map[string]string{
		"version 4":     good[:14] + "4" + good[15:],
		"variant":       good[:19] + "c" + good[20:],
		"upper case":    "ABCDEF01" + good[8:],
		"braces":        "{" + good[1:35] + "}",
		"no hyphens":    good[:8] + "0" + good[9:],
		"not hex":       good[:35] + "g",
		"short":         good[:35],
		"long":          good + "0",
		"empty":         "",
		"other unicode": good[:34] + "é",
	} {
		if at, ok := id.UUIDTime(text); ok {
			t.Errorf("%s: read %v", name, at)
		}
	}
	if _, ok := id.UUIDTime(good); !ok {
		t.Errorf("refused %s", good)
	}
}

func TestClocksThatWereNeverSet(t *testing.T) {
	for name, when := range map[string]time.Time{
		"zero":   {},
		"before": time.Date(1969, 1, 1, 0, 0, 0, 0, time.UTC),
		"after":  time.Date(20000, 1, 1, 0, 0, 0, 0, time.UTC),
	} {
		c := id.NewClock(func() time.Time { return when })
		first := c.UUID()
		year := map[bool]int{true: 1970, false: 10889}[when.Year() < 1970]
		if got, ok := id.UUIDTime(first); !ok || got.Year() != year || !uuidv7.MatchString(first) {
			t.Errorf("%s: got %q of %v, want the year %d", name, first, got, year)
		}
		if ulid := id.ULID(when); !id.IsULID(ulid) {
			t.Errorf("%s: got ULID %q", name, ulid)
		}
		if epoch, ok := id.EventEpoch(id.Event(when, 9)); !ok || epoch != 9 {
			t.Errorf("%s: got epoch %d, %v", name, epoch, ok)
		}
	}
}

func TestNowIsInUTCToTheMicrosecond(t *testing.T) {
	local := noon.In(time.FixedZone("CET", 3600))
	got := id.NewClock(func() time.Time { return local }).Now()
	if want := time.Date(2026, 11, 23, 12, 0, 0, 123456000, time.UTC); got != want {
		t.Errorf("got %v, want %v", got, want)
	}
}

func BenchmarkUUID(b *testing.B) {
	c := id.NewClock(time.Now)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			c.UUID()
		}
	})
}
