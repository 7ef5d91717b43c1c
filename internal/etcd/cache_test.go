package etcd_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"culvert/internal/etcd"
)

// TestCacheFill goes through the ways in which a fill and events of its key can overlap.
func TestCacheFill(t *testing.T) {
	old, fresh := []byte("old"), []byte("fresh")
	for _, tc := range []struct {
		name string
		run  func(*etcd.Cache)
		// want is what the cache must say; known is false if it must not say anything.
		want  []byte
		known bool
	}{
		{"a fill", func(c *etcd.Cache) { c.Begin("k").Finish(old, 5) }, old, true},
		{"a fill of an absent key", func(c *etcd.Cache) { c.Begin("k").Finish(nil, 0) }, nil, true},
		{"a failed fill", func(c *etcd.Cache) { c.Begin("k").Fail() }, nil, false},
		{"an event alone", func(c *etcd.Cache) { c.Put("k", fresh, 6) }, fresh, true},
		{"a deletion alone", func(c *etcd.Cache) { c.Delete("k", 6) }, nil, false},

		{"put during a fill", func(c *etcd.Cache) {
			f := c.Begin("k")
			c.Put("k", fresh, 6)
			f.Finish(old, 5)
		}, fresh, true},
		{"put during a fill of an absent key", func(c *etcd.Cache) {
			f := c.Begin("k")
			c.Put("k", fresh, 6)
			f.Finish(nil, 0)
		}, fresh, true},
		{"deletion during a fill", func(c *etcd.Cache) {
			f := c.Begin("k")
			c.Delete("k", 6)
			f.Finish(old, 5)
		}, nil, false},
		{"put and deletion during a fill", func(c *etcd.Cache) {
			f := c.Begin("k")
			c.Put("k", fresh, 6)
			c.Delete("k", 7)
			f.Finish(old, 5)
		}, nil, false},
		{"an event of another key during a fill", func(c *etcd.Cache) {
			f := c.Begin("k")
			c.Put("other", fresh, 6)
			f.Finish(old, 5)
		}, old, true},

		{"an event that the fill has read already", func(c *etcd.Cache) {
			c.Begin("k").Finish(fresh, 6)
			c.Put("k", old, 5)
		}, fresh, true},
		{"a deletion that the fill has read past", func(c *etcd.Cache) {
			c.Begin("k").Finish(fresh, 6)
			c.Delete("k", 5)
		}, fresh, true},
		{"put of a key held as absent", func(c *etcd.Cache) {
			c.Begin("k").Finish(nil, 0)
			c.Put("k", fresh, 6)
		}, fresh, true},
		{"deletion of a key held", func(c *etcd.Cache) {
			c.Begin("k").Finish(old, 5)
			c.Delete("k", 6)
		}, nil, false},

		{"two fills, the older one last", func(c *etcd.Cache) {
			first, second := c.Begin("k"), c.Begin("k")
			second.Finish(fresh, 6)
			first.Finish(old, 5)
		}, fresh, true},
		{"two fills, the last one of a key that went", func(c *etcd.Cache) {
			first, second := c.Begin("k"), c.Begin("k")
			first.Finish(old, 5)
			second.Finish(nil, 0)
		}, nil, true},
		{"an event spoils every fill under way", func(c *etcd.Cache) {
			first, second := c.Begin("k"), c.Begin("k")
			c.Delete("k", 6)
			second.Finish(old, 5)
			first.Finish(old, 5)
		}, nil, false},
		{"a fill that began when all was forgotten", func(c *etcd.Cache) {
			f := c.Begin("k")
			c.Clear()
			f.Finish(old, 5)
		}, nil, false},
		{"a fill after all was forgotten beside one from before", func(c *etcd.Cache) {
			before := c.Begin("k")
			c.Clear()
			after := c.Begin("k")
			before.Finish(old, 5)
			after.Finish(fresh, 6)
		}, fresh, true},
		{"an event after all was forgotten spoils the later fill", func(c *etcd.Cache) {
			before := c.Begin("k")
			c.Clear()
			after := c.Begin("k")
			before.Finish(old, 5)
			c.Delete("k", 7)
			after.Finish(old, 5)
		}, nil, false},
		{"all forgotten", func(c *etcd.Cache) {
			c.Put("k", old, 5)
			c.Clear()
		}, nil, false},
	} {
		c := etcd.NewCache(1 << 20)
		tc.run(c)
		got, known := c.Get("k")
		if known != tc.known || !bytes.Equal(got, tc.want) || (got == nil) != (tc.want == nil) {
			t.Errorf("%s: got %q, known %v; want %q, %v", tc.name, got, known, tc.want, tc.known)
		}
		if _, fillings := c.Bytes(); fillings != 0 {
			t.Errorf("%s: %d fills are still counted", tc.name, fillings)
		}
	}
}

// TestCacheIsNeverOlder drives one key of etcd, its events in order with any delay, and fills that read
// the key at any moment: what the cache holds is at least as new as the last event applied.
func TestCacheIsNeverOlder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		type state struct {
			value    []byte // nil: absent
			revision int64
		}
		type fill struct {
			f    *etcd.Filling
			read *state
		}
		c := etcd.NewCache(1 << 20)
		history := []state{{nil, 1}} // what etcd held, by revision; the last is now
		applied := 0                 // index of the last event applied
		var fills []fill
		t.Repeat(map[string]func(*rapid.T){
			"write": func(t *rapid.T) {
				revision := history[len(history)-1].revision + 1
				history = append(history, state{fmt.Append(nil, revision), revision})
			},
			"delete": func(t *rapid.T) {
				history = append(history, state{nil, history[len(history)-1].revision + 1})
			},
			"event": func(t *rapid.T) {
				if applied == len(history)-1 {
					t.Skip("nothing to apply")
				}
				applied++
				if s := history[applied]; s.value != nil {
					c.Put("k", s.value, s.revision)
				} else {
					c.Delete("k", s.revision)
				}
			},
			"begin": func(t *rapid.T) { fills = append(fills, fill{f: c.Begin("k")}) },
			"read": func(t *rapid.T) {
				if len(fills) == 0 {
					t.Skip("no fill")
				}
				fills[rapid.IntRange(0, len(fills)-1).Draw(t, "fill")].read = &history[len(history)-1]
			},
			"finish": func(t *rapid.T) {
				if len(fills) == 0 {
					t.Skip("no fill")
				}
				i := rapid.IntRange(0, len(fills)-1).Draw(t, "fill")
				switch read := fills[i].read; {
				case read == nil:
					fills[i].f.Fail()
				case read.value == nil:
					fills[i].f.Finish(nil, 0)
				default:
					fills[i].f.Finish(read.value, read.revision)
				}
				fills = append(fills[:i], fills[i+1:]...)
			},
			"": func(t *rapid.T) {
				got, known := c.Get("k")
				if !known {
					return
				}
				for _, s := range history[applied:] {
					if bytes.Equal(s.value, got) && (s.value == nil) == (got == nil) {
						return
					}
				}
				t.Fatalf("the cache holds %q, which is older than revision %d", got, history[applied].revision)
			},
		})
	})
}

// TestCacheBound fills a cache far beyond its bound, from many goroutines.
func TestCacheBound(t *testing.T) {
	const bound = 1 << 20
	c := etcd.NewCache(bound)
	var wg sync.WaitGroup
	for worker := range 4 {
		wg.Go(func() {
			random := rand.New(rand.NewPCG(uint64(worker), 0))
			for i := range 20_000 {
				key := fmt.Sprintf("object/%d", random.IntN(20_000))
				value := make([]byte, random.IntN(2000))
				switch random.IntN(4) {
				case 0:
					c.Put(key, value, int64(i+1))
				case 1:
					c.Delete(key, int64(i+1))
				default:
					c.Begin(key).Finish(value, int64(i+1))
				}
			}
		})
	}
	wg.Wait()
	bytes, fillings := c.Bytes()
	if bytes > bound || bytes < bound/2 || fillings != 0 {
		t.Errorf("the cache holds %d bytes of %d, %d fills under way", bytes, bound, fillings)
	}
	// What is used stays, what is not goes.
	c.Begin("used").Finish([]byte("x"), 1)
	for i := range 30_000 {
		c.Begin(fmt.Sprintf("passing/%d", i)).Finish(make([]byte, 500), 1)
		if _, known := c.Get("used"); !known {
			t.Fatalf("the entry in use went after %d others", i)
		}
	}
	// An event of a key nobody asked for pushes out nothing.
	before, _ := c.Bytes()
	for i := range 5000 {
		c.Put(fmt.Sprintf("bulk/%d", i), make([]byte, 1000), 1)
	}
	if _, known := c.Get("used"); !known {
		t.Error("a bulk load pushed out what was in use")
	}
	if after, _ := c.Bytes(); after > bound || after < before {
		t.Errorf("%d bytes after the bulk load, %d before", after, before)
	}
	// An item larger than its shard is not kept, and takes nothing else with it.
	c.Begin("giant").Finish(make([]byte, bound), 1)
	if _, known := c.Get("giant"); known {
		t.Error("an item larger than a shard was kept")
	}
	for i := range 20_000 {
		c.Delete(fmt.Sprintf("object/%d", i), 1<<40)
		c.Delete(fmt.Sprintf("passing/%d", i), 1<<40)
		c.Delete(fmt.Sprintf("passing/%d", i+10_000), 1<<40)
		c.Delete(fmt.Sprintf("bulk/%d", i), 1<<40)
	}
	c.Delete("used", 1<<40)
	if bytes, _ := c.Bytes(); bytes != 0 {
		t.Errorf("an empty cache counts %d bytes", bytes)
	}
}
