package audit

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/mod/sumdb/tlog"
)

// Errors of proofs.
var (
	// ErrOutside means that a size or an index is not of the tree.
	ErrOutside = errors.New("audit: outside of the tree")
	// ErrNoProof means that the hash file was made anew since: the next start makes the rest of it from the records.
	ErrNoProof = errors.New("audit: the hashes for this proof are missing")
	// ErrRemoved means that retention has removed the record.
	ErrRemoved = errors.New("audit: the record was removed by retention")
)

// Inclusion proves (RFC 9162 section 2.1.3) that a record is in the tree of a size.
type Inclusion struct {
	Index, Size uint64
	Leaf, Root  tlog.Hash
	Hashes      []tlog.Hash
}

// Consistency proves (RFC 9162 section 2.1.4) that the tree of one size begins with the tree of another.
type Consistency struct {
	From, To         uint64
	FromRoot, ToRoot tlog.Hash
	Hashes           []tlog.Hash
}

// past reads hashes of the tree, whose file it brings up to date first.
func (l *Log) past(size uint64, use func(tlog.HashReader) error) error {
	if size > l.tree.now().size {
		return ErrOutside
	}
	if err := l.tree.flush(false); err != nil {
		return l.outage(err)
	}
	f, err := openHashes(l.tree.path, 0)
	if err != nil {
		return l.outage(fmt.Errorf("hashes: %w", err))
	}
	err = use(hashFile{f})
	if errors.Is(err, errNoHash) {
		err = ErrNoProof
	}
	return errors.Join(err, ignoreClosed(f.Close()))
}

func ignoreClosed(err error) error {
	if errors.Is(err, os.ErrClosed) {
		return nil
	}
	return err
}

// Include proves a record. What it returns has been checked.
func (l *Log) Include(index, size uint64) (p Inclusion, err error) {
	if index >= size {
		return p, ErrOutside
	}
	if index < l.removed.Load() {
		return p, ErrRemoved
	}
	p = Inclusion{Index: index, Size: size}
	err = l.past(size, func(r tlog.HashReader) error {
		leaf, err := r.ReadHashes([]int64{tlog.StoredHashIndex(0, int64(index))})
		if err != nil {
			return err
		}
		p.Leaf = leaf[0]
		if p.Root, err = tlog.TreeHash(int64(size), r); err != nil {
			return err
		}
		proof, err := tlog.ProveRecord(int64(size), int64(index), r)
		if err != nil {
			return err
		}
		p.Hashes = proof
		return tlog.CheckRecord(proof, int64(size), p.Root, int64(index), p.Leaf)
	})
	return p, err
}

// Extend proves that nothing changed between two sizes. What it returns has been checked.
func (l *Log) Extend(from, to uint64) (p Consistency, err error) {
	if from < 1 || from > to {
		return p, ErrOutside
	}
	p = Consistency{From: from, To: to}
	err = l.past(to, func(r tlog.HashReader) error {
		var err error
		if p.FromRoot, err = tlog.TreeHash(int64(from), r); err != nil {
			return err
		}
		if p.ToRoot, err = tlog.TreeHash(int64(to), r); err != nil {
			return err
		}
		proof, err := tlog.ProveTree(int64(to), int64(from), r)
		if err != nil {
			return err
		}
		p.Hashes = proof
		return tlog.CheckTree(proof, int64(to), p.ToRoot, int64(from), p.FromRoot)
	})
	return p, err
}
