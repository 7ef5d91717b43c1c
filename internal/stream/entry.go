package stream

import (
	"encoding/base64"
	"encoding/json"

	"golang.org/x/mod/sumdb/tlog"

	"culvert/internal/audit"
)

// batch is what is sent at once: records in order, or a checkpoint.
type batch struct {
	node   string
	leaves []audit.Leaf
	// checkpoint is a signed one of size records, for who wants to verify what was received; nil in most.
	checkpoint []byte
	size       uint64
}

// first and last are the indices of a batch of records.
func (b *batch) first() uint64 { return b.leaves[0].Index }
func (b *batch) last() uint64  { return b.leaves[len(b.leaves)-1].Index }

// leafHash is RFC 9162's, in base64.
func leafHash(line []byte) string {
	h := tlog.RecordHash(line)
	return base64.StdEncoding.EncodeToString(h[:])
}

// appendEntry appends a record as it is sent: its line in the log byte for byte, but for one member more at the
// end, leaf_hash. Who cuts that off again has what the leaf is the hash of.
func appendEntry(dst []byte, leaf *audit.Leaf) []byte {
	dst = append(dst, leaf.Line[:len(leaf.Line)-1]...)
	dst = append(dst, `,"leaf_hash":"`...)
	dst = append(dst, leafHash(leaf.Line)...)
	return append(dst, `"}`...)
}

// checkpointEntry is what a checkpoint looks like among records.
type checkpointEntry struct {
	V          int    `json:"v"`
	Node       string `json:"node"`
	Size       uint64 `json:"size"`
	Checkpoint string `json:"checkpoint"`
}

func (b *batch) appendCheckpoint(dst []byte) []byte {
	text, err := json.Marshal(checkpointEntry{audit.Version, b.node, b.size, string(b.checkpoint)})
	if err != nil {
		return dst // strings and numbers have a form
	}
	return append(dst, text...)
}

// appendLines appends the batch as JSON lines.
func (b *batch) appendLines(dst []byte) []byte {
	for i := range b.leaves {
		dst = append(appendEntry(dst, &b.leaves[i]), '\n')
	}
	if b.checkpoint != nil {
		dst = append(b.appendCheckpoint(dst), '\n')
	}
	return dst
}

// appendArray appends the batch as one JSON array.
func (b *batch) appendArray(dst []byte) []byte {
	dst = append(dst, '[')
	for i := range b.leaves {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendEntry(dst, &b.leaves[i])
	}
	if b.checkpoint != nil {
		dst = b.appendCheckpoint(dst)
	}
	return append(dst, ']')
}
