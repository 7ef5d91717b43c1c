package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// maxFile is many times what any file takes that is read whole: keys, ids and certificates. A path that
// leads to something large is a mistake.
const maxFile = 1 << 20

// openRegular opens a file to read it. It looks at the open file rather than at the path, which could
// lead elsewhere a moment later, and does not wait for the writer of a named pipe: whoever puts one in
// the place of a file could otherwise stop every start without a word.
func openRegular(path string) (*os.File, fs.FileInfo, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil, err
	}
	info, err := f.Stat()
	if err == nil {
		err = checkRegular(path, info)
	}
	if err != nil {
		return nil, nil, errors.Join(err, f.Close())
	}
	return f, info, nil
}

// checkRegular refuses what has no content of its own: pipes, sockets, devices and directories.
func checkRegular(path string, info fs.FileInfo) error {
	if !info.Mode().IsRegular() {
		return hinted(fmt.Errorf("%s is not a regular file", path), "find out who put it there, and move it away")
	}
	return nil
}

// readFile reads a regular file whose mode gives others none of the refused rights; want is the mode to
// recommend.
func readFile(path string, refused, want fs.FileMode) (content []byte, err error) {
	f, info, err := openRegular(path)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if err := checkMode(path, info, refused, want); err != nil {
		return nil, err
	}
	if info.Size() > maxFile {
		return nil, fmt.Errorf("%s is too large to be what it should be", path)
	}
	return io.ReadAll(io.LimitReader(f, maxFile))
}

// readPrivate reads a file that nobody but its owner may use.
func readPrivate(path string) ([]byte, error) { return readFile(path, 0o077, 0o600) }

// readPublic reads a file whose content is no secret.
func readPublic(path string) ([]byte, error) { return readFile(path, 0, 0o600) }

// checkMode refuses a mode that gives others than the owner what is refused. want is the mode to recommend.
func checkMode(name string, info fs.FileInfo, refused, want fs.FileMode) error {
	if mode := info.Mode().Perm(); mode&refused != 0 {
		return hinted(fmt.Errorf("%s has mode %04o", name, mode),
			fmt.Sprintf("chmod %o it, after asking who else used it", want))
	}
	return nil
}
