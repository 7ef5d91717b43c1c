package audit_test

import (
	"os"
	"sync"
	"sync/atomic"

	"culvert/internal/audit"
)

// disk is a disk with faults. All fields are under mu.
type disk struct {
	mu sync.Mutex
	// write, truncate, sync and create are the errors to return; write lets half of the bytes through
	// first, as a disk does that becomes full.
	write, truncate, sync, create error
	// hang blocks writes while it is not nil, until it is closed.
	hang chan struct{}
	// hanging counts the writes that are blocked; it is not under mu.
	hanging atomic.Int64
}

func (d *disk) set(change func(d *disk)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	change(d)
}

func (d *disk) open(path string, flag int, mode os.FileMode) (audit.File, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.create != nil && flag&os.O_CREATE != 0 {
		return nil, &os.PathError{Op: "open", Path: path, Err: d.create}
	}
	f, err := audit.OSOpen()(path, flag, mode)
	if err != nil {
		return nil, err
	}
	return &faultyFile{File: f, disk: d, path: path}, nil
}

type faultyFile struct {
	audit.File
	disk *disk
	path string
}

func (f *faultyFile) Write(b []byte) (int, error) {
	f.disk.mu.Lock()
	err, hang := f.disk.write, f.disk.hang
	f.disk.mu.Unlock()
	if hang != nil {
		f.disk.hanging.Add(1)
		<-hang
		f.disk.hanging.Add(-1)
	}
	if err == nil {
		return f.File.Write(b)
	}
	n, _ := f.File.Write(b[:len(b)/2])
	return n, &os.PathError{Op: "write", Path: f.path, Err: err}
}

func (f *faultyFile) Truncate(size int64) error {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if f.disk.truncate != nil {
		return &os.PathError{Op: "truncate", Path: f.path, Err: f.disk.truncate}
	}
	return f.File.Truncate(size)
}

func (f *faultyFile) Sync() error {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if f.disk.sync != nil {
		return f.disk.sync
	}
	return f.File.Sync()
}
