package etcd_test

import (
	"fmt"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"culvert/internal/access"
	"culvert/internal/etcd"
	"culvert/internal/etcd/etcdtest"
	"culvert/internal/id"
	"culvert/vault"
)

// benchCallers is how many goroutines call at once.
const benchCallers = 64

// onEachEtcd runs a benchmark in the process, and over gRPC on one member that syncs nothing.
func onEachEtcd(b *testing.B, run func(b *testing.B, p *place, s *etcd.Store)) {
	b.Run("embedded", func(b *testing.B) {
		p := newPlace(b, etcdtest.Embedded(b))
		run(b, p, p.mustStore(b))
	})
	b.Run("gRPC", func(b *testing.B) {
		p := newPlace(b, etcdtest.MustOpen(b, etcd.Config{Endpoints: []string{etcdtest.Listening(b)}}))
		run(b, p, p.mustStore(b))
	})
}

func parallel(b *testing.B, run func(*testing.PB)) {
	b.SetParallelism(benchCallers / runtime.GOMAXPROCS(0))
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(run)
}

// BenchmarkFence is the fence alone, with nothing to wait for.
func BenchmarkFence(b *testing.B) {
	onEachEtcd(b, func(b *testing.B, _ *place, s *etcd.Store) {
		parallel(b, func(pb *testing.PB) {
			for pb.Next() {
				if err := s.Fence(b.Context()); err != nil {
					b.Error(err)
				}
			}
		})
	})
}

// BenchmarkHeader is a header from the cache, without a fence.
func BenchmarkHeader(b *testing.B) {
	p := newPlace(b, etcdtest.Embedded(b))
	s := p.mustStore(b)
	c := p.mustKEK(b, s, nil)
	var objects []vault.ObjectID
	for i := range 1000 {
		objects = append(objects, p.mustCreate(b, s, fmt.Sprint(i), c).Header.ID)
	}
	mustFence(b, s)
	parallel(b, func(pb *testing.PB) {
		for i := 0; pb.Next(); i++ {
			if _, err := s.Header(b.Context(), p.env, objects[i%len(objects)]); err != nil {
				b.Error(err)
			}
		}
	})
}

// BenchmarkCreate is a durable create of 1 KiB under an existing KEK: header, value, name and event in
// one transaction.
func BenchmarkCreate(b *testing.B) {
	onEachEtcd(b, func(b *testing.B, p *place, s *etcd.Store) {
		c := p.mustKEK(b, s, nil)
		var n atomic.Int64
		parallel(b, func(pb *testing.PB) {
			for pb.Next() {
				w := p.large(fmt.Sprint(n.Add(1)), c, 1<<10)
				if _, err := s.Create(b.Context(), w, nil); err != nil {
					b.Error(err)
				}
			}
		})
	})
}

// BenchmarkUpdate is a durable update of 1 KiB, each of an object of its own, keeping ten versions.
func BenchmarkUpdate(b *testing.B) {
	onEachEtcd(b, func(b *testing.B, p *place, s *etcd.Store) {
		c := p.mustKEK(b, s, nil)
		var n atomic.Int64
		parallel(b, func(pb *testing.PB) {
			w := p.large(fmt.Sprint("object ", n.Add(1)), c, 1<<10)
			if _, err := s.Create(b.Context(), w, nil); err != nil {
				b.Error(err)
			}
			for pb.Next() {
				if err := s.Fence(b.Context()); err != nil {
					b.Error(err)
				}
				h, err := s.Header(b.Context(), p.env, w.Header.ID)
				if err != nil {
					b.Error(err)
					return
				}
				next, pruneTo := p.next(h.Header, c, 10)
				next.Ciphertext = w.Ciphertext
				if err := s.Update(b.Context(), next, h.Revision, pruneTo); err != nil {
					b.Error(err)
				}
			}
		})
	})
}

// BenchmarkList is a page of 100 from the middle of the index. It must cost the same at every size and in
// both orders.
func BenchmarkList(b *testing.B) {
	for _, objects := range []int{10_000, 200_000} {
		index, all := benchIndex(objects)
		for _, descending := range []bool{false, true} {
			b.Run(fmt.Sprintf("%dk/%s", objects/1000, order(descending)), func(b *testing.B) {
				b.ReportAllocs()
				for i := 0; b.Loop(); i++ {
					page, err := index.Page(vault.Query{Limit: 100, Descending: descending, After: all[len(all)/4+i%(len(all)/2)]})
					if err != nil || len(page.Data) != 100 {
						b.Fatalf("%d objects, %v", len(page.Data), err)
					}
				}
			})
		}
		b.Run(fmt.Sprintf("%dk/search for nothing", objects/1000), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if page, err := index.Page(vault.Query{Limit: 100, Search: "no such name"}); err != nil || len(page.Data) != 0 {
					b.Fatalf("%d objects, %v", len(page.Data), err)
				}
			}
		})
	}
}

func order(descending bool) string {
	if descending {
		return "descending"
	}
	return "ascending"
}

func benchIndex(objects int) (*etcd.Index, []vault.ObjectID) {
	index, all := &etcd.Index{}, make([]vault.ObjectID, objects)
	for i := range all {
		all[i] = testUUID(uint64(1_700_000_000_000+i), 0)
		index.Add(etcd.Entry{ID: all[i], Name: fmt.Sprintf("service/%d/password", i), Updated: time.UnixMicro(int64(i)), Revision: int64(i + 1)})
	}
	return index, all
}

// BenchmarkListFromEtcd is the same page above the bound of the index.
func BenchmarkListFromEtcd(b *testing.B) {
	for _, objects := range []int{10_000, 50_000} {
		p := newPlace(b, etcdtest.Embedded(b))
		s := p.mustStore(b, func(c *etcd.StoreConfig) { c.IndexObjects = 10 })
		at := time.Now().Add(-time.Hour)
		clock := id.NewClock(func() time.Time { at = at.Add(250 * time.Microsecond); return at })
		all := p.mustBulk(b, s, clock, objects)
		for _, descending := range []bool{false, true} {
			b.Run(fmt.Sprintf("%dk/%s", objects/1000, order(descending)), func(b *testing.B) {
				for i := 0; b.Loop(); i++ {
					q := vault.Query{Limit: 100, Descending: descending, After: all[len(all)/4+i%(len(all)/2)].ID}
					if page, err := s.List(b.Context(), p.env, q); err != nil || len(page.Data) != 100 {
						b.Fatalf("%d objects, %v", len(page.Data), err)
					}
				}
			})
		}
	}
}

// BenchmarkScopedPage is a page of a list of 100,000 objects for who may see ten of them, or every tenth, by an item
// of the key context and by the beginning of names; and for who looks at each object instead.
func BenchmarkScopedPage(b *testing.B) {
	const objects = 100_000
	index := &etcd.Index{}
	for i := range objects {
		e := etcd.Entry{ID: testUUID(uint64(i), 0), Name: fmt.Sprintf("most/%d", i), Revision: 1}
		e.KEK, e.Items = contextOf(0)
		switch {
		case i%(objects/10) == 7:
			e.Name = fmt.Sprintf("few/%d", i)
			e.KEK, e.Items = contextOf(2)
		case i%10 == 0:
			e.Name = fmt.Sprintf("tenth/%d", i)
			e.KEK, e.Items = contextOf(1)
		}
		index.Add(e)
	}
	for name, viewer := range map[string]vault.Viewer{
		"all":           nil,
		"ten/item":      bounded{{Items: map[string]string{"user_id": "user_1"}}},
		"ten/prefix":    bounded{{NamePrefix: "few/"}},
		"ten/looking":   anywhere{bounded{{NamePrefix: "few/"}}},
		"tenth/item":    bounded{{Items: map[string]string{"organization_id": "org_1"}}},
		"tenth/prefix":  bounded{{NamePrefix: "tenth/"}},
		"tenth/looking": anywhere{bounded{{NamePrefix: "tenth/"}}},
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				page, err := index.Page(vault.Query{Limit: 100, Descending: true, Viewer: viewer})
				if err != nil || len(page.Data) < 10 {
					b.Fatalf("%d objects, %v", len(page.Data), err)
				}
			}
		})
	}
}

// anywhere sees what another one does, and does not say where that is.
type anywhere struct{ bounded }

func (anywhere) Within() []access.Bound { return nil }
