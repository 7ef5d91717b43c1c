package audit

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"time"
)

const (
	// peersName is the file beside the segments with the newest checkpoint of each other node that was recorded: what a
	// start compares theirs with, so that a node whose log went back while this one was stopped is found, too.
	peersName = "peers"
	// maxPeers bounds that file: as many nodes as a checkpoint can name, each with a checkpoint.
	maxPeers = 64 << 20
)

// seen is another node's checkpoint, and its text.
type seen struct {
	Checkpoint
	signed []byte
}

// remember reads what was recorded of other nodes before. What is not signed counts for nothing: who may write to the
// directory may also take the file away, and the records of the log stay.
func (n *Notary) remember() {
	text, err := readBounded(filepath.Join(n.config.Log.config.Dir, peersName), maxPeers)
	if err != nil {
		return
	}
	for _, signed := range SplitCheckpoints(text) {
		if c, err := OpenCheckpoint(signed, n.keys); err == nil && c.Node != n.config.Log.Node() {
			n.seen[c.Node] = seen{c, signed}
		}
	}
}

// keep writes what remember reads.
func (n *Notary) keep() error {
	var b bytes.Buffer
	for _, node := range slices.Sorted(maps.Keys(n.seen)) {
		b.Write(n.seen[node].signed)
	}
	if err := replaceFile(n.config.Log.config.Dir, peersName, b.Bytes()); err != nil {
		return fmt.Errorf("write the checkpoints of other nodes: %w", err)
	}
	return nil
}

// peers records what other nodes have signed, and compares it with what was recorded of them before.
func (n *Notary) peers(ctx context.Context) error {
	if !n.peersAt.IsZero() && time.Since(n.peersAt) < n.config.PeersEvery {
		return nil
	}
	nodes, err := n.config.Store.Nodes(ctx)
	if err != nil {
		return fmt.Errorf("list the nodes: %w", err)
	}
	newest, err := n.config.Store.Newest(ctx)
	if err != nil {
		return fmt.Errorf("read the checkpoints: %w", err)
	}
	n.nodes = nodes
	for node, signed := range newest {
		if node == n.config.Log.Node() {
			continue
		}
		if err := n.peer(ctx, node, signed); err != nil {
			return err
		}
	}
	n.peersAt = time.Now()
	return nil
}

func (n *Notary) peer(ctx context.Context, node string, signed []byte) error {
	last, known := n.seen[node]
	c, err := OpenCheckpoint(signed, n.keys)
	switch {
	case err != nil || c.Node != node:
		return n.contradicted(ctx, node, codeSignature, signed)
	case known && c.Size < last.Size:
		return n.contradicted(ctx, node, codeShorter, signed)
	case known && c.Size == last.Size:
		if c.Root != last.Root {
			return n.contradicted(ctx, node, codeForked, signed)
		}
		return nil
	}
	_, err = n.config.Log.Append(ctx, Record{
		Action: actionSeen, Phase: Internal, Result: Allowed, Subject: node, Checkpoint: string(signed),
	})
	if err == nil {
		n.seen[node] = seen{c, signed}
		err = n.keep()
	}
	return err
}
