package sdkv6_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/workos/workos-go/v6/pkg/vault"

	"culvert/internal/e2e/gosdk/sdktest"
)

// This SDK cannot search, so its lists show what the other suites make at the same time: the test pages
// through all of it and keeps its own.
func TestListPages(t *testing.T) {
	c := newClient(t)
	prefix := sdktest.Unique("-")
	digests := make([]vault.ObjectDigest, 12)
	for i := range digests {
		o := mustCreate(t, c, fmt.Sprintf("%s%02d", prefix, i), vault.KeyContext{})
		digests[i] = vault.ObjectDigest{Id: o.Id, Name: o.Name, UpdatedAt: o.Metadata.UpdatedAt}
	}
	reversed := slices.Clone(digests)
	slices.Reverse(reversed)

	for _, tc := range []struct {
		order vault.Order
		want  []vault.ObjectDigest
	}{{vault.Asc, digests}, {vault.Desc, reversed}, {"", reversed}} {
		t.Run("forward "+string(tc.order), func(t *testing.T) {
			// From just before the first of ours; the cursor itself is not in the page.
			opts := vault.ListObjectsOpts{Order: tc.order, Limit: 5, After: tc.want[0].Id}
			var got []vault.ObjectDigest
			for len(got) < len(tc.want)-1 {
				page := mustList(t, c, opts)
				if len(page.Data) == 0 || page.ListMetadata.Before != page.Data[0].Id {
					t.Fatalf("page %+v", page)
				}
				got = append(got, ours(page.Data, prefix)...)
				opts.After = page.ListMetadata.After
				if opts.After == "" {
					break
				}
			}
			if diff := cmp.Diff(got, tc.want[1:]); diff != "" {
				t.Errorf("(-got +want):\n%s", diff)
			}
		})
		t.Run("backward "+string(tc.order), func(t *testing.T) {
			opts := vault.ListObjectsOpts{Order: tc.order, Limit: 5, Before: tc.want[len(tc.want)-1].Id}
			var got []vault.ObjectDigest
			for len(got) < len(tc.want)-1 {
				page := mustList(t, c, opts)
				if len(page.Data) == 0 || page.ListMetadata.After != page.Data[len(page.Data)-1].Id {
					t.Fatalf("page %+v", page)
				}
				got = append(ours(page.Data, prefix), got...)
				opts.Before = page.ListMetadata.Before
				if opts.Before == "" {
					break
				}
			}
			if diff := cmp.Diff(got, tc.want[:len(tc.want)-1]); diff != "" {
				t.Errorf("(-got +want):\n%s", diff)
			}
		})
	}
}

func TestListEnds(t *testing.T) {
	c := newClient(t)
	o := mustCreate(t, c, sdktest.Unique(""), vault.KeyContext{})
	first := mustList(t, c, vault.ListObjectsOpts{Order: vault.Asc, Limit: 1})
	if len(first.Data) != 1 || first.ListMetadata.Before != "" {
		t.Errorf("the oldest object: %+v", first)
	}
	none := mustList(t, c, vault.ListObjectsOpts{Order: vault.Asc, Before: first.Data[0].Id})
	if len(none.Data) != 0 || none.ListMetadata.Before != "" {
		t.Errorf("before the oldest object: %+v", none)
	}
	if len(mustList(t, c, vault.ListObjectsOpts{}).Data) > vault.ResponseLimit {
		t.Error("more than the default limit")
	}

	_, err := c.ListObjects(t.Context(), vault.ListObjectsOpts{Order: "sideways"})
	refused(t, err, http.StatusBadRequest, "")
	_, err = c.ListObjects(t.Context(), vault.ListObjectsOpts{After: "nope"})
	refused(t, err, http.StatusBadRequest, "")
	mustList(t, c, vault.ListObjectsOpts{Order: vault.Desc, After: o.Id})
}

func mustList(t *testing.T, c *vault.Client, opts vault.ListObjectsOpts) vault.ListObjectsResponse {
	t.Helper()
	page, err := c.ListObjects(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	return page
}

func ours(digests []vault.ObjectDigest, prefix string) []vault.ObjectDigest {
	return slices.DeleteFunc(slices.Clone(digests), func(d vault.ObjectDigest) bool {
		return !strings.HasPrefix(d.Name, prefix)
	})
}
