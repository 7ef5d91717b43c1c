package audit

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/mod/sumdb/note"
)

// Keys are the public keys that checkpoints are known under: those that somebody has, and those that are tied to
// one of them by a [KeyChange].
//
// Attacker: the thief of a key that was changed for that reason, who signs whatever he likes with it: a log in which
// it was never changed, or another change, to a key of his. Defence: what was handed over is believed; a key that was
// given up proves nothing by itself, and nobody takes over from it once more.
type Keys struct {
	verifiers []note.Verifier
	// past are the short names of keys that are known as those before one that somebody has. heirs are who took over
	// from whom, and twice tells that somebody else did, too.
	past  map[uint32]bool
	heirs map[uint32]uint32
	twice bool
}

// NewKeys begins with the keys that somebody has.
func NewKeys(trusted ...note.Verifier) *Keys {
	return &Keys{verifiers: trusted, past: map[uint32]bool{}, heirs: map[uint32]uint32{}}
}

func (k *Keys) clone() *Keys {
	return &Keys{verifiers: slices.Clone(k.verifiers), past: maps.Clone(k.past), heirs: maps.Clone(k.heirs), twice: k.twice}
}

// Verifier implements [note.Verifiers].
func (k *Keys) Verifier(name string, hash uint32) (note.Verifier, error) {
	for _, v := range k.verifiers {
		if v.Name() == name && v.KeyHash() == hash {
			return v, nil
		}
	}
	return nil, &note.UnknownVerifierError{Name: name, KeyHash: hash}
}

func (k *Keys) has(v note.Verifier) bool {
	_, err := k.Verifier(v.Name(), v.KeyHash())
	return err == nil
}

// KeyChange is a note by which one signing key hands over to the next. Its text is three lines: what it is, the old
// key and the new one; both have signed it. So who has either believes the other, and nobody makes one who has not
// both.
type KeyChange struct{ Old, New note.Verifier }

const (
	changePrefix = "culvert/audit-key"
	// keysName is the file beside the segments with all changes of the key, one behind the other.
	keysName = "keys"
	// maxKeys bounds that file: some ten thousand changes.
	maxKeys = 8 << 20
)

// ErrKeyChange means that a text is no change of keys, or not signed by both of them.
var ErrKeyChange = errors.New("audit: not a signed change of keys")

// OpenKeyChange reads a change. Whether one of the keys is to be believed is for [Keys.Follow].
func OpenKeyChange(signed []byte) (c KeyChange, err error) {
	lines := strings.Split(string(signed), "\n")
	if len(signed) > maxCheckpoint || len(lines) < 4 || lines[0] != changePrefix || lines[3] != "" {
		return c, ErrKeyChange
	}
	var badOld, badNew error
	c.Old, badOld = note.NewVerifier(lines[1])
	c.New, badNew = note.NewVerifier(lines[2])
	if errors.Join(badOld, badNew) != nil || c.Old.Name() != c.New.Name() {
		return c, ErrKeyChange
	}
	n, err := note.Open(signed, note.VerifierList(c.Old, c.New))
	if err != nil || len(n.Sigs) != 2 {
		return c, ErrKeyChange
	}
	return c, nil
}

// Follow believes what changes say, as far as they are tied to a key that is believed already. Texts that are no
// changes are passed over.
func (k *Keys) Follow(changes [][]byte) {
	for more := true; more; {
		more = false
		for _, signed := range changes {
			c, err := OpenKeyChange(signed)
			if err == nil && k.follow(c) {
				more = true
			}
		}
	}
}

// follow tells whether a change made another key known.
func (k *Keys) follow(c KeyChange) bool {
	before, after := k.has(c.Old), k.has(c.New)
	if !before && !after {
		return false
	}
	heir, known := k.heirs[c.Old.KeyHash()]
	if known && heir != c.New.KeyHash() {
		k.twice = true
		return false
	}
	k.heirs[c.Old.KeyHash()] = c.New.KeyHash()
	switch {
	case !before:
		k.verifiers = append(k.verifiers, c.Old)
		k.past[c.Old.KeyHash()] = true
	case !after:
		k.verifiers = append(k.verifiers, c.New)
	}
	return before != after
}

// Former tells a checkpoint under a key that was given up before one that somebody has: nothing new is.
func (k *Keys) Former(c Checkpoint) bool { return k.past[c.By] }

// changesOf are the changes that led to a signer, the oldest first: what each of them signs is always the same.
func changesOf(s Signer) (changes [][]byte, err error) {
	all := append(s.Earlier(), s)
	for i, next := range all[1:] {
		text := changePrefix + "\n" + all[i].VerifierKey() + "\n" + next.VerifierKey() + "\n"
		signed, err := note.Sign(&note.Note{Text: text}, all[i], next)
		if err != nil {
			return nil, fmt.Errorf("sign the change of the key: %w", err)
		}
		changes = append(changes, signed)
	}
	return changes, nil
}

// keysOf are the key of a signer and all before it.
func keysOf(s Signer) (*Keys, error) {
	k := NewKeys()
	for _, s := range append(s.Earlier(), s) {
		v, err := note.NewVerifier(s.VerifierKey())
		if err != nil {
			return nil, fmt.Errorf("signing key: %w", err)
		}
		k.verifiers = append(k.verifiers, v)
	}
	return k, nil
}

// KeyChanges are the changes that a log's directory has.
func KeyChanges(dir string) ([][]byte, error) {
	text, err := readBounded(filepath.Join(dir, keysName), maxKeys)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the changes of the key: %w", err)
	}
	return SplitCheckpoints(text), nil
}
