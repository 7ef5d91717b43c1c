package etcd_test

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"pgregory.net/rapid"

	"culvert/internal/access"
	"culvert/internal/etcd"
	"culvert/keys"
	"culvert/vault"
)

// modelList is a page of objects in order of creation, the plain way.
func modelList(all []etcd.Entry, q vault.Query) vault.Page {
	page, _ := modelListBroken(all, q)
	return page
}

// modelListBroken also tells whether the page would show a broken entry.
func modelListBroken(all []etcd.Entry, q vault.Query) (page vault.Page, broken bool) {
	ordered := slices.Clone(all)
	slices.SortFunc(ordered, func(a, b etcd.Entry) int { return strings.Compare(string(a.ID), string(b.ID)) })
	if q.Descending {
		slices.Reverse(ordered)
	}
	behind := func(a, b vault.ObjectID) bool { return (a > b) != q.Descending && a != b }
	var kept, before, after []etcd.Entry
	for _, e := range ordered {
		matches := strings.Contains(e.Name, q.Search) && (q.UpdatedAfter.IsZero() || e.Updated.After(q.UpdatedAfter))
		if q.Viewer != nil {
			items := e.Items
			if items == nil {
				items = map[string]string{"organization_id": "org_1"}
			}
			matches = matches && q.Viewer.Shows(e.Name, items)
		}
		switch {
		case !matches && !e.Broken:
		case q.After != "" && !behind(e.ID, q.After):
			before = append(before, e)
		case q.Before != "" && !behind(q.Before, e.ID):
			after = append(after, e)
		default:
			kept = append(kept, e)
		}
	}
	if q.Before != "" {
		cut := max(0, len(kept)-q.Limit)
		before, kept = kept[:cut], kept[cut:]
	} else {
		cut := min(q.Limit, len(kept))
		kept, after = kept[:cut], kept[cut:]
	}
	page.Data = []vault.Summary{}
	for _, e := range kept {
		broken = broken || e.Broken
		page.Data = append(page.Data, vault.Summary{ID: e.ID, Name: e.Name, UpdatedAt: e.Updated.UTC()})
	}
	if len(kept) > 0 && len(before) > 0 {
		page.Before = kept[0].ID
	}
	if len(kept) > 0 && len(after) > 0 {
		page.After = kept[len(kept)-1].ID
	}
	return page, broken
}

// contextOf is one of three key contexts, by a number.
func contextOf(n uint64) (kek keys.ID, items map[string]string) {
	return keys.ID(fmt.Sprint("kek ", n%3)), []map[string]string{
		{}, {"organization_id": "org_1"}, {"organization_id": "org_1", "user_id": "user_1"},
	}[n%3]
}

// bounded sees what is within one of its bounds, but for names that end with a c.
type bounded []access.Bound

func (b bounded) Shows(name string, items map[string]string) bool {
	return !strings.HasSuffix(name, "c") && slices.ContainsFunc(b, func(b access.Bound) bool {
		for item, value := range b.Items {
			if items[item] != value {
				return false
			}
		}
		return strings.HasPrefix(name, b.NamePrefix)
	})
}

func (b bounded) Within() []access.Bound { return append([]access.Bound{}, b...) }

// drawBounds draws some, also none.
func drawBounds(t *rapid.T) bounded {
	return rapid.SliceOfN(rapid.SampledFrom([]access.Bound{
		{NamePrefix: "a"}, {NamePrefix: "ab"}, {NamePrefix: "3"}, {NamePrefix: "nobody's"},
		{Items: map[string]string{"organization_id": "org_1"}},
		{Items: map[string]string{"organization_id": "org_1"}, NamePrefix: "b"},
		{Items: map[string]string{"organization_id": "org_1", "user_id": "user_1"}},
		{Items: map[string]string{"organization_id": "org_2"}},
	}), 0, 3).Draw(t, "bounds")
}

// TestIndex drives the list index with anything, next to a plain map.
func TestIndex(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		index, model := &etcd.Index{}, map[vault.ObjectID]etcd.Entry{}
		index.SetSteps(rapid.SampledFrom([]int{1, 100, 10_000}).Draw(t, "steps"))
		// Few times and names, so that operations meet; chunks split, since puts come in runs.
		ids := rapid.Custom(func(t *rapid.T) vault.ObjectID {
			return testUUID(rapid.Uint64Range(1, 40).Draw(t, "ms"), rapid.Uint64Range(0, 60).Draw(t, "low"))
		})
		moments := rapid.Custom(func(t *rapid.T) time.Time {
			return time.UnixMicro(rapid.Int64Range(0, 30).Draw(t, "updated")).UTC()
		})
		revision := int64(0)
		put := func(object vault.ObjectID, name string, updated time.Time, stale, broken bool) {
			revision++
			e := etcd.Entry{ID: object, Name: name, Updated: updated, Revision: revision, Broken: broken}
			e.KEK, e.Items = contextOf(uint64(revision))
			if broken {
				e.Updated = time.UnixMicro(math.MaxInt64)
			}
			old, known := model[object]
			if stale && known {
				e.Revision = old.Revision - 1 // from a load that is behind the watch
			} else {
				model[object] = e
			}
			if index.Add(e) == known {
				t.Fatalf("put of %s: new %v, want %v", object, known, !known)
			}
		}
		names := rapid.SampledFrom([]string{"a", "ab", "abc", "b", "bc", "c", ""})
		t.Repeat(map[string]func(*rapid.T){
			"put": func(t *rapid.T) {
				put(ids.Draw(t, "id"), names.Draw(t, "name"), moments.Draw(t, "at"), rapid.Bool().Draw(t, "stale"), rapid.IntRange(0, 20).Draw(t, "broken") == 0)
			},
			"run": func(t *rapid.T) {
				ms, n := rapid.Uint64Range(1, 40).Draw(t, "ms"), rapid.IntRange(1, 800).Draw(t, "n")
				for i := range n {
					put(testUUID(ms, uint64(i)), fmt.Sprint(i%7), time.UnixMicro(int64(i%30)).UTC(), false, false)
				}
			},
			"remove": func(t *rapid.T) {
				object := ids.Draw(t, "id")
				index.Remove(object)
				delete(model, object)
			},
			"remove run": func(t *rapid.T) {
				ms := rapid.Uint64Range(1, 40).Draw(t, "ms")
				for i := range uint64(600) {
					index.Remove(testUUID(ms, i))
					delete(model, testUUID(ms, i))
				}
			},
			"": func(t *rapid.T) {
				all := make([]etcd.Entry, 0, len(model))
				for _, e := range model {
					all = append(all, e)
				}
				if index.Len() != len(all) {
					t.Fatalf("%d objects, want %d", index.Len(), len(all))
				}
				q := vault.Query{Limit: rapid.IntRange(1, 120).Draw(t, "limit"), Descending: rapid.Bool().Draw(t, "descending")}
				switch rapid.IntRange(0, 2).Draw(t, "cursor") {
				case 1:
					q.After = ids.Draw(t, "after")
				case 2:
					q.Before = ids.Draw(t, "before")
				}
				if rapid.Bool().Draw(t, "search") {
					q.Search = names.Draw(t, "substring")
				}
				if rapid.Bool().Draw(t, "by time") {
					q.UpdatedAfter = moments.Draw(t, "updated after")
				}
				if rapid.Bool().Draw(t, "scoped") {
					q.Viewer = drawBounds(t)
				}
				got, err := index.Page(q)
				want, broken := modelListBroken(all, q)
				if broken != (err != nil) {
					t.Fatalf("page %+v: %v, want an error %v", q, err, broken)
				}
				if broken {
					mustBeTampered(t, err)
					return
				}
				if diff := cmp.Diff(got, want); diff != "" {
					t.Fatalf("page %+v (-got +want):\n%s", q, diff)
				}
			},
		})
	})
}

func mustBeTampered(t *rapid.T, err error) {
	if err != keys.ErrTampered {
		t.Fatalf("got %v, want %v", err, keys.ErrTampered)
	}
}

// testUUID is a UUIDv7 of that millisecond, in the order of low within it.
func testUUID(ms, low uint64) vault.ObjectID {
	u := uuid.UUID{6: 0x70, 8: 0x80}
	for i := range 6 {
		u[i] = byte(ms >> (8 * (5 - i)))
	}
	for i := range 6 {
		u[10+i] = byte(low >> (8 * (5 - i)))
	}
	return vault.ObjectID(u.String())
}
