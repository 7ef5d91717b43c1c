package audit

import "golang.org/x/mod/sumdb/tlog"

// MaxLine is the bound of a line.
const MaxLine = maxLine

// File and OpenFile are where tests put faults.
type (
	File     = file
	OpenFile = openFile
)

// OSOpen opens without faults.
func OSOpen() OpenFile { return osOpen }

// OpenWith is Open with a disk that can be made to fail.
func OpenWith(c Config, open OpenFile) (*Log, error) { return openLog(c, open) }

// Queued is how many records wait for the writer, and whether more are taken.
func (l *Log) Queued() (n int, closed bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.queue), l.closed
}

// Line returns a whole line as the writer composes it from head and tail.
func Line(dst []byte, index uint64, at, node string, r *Record) []byte {
	return appendTail(appendHead(dst, index, []byte(at), []byte(node)), r)
}

// Parse is the strict reading of one line.
func Parse(line []byte) (Record, error) { return parse(line) }

// Edge is the right edge of a tree.
type Edge = edge

// Add is edge.add.
func (e *edge) Add(leaf tlog.Hash, dst []byte) []byte { return e.add(leaf, dst) }

// Root is edge.root.
func (e *edge) Root() (tlog.Hash, error) { return e.root() }

// RootOf is the root of the log's tree as it is.
func (l *Log) RootOf() (uint64, tlog.Hash) {
	now := l.tree.now()
	root, _ := now.root()
	return now.size, root
}
