package sdkv9_test

import (
	"fmt"
	"net/http"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/workos/workos-go/v9"

	"culvert/internal/e2e/gosdk/sdktest"
)

// mustCreateMany makes n objects whose names contain search, and returns them in order of creation.
func mustCreateMany(t *testing.T, c *workos.Client, search string, n int) []workos.ObjectSummary {
	t.Helper()
	summaries := make([]workos.ObjectSummary, n)
	for i := range summaries {
		o := mustCreate(t, c, fmt.Sprintf("%s%03d", search, i), map[string]string{})
		summaries[i] = workos.ObjectSummary{ID: o.ID, Name: o.Name, UpdatedAt: &o.Metadata.UpdatedAt}
	}
	return summaries
}

// drain follows an iterator to its end.
func drain[T any](t *testing.T, it *workos.Iterator[T]) []T {
	t.Helper()
	var all []T
	for it.Next() {
		all = append(all, *it.Current())
	}
	if err := it.Err(); err != nil {
		t.Fatal(err)
	}
	return all
}

func list(search string, p workos.PaginationParams) *workos.VaultListKvParams {
	return &workos.VaultListKvParams{PaginationParams: p, Search: &search}
}

func TestListPages(t *testing.T) {
	r := &recorder{}
	c := newClient(t, r.client())
	search := sdktest.Unique("-")
	ascending := mustCreateMany(t, c, search, 25)
	descending := slices.Clone(ascending)
	slices.Reverse(descending)

	for _, tc := range []struct {
		name   string
		params workos.PaginationParams
		want   []workos.ObjectSummary
		pages  int
	}{
		{"default is newest first, ten a page", workos.PaginationParams{}, descending, 3},
		{"ascending", workos.PaginationParams{Order: new("asc")}, ascending, 3},
		{"descending", workos.PaginationParams{Order: new("desc")}, descending, 3},
		{"pages of one end", workos.PaginationParams{Order: new("asc"), Limit: new(1)}, ascending, 25},
		{"pages that end exactly", workos.PaginationParams{Order: new("asc"), Limit: new(5)}, ascending, 5},
		{"one page", workos.PaginationParams{Order: new("asc"), Limit: new(100)}, ascending, 1},
		{"above the limit of limits", workos.PaginationParams{Order: new("asc"), Limit: new(5000)}, ascending, 1},
		{"after", workos.PaginationParams{Order: new("asc"), After: &ascending[7].ID}, ascending[8:], 2},
		{"after, descending", workos.PaginationParams{After: &ascending[7].ID}, descending[18:], 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r.wire = nil
			got := drain(t, c.Vault().ListKv(t.Context(), list(search, tc.params)))
			if diff := cmp.Diff(got, tc.want); diff != "" {
				t.Errorf("(-got +want):\n%s", diff)
			}
			if len(r.wire) != tc.pages {
				t.Errorf("%d requests, want %d", len(r.wire), tc.pages)
			}
		})
	}
}

// The SDK's iterator only goes forward: a page before a cursor is its first page.
func TestListBefore(t *testing.T) {
	c := newClient(t)
	search := sdktest.Unique("-")
	ascending := mustCreateMany(t, c, search, 12)
	descending := slices.Clone(ascending)
	slices.Reverse(descending)

	for _, tc := range []struct {
		order string
		all   []workos.ObjectSummary
	}{{"asc", ascending}, {"desc", descending}} {
		it := c.Vault().ListKv(t.Context(), list(search, workos.PaginationParams{
			Order: &tc.order, Limit: new(3), Before: &tc.all[8].ID,
		}))
		// For the next page the iterator sends the before again with an after of its own; nothing is between them.
		if diff := cmp.Diff(drain(t, it), tc.all[5:8]); diff != "" {
			t.Errorf("three before the ninth, %s (-got +want):\n%s", tc.order, diff)
		}
	}
}

func TestListSearch(t *testing.T) {
	c := newClient(t)
	search := sdktest.Unique("-")
	o := mustCreate(t, c, search+"Find/Me %_* é", map[string]string{})
	mustCreate(t, c, search+"find/me %_* e\u0301", map[string]string{})

	for _, text := range []string{o.Name, search + "Find", o.Name[4:], o.Name[len("e2e-name-") : len(o.Name)-len(" é")]} {
		got := drain(t, c.Vault().ListKv(t.Context(), list(text, workos.PaginationParams{})))
		want := []workos.ObjectSummary{{ID: o.ID, Name: o.Name, UpdatedAt: &o.Metadata.UpdatedAt}}
		if diff := cmp.Diff(got, want); diff != "" {
			t.Errorf("search %q (-got +want):\n%s", text, diff)
		}
	}
	if got := drain(t, c.Vault().ListKv(t.Context(), list(sdktest.Unique(""), workos.PaginationParams{}))); got != nil {
		t.Errorf("search for nothing that exists found %v", got)
	}
}

func TestListUpdatedAfter(t *testing.T) {
	c := newClient(t)
	search := sdktest.Unique("-")
	objects := mustCreateMany(t, c, search, 3)
	o := mustUpdate(t, c, objects[0].ID, sdktest.Secret(""), nil)
	touched := workos.ObjectSummary{ID: o.ID, Name: o.Name, UpdatedAt: &o.Metadata.UpdatedAt}

	for _, tc := range []struct {
		name  string
		after string
		want  []workos.ObjectSummary
	}{
		{"long ago", "2024-01-01T00:00:00Z", []workos.ObjectSummary{touched, objects[1], objects[2]}},
		{"with an offset", "2024-01-01T01:00:00+01:00", []workos.ObjectSummary{touched, objects[1], objects[2]}},
		// Strictly later: the object of that very microsecond is not in it.
		{"the second", *objects[1].UpdatedAt, []workos.ObjectSummary{touched, objects[2]}},
		{"the third", *objects[2].UpdatedAt, []workos.ObjectSummary{touched}},
		{"the update", *touched.UpdatedAt, nil},
	} {
		params := list(search, workos.PaginationParams{Order: new("asc")})
		params.UpdatedAfter = &tc.after
		if diff := cmp.Diff(drain(t, c.Vault().ListKv(t.Context(), params)), tc.want); diff != "" {
			t.Errorf("updated after %s (-got +want):\n%s", tc.name, diff)
		}
	}
}

func TestListRefusals(t *testing.T) {
	c := newClient(t)
	search := sdktest.Unique("-")
	known := mustCreateMany(t, c, search, 2)[0].ID
	for _, tc := range []struct {
		name         string
		wrong, right workos.PaginationParams
	}{
		{"limit 0", workos.PaginationParams{Limit: new(0)}, workos.PaginationParams{Limit: new(1)}},
		{"limit -1", workos.PaginationParams{Limit: new(-1)}, workos.PaginationParams{Limit: new(100)}},
		{"order", workos.PaginationParams{Order: new("ASC")}, workos.PaginationParams{Order: new("asc")}},
		{"after", workos.PaginationParams{After: new("nope")}, workos.PaginationParams{After: &known}},
		{"before", workos.PaginationParams{Before: new("nope")}, workos.PaginationParams{Before: &known}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			it := c.Vault().ListKv(t.Context(), list(search, tc.wrong))
			if it.Next() {
				t.Error("a page came")
			}
			refused(t, it.Err(), http.StatusBadRequest)
			drain(t, c.Vault().ListKv(t.Context(), list(search, tc.right)))
		})
	}
}
