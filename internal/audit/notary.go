package audit

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/mod/sumdb/note"

	"culvert/internal/access"
)

// Signer signs checkpoints. keys.Signer is one.
type Signer interface {
	note.Signer
	// VerifierKey is the public key as [note.NewVerifier] reads it.
	VerifierKey() string
	// Earlier are those of the keys that this one has taken over from, the oldest first.
	Earlier() []Signer
}

// CheckpointStore keeps checkpoints away from the disks of the logs, where who changes a log does not reach them.
// Its methods are safe for concurrent use and block for a few seconds at most.
type CheckpointStore interface {
	// Put keeps the newest checkpoint of a node: one for each day, for a bounded number of days.
	Put(ctx context.Context, node string, at time.Time, signed []byte) error
	// Newest are the newest checkpoints of all nodes.
	Newest(ctx context.Context) (map[string][]byte, error)
	// Nodes are the replicas whose logs there have to be.
	Nodes(ctx context.Context) ([]string, error)
}

// NotaryConfig is what a [Notary] needs.
type NotaryConfig struct {
	// Log and Store are required.
	Log   *Log
	Store CheckpointStore
	// Signer finds the signing key; required. It is asked again and again: it may be another one by then.
	Signer func(context.Context) (Signer, error)
	// Every is how often a checkpoint is signed, if there are new records; default 5 s.
	Every time.Duration
	// PeersEvery is how often the newest checkpoints of other nodes are recorded; default 10 min.
	PeersEvery time.Duration
	// Logger is told of what should not be; default none.
	Logger *slog.Logger
}

// Notary signs what a log has made durable. It writes each checkpoint beside the segments, then into the store,
// and records the newest ones of other nodes in its log: who changes the log of one node has to change those of
// all. Nothing waits for it: a store that is away, or a key, delays checkpoints and no record.
type Notary struct {
	config NotaryConfig
	cancel context.CancelFunc
	ended  sync.WaitGroup

	// The fields below belong to its goroutine.
	signer Signer
	keys   *Keys
	// by is the short name of the key that signed the log last, 0 if none did.
	by uint32
	// last is the newest checkpoint that was signed, or found beside the segments; signed is its text, until
	// the store has it.
	last   Checkpoint
	signed []byte
	nodes  []string
	// seen are the newest checkpoints of other nodes that were recorded.
	seen map[string]seen
	// refused are those that were found to be wrong: each is recorded once.
	refused map[string]string
	peersAt time.Time
	// retainedAt is when it was last looked for old segments, kept why they were kept then.
	retainedAt time.Time
	kept       string

	// retention is nil until somebody wants it.
	retention atomic.Pointer[Retention]
	// key is the public key as text, once it is known.
	key atomic.Pointer[string]
	// newest is the newest checkpoint for witnesses, nil if there is none.
	newest atomic.Pointer[signedNote]
	// fault is why there are no checkpoints now, nil if there are.
	fault atomic.Pointer[error]
}

// signedNote is a checkpoint as it was signed, with the keys of the log.
type signedNote struct {
	size   uint64
	signed []byte
	keys   *Keys
}

// The actions of the notary's records.
const (
	// actionSeen records another node's checkpoint.
	actionSeen access.Action = "audit.checkpoint.seen"
	// actionContradicted tells of a checkpoint that this log, or an earlier checkpoint of its node, contradicts.
	actionContradicted access.Action = "audit.checkpoint.contradicted"
)

// The codes of its findings.
const (
	codeSignature = "bad_signature"
	codeForked    = "forked"
	codeShorter   = "shorter"
)

// keyName is the file beside the segments that holds the public key, for who has nothing better.
const keyName = "key"

// StartNotary begins to sign.
func StartNotary(c NotaryConfig) (*Notary, error) {
	if c.Log == nil || c.Store == nil || c.Signer == nil {
		return nil, errors.New("audit: notary needs Log, Store and Signer")
	}
	if c.Every <= 0 {
		c.Every = 5 * time.Second
	}
	if c.PeersEvery <= 0 {
		c.PeersEvery = 10 * time.Minute
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	ctx, cancel := context.WithCancel(context.Background())
	n := &Notary{config: c, cancel: cancel, seen: map[string]seen{}, refused: map[string]string{}}
	n.ended.Go(func() { n.run(ctx) })
	return n, nil
}

// Close signs what is left and ends. What cannot be signed within a few seconds waits for the next start.
func (n *Notary) Close() error {
	n.cancel()
	n.ended.Wait()
	return nil
}

// closeTime bounds the last round.
const closeTime = 5 * time.Second

func (n *Notary) run(ctx context.Context) {
	tick := time.NewTicker(n.config.Every)
	defer tick.Stop()
	for {
		n.round(ctx)
		select {
		case <-tick.C:
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTime)
			defer cancel()
			n.round(last)
			return
		}
	}
}

// round is told of in the log when it begins to fail, and when it ceases to.
func (n *Notary) round(ctx context.Context) {
	err := n.begin(ctx)
	if err == nil {
		err = errors.Join(n.succeed(ctx), n.peers(ctx), n.checkpoint(ctx))
	}
	if ctx.Err() != nil {
		return
	}
	if err == nil {
		n.retain(ctx)
	}
	if err != nil {
		if n.fault.Swap(&err) == nil {
			n.config.Logger.WarnContext(ctx, "no checkpoints of the audit log for now", "error", err)
		}
	} else if n.fault.Swap(nil) != nil {
		n.config.Logger.InfoContext(ctx, "checkpoints of the audit log again")
	}
}

// Health is nil while checkpoints are signed and stored. Without them records are written all the same.
func (n *Notary) Health() error {
	if err := n.fault.Load(); err != nil {
		return *err
	}
	return nil
}

// begin finds the key, and looks whether the log is still the one that was signed before.
func (n *Notary) begin(ctx context.Context) error {
	if n.signer != nil {
		return nil
	}
	signer, err := n.config.Signer(ctx)
	if err != nil {
		return fmt.Errorf("signing key: %w", err)
	}
	keys, err := keysOf(signer)
	if err != nil {
		return err
	}
	newest, err := n.config.Store.Newest(ctx)
	if err != nil {
		return fmt.Errorf("read the last checkpoints: %w", err)
	}
	n.keys = keys
	n.remember()
	if err := n.compare(ctx, newest[n.config.Log.Node()]); err != nil {
		return err
	}
	return n.adopt(ctx, signer)
}

// VerifierKey is the public key as text, empty until there is one.
func (n *Notary) VerifierKey() string {
	if key := n.key.Load(); key != nil {
		return *key
	}
	return ""
}

// compare looks at the last checkpoints of this node, beside the segments and in the store. One that is not
// signed, or that the log contradicts, is recorded: it is the proof that somebody changed the log, or brought an
// older state of its directory back.
func (n *Notary) compare(ctx context.Context, stored []byte) error {
	beside, err := readBounded(filepath.Join(n.config.Log.config.Dir, checkpointName), maxCheckpoint)
	if err != nil {
		beside = nil
	}
	// Roots of the past are read from the file, which then has all of these records; others may come meanwhile.
	now := n.config.Log.tree.now()
	if err := n.config.Log.tree.flush(false); err != nil {
		return fmt.Errorf("hashes: %w", err)
	}
	for _, signed := range [][]byte{beside, stored} {
		if signed == nil {
			continue
		}
		c, err := OpenCheckpoint(signed, n.keys)
		code := ""
		switch {
		case err != nil || c.Node != n.config.Log.Node():
			code = codeSignature
		case c.Size > now.size:
			code = codeShorter
		default:
			root, err := n.config.Log.tree.rootAt(c.Size)
			switch {
			case err != nil:
				return fmt.Errorf("hashes: %w", err)
			case root != c.Root:
				code = codeForked
			case c.Size >= n.last.Size:
				n.last, n.by = c, c.By
				n.newest.Store(&signedNote{c.Size, signed, n.keys})
			}
		}
		if code != "" {
			if err := n.contradicted(ctx, n.config.Log.Node(), code, signed); err != nil {
				return err
			}
		}
	}
	return nil
}

func (n *Notary) contradicted(ctx context.Context, node, code string, signed []byte) error {
	if text, known := n.refused[node]; known && text == string(signed) {
		return nil
	}
	n.config.Logger.ErrorContext(ctx, "a checkpoint and the audit log it is of do not fit: culvert audit verify says more",
		"node", node, "code", code)
	r := Record{Action: actionContradicted, Phase: Internal, Result: Failed, Code: code, Subject: node}
	if len(signed) <= maxCheckpoint {
		r.Checkpoint = string(signed)
	}
	_, err := n.config.Log.Append(ctx, r)
	if err == nil {
		n.refused[node] = string(signed)
	}
	return err
}

// checkpoint signs what is new, and gives the store what it has not got yet.
func (n *Notary) checkpoint(ctx context.Context) error {
	if n.config.Log.tree.now().size > n.last.Size {
		if err := n.sign(); err != nil {
			return err
		}
	}
	if n.signed == nil {
		return nil
	}
	if err := n.config.Store.Put(ctx, n.last.Node, n.last.At, n.signed); err != nil {
		return fmt.Errorf("store the checkpoint: %w", err)
	}
	n.newest.Store(&signedNote{n.last.Size, n.signed, n.keys})
	n.signed = nil
	return nil
}

func (n *Notary) sign() error {
	now, err := n.config.Log.durable()
	if err != nil {
		return err
	}
	root, err := now.root()
	if err != nil {
		return err
	}
	c := Checkpoint{
		Node: n.config.Log.Node(), Size: now.size, Root: root, At: n.config.Log.config.Now(), Nodes: n.nodes,
	}
	signed, err := c.sign(n.signer)
	if err != nil {
		return err
	}
	// Beside the segments first: the store must not know of records that a start would take for a torn tail.
	if err := replaceFile(n.config.Log.config.Dir, checkpointName, signed); err != nil {
		return fmt.Errorf("write the checkpoint: %w", err)
	}
	n.last, n.signed, n.by = c, signed, n.signer.KeyHash()
	return nil
}
