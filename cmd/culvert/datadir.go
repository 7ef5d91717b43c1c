package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"culvert/internal/id"
)

// dataDir is the directory that this process owns. No second process may have it open: two audit logs
// would write over each other, and a second embedded etcd on the same files hangs without a word.
type dataDir struct {
	path string
	// lock is held from open to Close. The kernel lets go of it when the process dies, however it dies,
	// so no stale lock is ever in the way.
	lock *os.File
}

// openDataDir makes the directory (0700) if it is missing and locks it. One that others may write to is
// refused: they could put files of their own in the place of ours. It is not narrowed, because a path
// given by mistake can lead to anybody's directory. That others see its names does no harm: what is in
// it has modes of its own.
func openDataDir(path string) (*dataDir, error) {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, fmt.Errorf("data directory: %w", err)
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("data directory: %w", err)
	}
	if err := checkMode("data directory "+path, info, 0o022, 0o700); err != nil {
		return nil, err
	}
	lock, err := openLock(filepath.Join(path, "lock"))
	if err != nil {
		return nil, fmt.Errorf("data directory: %w", err)
	}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = lock.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, hinted(fmt.Errorf("another culvert process is using the data directory %s", path),
				"stop it, or give this one a directory of its own with the setting data_dir")
		}
		return nil, fmt.Errorf("lock the data directory %s: %w", path, err)
	}
	return &dataDir{path: path, lock: lock}, nil
}

// openLock opens the file that is locked, or makes it.
func openLock(path string) (*os.File, error) {
	lock, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|unix.O_NONBLOCK, 0o600)
	if err != nil {
		return nil, err
	}
	info, err := lock.Stat()
	if err == nil {
		err = checkRegular(path, info)
	}
	if err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return lock, nil
}

// Close lets another process have the directory.
func (d *dataDir) Close() error { return d.lock.Close() }

// file is a path inside the directory.
func (d *dataDir) file(name string) string { return filepath.Join(d.path, name) }

// nodeID returns the name of this replica, made on the first start. Audit records and events carry
// it, so it stays with the audit log for ever.
func (d *dataDir) nodeID(now time.Time) (string, error) {
	text, err := readPublic(d.file("node-id"))
	if errors.Is(err, fs.ErrNotExist) {
		node := "node_" + id.ULID(now)
		return node, d.write("node-id", []byte(node+"\n"))
	}
	if err != nil {
		return "", fmt.Errorf("node id: %w", err)
	}
	node := strings.TrimSuffix(string(text), "\n")
	if bare, ok := strings.CutPrefix(node, "node_"); !ok || !id.IsULID(bare) {
		return "", fmt.Errorf("%s does not hold a node id", d.file("node-id"))
	}
	return node, nil
}

// missing tells which of the names are not in the directory.
func (d *dataDir) missing(names ...string) ([]string, error) {
	var missing []string
	for _, name := range names {
		_, err := os.Stat(d.file(name))
		if errors.Is(err, fs.ErrNotExist) {
			missing = append(missing, name)
		} else if err != nil {
			return nil, fmt.Errorf("data directory: %w", err)
		}
	}
	return missing, nil
}

// write puts a new file (0600) into the directory. After a crash or a loss of power the file is there
// whole or not at all.
func (d *dataDir) write(name string, content []byte) error {
	if err := d.writeTemporary(name, content); err != nil {
		return fmt.Errorf("write %s: %w", d.file(name), err)
	}
	return d.settle(name)
}

// temporary is where a file stands until it is settled.
func (d *dataDir) temporary(name string) string { return d.file(name) + ".new" }

func (d *dataDir) writeTemporary(name string, content []byte) error {
	// One that a crash left behind is worth nothing, and its mode may be anything.
	if err := os.Remove(d.temporary(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := os.OpenFile(d.temporary(name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	return errors.Join(err, f.Sync(), f.Close())
}

// settle gives a file its name, durably.
func (d *dataDir) settle(name string) error {
	if err := os.Rename(d.temporary(name), d.file(name)); err != nil {
		return fmt.Errorf("write %s: %w", d.file(name), err)
	}
	// The name itself is in the directory's own blocks.
	dir, err := os.Open(d.path)
	if err != nil {
		return fmt.Errorf("write %s: %w", d.file(name), err)
	}
	if err := errors.Join(dir.Sync(), dir.Close()); err != nil {
		return fmt.Errorf("write %s: %w", d.file(name), err)
	}
	return nil
}
