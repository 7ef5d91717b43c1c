package localkms

import (
	"bytes"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/tink-crypto/tink-go/v2/insecurecleartextkeyset"
	"github.com/tink-crypto/tink-go/v2/keyset"
)

const (
	blockType = "CULVERT LOCAL ROOT KEY"
	format    = "1"
	mode      = fs.FileMode(0o600)
	// idSize is random bytes: enough that no two keys of one operator meet.
	idSize = 8
	// maxFile is many times what a keyset takes; a path that leads to something large is a mistake.
	maxFile = 64 << 10

	preamble = "# A root key of Culvert. Whoever reads this file can open every secret stored under it,\n" +
		"# and without it none can be opened again. Keep a copy in a safe place, and its mode 0600.\n"
)

// encode renders the file of a key. The result is as secret as the key.
func encode(id string, h *keyset.Handle) ([]byte, error) {
	var raw bytes.Buffer
	if err := insecurecleartextkeyset.Write(h, keyset.NewBinaryWriter(&raw)); err != nil {
		return nil, fmt.Errorf("localkms: write keyset: %w", err)
	}
	return append([]byte(preamble), pem.EncodeToMemory(&pem.Block{
		Type:    blockType,
		Headers: map[string]string{"Format": format, "Id": id, "Checksum": checksum(id, raw.Bytes())},
		Bytes:   raw.Bytes(),
	})...), nil
}

// decode is the reverse. Its errors are clauses that go behind the path, and hold nothing of the file.
func decode(text []byte) (id string, h *keyset.Handle, err error) {
	block, rest := pem.Decode(text)
	switch {
	case len(bytes.TrimSpace(text)) == 0:
		return "", nil, errors.New("is empty")
	case block == nil && (bytes.Contains(text, []byte("-----BEGIN "+blockType)) || beginsLikeOurs(text)):
		return "", nil, errors.New("is truncated or damaged: restore it from a copy")
	case block == nil || block.Type != blockType:
		return "", nil, errors.New("is not a root key of Culvert")
	case len(bytes.TrimSpace(rest)) != 0:
		return "", nil, errors.New("holds more than one root key")
	case block.Headers["Format"] != format:
		return "", nil, errors.New("was written by a later version of Culvert")
	}
	id = block.Headers["Id"]
	if raw, err := hex.DecodeString(id); err != nil || len(raw) != idSize || strings.ToLower(id) != id {
		return "", nil, errors.New("is damaged: it has no key id; restore it from a copy")
	}
	want := checksum(id, block.Bytes)
	if subtle.ConstantTimeCompare([]byte(want), []byte(block.Headers["Checksum"])) != 1 {
		return "", nil, fmt.Errorf("is damaged: the checksum of key %s does not fit; restore it from a copy", id)
	}
	h, err = insecurecleartextkeyset.Read(keyset.NewBinaryReader(bytes.NewReader(block.Bytes)))
	if err != nil {
		return "", nil, fmt.Errorf("holds no keyset for key %s", id)
	}
	return id, h, nil
}

// beginsLikeOurs reports a file that was cut off before its block, however early.
func beginsLikeOurs(text []byte) bool {
	n := min(len(text), len(preamble))
	return string(text[:n]) == preamble[:n]
}

func checksum(id string, raw []byte) string {
	sum := sha256.New()
	for _, field := range []string{"culvert/local-root-key/v1", format, id} {
		sum.Write([]byte(field))
		sum.Write([]byte{0})
	}
	sum.Write(raw)
	return hex.EncodeToString(sum.Sum(nil))
}

// read loads a file that nobody but its owner can read. It looks at the open file rather than at the
// path, which could lead elsewhere a moment later, and does not wait for the writer of a named pipe.
func read(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("localkms: root key file %s is missing: %w", path, fs.ErrNotExist)
	case err != nil:
		return nil, fmt.Errorf("localkms: root key file: %w", err)
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	switch {
	case err != nil:
		return nil, fmt.Errorf("localkms: root key file: %w", err)
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("localkms: root key file %s is not a regular file", path)
	case info.Mode().Perm() != mode:
		return nil, fmt.Errorf("localkms: root key file %s has mode %04o: chmod 600 it, after asking who could read it",
			path, info.Mode().Perm())
	case info.Size() > maxFile:
		return nil, fmt.Errorf("localkms: root key file %s is too large to be one", path)
	}
	text, err := io.ReadAll(io.LimitReader(f, maxFile))
	if err != nil {
		return nil, fmt.Errorf("localkms: root key file: %w", err)
	}
	return text, nil
}

// write puts a new file in place, whole and durable or not at all: it is written and synced under
// another name, then linked to its own, which fails if that is taken. A crash leaves at most the other
// name behind, never half a key at the path.
func write(path string, text []byte) (err error) {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, ".root-key-*") // mode 0600 from the first moment
	if err != nil {
		return fmt.Errorf("localkms: create root key file: %w", err)
	}
	defer func() { _ = os.Remove(f.Name()) }()
	if err := fill(f, text); err != nil {
		return fmt.Errorf("localkms: create root key file: %w", err)
	}
	switch err := os.Link(f.Name(), path); {
	case errors.Is(err, fs.ErrExist):
		return fmt.Errorf("localkms: %s exists already and may be the only copy of a root key: %w", path, fs.ErrExist)
	case err != nil:
		return fmt.Errorf("localkms: create root key file: %w", err)
	}
	return syncDir(dir)
}

func fill(f *os.File, text []byte) error {
	_, err := f.Write(text)
	if err == nil {
		err = f.Chmod(mode) // whatever the umask took away
	}
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// syncDir makes the name durable too: secrets may be acknowledged under the key a moment from now.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("localkms: sync directory: %w", err)
	}
	if err := errors.Join(d.Sync(), d.Close()); err != nil {
		return fmt.Errorf("localkms: sync directory: %w", err)
	}
	return nil
}
