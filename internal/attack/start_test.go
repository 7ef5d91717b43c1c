package attack_test

import (
	"errors"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"culvert/internal/access"
	"culvert/internal/etcd"
	"culvert/internal/id"
	"culvert/keys"
)

// start does what every start of a process does with the store, before anything else.
func (h *house) start(t testing.TB) string {
	t.Helper()
	_, err := h.stack.Client.Environments(t.Context(), h.stack.Codec, func(r keys.EnvironmentRecord) (*keys.Environment, error) {
		return keys.OpenEnvironment(t.Context(), keys.NewRootKeys(h.stack.Root), r)
	})
	switch {
	case err == nil:
		return ok
	case errors.Is(err, keys.ErrTampered), errors.Is(err, keys.ErrRefused), errors.Is(err, etcd.ErrForeign), errors.Is(err, etcd.ErrUninitialized):
		return noStart
	}
	t.Errorf("start: %v", err)
	return "error"
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// TestStart edits what a start depends on. Who runs already goes on: he holds the keys of his
// environments and looks at neither record again.
func TestStart(t *testing.T) {
	t.Parallel()
	e, foreign := newEstate(t), newEstate(t)
	env := e.stack.Environment
	key, secondKey := "env/"+string(env.ID()), "env/"+string(e.second.ID())
	all, theirs := e.writer.MustAll(t), foreign.writer.MustAll(t)
	second := decode[keys.EnvironmentRecord](t, e, all[secondKey])
	running := e.request(key, e.update(e.mustFind(t, env.ID(), "of-env"), "again"))
	put := func(key string, value []byte) func() { return func() { e.writer.MustPut(t, key, value) } }
	edit := func(edit func(r *keys.EnvironmentRecord)) func() {
		return func() {
			r := decode[keys.EnvironmentRecord](t, e, all[key])
			edit(&r)
			e.writer.MustPut(t, key, remade(t, e, key, r))
		}
	}
	for what, attack := range map[string]func(){
		"foreign marker":               put("format", []byte("another program")),
		"marker of a later format":     put("format", []byte("culvert/2")),
		"empty marker":                 put("format", nil),
		"no marker":                    func() { e.writer.MustDelete(t, "format") },
		"record of the other":          put(key, all[secondKey]),
		"record of another store":      put(key, theirs["env/"+string(foreign.stack.Environment.ID())]),
		"environment of another store": put("env/"+string(foreign.second.ID()), theirs["env/"+string(foreign.second.ID())]),
		"rubbish beside the records":   put("env/rubbish", []byte("rubbish")),
		// The rows below are under a MAC of their own, whose key the record itself holds: what is left is
		// what its seals hold.
		"name edited":            edit(func(r *keys.EnvironmentRecord) { r.Name = "edited" }),
		"time edited":            edit(func(r *keys.EnvironmentRecord) { r.CreatedAt = r.CreatedAt.Add(1) }),
		"id edited":              edit(func(r *keys.EnvironmentRecord) { r.ID = e.second.ID() }),
		"MAC keyset of other":    edit(func(r *keys.EnvironmentRecord) { r.SealedMAC = second.SealedMAC }),
		"pepper of other":        edit(func(r *keys.EnvironmentRecord) { r.SealedPepper = second.SealedPepper }),
		"index keyset as pepper": edit(func(r *keys.EnvironmentRecord) { r.SealedPepper = r.SealedIndex }),
		"keysets of other": edit(func(r *keys.EnvironmentRecord) {
			r.SealedMAC, r.SealedIndex, r.SealedPepper, r.Shares = second.SealedMAC, second.SealedIndex, second.SealedPepper, second.Shares
		}),
		"no keysets": edit(func(r *keys.EnvironmentRecord) { r.SealedMAC, r.SealedIndex, r.SealedPepper = nil, nil, nil }),
		"no shares":  edit(func(r *keys.EnvironmentRecord) { r.Shares = nil }),
	} {
		attack()
		if got := e.start(t); got != noStart {
			t.Errorf("%s: %s", what, got)
		}
		running.mustSay(t, what, ok)
		e.mustRestore(t, all, "format", "env")
		if got := e.start(t); got != ok {
			t.Errorf("after %s: %s", what, got)
		}
	}
	e.checkTrail(t)
}

// mustRestore puts back what stood under some kinds, and removes what was added.
func (e *estate) mustRestore(t testing.TB, all map[string][]byte, kinds ...string) {
	t.Helper()
	for key, value := range e.writer.MustAll(t) {
		kind, _, _ := strings.Cut(key, "/")
		if _, was := all[key]; slices.Contains(kinds, kind) && (!was || string(all[key]) != string(value)) {
			e.writer.MustDelete(t, key)
		}
	}
	for key, value := range all {
		if kind, _, _ := strings.Cut(key, "/"); slices.Contains(kinds, kind) {
			e.writer.MustPut(t, key, value)
		}
	}
}

// TestForeignEnvironment copies a whole environment of another store into this one: its API keys, which
// are genuine where they come from, mean nothing here.
func TestForeignEnvironment(t *testing.T) {
	t.Parallel()
	e, foreign := newEstate(t), newEstate(t)
	in := foreign.stack.Environment.ID()
	for key, value := range foreign.writer.MustAll(t) {
		if strings.Contains(key, "/"+string(in)) && !strings.HasPrefix(key, "env/") {
			e.writer.MustPut(t, key, value)
		}
	}
	o := foreign.mustFind(t, in, "of-sibling")
	e.request("apikey", foreign.get(o)).mustSay(t, "API key of another store", rejected)
	e.request("apikey", request{foreign.stack.APIKey, "GET", "/vault/v1/kv", "", ""}).mustSay(t, "API key of another store", rejected)
	// With a key of this store nothing of it is seen, and at home everything.
	e.request("object", request{e.stack.APIKey, "GET", o.path, "", ""}).mustSay(t, "object of another store", "entity_not_found")
	e.request("kv", request{e.stack.APIKey, "GET", "/vault/v1/kv?limit=100", "", ""}).mustSay(t, "list", ok)
	foreign.mustDo(t, foreign.get(o))
	e.checkTrail(t)
	foreign.checkTrail(t)
}

// TestEpoch writes the number that orders events, which has no MAC. What is no number stops writes; what
// is one orders them differently and lets nothing else go wrong.
func TestEpoch(t *testing.T) {
	t.Parallel()
	e := newEstate(t)
	env := e.stack.Environment.ID()
	key := "epoch/" + string(env)
	genuine := e.writer.MustAll(t)[key]
	o := e.mustFind(t, env, "of-epoch")
	write := e.request(key, e.update(o, "again"))
	read, events := e.request(key, e.get(o)), e.request(key, request{e.keyOf(env), "GET", "/events?limit=1&events=vault.data.created", "", ""})
	twin := e.request(key, e.update(e.mustFind(t, e.second.ID(), "of-epoch"), "again"))
	for value, want := range map[string]string{
		"": integrity, "0": integrity, "-1": integrity, "x": integrity, "1x": integrity, " 1": integrity, "1.5": integrity,
		"99999999999999999999": integrity, "1099511627776": integrity, "1": ok, "01": ok, "4711": ok,
	} {
		e.writer.MustPut(t, key, []byte(value))
		write.mustSay(t, "write in the epoch "+value, want)
		read.mustSay(t, "read in the epoch "+value, ok)
		events.mustSay(t, "events in the epoch "+value, ok, integrity)
		twin.mustSay(t, "write in another environment", ok)
	}
	e.writer.MustDelete(t, key)
	write.mustSay(t, "write without an epoch", integrity)
	read.mustSay(t, "read without an epoch", ok)
	e.writer.MustPut(t, key, genuine)
	write.mustSay(t, "write in the epoch again", ok)
	e.checkTrail(t)
}

// TestHeartbeats forges the clocks of nodes that do not exist: this one is the odd one out then, and refuses
// what needs a time until they have been silent for as long as a heartbeat counts.
func TestHeartbeats(t *testing.T) {
	t.Parallel()
	e := newEstate(t)
	o := e.mustFind(t, e.stack.Environment.ID(), "of-node")
	write, read := e.request("node", e.update(o, "again")), e.request("node", e.get(o))
	for _, off := range []time.Duration{-time.Hour, time.Hour, 200 * 365 * 24 * time.Hour} {
		refused := false
		// One heartbeat proves nothing, nor do many at once: he has to go on for a while.
		for began := time.Now(); !refused && time.Since(began) < bound; time.Sleep(200 * time.Millisecond) {
			for _, node := range []string{"forged-1", "forged-2", "forged-3"} {
				e.writer.MustPut(t, "node/"+node, []byte("rubbish"))
				e.writer.MustPut(t, "node/"+node, []byte(strconv.FormatInt(time.Now().Add(off).UnixMilli(), 10)))
			}
			refused = write.ask(t) == "clock_unavailable"
			read.mustSay(t, "read among wrong clocks", ok)
		}
		if !refused {
			t.Errorf("writes go on among clocks that are off by %v", off)
		}
	}
	verdict := "not asked"
	for began := time.Now(); verdict != ok && time.Since(began) < 30*time.Second; time.Sleep(200 * time.Millisecond) {
		verdict = write.ask(t)
	}
	if verdict != ok {
		t.Errorf("write long after the last forged heartbeat: %s", verdict)
	}
	e.checkTrail(t)
}

// TestUnknownEnvironment is an API key of an environment that this store never had.
func TestUnknownEnvironment(t *testing.T) {
	t.Parallel()
	e := newEstate(t)
	key, err := access.GenerateAPIKey(access.EnvironmentID(id.ULID(time.Now())), time.Now())
	must(t, err)
	e.writer.MustPut(t, "apikey/"+string(key.Environment)+"/"+key.ID, e.writer.MustAll(t)["apikey/"+string(e.stack.APIKey.Environment)+"/"+e.stack.APIKey.ID])
	e.request("apikey", request{key, "GET", "/vault/v1/kv", "", ""}).mustSay(t, "key of an unknown environment", rejected)
	e.mustDo(t, request{e.stack.APIKey, "GET", "/vault/v1/kv", "", ""})
	e.checkTrail(t)
}
