package access

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"time"

	"culvert/internal/outage"
)

// ErrUnauthenticated means that a credential is worth nothing (401). Unknown, wrong, revoked, expired
// and tampered with are one error on purpose.
var ErrUnauthenticated = errors.New("access: unauthenticated")

// GateConfig is what a [Gate] needs. All fields but Now and Home are required.
type GateConfig struct {
	Keys    KeyStore
	Peppers Peppers
	// Now defaults to [time.Now].
	Now func() time.Time
	// Home is the environment whose API keys may do what is about the whole store; default none's.
	Home EnvironmentID
	// Report is told of an API key record that failed its integrity check, or names another key than
	// asked. The caller of the key sees nothing but a 401; Report leaves the audit record and counts
	// the metric. It is called at most once in each Authenticate and Recheck, on their goroutine.
	Report func(ctx context.Context, env EnvironmentID, keyID string, err error)
}

// Gate decides who a caller is and what an actor may do. It is safe for concurrent use. What it remembers, of keys that
// were let in and of their uses, decides nothing.
type Gate struct {
	keys    KeyStore
	peppers Peppers
	now     func() time.Time
	home    EnvironmentID
	report  func(ctx context.Context, env EnvironmentID, keyID string, err error)
	// dummy stands in for the hash of a key that does not exist, and keys the hash of a text whose
	// environment has no pepper here: random, so that nothing a client sends can equal it.
	dummy [sha256.Size]byte
	memo  *memo
	uses  *uses
}

// NewGate checks the config.
func NewGate(c GateConfig) (*Gate, error) {
	if c.Keys == nil || c.Peppers == nil || c.Report == nil {
		return nil, errors.New("access: gate needs Keys, Peppers and Report")
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	g := &Gate{keys: c.Keys, peppers: c.Peppers, now: c.Now, home: c.Home, report: c.Report, memo: newMemo(), uses: newUses()}
	_, _ = rand.Read(g.dummy[:])
	return g, nil
}

// Report tells of a broken record that somebody else has met.
func (g *Gate) Report(ctx context.Context, env EnvironmentID, keyID string, err error) {
	g.report(ctx, env, keyID, err)
}

// Parse is [ParseAPIKey], which it need not repeat for a key that was let in before.
func (g *Gate) Parse(text string) (APIKey, error) {
	if known := g.memo.find(sha256.Sum256([]byte(text))); known != nil {
		return known.key, nil
	}
	return ParseAPIKey(text)
}

// KeepsStore tells whether API keys of an environment have a say in what is about the whole store.
func (g *Gate) KeepsStore(env EnvironmentID) bool { return g.home != "" && env == g.home }

// Authenticate tells whose key it is. The error is [ErrUnauthenticated], or an outage.Error if it
// cannot be known.
//
// A key that fails is looked up a second time behind a fence, so that a key works on every replica
// from the moment its creation is acknowledged. Whatever the reason of the failure, the same steps
// are taken: an attacker who holds a key id learns nothing from the time it takes, neither that the
// id exists nor that it is revoked. What stays observable is a map hit against a map miss.
func (g *Gate) Authenticate(ctx context.Context, key APIKey) (Actor, error) {
	found, err := g.identify(ctx, key)
	if err != nil {
		return Actor{}, err
	}
	known := found.known
	actor := known.actor.Load()
	if actor == nil || actor.at.key != found.revision || !g.roleStands(ctx, &found.record, actor.at.role) {
		made, err := g.actor(ctx, &found.record, found.revision)
		if err != nil {
			return Actor{}, err
		}
		actor = &made
		known.actor.Store(actor)
	}
	g.uses.note(known, found.record.Environment, found.record.ID, g.now())
	return *actor, nil
}

// Identify is [Gate.Authenticate] for a key that somebody shows to ask what it is: nobody acts by it. It counts
// as a use all the same.
func (g *Gate) Identify(ctx context.Context, key APIKey) (KeyRecord, error) {
	found, err := g.identify(ctx, key)
	if err != nil {
		return KeyRecord{}, err
	}
	g.uses.note(found.known, found.record.Environment, found.record.ID, g.now())
	return found.record, nil
}

// identified is a key's record, once the key was compared with it.
type identified struct {
	record   KeyRecord
	revision int64
	known    *remembered
}

func (g *Gate) identify(ctx context.Context, key APIKey) (identified, error) {
	if key.ID == "" {
		return identified{}, ErrUnauthenticated
	}
	known := g.memo.find(key.fingerprint)
	record, revision, hash, err := g.match(ctx, key, known)
	if errors.Is(err, ErrUnauthenticated) {
		if err := g.keys.Fence(ctx); err != nil {
			return identified{}, fmt.Errorf("fence: %w", err)
		}
		record, revision, hash, err = g.match(ctx, key, known)
	}
	var broken *brokenRecord
	if errors.As(err, &broken) {
		g.report(ctx, key.Environment, key.ID, broken.cause)
		return identified{}, ErrUnauthenticated
	}
	if err != nil {
		return identified{}, err
	}
	if known == nil {
		known = g.memo.keep(key, hash)
	}
	return identified{record, revision, known}, nil
}

// hash is what the record of this very key holds. It is the same work for every key that was not let in
// before, and it never fails.
func (g *Gate) hash(key APIKey, known *remembered) []byte {
	if known != nil {
		return known.hash
	}
	hash, err := g.peppers.Pepper(key.Environment, key.text)
	if err != nil || len(hash) == 0 { // a hash of nothing would equal a record without one
		return g.unpeppered(key)
	}
	return hash
}

// brokenRecord is a key record whose integrity failed. It matches [ErrUnauthenticated], because to the
// caller it is an absent one.
type brokenRecord struct{ cause error }

func (e *brokenRecord) Error() string   { return "access: API key record: " + e.cause.Error() }
func (e *brokenRecord) Is(t error) bool { return t == ErrUnauthenticated }

// match looks the record up and compares the hash of what was sent with the record's, or with the
// dummy: the same work either way. The look comes first, because it may make the environment known, and with it
// the pepper.
func (g *Gate) match(ctx context.Context, key APIKey, known *remembered) (_ KeyRecord, _ int64, hash []byte, _ error) {
	record, revision, err := g.lookup(ctx, key.Environment, key.ID)
	hash = g.hash(key, known)
	want := record.Hash
	if err != nil {
		want = g.dummy[:]
	}
	equal := subtle.ConstantTimeCompare(hash, want) == 1
	switch {
	case err != nil:
		return KeyRecord{}, 0, nil, err
	case !equal || !record.Usable(g.now()):
		return KeyRecord{}, 0, nil, ErrUnauthenticated
	}
	return record, revision, hash, nil
}

// lookup maps the store's errors: an outage stays one, absent is [ErrUnauthenticated], all else is a
// broken record.
func (g *Gate) lookup(ctx context.Context, env EnvironmentID, keyID string) (KeyRecord, int64, error) {
	record, revision, err := g.keys.APIKey(ctx, env, keyID)
	switch {
	case err == nil && (record.ID != keyID || record.Environment != env):
		return KeyRecord{}, 0, &brokenRecord{errors.New("record of another key")}
	case err == nil:
		return record, revision, nil
	case errors.Is(err, ErrNoKey):
		return KeyRecord{}, 0, ErrUnauthenticated
	case outage.Of(err) != nil, ctx.Err() != nil:
		return KeyRecord{}, 0, err
	default:
		return KeyRecord{}, 0, &brokenRecord{err}
	}
}

// unpeppered costs what a peppered hash costs and equals none: it is keyed with a secret of this
// process, and covers what the key claims to be, because only package keys may look at its text.
func (g *Gate) unpeppered(key APIKey) []byte {
	var input [keyChars]byte
	copy(input[:], key.ID)
	mac := hmac.New(sha256.New, g.dummy[:])
	_, _ = mac.Write(input[:])
	return mac.Sum(nil)
}
