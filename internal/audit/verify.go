package audit

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/mod/sumdb/note"
)

// Signed is a signed checkpoint and where it was found.
type Signed struct {
	From string
	Note []byte
}

// VerifyConfig says what a log is compared with.
type VerifyConfig struct {
	// Dir is the log's; required. The log may be in use.
	Dir string
	// Keys are the public keys to believe; required. Changes of the key that the directory has are followed.
	Keys *Keys
	// Checkpoints are others than the one beside the segments, of this node: those that were kept elsewhere.
	Checkpoints []Signed
	// Witness, if not nil, is the key of who has to have signed a checkpoint besides.
	Witness note.Verifier
	// Idle says that nobody writes to the log: half a line at its end is not one on its way, and not waited for.
	Idle bool
	// Progress, if not nil, is called now and then with the bytes read, of all.
	Progress func(read, all int64)
}

// Finding is something that is not as it was signed.
type Finding struct {
	// Code is one of a closed list.
	Code string `json:"code"`
	// Index is the record where it is, or would be.
	Index uint64 `json:"index"`
	Text  string `json:"text"`
}

// The codes of findings.
const (
	// FoundChanged: records are not those that a checkpoint was signed for.
	FoundChanged = "changed"
	// FoundDamaged: something stands there that is no record.
	FoundDamaged = "damaged"
	// FoundMissing: records are gone that had been written.
	FoundMissing = "missing"
	// FoundCut: a checkpoint covers records behind the log's end.
	FoundCut = "cut"
	// FoundInserted: something stands between records that are there.
	FoundInserted = "inserted"
	// FoundForged: a checkpoint, or a change of the key, that is not signed by a key that is believed, or of another
	// node.
	FoundForged = "forged_checkpoint"
	// FoundUnproven: no checkpoint covers anything.
	FoundUnproven = "no_checkpoint"
	// FoundUnwitnessed: no checkpoint that fits is signed by the witness.
	FoundUnwitnessed = "not_witnessed"
	// FoundRecorded: the log itself recorded that it was changed, or brought back from an older state.
	FoundRecorded = "recorded"
)

// Report is what a verification found.
type Report struct {
	Node string `json:"node"`
	// Records counts those that were read; Size is the index behind the last.
	Records uint64 `json:"records"`
	Size    uint64 `json:"size"`
	// Removed is how many records retention has removed, all of them from before the first that was read; the last one
	// was of RemovedUntil.
	Removed      uint64    `json:"removed"`
	RemovedUntil time.Time `json:"removed_until"`
	// Proven is how many records the newest checkpoint covers that fits, which is of ProvenAt.
	Proven   uint64    `json:"proven"`
	ProvenAt time.Time `json:"proven_at"`
	// Witnessed is how many records the newest checkpoint covers that fits and that the witness has signed.
	Witnessed uint64 `json:"witnessed,omitempty"`
	// Checkpoints counts those that fit.
	Checkpoints int       `json:"checkpoints"`
	Findings    []Finding `json:"findings"`
	// More counts findings beyond the first hundred.
	More int `json:"more_findings"`
	// Notes are what is worth to know and no fault.
	Notes []string `json:"notes"`
	// Nodes are the replicas that were registered at the newest checkpoint.
	Nodes []string `json:"nodes"`
}

const maxFindings = 100

func (r *Report) found(code string, index uint64, format string, args ...any) {
	if len(r.Findings) == maxFindings {
		r.More++
		return
	}
	r.Findings = append(r.Findings, Finding{Code: code, Index: index, Text: fmt.Sprintf(format, args...)})
}

// pinned is a checkpoint whose signature holds.
type pinned struct {
	Checkpoint
	from string
	// own tells that nobody but the log itself kept it, witnessed that the witness signed it, too.
	own, witnessed bool
}

// verification is one on its way through a log.
type verification struct {
	config VerifyConfig
	report Report
	// pins are in order of their sizes, the reached ones taken away.
	pins []pinned
	// broken tells that a checkpoint did not fit: later ones cannot.
	broken bool

	edge    edge
	scratch []byte
	// file is the hash file, hashes what it has from the next record on; nil without one or behind its end.
	file   *os.File
	hashes *bufio.Reader
	// keys are those that are believed, replaced the records by which they were given up.
	keys     *Keys
	replaced map[uint32]uint64
	// former is the newest checkpoint that fits, of those by keys that were given up before the ones that are believed.
	former pinned
	// gone are the segments that were removed as the node signed.
	gone []RemovedSegment
	// unlike are the first records that are not those that were hashed.
	unlike []uint64
	// stray counts bytes behind the last record of the segment before, which no record of this log explained yet.
	stray int64
	read  int64
	all   int64
}

// Verify reads a whole log and compares it with what was signed. The error says why it could not; what is wrong
// with the log stands in the report.
func Verify(c VerifyConfig) (r Report, err error) {
	for range 3 {
		// A segment that was listed and is not there any more was removed meanwhile.
		if r, err = verify(c); !errors.Is(err, os.ErrNotExist) {
			break
		}
	}
	return r, err
}

func verify(c VerifyConfig) (Report, error) {
	v := &verification{config: c, replaced: map[uint32]uint64{}}
	changes, err := KeyChanges(c.Dir)
	if err != nil {
		return Report{}, err
	}
	v.keys = c.Keys.clone()
	v.keys.Follow(changes)
	if v.keys.twice {
		v.report.found(FoundForged, 0, "two keys have taken over from the same one: who had it besides the nodes made one of the changes")
	}
	// The checkpoint before the records: in a log that is in use it must not be of records that come meanwhile.
	if err := v.gather(); err != nil {
		return Report{}, err
	}
	hashes, err := openHashes(filepath.Join(c.Dir, hashesName), 0)
	if err == nil {
		defer func() { _ = hashes.Close() }()
		v.file, v.hashes = hashes, bufio.NewReaderSize(hashes, 64<<10)
	} else if len(v.pins) > 0 {
		v.report.Notes = append(v.report.Notes, "the hash file is missing: which record was changed cannot be said; a start of the server makes it again")
	}
	if err := v.segments(); err != nil {
		return Report{}, err
	}
	v.conclude()
	return v.report, nil
}

// gather collects the checkpoints.
func (v *verification) gather() error {
	beside, err := readBounded(filepath.Join(v.config.Dir, checkpointName), maxCheckpoint)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("read the checkpoint: %w", err)
	}
	all := v.config.Checkpoints
	if err == nil {
		all = append([]Signed{{From: checkpointName + " beside the segments", Note: beside}}, all...)
	} else {
		v.report.found(FoundUnproven, 0, "the checkpoint beside the segments is missing")
	}
	for _, signed := range all {
		c, err := OpenCheckpoint(signed.Note, v.keys)
		switch {
		case err != nil:
			v.report.found(FoundForged, 0, "%s is not signed by this key", signed.From)
			continue
		case v.report.Node == "":
			v.report.Node = c.Node
		case c.Node != v.report.Node:
			v.report.found(FoundForged, 0, "%s is of %s, and this log of %s", signed.From, c.Node, v.report.Node)
			continue
		}
		v.pin(pinned{Checkpoint: c, from: signed.From, witnessed: v.witnessed(signed.Note)})
	}
	if n := len(v.pins); n > 0 {
		v.report.Nodes = v.pins[n-1].Nodes
	}
	return nil
}

func (v *verification) witnessed(signed []byte) bool {
	if v.config.Witness == nil {
		return false
	}
	_, err := note.Open(signed, note.VerifierList(v.config.Witness))
	return err == nil
}

// fits counts a checkpoint that is of this log. By a key that was given up it is not proven: a later one has to cover
// the same.
func (v *verification) fits(p pinned) {
	r := &v.report
	r.Checkpoints++
	if p.witnessed {
		r.Witnessed = p.Size
	}
	if v.keys.Former(p.Checkpoint) {
		v.former = p
		return
	}
	r.Proven, r.ProvenAt = p.Size, p.At
}

// pin adds a checkpoint to those that the tree is compared with on its way.
func (v *verification) pin(p pinned) {
	v.pins = append(v.pins, p)
	slices.SortStableFunc(v.pins, func(a, b pinned) int { return cmp.Compare(a.Size, b.Size) })
}

// conclude says what only the end tells.
func (v *verification) conclude() {
	r := &v.report
	r.Size = v.edge.size
	if v.stray > 0 {
		r.found(FoundInserted, r.Size, "%d bytes stand behind the last record", v.stray)
	}
	for _, p := range v.pins {
		r.found(FoundCut, r.Size, "the log ends before record %d, and %s, of %s, covers %d records", r.Size, p.from, p.At.Format(time.RFC3339), p.Size)
	}
	harmless := 0
	for _, index := range v.unlike {
		if index < r.Proven {
			harmless++
			continue
		}
		r.found(FoundChanged, index, "record %d is not the one that was written", index)
	}
	if harmless > 0 {
		r.Notes = append(r.Notes, "the hash file is not that of the records, which are proven without it: a start of the server makes it again")
	}
	if p := v.former; p.Size > r.Proven {
		r.found(FoundForged, r.Proven, "%s, of %s, covers %d records under a key that was given up, and none by the key at hand does: "+
			"if the node was stopped before the change, verify with the key that it had", p.from, p.At.Format(time.RFC3339), p.Size)
	}
	if v.config.Witness != nil && r.Witnessed == 0 {
		r.found(FoundUnwitnessed, 0, "no checkpoint that fits is signed by the witness")
	} else if r.Proven > r.Witnessed && v.config.Witness != nil {
		r.Notes = append(r.Notes, fmt.Sprintf("%d records behind the newest checkpoint that the witness signed are proven by the node's key alone", r.Proven-r.Witnessed))
	}
	if r.Proven == 0 && len(r.Findings) == 0 {
		r.found(FoundUnproven, 0, "no checkpoint covers a record")
	}
	if r.Size > r.Proven && !v.broken {
		r.Notes = append(r.Notes, fmt.Sprintf("%d records behind the newest checkpoint are not proven yet", r.Size-r.Proven))
	}
	v.concludeRemoved()
}

// NodeOf tells whose log is in a directory, from its checkpoint or its first record, whoever wrote them.
func NodeOf(dir string) (string, error) {
	if c, _ := lastCheckpoint(dir); c.Node != "" {
		return c.Node, nil
	}
	node := ""
	err := Read(dir, 0, func(r Record, _ []byte) error { node = r.Node; return errEnough })
	if gap := new(GapError); errors.Is(err, errEnough) || errors.Is(err, ErrCorrupt) || errors.As(err, &gap) {
		err = nil
	}
	return node, err
}
