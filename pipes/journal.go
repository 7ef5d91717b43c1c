package pipes

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"culvert/internal/access"
	"culvert/internal/journal"
	"culvert/internal/record"
	"culvert/keys"
)

// entry is what a refresh brought, as it stands in this replica's journal: the tokens sealed, and in clear
// what a replay decides on, all of it bound by the seal.
type entry struct {
	Environment access.EnvironmentID `cbor:"1,keyasint"`
	Grant       GrantID              `cbor:"2,keyasint"`
	Integration IntegrationID        `cbor:"3,keyasint"`
	// Account is the one that the refresh was for.
	Account AccountID `cbor:"4,keyasint"`
	// Generation is that of the token that was sent; Origin is where it was sent to.
	Generation       uint64            `cbor:"5,keyasint"`
	Origin           string            `cbor:"6,keyasint"`
	Items            map[string]string `cbor:"7,keyasint,omitempty"`
	ObtainedAt       time.Time         `cbor:"8,keyasint"`
	ExpiresAt        time.Time         `cbor:"9,keyasint,omitzero"`
	RefreshExpiresAt time.Time         `cbor:"10,keyasint,omitzero"`
	// Scoped tells scopes that are none from a reply without them.
	Scoped     bool     `cbor:"11,keyasint,omitempty"`
	Scopes     []string `cbor:"12,keyasint,omitempty"`
	KeyID      keys.ID  `cbor:"13,keyasint"`
	WrappedDEK []byte   `cbor:"14,keyasint"`
	Sealed     []byte   `cbor:"15,keyasint"`
	// Client is the client id that the tokens were given to.
	Client string `cbor:"16,keyasint,omitempty"`
}

func (e *entry) binding(node string) keys.JournalBinding {
	b := keys.JournalBinding{
		Node: node, GrantID: string(e.Grant), IntegrationID: string(e.Integration), AccountID: string(e.Account),
		Origin: e.Origin, ClientID: e.Client, Generation: e.Generation,
		ObtainedAt: e.ObtainedAt, ExpiresAt: e.ExpiresAt, RefreshExpiresAt: e.RefreshExpiresAt,
	}
	if e.Scoped {
		b.Scopes = append([]string{}, e.Scopes...)
	}
	return b
}

// pendingEntry is an entry that is not in the store, as far as this process knows.
type pendingEntry struct {
	entry
	id uint64
	// until is when the keeper tries again, step how often it did; guarded by the mutex of pending.
	until time.Time
	step  int
}

// pending are the entries of this replica's journal.
type pending struct {
	file  *journal.Journal
	codec *record.Codec

	mu sync.Mutex
	// entries are those of each grant in the order in which they were written; guarded by mu.
	entries map[grantKey][]*pendingEntry
}

// newPending reads what an earlier life of this node left. An entry that is none is logged and left alone:
// it stays in the file until that is written anew without it.
func newPending(file *journal.Journal, log *slog.Logger) (*pending, error) {
	codec, err := record.NewCodec()
	if err != nil {
		return nil, err
	}
	p := &pending{file: file, codec: codec, entries: map[grantKey][]*pendingEntry{}}
	for _, found := range file.Entries() {
		e := &pendingEntry{id: found.ID}
		if err := codec.Decode(found.Body, &e.entry); err != nil {
			log.Error("an entry of the journal cannot be read", slog.Uint64("entry", found.ID))
			file.Remove(found.ID)
			continue
		}
		key := grantKey{e.Environment, e.Grant}
		p.entries[key] = append(p.entries[key], e)
	}
	return p, nil
}

func (p *pending) add(e *pendingEntry) {
	p.mu.Lock()
	defer p.mu.Unlock()
	key := grantKey{e.Environment, e.Grant}
	p.entries[key] = append(p.entries[key], e)
}

// remove forgets an entry that is in the store, or never will be. nil is none.
func (p *pending) remove(e *pendingEntry) {
	if e == nil {
		return
	}
	p.file.Remove(e.id)
	p.mu.Lock()
	defer p.mu.Unlock()
	key := grantKey{e.Environment, e.Grant}
	left := slices.DeleteFunc(p.entries[key], func(other *pendingEntry) bool { return other == e })
	if p.entries[key] = left; len(left) == 0 {
		delete(p.entries, key)
	}
}

// first is the oldest entry of a grant, or nil.
func (p *pending) first(key grantKey) *pendingEntry {
	p.mu.Lock()
	defer p.mu.Unlock()
	if all := p.entries[key]; len(all) > 0 {
		return all[0]
	}
	return nil
}

// due are the grants with entries that the keeper should try now.
func (p *pending) due(now time.Time) []grantKey {
	p.mu.Lock()
	defer p.mu.Unlock()
	var due []grantKey
	for key, all := range p.entries {
		if !now.Before(all[0].until) {
			due = append(due, key)
		}
	}
	return due
}

// failed puts the next try of an entry off: from a fifth of a second to half a minute.
func (p *pending) failed(e *pendingEntry, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	e.until = now.Add(min(200*time.Millisecond<<min(e.step, 10), 30*time.Second))
	e.step++
}

// enter seals what a refresh brought and writes it to the journal.
func (r *refreshing) enter(ctx context.Context, room *journal.Room, l *landing) (*pendingEntry, error) {
	b, g := r.broker, r.grant
	e := &pendingEntry{entry: entry{
		Environment: r.key.env, Grant: r.key.grant, Integration: g.Integration, Account: r.account.ID,
		Generation: l.generation, Origin: l.origin, Client: l.client, Items: g.Items,
		ObtainedAt: l.obtainedAt, ExpiresAt: l.expiresAt, RefreshExpiresAt: l.refreshExpiresAt,
		Scoped: l.scopes != nil, Scopes: l.scopes,
	}}
	kctx, err := keys.ParseContext(g.Items)
	if err != nil {
		return nil, keys.ErrTampered
	}
	permit, err := r.permitFor(r.account.Slug, kctx)
	if err != nil {
		return nil, err
	}
	sealed, err := b.keys.SealJournal(ctx, permit, kctx, e.binding(b.audit.Node()), l.tokens, r.sealMeta())
	if err != nil {
		return nil, err
	}
	e.KeyID, e.WrappedDEK, e.Sealed = sealed.KeyID, sealed.WrappedDEK, sealed.Ciphertext
	body, err := b.pending.codec.Encode(&e.entry)
	if err != nil {
		return nil, err
	}
	if e.id, err = room.Append(body); e.id == 0 {
		// The reply was larger than any before: there may be room for it all the same.
		larger, err := b.pending.file.Reserve(len(body))
		if err != nil {
			return nil, err
		}
		if e.id, err = larger.Append(body); e.id == 0 {
			return nil, err
		}
	}
	// Also if the file failed: then it is in the journal's memory, and the keeper goes on from there.
	b.pending.add(e)
	return e, err
}

// landPending stores what the journal has of a grant, before anything else is done about it: the token in
// the store may be used up. landed tells that there was something.
func (b *Broker) landPending(ctx context.Context, key grantKey) (landed bool, err error) {
	for {
		e := b.pending.first(key)
		if e == nil {
			return landed, nil
		}
		if err := b.replay(ctx, e); err != nil {
			b.pending.failed(e, time.Now())
			return false, err
		}
		landed = true
	}
}

// replay stores one entry, unless the grant has a newer generation. Tokens that can never be stored are
// given up, with a line in the log: they do not open, or their key is gone.
func (b *Broker) replay(ctx context.Context, e *pendingEntry) error {
	// Asked first, so that an outage of hours does not fill the trail with tries.
	if err := b.store.Fence(ctx); err != nil {
		return err
	}
	o, err := b.begin(ctx, access.Call{Actor: access.SystemActor(e.Environment, "refresh journal")}, access.TokenRefresh)
	if err != nil {
		return err
	}
	err = o.replay(ctx, e)
	if errors.Is(err, keys.ErrTampered) || errors.Is(err, keys.ErrShredded) || errors.Is(err, ErrTooLarge) {
		b.log.LogAttrs(ctx, slog.LevelError, "refreshed token given up", slog.String("grant", string(e.Grant)), slog.Any("error", err))
		b.pending.remove(e)
		_ = o.End(ctx, err)
		return nil
	}
	if err == nil {
		b.pending.remove(e)
		b.count(CountReplayed)
	}
	return o.End(ctx, err)
}

func (o *operation) replay(ctx context.Context, e *pendingEntry) error {
	b, key := o.broker, grantKey{e.Environment, e.Grant}
	o.Record.GrantID, o.Record.AccountID, o.Record.IntegrationID = string(e.Grant), string(e.Account), string(e.Integration)
	found, err := b.store.Grant(ctx, key.env, key.grant)
	if errors.Is(err, ErrNotFound) || err == nil && !found.Record.keepsAny(e.Generation) {
		return nil // it landed before the crash, or the user has connected again
	}
	if err != nil {
		return err
	}
	g := found.Record
	if g.Integration != e.Integration || len(g.Accounts) == 0 {
		return keys.ErrTampered
	}
	account, err := b.accountOf(ctx, g, e.Account)
	if err != nil {
		return err
	}
	o.about(account.Slug, account.Owner, "")
	if err := o.Intend(ctx); err != nil {
		return err
	}
	tokens, err := o.openEntry(ctx, account.Slug, e)
	if err != nil {
		return err
	}
	r := &refreshing{operation: o, account: account, key: key, grant: g}
	if i, err := b.integrationOf(ctx, key.env, account.Slug, account.Owner.Kind, e.Integration); err == nil {
		r.conn, _ = b.connector(i.Record) // it says when the grant is due again, and nothing else
	}
	l := &landing{
		tokens: tokens, generation: e.Generation, origin: e.Origin, client: e.Client,
		obtainedAt: e.ObtainedAt, expiresAt: e.ExpiresAt, refreshExpiresAt: e.RefreshExpiresAt,
		scopes: e.binding("").Scopes,
	}
	return rounds(ctx, o.Refresh, func() error { return r.persistOnce(ctx, l) })
}

// accountOf is an account that points to a grant: the wanted one, if it still does.
func (b *Broker) accountOf(ctx context.Context, g *Grant, wanted AccountID) (*Account, error) {
	if !slices.Contains(g.Accounts, wanted) {
		if len(g.Accounts) == 0 {
			return nil, ErrConflict
		}
		wanted = g.Accounts[0]
	}
	found, err := b.store.Account(ctx, g.Environment, wanted)
	if errors.Is(err, ErrNotFound) {
		return nil, ErrConflict
	}
	if err != nil {
		return nil, err
	}
	return found.Record, nil
}

func (o *operation) openEntry(ctx context.Context, slug string, e *pendingEntry) (keys.GrantTokens, error) {
	kctx, err := keys.ParseContext(e.Items)
	if err != nil {
		return keys.GrantTokens{}, keys.ErrTampered
	}
	permit, err := o.permitFor(slug, kctx)
	if err != nil {
		return keys.GrantTokens{}, err
	}
	sealed := keys.Sealed{KeyID: e.KeyID, WrappedDEK: e.WrappedDEK, Ciphertext: e.Sealed}
	o.Record.KeyID, o.Record.KeyContext = string(e.KeyID), kctx.Items()
	return o.broker.keys.OpenJournal(ctx, permit, sealed, e.binding(o.broker.audit.Node()))
}
