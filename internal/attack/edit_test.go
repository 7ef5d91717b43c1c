package attack_test

import (
	"net/http"
	"testing"
	"time"

	"culvert/internal/access"
	"culvert/keys"
	"culvert/vault"
)

// decode reads a record as one who knows the format does.
func decode[T any](t testing.TB, e *estate, value []byte) T {
	t.Helper()
	var record T
	must(t, e.stack.Codec.Decode(bodyOf(value), &record))
	return record
}

// forged is the stored form of a record that was edited, with the tag of what it was.
func forged(t testing.TB, e *estate, genuine []byte, record any) []byte {
	t.Helper()
	body, err := e.stack.Codec.Encode(record)
	must(t, err)
	return append(genuine[:len(genuine)-len(bodyOf(genuine)):len(genuine)-len(bodyOf(genuine))], body...)
}

// remade is the same under a MAC of its own, which is more than the attacker can: it shows what the seals
// hold by themselves.
func remade(t testing.TB, e *estate, key string, record any) []byte {
	t.Helper()
	body, err := e.stack.Codec.Encode(record)
	must(t, err)
	return mac(t, e.stack.Environment, key, body)
}

// TestEditedHeader edits what an object's header says in clear.
func TestEditedHeader(t *testing.T) {
	t.Parallel()
	e := newEstate(t)
	env := e.stack.Environment
	o, other := e.mustFind(t, env.ID(), "of-object"), e.mustFind(t, env.ID(), "of-sibling")
	key := "object/" + string(env.ID()) + "/" + o.id
	genuine := e.writer.MustAll(t)[key]
	s := e.request(key, e.get(o))
	for what, edit := range map[string]func(h *vault.Header){
		"id":          func(h *vault.Header) { h.ID = vault.ObjectID(other.id) },
		"environment": func(h *vault.Header) { h.Environment = e.second.ID() },
		"name":        func(h *vault.Header) { h.Name = "edited" },
		// The context of another customer, and his KEK with it.
		"context":          func(h *vault.Header) { h.Items = other.context },
		"empty context":    func(h *vault.Header) { h.Items = nil },
		"context and KEK":  func(h *vault.Header) { h.Items, h.KeyID = other.context, keys.ID(other.keyID) },
		"KEK":              func(h *vault.Header) { h.KeyID = keys.ID(other.keyID) },
		"no KEK":           func(h *vault.Header) { h.KeyID = "" },
		"unknown KEK":      func(h *vault.Header) { h.KeyID = keys.ID(e.stack.IDs.UUID()) },
		"time of creation": func(h *vault.Header) { h.CreatedAt = h.CreatedAt.Add(time.Microsecond) },
		"time of update":   func(h *vault.Header) { h.Versions[0].CreatedAt = h.CreatedAt },
		"author":           func(h *vault.Header) { h.Versions[0].Author.ID = "key_" + other.id },
		"author's name":    func(h *vault.Header) { h.Versions[0].Author.Name = "somebody else" },
		"version id":       func(h *vault.Header) { h.Versions[0].ID = h.Versions[1].ID },
		"sequence":         func(h *vault.Header) { h.Versions[0].Sequence = 4 },
		"no versions":      func(h *vault.Header) { h.Versions = nil },
		// The DEK of an older version under the current header, by which a key somebody has seen would
		// open or seal what is new.
		"older DEK":   func(h *vault.Header) { h.Versions[0].WrappedDEK = h.Versions[1].WrappedDEK },
		"no DEK":      func(h *vault.Header) { h.Versions[0].WrappedDEK = nil },
		"DEK cut off": func(h *vault.Header) { h.Versions[0].WrappedDEK = h.Versions[0].WrappedDEK[:20] },
		// An older version called the current one: its ciphertext and DEK fit, its place does not.
		"older version first": func(h *vault.Header) { h.Versions[0], h.Versions[1] = h.Versions[1], h.Versions[0] },
	} {
		h := decode[vault.Header](t, e, genuine)
		edit(&h)
		e.writer.MustPut(t, key, forged(t, e, genuine, h))
		s.mustSay(t, what+" edited", integrity)
		if what == "older version first" {
			continue // with a MAC it is a whole older state: see TestOlderState
		}
		e.writer.MustPut(t, key, remade(t, e, key, h))
		s.mustSay(t, what+" edited, under a MAC", integrity)
	}
	// The record itself, made again: what was refused is not the making.
	e.writer.MustPut(t, key, remade(t, e, key, decode[vault.Header](t, e, genuine)))
	s.mustSay(t, "nothing edited", ok)
	e.checkTrail(t)
}

// TestOlderCiphertext puts the sealed value of an older version in the place of the current one.
func TestOlderCiphertext(t *testing.T) {
	t.Parallel()
	e := newEstate(t)
	o := e.mustFind(t, e.stack.Environment.ID(), "of-version")
	all := e.writer.MustAll(t)
	current := versionKey(o, 3)
	s := e.request(current, e.get(o))
	for _, older := range []uint64{1, 2} {
		e.writer.MustPut(t, current, all[versionKey(o, older)])
		s.mustSay(t, "older ciphertext", integrity)
	}
	e.writer.MustDelete(t, current)
	s.mustSay(t, "no ciphertext", integrity)
	// Nothing but the value is lost to the object: it can be described, replaced and removed.
	e.mustDo(t, request{key: e.keyOf(o.env), method: http.MethodGet, path: o.path + "/metadata"})
	e.mustDo(t, e.update(o, "fourth"))
	if got := e.mustValue(t, o); got != "fourth" {
		t.Errorf("after an update the value is %q", got)
	}
	e.checkTrail(t)
}

// TestEditedKEK edits KEK records and the pointers to them.
func TestEditedKEK(t *testing.T) {
	t.Parallel()
	e := newEstate(t)
	env := e.stack.Environment
	o, other := e.mustFind(t, env.ID(), "of-kek"), e.mustFind(t, env.ID(), "of-sibling")
	key, otherKey := "kek/"+string(env.ID())+"/"+o.keyID, "kek/"+string(env.ID())+"/"+other.keyID
	all := e.writer.MustAll(t)
	stranger := decode[keys.KEKRecord](t, e, all[otherKey])
	s := e.request(key, e.get(o))
	for what, edit := range map[string]func(r *keys.KEKRecord){
		"environment": func(r *keys.KEKRecord) { r.Environment = e.second.ID() },
		"key id":      func(r *keys.KEKRecord) { r.KeyID = stranger.KeyID },
		// One customer's KEK for the context of another.
		"context":      func(r *keys.KEKRecord) { r.Items = other.context },
		"time":         func(r *keys.KEKRecord) { r.CreatedAt = r.CreatedAt.Add(time.Second) },
		"keyset":       func(r *keys.KEKRecord) { r.Sealed = stranger.Sealed },
		"shares":       func(r *keys.KEKRecord) { r.Shares = stranger.Shares },
		"no shares":    func(r *keys.KEKRecord) { r.Shares = nil },
		"slot":         func(r *keys.KEKRecord) { r.Shares[0].Slot = "organization_id" },
		"a share more": func(r *keys.KEKRecord) { r.Shares = append(r.Shares, stranger.Shares...) },
		// What a shred leaves, with the keyset still there.
		"half a tombstone": func(r *keys.KEKRecord) { r.ShreddedAt = r.CreatedAt },
		"tombstone": func(r *keys.KEKRecord) {
			*r = keys.KEKRecord{Environment: r.Environment, KeyID: r.KeyID, Items: r.Items, CreatedAt: r.CreatedAt, ShreddedAt: r.CreatedAt}
		},
	} {
		r := decode[keys.KEKRecord](t, e, all[key])
		edit(&r)
		e.writer.MustPut(t, key, forged(t, e, all[key], r))
		s.mustSay(t, what+" edited", integrity)
		e.writer.MustPut(t, key, remade(t, e, key, r))
		if what == "tombstone" {
			// Under a MAC it is one: only Culvert can say that a KEK was shredded.
			s.mustSay(t, "tombstone under a MAC", "key_shredded")
			continue
		}
		s.mustSay(t, what+" edited, under a MAC", integrity)
	}
	e.writer.MustDelete(t, key)
	s.mustSay(t, "removed KEK", integrity)
	e.writer.MustPut(t, key, all[key])
	s.mustSay(t, "the KEK again", ok)
	e.mustDo(t, e.get(other))
	e.checkTrail(t)
}

// TestEditedPointers makes a context lead to the KEK of another one, and a name to another object.
func TestEditedPointers(t *testing.T) {
	t.Parallel()
	e := newEstate(t)
	env := e.stack.Environment
	o, other := e.mustFind(t, env.ID(), "of-kekof"), e.mustFind(t, env.ID(), "of-sibling")
	all := e.writer.MustAll(t)

	pointer := kekOfKey(env, o.context)
	toOther := decode[map[int]string](t, e, all[kekOfKey(env, other.context)])
	for what, value := range map[string][]byte{
		"pointer to another KEK":              forged(t, e, all[pointer], toOther),
		"pointer to another KEK, under a MAC": remade(t, e, pointer, toOther),
		"pointer to no KEK, under a MAC":      remade(t, e, pointer, map[int]string{1: e.stack.IDs.UUID()}),
		"pointer to nothing, under a MAC":     remade(t, e, pointer, map[int]string{1: "../kek"}),
	} {
		e.writer.MustPut(t, pointer, value)
		e.request(pointer, e.update(o, "again")).mustSay(t, what, integrity)
		fresh := object{env: o.env, name: "fresh", contextJSON: o.contextJSON}
		e.request(pointer, e.createRequest(fresh, "")).mustSay(t, what, integrity)
		dataKey := request{key: e.keyOf(o.env), method: http.MethodPost, path: "/vault/v1/keys/data-key", body: `{"context":` + o.contextJSON + `}`}
		e.request(pointer, dataKey).mustSay(t, what, integrity)
		// What stands under the context's own KEK can be read all the while.
		e.mustDo(t, e.get(o))
	}
	e.writer.MustPut(t, pointer, all[pointer])
	e.mustDo(t, e.update(o, "again"))

	name := nameKey(env, o.name)
	toOther = decode[map[int]string](t, e, all[nameKey(env, other.name)])
	renamed := map[int]string{1: o.name, 2: other.id}
	for what, value := range map[string][]byte{
		"name of another":                           forged(t, e, all[name], toOther),
		"name of another, under a MAC":              remade(t, e, name, toOther),
		"name that leads elsewhere":                 forged(t, e, all[name], renamed),
		"name that leads elsewhere, under a MAC":    remade(t, e, name, renamed),
		"name that leads to nothing, under a MAC":   remade(t, e, name, map[int]string{1: o.name, 2: e.stack.IDs.UUID()}),
		"name that leads out of here, under a MAC":  remade(t, e, name, map[int]string{1: o.name, 2: "../../env"}),
		"name with one member more, under a MAC":    remade(t, e, name, map[int]string{1: o.name, 2: o.id, 3: "more"}),
		"name that is a list instead, under a MAC":  remade(t, e, name, []string{o.name, o.id}),
		"name of another environment, under a MAC ": all[nameKey(e.second, o.name)],
	} {
		e.writer.MustPut(t, name, value)
		e.request(name, e.getByName(o)).mustSay(t, what, integrity)
	}
	e.writer.MustPut(t, name, all[name])
	e.mustDo(t, e.getByName(o))
	e.checkTrail(t)
}

// TestEditedAPIKey edits API key records: to whom they are, they are absent.
func TestEditedAPIKey(t *testing.T) {
	t.Parallel()
	e := newEstate(t)
	env := e.stack.Environment
	attacker := e.mustAPIKey(t, env)
	victim := e.stack.APIKey
	recordKey := func(k access.APIKey) string { return "apikey/" + string(k.Environment) + "/" + k.ID }
	all := e.writer.MustAll(t)
	genuine := all[recordKey(attacker)]
	theirs := decode[access.KeyRecord](t, e, all[recordKey(victim)])
	ask := func(k access.APIKey) *subject {
		return e.request(recordKey(k), request{key: k, method: http.MethodGet, path: "/vault/v1/kv"})
	}
	for what, edit := range map[string]func(r *access.KeyRecord){
		"role":        func(r *access.KeyRecord) { r.Role = "owner" },
		"name":        func(r *access.KeyRecord) { r.Name = "root" },
		"id":          func(r *access.KeyRecord) { r.ID = victim.ID },
		"environment": func(r *access.KeyRecord) { r.Environment = e.second.ID() },
		"hash":        func(r *access.KeyRecord) { r.Hash = theirs.Hash },
		"no hash":     func(r *access.KeyRecord) { r.Hash = nil },
		"expiry":      func(r *access.KeyRecord) { r.ExpiresAt = time.Now().Add(time.Hour) },
		"revocation":  func(r *access.KeyRecord) { r.RevokedAt = time.Now() },
	} {
		r := decode[access.KeyRecord](t, e, genuine)
		edit(&r)
		e.writer.MustPut(t, recordKey(attacker), forged(t, e, genuine, r))
		ask(attacker).mustSay(t, what+" edited", rejected)
	}
	// Case: the attacker's own record in the place of the victim's, and the other way round.
	e.writer.MustPut(t, recordKey(victim), genuine)
	e.writer.MustPut(t, recordKey(attacker), all[recordKey(victim)])
	ask(attacker).mustSay(t, "records swapped", rejected)
	ask(victim).mustSay(t, "records swapped", rejected)
	// Case: a revoked key whose revocation is edited away.
	r := decode[access.KeyRecord](t, e, genuine)
	r.RevokedAt = time.Now().UTC()
	revoked := remade(t, e, recordKey(attacker), r)
	e.writer.MustPut(t, recordKey(attacker), revoked)
	ask(attacker).mustSay(t, "revoked", rejected)
	r.RevokedAt = time.Time{}
	e.writer.MustPut(t, recordKey(attacker), forged(t, e, revoked, r))
	ask(attacker).mustSay(t, "revocation edited away", rejected)

	e.writer.MustPut(t, recordKey(victim), all[recordKey(victim)])
	e.writer.MustPut(t, recordKey(attacker), genuine)
	ask(victim).mustSay(t, "the record again", ok)
	ask(attacker).mustSay(t, "the record again", ok)
	e.checkTrail(t)
}
