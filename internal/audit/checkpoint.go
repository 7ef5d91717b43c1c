package audit

import (
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// Checkpoint is what a node says of its log, under a signature: that the first Size records hash to Root. Who
// keeps one can tell later whether any of them was changed, removed, inserted or cut off.
//
// Its text is that of C2SP's tlog-checkpoint: the origin, which is "culvert/audit/" and the node, the size and
// the root in base64, a line each. Two kinds of lines follow: "time" and when it was made, and "node" with
// each replica that the store knows of, so that who verifies knows whose logs there have to be. One that covers
// exactly what retention has removed has the lines of a [Removal], too.
type Checkpoint struct {
	Node  string
	Size  uint64
	Root  tlog.Hash
	At    time.Time
	Nodes []string
	// Removal is not nil in a checkpoint that says which segments were removed.
	Removal *Removal
	// By is the short name of the key that signed it, 0 if that was not checked.
	By uint32
}

const (
	originPrefix = "culvert/audit/"
	timePrefix   = "time "
	nodePrefix   = "node "
	// maxCheckpoint bounds a signed checkpoint; a thousand nodes that ever were fit.
	maxCheckpoint = 64 << 10
)

// ErrCheckpoint means that a text is no checkpoint, or not signed by the key at hand.
var ErrCheckpoint = errors.New("audit: not a signed checkpoint")

func (c *Checkpoint) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s%s\n%d\n%s\n", originPrefix, c.Node, c.Size, base64.StdEncoding.EncodeToString(c.Root[:]))
	b.WriteString(timePrefix + c.At.UTC().Format(timeLayout) + "\n")
	for _, node := range c.Nodes {
		b.WriteString(nodePrefix + node + "\n")
	}
	return b.String() + c.Removal.text()
}

// parseCheckpoint reads the text of a note whose signature has been checked. Lines of kinds that this version
// does not know are passed over.
func parseCheckpoint(text string) (Checkpoint, error) {
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	if len(lines) < 3 {
		return Checkpoint{}, ErrCheckpoint
	}
	node, ok := strings.CutPrefix(lines[0], originPrefix)
	size, err := strconv.ParseInt(lines[1], 10, 64)
	root, badRoot := tlog.ParseHash(lines[2])
	if !ok || node == "" || err != nil || badRoot != nil || size < 0 || lines[1] != strconv.FormatInt(size, 10) {
		return Checkpoint{}, ErrCheckpoint
	}
	c := Checkpoint{Node: node, Size: uint64(size), Root: root}
	for _, line := range lines[3:] {
		if text, ok := strings.CutPrefix(line, timePrefix); ok {
			if c.At, err = time.Parse(timeLayout, text); err != nil {
				return Checkpoint{}, ErrCheckpoint
			}
		}
		if node, ok := strings.CutPrefix(line, nodePrefix); ok {
			c.Nodes = append(c.Nodes, node)
		}
		if err := c.removalLine(line); err != nil {
			return Checkpoint{}, err
		}
	}
	return c, nil
}

// OpenCheckpoint reads a signed checkpoint. The error is [ErrCheckpoint].
func OpenCheckpoint(signed []byte, keys *Keys) (Checkpoint, error) {
	if len(signed) > maxCheckpoint {
		return Checkpoint{}, ErrCheckpoint
	}
	n, err := note.Open(signed, keys)
	if err != nil {
		return Checkpoint{}, ErrCheckpoint
	}
	c, err := parseCheckpoint(n.Text)
	c.By = n.Sigs[0].Hash
	return c, err
}

// sign is the signed form.
func (c *Checkpoint) sign(key note.Signer) ([]byte, error) {
	c.Nodes = slices.Clone(c.Nodes)
	slices.Sort(c.Nodes)
	signed, err := note.Sign(&note.Note{Text: c.text()}, key)
	if err != nil {
		return nil, fmt.Errorf("sign the checkpoint: %w", err)
	}
	if len(signed) > maxCheckpoint {
		return nil, errors.New("audit: checkpoint too long")
	}
	return signed, nil
}

// unsignedCheckpoint reads a checkpoint before a key is at hand: a start looks at it for what it would only
// complain about.
func unsignedCheckpoint(signed []byte) (Checkpoint, error) {
	text, _, ok := strings.Cut(string(signed), "\n\n")
	if !ok {
		return Checkpoint{}, ErrCheckpoint
	}
	return parseCheckpoint(text + "\n")
}

// SplitCheckpoints takes a file with several signed checkpoints, or changes of the key, one behind the other, apart.
func SplitCheckpoints(file []byte) [][]byte {
	var all [][]byte
	for line := range strings.Lines(string(file)) {
		if strings.HasPrefix(line, originPrefix) || line == changePrefix+"\n" || len(all) == 0 {
			all = append(all, nil)
		}
		all[len(all)-1] = append(all[len(all)-1], line...)
	}
	return all
}
