package vault_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"culvert/internal/access"
	"culvert/vault"
	"culvert/vault/vaulttest"
)

func TestList(t *testing.T) {
	s := vaulttest.New(t)
	var want []string
	for i := range 7 {
		name := fmt.Sprint("object ", i)
		s.MustCreate(t, name, "v")
		want = append(want, name)
	}
	list := func(q vault.Query) vault.Page {
		t.Helper()
		p, err := s.Vault.List(t.Context(), s.Call(), q)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	// Case 1: paging forward and back again meets every object once, in both orders.
	for _, descending := range []bool{false, true} {
		expect := slices.Clone(want)
		if descending {
			slices.Reverse(expect)
		}
		q := vault.Query{Limit: 3, Descending: descending}
		var seen []string
		p := list(q)
		for {
			seen = append(seen, names(p)...)
			if p.After == "" {
				break
			}
			q.After = p.After
			p = list(q)
		}
		if diff := cmp.Diff(seen, expect); diff != "" {
			t.Errorf("descending %v: forward (-got +want):\n%s", descending, diff)
		}
		q.After, q.Before = "", p.Before
		if diff := cmp.Diff(names(list(q)), expect[3:6]); diff != "" {
			t.Errorf("descending %v: one page back (-got +want):\n%s", descending, diff)
		}
	}
	// Case 2: a page shows the same as a read, and no value.
	summary := list(vault.Query{Limit: 1}).Data[0]
	o := s.MustGet(t, summary.ID)
	if summary.Name != o.Name || !summary.UpdatedAt.Equal(o.Metadata.UpdatedAt) {
		t.Errorf("the list shows %q at %v, the object is %q at %v", summary.Name, summary.UpdatedAt, o.Name, o.Metadata.UpdatedAt)
	}
	// Case 3: filters.
	if diff := cmp.Diff(names(list(vault.Query{Limit: 10, Search: "ect 4"})), []string{"object 4"}); diff != "" {
		t.Errorf("search (-got +want):\n%s", diff)
	}
	at := s.MustUpdate(t, o.ID, "v2").Metadata.UpdatedAt
	if got := list(vault.Query{Limit: 10, UpdatedAfter: at}); len(got.Data) != 0 || got.After != "" || got.Before != "" {
		t.Errorf("updated after the last update: %v", got)
	}
	if diff := cmp.Diff(names(list(vault.Query{Limit: 10, UpdatedAfter: at.Add(-1000)})), []string{o.Name}); diff != "" {
		t.Errorf("updated after the last but one moment (-got +want):\n%s", diff)
	}
	// Case 4: what was deleted is not shown.
	s.MustDelete(t, o.ID)
	if diff := cmp.Diff(names(list(vault.Query{Limit: 101})), want[1:]); diff != "" {
		t.Errorf("after a delete (-got +want):\n%s", diff)
	}
}

// The pagers of the SDKs repeat the cursor they began with, so both may come at once.
func TestListBetween(t *testing.T) {
	s := vaulttest.New(t)
	var ids []vault.ObjectID
	for i := range 6 {
		ids = append(ids, s.MustCreate(t, fmt.Sprintf("object %d", i), "v").ID)
	}
	for _, tc := range []struct {
		name  string
		query vault.Query
		want  []string
		more  bool
	}{
		{"all between", vault.Query{Limit: 10, After: ids[0], Before: ids[4]}, []string{"object 1", "object 2", "object 3"}, false},
		{"descending", vault.Query{Limit: 10, Descending: true, After: ids[4], Before: ids[0]}, []string{"object 3", "object 2", "object 1"}, false},
		{"a page of it", vault.Query{Limit: 2, After: ids[0], Before: ids[4]}, []string{"object 1", "object 2"}, true},
		{"neighbours", vault.Query{Limit: 10, After: ids[2], Before: ids[3]}, nil, false},
		{"the same twice", vault.Query{Limit: 10, After: ids[2], Before: ids[2]}, nil, false},
		{"crossed", vault.Query{Limit: 10, After: ids[4], Before: ids[0]}, nil, false},
	} {
		p, err := s.Vault.List(t.Context(), s.Call(), tc.query)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(names(p), tc.want); diff != "" || (p.After != "") != tc.more {
			t.Errorf("%s: after %q (-got +want):\n%s", tc.name, p.After, diff)
		}
	}
}

func TestListIsClamped(t *testing.T) {
	s := vaulttest.New(t)
	for i := range 101 {
		s.MustCreate(t, fmt.Sprint("object ", i), "v")
	}
	p, err := s.Vault.List(t.Context(), s.Call(), vault.Query{Limit: 1 << 40})
	if err != nil || len(p.Data) != 100 || p.After == "" {
		t.Errorf("%d objects on a page, next %q, %v", len(p.Data), p.After, err)
	}
}

func TestListRefuses(t *testing.T) {
	s := vaulttest.New(t)
	m := s.MustCreate(t, "n", "v")
	var invalid *vault.InvalidError
	for _, q := range []vault.Query{{}, {Limit: -1}} {
		if _, err := s.Vault.List(t.Context(), s.Call(), q); !errors.As(err, &invalid) {
			t.Errorf("%+v: got %v, want an InvalidError", q, err)
		}
	}
	for _, cursor := range []vault.ObjectID{"x", "n", "../" + m.ID, m.ID + "0"} {
		if _, err := s.Vault.List(t.Context(), s.Call(), vault.Query{Limit: 1, After: cursor}); !errors.Is(err, vault.ErrUnknownCursor) {
			t.Errorf("after %q: got %v, want ErrUnknownCursor", cursor, err)
		}
		if _, err := s.Vault.List(t.Context(), s.Call(), vault.Query{Limit: 1, Before: cursor}); !errors.Is(err, vault.ErrUnknownCursor) {
			t.Errorf("before %q: got %v, want ErrUnknownCursor", cursor, err)
		}
	}
	if _, err := s.Vault.List(t.Context(), s.MustCallAs(t, "guest"), vault.Query{Limit: 1}); !errors.Is(err, access.ErrDenied) {
		t.Errorf("without permission: got %v, want ErrDenied", err)
	}
	p, err := s.Vault.List(t.Context(), s.Call(), vault.Query{Limit: 1, After: m.ID})
	if err != nil || len(p.Data) != 0 {
		t.Errorf("after the last: %v, %v", p, err)
	}
}

func names(p vault.Page) []string {
	var all []string
	for _, s := range p.Data {
		all = append(all, s.Name)
	}
	return all
}
