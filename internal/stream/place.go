package stream

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// place is how far a stream has come, as its file has it: the index of the record that is acknowledged next.
type place struct {
	V    int       `json:"v"`
	Next uint64    `json:"next"`
	At   time.Time `json:"at"`
}

const (
	placeVersion = 1
	placeSuffix  = ".json"
	maxPlace     = 4 << 10
)

// readPlace is the place in a file; there is none before the first record was acknowledged (fs.ErrNotExist).
func readPlace(path string) (place, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return place{}, err
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return place{}, errors.Join(err, fmt.Errorf("%s: not a regular file", path))
	}
	text, err := io.ReadAll(io.LimitReader(f, maxPlace))
	if err != nil {
		return place{}, err
	}
	var p place
	if err := json.Unmarshal(text, &p); err != nil || p.V != placeVersion {
		return place{}, fmt.Errorf("%s is not the place of a stream; without it the stream begins at the oldest record", path)
	}
	return p, nil
}

// writePlace replaces the file: after a crash, or a loss of power, it has this place or the one before.
func writePlace(path string, p place) error {
	text, err := json.Marshal(p)
	if err != nil {
		return err
	}
	temporary := path + ".new"
	f, err := os.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_TRUNC|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(append(text, '\n'))
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := os.Rename(temporary, path); err != nil {
		return err
	}
	d, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// rewind sets the place of a stream back. It is durable when this returns.
func (w *worker) rewind(next uint64, at time.Time) error {
	w.moving.Lock()
	defer w.moving.Unlock()
	w.mu.Lock()
	ahead := next >= w.next
	w.mu.Unlock()
	if ahead {
		return nil
	}
	if err := writePlace(w.path, place{V: placeVersion, Next: next, At: at}); err != nil {
		return err
	}
	w.mu.Lock()
	w.next, w.oldest = next, time.Time{}
	w.moved++
	w.mu.Unlock()
	select {
	case w.woken <- struct{}{}:
	default:
	}
	return nil
}
