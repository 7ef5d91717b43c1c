package journal

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"culvert/internal/outage"
)

// Defaults and bounds.
const (
	// MaxEntry bounds one entry.
	MaxEntry = 256 << 10
	// defaultMaxBytes bounds the file.
	defaultMaxBytes = 16 << 20
	// chunk is by how much the file grows.
	chunk = 256 << 10
	// patience is how long one call to the disk may take before the journal counts as failing.
	patience = 5 * time.Second
)

// Config says where a [Journal] is.
type Config struct {
	// Path is the file; required. Its directory must exist.
	Path string
	// MaxBytes bounds the file; default 16 MiB. When it is full no room is given until entries are removed.
	MaxBytes int64
	// Logger is told of damaged entries and of failures; default none.
	Logger *slog.Logger
}

// Journal is an open file of entries. It is safe for concurrent use.
type Journal struct {
	path string
	max  int64
	log  *slog.Logger
	open openFile

	// fault is why nothing can be written now; nil if nothing is wrong.
	fault atomic.Pointer[error]
	// writing and fsyncing are when the call to the disk under way began, in nanoseconds since born, 0 if
	// there is none: a disk that hangs gives no error.
	writing, fsyncing atomic.Int64
	born              time.Time

	// syncing is held for an fsync, and while the file is replaced; it is taken before mu.
	syncing sync.Mutex
	mu      sync.Mutex
	// All below are guarded by mu. file is nil once the journal is closed.
	file file
	// end is where the next frame goes, size how far the file has blocks, reserved how much of that was promised.
	end, size, reserved int64
	// suspect means that what is in the file is not known: it is replaced before anything is written.
	suspect bool
	// entries are those not removed; they are kept in memory because a file that failed cannot be read.
	entries map[uint64][]byte
	// held are the bytes of entries, with their frames.
	held int64
	last uint64
	// written counts appends, synced those of them that an fsync has covered.
	written, synced uint64
}

// Entry is one that was not removed when the journal was opened.
type Entry struct {
	ID   uint64
	Body []byte
}

// Open reads the file, or makes it, and writes what it held to a new one: so a torn end is gone, and a
// directory that cannot be written is noticed now.
func Open(c Config) (*Journal, error) { return openJournal(c, osOpen) }

func openJournal(c Config, open openFile) (*Journal, error) {
	if c.Path == "" {
		return nil, errors.New("journal: Config.Path is required")
	}
	if c.MaxBytes == 0 {
		c.MaxBytes = defaultMaxBytes
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	j := &Journal{path: c.Path, max: c.MaxBytes, log: c.Logger, open: open, born: time.Now(), entries: map[uint64][]byte{}}
	found, damaged, err := readFile(c.Path)
	if err != nil {
		return nil, fmt.Errorf("open journal: %w", err)
	}
	if damaged > 0 {
		j.log.Warn("journal: bytes that are no whole entry were cut", slog.String("path", c.Path), slog.Int64("bytes", damaged))
	}
	for _, body := range found {
		j.last++
		j.entries[j.last] = body
		j.held += frameBytes(body)
	}
	if err := j.replace(); err != nil {
		return nil, fmt.Errorf("open journal: %w", err)
	}
	return j, nil
}

// Entries are those not removed, oldest first.
func (j *Journal) Entries() []Entry {
	j.mu.Lock()
	defer j.mu.Unlock()
	all := make([]Entry, 0, len(j.entries))
	for _, id := range slices.Sorted(maps.Keys(j.entries)) {
		all = append(all, Entry{id, j.entries[id]})
	}
	return all
}

// Room is a place for one entry. It is used once, or released.
type Room struct {
	journal *Journal
	bytes   int64
}

// Reserve takes room for an entry of up to n bytes. The error is an outage.Error that names the journal:
// the disk is full or read-only, the file is full, or its disk hangs.
func (j *Journal) Reserve(n int) (*Room, error) {
	if n > MaxEntry {
		return nil, fmt.Errorf("journal: an entry of %d bytes", n)
	}
	need := int64(n + headerBytes)
	for {
		j.mu.Lock()
		rewrite, err := j.reserve(need)
		j.mu.Unlock()
		if err == nil && rewrite {
			err = j.rewrite()
		}
		if err != nil {
			return nil, j.failed(err)
		}
		if !rewrite {
			j.fault.Store(nil)
			return &Room{j, need}, nil
		}
	}
}

var (
	errClosed = errors.New("journal closed")
	errFull   = errors.New("journal is full of entries that could not be stored")
)

// reserve takes room in the file, or tells that it has to be written anew first: it is not to be trusted,
// or mostly entries that were removed.
func (j *Journal) reserve(need int64) (rewrite bool, err error) {
	if j.file == nil {
		return false, errClosed
	}
	defer j.watched(&j.writing)()
	if j.suspect || j.lost() {
		return true, nil
	}
	whole := j.end + j.reserved + need
	if whole > j.size && j.end > 2*j.held+chunk {
		return true, nil
	}
	if whole > j.max {
		return false, errFull
	}
	for whole > j.size {
		if err := j.extend(); err != nil {
			return false, err
		}
	}
	// What is there to be written over is zeros: a disk that became read-only says so now.
	if _, err := j.file.WriteAt(make([]byte, headerBytes), j.end); err != nil {
		return false, err
	}
	j.reserved += need
	return false, nil
}

// extend gives the file more blocks, durably: what is written into them later needs none.
func (j *Journal) extend() error {
	if _, err := j.file.WriteAt(make([]byte, chunk), j.size); err != nil {
		j.suspect = true
		return err
	}
	if err := j.file.Sync(); err != nil {
		j.suspect = true
		return err
	}
	j.size += chunk
	return nil
}

// Release gives the room back.
func (r *Room) Release() {
	j := r.journal
	j.mu.Lock()
	defer j.mu.Unlock()
	j.reserved -= r.bytes
	r.bytes = 0
}

// Append writes the entry and returns its id once it is on the disk. After an error of the file a new one is
// made with all entries; if that fails too, the entry is kept in memory, and written as soon as anything can
// be, until it is removed.
func (r *Room) Append(body []byte) (uint64, error) {
	j := r.journal
	defer r.Release()
	if len(body) == 0 || frameBytes(body) > r.bytes {
		return 0, fmt.Errorf("journal: an entry of %d bytes in a room of %d", frameBytes(body), r.bytes)
	}
	id, sequence, err := j.append(body)
	if err == nil {
		err = j.sync(sequence)
	}
	if err != nil && !errors.Is(err, errClosed) {
		j.log.Warn("journal: written anew", slog.String("path", j.path), slog.Any("error", err))
		err = j.rewrite()
	}
	if err != nil {
		return id, j.failed(err)
	}
	return id, nil
}

func (j *Journal) append(body []byte) (id, sequence uint64, err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.file == nil {
		return 0, 0, errClosed
	}
	defer j.watched(&j.writing)()
	j.last++
	j.entries[j.last] = slices.Clone(body)
	j.held += frameBytes(body)
	if j.suspect {
		return j.last, 0, errSuspect
	}
	if _, err := j.file.WriteAt(frame(body), j.end); err != nil {
		j.suspect = true
		return j.last, 0, err
	}
	j.end += frameBytes(body)
	j.written++
	return j.last, j.written, nil
}

var errSuspect = errors.New("an earlier write failed")

// sync returns once an fsync that began after the write of this sequence has ended. Whoever waits for one
// under way finds that the next one is for all who wait.
func (j *Journal) sync(sequence uint64) error {
	j.syncing.Lock()
	defer j.syncing.Unlock()
	j.mu.Lock()
	f, upTo, done := j.file, j.written, j.synced >= sequence
	j.mu.Unlock()
	if done {
		return nil
	}
	if f == nil {
		return errClosed
	}
	defer j.watched(&j.fsyncing)()
	err := f.Sync()
	j.mu.Lock()
	defer j.mu.Unlock()
	if err != nil {
		// The kernel may have dropped the pages, and will say that all is well from now on.
		j.suspect = true
		return err
	}
	j.synced = max(j.synced, upTo)
	return nil
}

// Remove forgets an entry. When none is left the file is zeros again.
func (j *Journal) Remove(id uint64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	body, ok := j.entries[id]
	if !ok {
		return
	}
	delete(j.entries, id)
	j.held -= frameBytes(body)
	if len(j.entries) > 0 || j.file == nil || j.suspect {
		return
	}
	defer j.watched(&j.writing)()
	if _, err := j.file.WriteAt(make([]byte, j.end), 0); err != nil {
		j.suspect = true
		return
	}
	j.end = 0
}

// Health is nil while entries can be written, else an outage.Error. A journal that failed is tried again.
func (j *Journal) Health() error {
	for _, began := range []*atomic.Int64{&j.writing, &j.fsyncing} {
		if at := began.Load(); at != 0 && time.Since(j.born)-time.Duration(at) > patience {
			return down(errors.New("disk hangs"), j.path)
		}
	}
	fault := j.fault.Load()
	if fault == nil {
		return nil
	}
	if j.writing.Load() != 0 {
		return down(*fault, j.path) // whoever is at the disk finds out
	}
	room, err := j.Reserve(0)
	if err != nil {
		return err
	}
	room.Release()
	return nil
}

// failed notes what is wrong and names the journal.
func (j *Journal) failed(err error) error {
	if j.fault.Swap(&err) == nil {
		j.log.Error("journal cannot be written", slog.String("path", j.path), slog.Any("error", err))
	}
	return down(err, j.path)
}

func down(err error, path string) error {
	return &outage.Error{Dependency: outage.Journal, Cause: fmt.Errorf("journal %s: %w", path, err)}
}

// watched notes that a call to the disk is under way until the function it returns is called.
func (j *Journal) watched(began *atomic.Int64) func() {
	began.Store(int64(time.Since(j.born)) + 1)
	return func() { began.Store(0) }
}

// Close closes the file. Entries that were not removed are there when it is opened again.
func (j *Journal) Close() error {
	j.syncing.Lock()
	defer j.syncing.Unlock()
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.file == nil {
		return nil
	}
	err := j.file.Close()
	j.file = nil
	return err
}
