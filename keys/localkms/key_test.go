package localkms_test

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"culvert/internal/secret"
	"culvert/keys"
	"culvert/keys/keystest"
	"culvert/keys/localkms"
)

// mustCreate makes a root key file and returns its path and text.
func mustCreate(t testing.TB) (string, []byte) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "root-key")
	if err := localkms.Create(path); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return path, text
}

func mustOpen(t testing.TB, path string) *localkms.Key {
	t.Helper()
	key, err := localkms.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func mustWrite(t testing.TB, text []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "root-key")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// mustRefuse wants Open to refuse in one line that names the path, says why, and holds nothing secret.
func mustRefuse(t testing.TB, path, why string) error {
	t.Helper()
	_, err := localkms.Open(path)
	switch {
	case err == nil:
		t.Errorf("%s: opened", why)
	case !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), why) || strings.Contains(err.Error(), "\n"):
		t.Errorf("want one line that names %s and says %q, got: %v", path, why, err)
	}
	return err
}

func TestRootKey(t *testing.T) {
	keystest.RunRootKeyTests(t, func(t *testing.T) keys.RootKey {
		path, _ := mustCreate(t)
		return mustOpen(t, path)
	})
}

func TestKeyIsTheSameAfterARestart(t *testing.T) {
	path, _ := mustCreate(t)
	before, after := mustOpen(t, path), mustOpen(t, path)
	if before.URI() != after.URI() || !strings.HasPrefix(before.URI(), "local:") {
		t.Errorf("URI %q became %q", before.URI(), after.URI())
	}
	share, b := secret.New(bytes.Repeat([]byte{7}, 32)), keys.Binding{Environment: "e", KEK: "k", Slot: keys.RootSlot}
	wrapped, err := before.Wrap(t.Context(), share, b)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := after.Unwrap(t.Context(), wrapped, b); err != nil || !got.Equal(share) {
		t.Errorf("unwrap after a restart: %v", err)
	}
	if err := after.Check(t.Context()); err != nil {
		t.Errorf("check: %v", err)
	}
}

func TestUnwrapRefusesWhatIsNotItsOwn(t *testing.T) {
	one, _ := mustCreate(t)
	two, _ := mustCreate(t)
	key, other := mustOpen(t, one), mustOpen(t, two)
	if key.URI() == other.URI() {
		t.Fatal("two keys have one URI")
	}
	b := keys.Binding{KEK: "k"}
	wrapped, err := other.Wrap(t.Context(), secret.New(make([]byte, 32)), b)
	if err != nil {
		t.Fatal(err)
	}
	for _, foreign := range [][]byte{wrapped, nil, []byte("x"), wrapped[:len(wrapped)-1]} {
		if _, err := key.Unwrap(t.Context(), foreign, b); !errors.Is(err, keys.ErrTampered) {
			t.Errorf("%d foreign bytes: %v, want %v", len(foreign), err, keys.ErrTampered)
		}
	}
	if _, err := other.Unwrap(t.Context(), wrapped, b); err != nil {
		t.Errorf("its own: %v", err)
	}
}

func TestCreateNeverOverwrites(t *testing.T) {
	path, before := mustCreate(t)
	if err := localkms.Create(path); !errors.Is(err, fs.ErrExist) || !strings.Contains(err.Error(), path) {
		t.Errorf("second create: %v, want %v with the path", err, fs.ErrExist)
	}
	// Not even what is no root key: it is somebody's.
	notOurs := mustWrite(t, []byte("a note"))
	if err := localkms.Create(notOurs); !errors.Is(err, fs.ErrExist) {
		t.Errorf("create over a note: %v, want %v", err, fs.ErrExist)
	}
	if after, err := os.ReadFile(path); err != nil || !bytes.Equal(before, after) {
		t.Errorf("the first key changed: %v", err)
	}
	mustOpen(t, path)
}

func TestCreateAtOnceMakesOneKey(t *testing.T) {
	path := filepath.Join(t.TempDir(), "root-key")
	results := make([]error, 16)
	var work sync.WaitGroup
	for i := range results {
		work.Go(func() { results[i] = localkms.Create(path) })
	}
	work.Wait()
	made := 0
	for _, err := range results {
		switch {
		case err == nil:
			made++
		case !errors.Is(err, fs.ErrExist):
			t.Errorf("who came late: %v, want %v", err, fs.ErrExist)
		}
	}
	if made != 1 {
		t.Errorf("%d keys were made, want 1", made)
	}
	mustOpen(t, path)
	if left, err := os.ReadDir(filepath.Dir(path)); err != nil || len(left) != 1 {
		t.Errorf("%d files in the directory, %v; want the key alone", len(left), err)
	}
}

func TestModeIs0600(t *testing.T) {
	path := filepath.Join(t.TempDir(), "root-key")
	old := syscall.Umask(0o277) // takes away more than a key file can spare
	err := localkms.Create(path)
	syscall.Umask(old)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode() != 0o600 {
		t.Fatalf("mode %v, %v; want -rw-------", info.Mode(), err)
	}
	for _, mode := range []fs.FileMode{0o644, 0o640, 0o660, 0o606, 0o700, 0o400, 0o666} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		mustRefuse(t, path, "chmod 600")
	}
	if err := os.Chmod(path, 0o600); err != nil {
		t.Fatal(err)
	}
	mustOpen(t, path)
}

func TestOpenSaysWhatIsWrong(t *testing.T) {
	path, text := mustCreate(t)
	id := strings.TrimPrefix(mustOpen(t, path).URI(), "local:")
	missing := filepath.Join(t.TempDir(), "none")
	if err := mustRefuse(t, missing, "is missing"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing file: %v, want %v", err, fs.ErrNotExist)
	}
	_, other := mustCreate(t)
	edit := func(from, to string) []byte { return bytes.Replace(text, []byte(from), []byte(to), 1) }
	for why, bad := range map[string][]byte{
		"is empty":                  nil,
		"is truncated":              text[:len(text)/2],
		"is not a root key":         []byte("correct horse battery staple\n"),
		"more than one":             append(bytes.Clone(text), other...),
		"later version":             edit("Format: 1", "Format: 2"),
		"it has no key id":          edit("Id: "+id, "Id: ../../etc"),
		"the checksum of key " + id: edit("Checksum: ", "Checksum: 0"),
		"the checksum of key 0":     edit("Id: "+id, "Id: 0123456789abcdef"),
		"is too large":              bytes.Repeat([]byte("x"), 1<<17),
	} {
		mustRefuse(t, mustWrite(t, bad), why)
	}
	for _, n := range []int{1, 50, 100, 190, len(text) - 2} {
		mustRefuse(t, mustWrite(t, text[:n]), "is truncated")
	}
	mustRefuse(t, t.TempDir(), "not a regular file")
	mustOpen(t, mustWrite(t, append([]byte("# a note of the operator\n"), text...)))
}

// A key that is opened is the key that was written: damage anywhere is found, or changes nothing.
func TestDamageIsFound(t *testing.T) {
	path, text := mustCreate(t)
	genuine := mustOpen(t, path)
	b := keys.Binding{KEK: "k"}
	wrapped, err := genuine.Wrap(t.Context(), secret.New(make([]byte, 32)), b)
	if err != nil {
		t.Fatal(err)
	}
	refused := 0
	check := func(damaged []byte) {
		t.Helper()
		key, err := localkms.Open(mustWrite(t, damaged))
		if err != nil {
			refused++
			return
		}
		if _, err := key.Unwrap(t.Context(), wrapped, b); err != nil || key.URI() != genuine.URI() {
			t.Errorf("another key was opened from %q", damaged)
		}
	}
	for i := range text {
		flipped := bytes.Clone(text)
		flipped[i] ^= 1
		check(flipped)
	}
	for i := range len(text) - 1 { // the last newline can be spared
		check(text[:i])
	}
	if refused < len(text) {
		t.Errorf("only %d of %d damaged files were refused", refused, 2*len(text)-1)
	}
}

// A named pipe at the path must not hold the start up for ever.
func TestPipeIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "root-key")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	mustRefuse(t, path, "not a regular file")
}
