package main_test

import (
	"bytes"
	"errors"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"culvert/internal/audit"
	"culvert/internal/etcd/etcdtest"
)

// TestTamperedRecords edits in etcd what only the program as a whole looks at: the record of the API key
// that a running process is asked with, and the record of the environment that a start begins with, which
// culvert verify finds before that. Both leave an audit record; internal/attack does the same to every other record.
func TestTamperedRecords(t *testing.T) {
	endpoint := etcdtest.Listening(t)
	writer := etcdtest.NewWriter(t, "/culvert", endpoint)
	addrs, err := freeAddrs(1)
	if err != nil {
		t.Fatal(err)
	}
	dir, flags := filepath.Join(t.TempDir(), "data"), []string{"--set", "etcd.endpoints=" + endpoint}
	p := MustStartDev(t, dir, addrs[0], flags...)
	api := MustAPI(t, p.Base, dir)
	list := func(want int) {
		t.Helper()
		if status, err := api.Call("GET", "/vault/v1/kv", nil, nil, &struct{}{}); err != nil || status != want {
			t.Errorf("list: status %d, %v; want %d", status, err, want)
		}
	}
	list(200)

	// Case: the API key's record.
	key, value := mustKind(t, writer, "apikey")
	writer.MustPut(t, key, flipped(value))
	list(401)
	mustRecord(t, dir, "access.key.check", filepath.Base(key))
	writer.MustPut(t, key, value)
	list(200)

	// Case: the environment's record. Who runs already holds its keys.
	key, value = mustKind(t, writer, "env")
	writer.MustPut(t, key, flipped(value))
	list(200)
	report := mustFail(t, 1, "verify", "--server", p.Base, "--key-file", filepath.Join(dir, "root-api-key"))
	if !strings.Contains(report, "integrity_failure  "+key+"\n") || !strings.Contains(report, "cannot be opened: 1\n") ||
		!strings.Contains(report, "writes to etcd") || strings.Contains(report, "refuses") {
		t.Errorf("culvert verify says\n%s", report)
	}
	p.MustStop(t)
	out, err := exec.Command("culvert", append([]string{"dev", "--addr", addrs[0], "--data-dir", dir}, flags...)...).CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 1 || !bytes.Contains(out, []byte("does not open this store")) {
		t.Errorf("start on an edited environment: %v\n%s", err, out)
	}
	mustRecord(t, dir, "keys.environment.open", "")
	writer.MustPut(t, key, value)
	MustStartDev(t, dir, addrs[0], flags...)
	list(200)
}

// mustKind finds the one record of a kind.
func mustKind(t *testing.T, w *etcdtest.Writer, kind string) (string, []byte) {
	t.Helper()
	for key, value := range w.MustAll(t) {
		if strings.HasPrefix(key, kind+"/") {
			return key, value
		}
	}
	t.Fatalf("no record of the kind %s", kind)
	return "", nil
}

// flipped has one bit of its last byte flipped.
func flipped(value []byte) []byte {
	b := bytes.Clone(value)
	b[len(b)-1] ^= 1
	return b
}

// mustRecord checks that the last audit record of an integrity failure is of this action and key.
func mustRecord(t *testing.T, dir, action, key string) {
	t.Helper()
	var last audit.Record
	err := audit.Read(filepath.Join(dir, "audit"), 0, func(r audit.Record, _ []byte) error {
		if r.Code == "integrity_failure" {
			last = r
		}
		return nil
	})
	if err != nil || string(last.Action) != action || last.KeyID != key || last.Phase != audit.Internal || last.Result != audit.Failed {
		t.Errorf("audit record of the integrity failure: %+v, %v; want %s of %q", last, err, action, key)
	}
}
