package vault_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"culvert/vault"
	"culvert/vault/vaulttest"
)

// model is what one caller expects of the vault: the simplest thing that could be right.
type model struct {
	live map[string]*modelObject // by name
	all  []*modelObject          // in order of creation, the deleted ones too
}

type modelObject struct {
	id       vault.ObjectID
	name     string
	deleted  bool
	values   []string
	versions []vault.VersionID
}

func (o *modelObject) current() vault.VersionID { return o.versions[len(o.versions)-1] }
func (o *modelObject) value() string            { return o.values[len(o.values)-1] }

// modelKept is the number of versions kept; small, so that pruning happens often.
const modelKept = 3

// Whatever one caller does, the vault answers as the model does. The calls alternate between two
// replicas, so that nothing may rest on what one process remembers.
func TestVaultEqualsModel(t *testing.T) {
	first := vaulttest.WithConfig(t, vaulttest.Config{Limits: vault.Limits{VersionsKept: modelKept}})
	replicas := []*vaulttest.Stack{first, first.Replica(t)}
	run := 0
	rapid.Check(t, func(rt *rapid.T) {
		run++
		d := &driver{
			rt: rt, t: t, replicas: replicas, prefix: fmt.Sprintf("run %d/", run),
			model: model{live: map[string]*modelObject{}},
		}
		rt.Repeat(map[string]func(*rapid.T){
			"create": d.create, "update": d.update, "delete": d.delete,
			"get": d.get, "get by name": d.getByName, "versions": d.versions, "list": d.list,
		})
	})
}

// driver does the same to vault and model and compares the answers.
type driver struct {
	rt       *rapid.T
	t        *testing.T
	replicas []*vaulttest.Stack
	// prefix keeps the runs, which share a store, apart.
	prefix string
	model  model
	step   int
}

func (d *driver) stack() *vaulttest.Stack {
	d.step++
	return d.replicas[d.step%len(d.replicas)]
}

func (d *driver) name(rt *rapid.T) string {
	return d.prefix + rapid.SampledFrom([]string{"a", "A", "b", "a/b", " a"}).Draw(rt, "name")
}

// object draws one that exists or existed; nil if there is none yet.
func (d *driver) object(rt *rapid.T) *modelObject {
	if len(d.model.all) == 0 {
		return nil
	}
	return rapid.SampledFrom(d.model.all).Draw(rt, "object")
}

// check draws a version check for an object, and tells whether it holds.
func (d *driver) check(rt *rapid.T, o *modelObject) (*vault.VersionID, bool) {
	switch rapid.IntRange(0, 2).Draw(rt, "check") {
	case 0:
		return nil, true
	case 1:
		current := o.current()
		return &current, true
	}
	drawn := rapid.SampledFrom(o.versions).Draw(rt, "version")
	return &drawn, drawn == o.current()
}

func (d *driver) expect(rt *rapid.T, what string, err, want error) {
	if !errors.Is(err, want) || (want == nil && err != nil) {
		rt.Fatalf("%s: got %v, want %v", what, err, want)
	}
}

func (d *driver) create(rt *rapid.T) {
	name, value, s := d.name(rt), rapid.StringN(0, 20, -1).Draw(rt, "value"), d.stack()
	m, err := s.Vault.Create(d.t.Context(), s.Call(), vault.CreateRequest{Name: name, Value: vaulttest.Value(value)})
	if d.model.live[name] != nil {
		d.expect(rt, "create", err, vault.ErrExists)
		return
	}
	d.expect(rt, "create", err, nil)
	o := &modelObject{id: m.ID, name: name, values: []string{value}, versions: []vault.VersionID{m.VersionID}}
	d.model.live[name] = o
	d.model.all = append(d.model.all, o)
}

func (d *driver) update(rt *rapid.T) {
	o := d.object(rt)
	if o == nil {
		return
	}
	check, holds := d.check(rt, o)
	value, s := rapid.StringN(0, 20, -1).Draw(rt, "value"), d.stack()
	updated, err := s.Vault.Update(d.t.Context(), s.Call(), vault.UpdateRequest{ID: o.id, Value: vaulttest.Value(value), IfVersion: check})
	switch {
	case o.deleted:
		d.expect(rt, "update", err, vault.ErrNotFound)
	case !holds:
		d.expect(rt, "update", err, vault.ErrVersion)
	default:
		d.expect(rt, "update", err, nil)
		o.values, o.versions = append(o.values, value), append(o.versions, updated.Metadata.VersionID)
	}
}

func (d *driver) delete(rt *rapid.T) {
	o := d.object(rt)
	if o == nil {
		return
	}
	check, holds := d.check(rt, o)
	s := d.stack()
	name, err := s.Vault.Delete(d.t.Context(), s.Call(), vault.DeleteRequest{ID: o.id, IfVersion: check})
	switch {
	case o.deleted:
		d.expect(rt, "delete", err, vault.ErrNotFound)
	case !holds:
		d.expect(rt, "delete", err, vault.ErrVersion)
	default:
		d.expect(rt, "delete", err, nil)
		if name != o.name {
			rt.Fatalf("delete answered %q, want %q", name, o.name)
		}
		o.deleted = true
		delete(d.model.live, o.name)
	}
}

func (d *driver) get(rt *rapid.T) {
	o := d.object(rt)
	if o == nil {
		return
	}
	s := d.stack()
	got, err := s.Vault.Get(d.t.Context(), s.Call(), o.id)
	if o.deleted {
		d.expect(rt, "get", err, vault.ErrNotFound)
		return
	}
	d.expect(rt, "get", err, nil)
	d.same(rt, got, o)
}

func (d *driver) getByName(rt *rapid.T) {
	name, s := d.name(rt), d.stack()
	got, err := s.Vault.GetByName(d.t.Context(), s.Call(), name)
	o := d.model.live[name]
	if o == nil {
		d.expect(rt, "get by name", err, vault.ErrNotFound)
		return
	}
	d.expect(rt, "get by name", err, nil)
	d.same(rt, got, o)
}

func (d *driver) same(rt *rapid.T, got vault.Object, want *modelObject) {
	if got.ID != want.id || got.Name != want.name || string(got.Value.Reveal()) != want.value() || got.Metadata.VersionID != want.current() {
		rt.Fatalf("got object %q %q at version %q, want %q %q at %q with its value",
			got.ID, got.Name, got.Metadata.VersionID, want.id, want.name, want.current())
	}
}

func (d *driver) versions(rt *rapid.T) {
	o := d.object(rt)
	if o == nil {
		return
	}
	s := d.stack()
	got, err := s.Vault.Versions(d.t.Context(), s.Call(), o.id)
	if o.deleted {
		d.expect(rt, "versions", err, vault.ErrNotFound)
		return
	}
	d.expect(rt, "versions", err, nil)
	var ids []vault.VersionID
	for _, v := range got {
		ids = append(ids, v.ID)
	}
	if want := o.versions[max(0, len(o.versions)-modelKept):]; !slices.Equal(ids, want) {
		rt.Fatalf("got versions %q, want %q", ids, want)
	}
}

// list pages through the whole run in one order.
func (d *driver) list(rt *rapid.T) {
	q := vault.Query{
		Limit:      rapid.IntRange(1, 4).Draw(rt, "limit"),
		Descending: rapid.Bool().Draw(rt, "descending"),
		Search:     d.prefix,
	}
	var want []string
	for _, o := range d.model.all {
		if !o.deleted {
			want = append(want, o.name)
		}
	}
	if q.Descending {
		slices.Reverse(want)
	}
	var got []string
	for {
		s := d.stack()
		p, err := s.Vault.List(d.t.Context(), s.Call(), q)
		d.expect(rt, "list", err, nil)
		if len(p.Data) > q.Limit || len(p.Data) == 0 && p.After != "" {
			rt.Fatalf("a page of %d objects for limit %d, next %q", len(p.Data), q.Limit, p.After)
		}
		got = append(got, names(p)...)
		if q.After = p.After; q.After == "" {
			break
		}
	}
	if !slices.Equal(got, want) {
		rt.Fatalf("listed %q, want %q", strings.Join(got, ", "), strings.Join(want, ", "))
	}
}
