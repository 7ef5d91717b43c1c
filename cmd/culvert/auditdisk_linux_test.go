package main_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"culvert/internal/etcd/etcdtest"
)

// diskSecret is in everything that these tests store: no answer may have it while no record can be written.
const diskSecret = "canary-of-the-disk"

// audited is a server and the directory of its audit log, as the test reaches it.
type audited struct {
	*API
	process *Process
	// dir is the log, by a path that leads there for the test too, see space.
	dir string
	// publicKey is a file with that of its checkpoints.
	publicKey string
	// object is one that was stored while all was well.
	object string
	// slowest is the longest that a request took while the log failed.
	slowest time.Duration
}

// mustAudit starts a server whose data directory is dir, in a space of its own if there is one. etcd is
// elsewhere, so that what is done to the disk is done to the audit log.
func mustAudit(t *testing.T, dir string, in *space) *audited {
	t.Helper()
	addrs, err := freeAddrs(1)
	if err != nil {
		t.Fatal(err)
	}
	args := append(in.enter(), "culvert", "dev", "--addr", addrs[0], "--data-dir", dir, "--set", "etcd.endpoints="+etcdtest.Listening(t))
	p := mustStartProgram(t, args[0], args[1:]...)
	p.Base = "http://" + addrs[0]
	p.mustBeReady(t, nil)
	a := &audited{API: MustAPI(t, p.Base, dir), process: p, dir: in.path(filepath.Join(dir, "audit"))}
	a.object = a.mustStore(t, "before")
	a.publicKey = filepath.Join(t.TempDir(), "key")
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		key, err := os.ReadFile(filepath.Join(a.dir, "key"))
		if err == nil {
			must(t, os.WriteFile(a.publicKey, key, 0o600))
			return a
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

func (a *audited) mustStore(t *testing.T, name string) (id string) {
	t.Helper()
	status, text := a.say(t, "POST", "/vault/v1/kv", storing(name))
	var made storedObject
	if err := json.Unmarshal([]byte(text), &made); err != nil || status != http.StatusCreated {
		t.Fatalf("create %s: %d %s", name, status, text)
	}
	return made.ID
}

func storing(name string) string {
	return fmt.Sprintf(`{"name":%q,"value":%q,"key_context":{}}`, name, diskSecret)
}

// mustRefuse wants refusals that name the audit log, without a secret, of whatever gives or takes one, and
// readiness that is red and says so. Requests that were let through before the log noticed are no fault: their
// records were written.
func (a *audited) mustRefuse(t *testing.T, fault string) {
	t.Helper()
	const refused = `"code":"audit_unavailable"`
	for since := time.Now(); ; {
		// The first that is refused has waited for the disk.
		began := time.Now()
		status, text := a.say(t, "GET", "/vault/v1/kv/"+a.object, "")
		a.slowest = max(a.slowest, time.Since(began))
		if status == http.StatusServiceUnavailable && strings.Contains(text, refused) {
			break
		}
		if status != http.StatusOK || time.Since(since) > time.Minute {
			t.Fatalf("%s: a read: %d %s", fault, status, text)
		}
	}
	for _, call := range [][3]string{
		{"GET", "/vault/v1/kv/" + a.object, ""},
		{"GET", "/vault/v1/kv/name/before", ""},
		{"GET", "/vault/v1/kv", ""},
		{"POST", "/vault/v1/keys/data-key", `{"context":{}}`},
		{"POST", "/vault/v1/kv", storing("during-" + fault)},
		{"PUT", "/vault/v1/kv/" + a.object, `{"value":"overwritten"}`},
		{"DELETE", "/vault/v1/kv/" + a.object, ""},
		{"GET", "/culvert/v1/api-keys", ""},
	} {
		began := time.Now()
		status, text := a.say(t, call[0], call[1], call[2])
		a.slowest = max(a.slowest, time.Since(began))
		if status != http.StatusServiceUnavailable || !strings.Contains(text, refused) || strings.Contains(text, diskSecret) {
			t.Errorf("%s: %s %s: %d %s", fault, call[0], call[1], status, text)
		}
	}
	a.await(t, "GET", "/readyz", "", 503, `{"name":"audit","status":"unready","reason":"audit records cannot be written"}`)
}

// mustRecover wants everything back without a restart, nothing done that was refused, and a log that says
// what it went through.
func (a *audited) mustRecover(t *testing.T, fault, code string) {
	t.Helper()
	a.await(t, "GET", "/vault/v1/kv/"+a.object, "", 200, diskSecret)
	a.await(t, "GET", "/readyz", "", 200, `{"name":"audit","status":"ready"`)
	if status, text := a.say(t, "GET", "/vault/v1/kv/name/during-"+fault, ""); status != http.StatusNotFound {
		t.Errorf("%s: a create that was refused: %d %s", fault, status, text)
	}
	a.mustStore(t, "after-"+fault)
	if !slices.Contains(a.recorded(t), "audit.log.resumed "+code) {
		t.Errorf("%s: the log does not say that it was failing: %q", fault, a.recorded(t))
	}
}

// recorded are the log's records about itself, with their codes.
func (a *audited) recorded(t *testing.T) (own []string) {
	t.Helper()
	out, err := exec.Command("culvert", "audit", "export", "--dir", a.dir, "--action", "audit.log.resumed").CombinedOutput()
	if err != nil {
		t.Fatalf("audit export: %v\n%s", err, out)
	}
	for line := range strings.Lines(string(out)) {
		var r struct{ Action, Code string }
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatalf("audit export: %v: %s", err, line)
		}
		own = append(own, r.Action+" "+r.Code)
	}
	return own
}

// mustVerify stops the server and proves its log.
func (a *audited) mustVerify(t *testing.T) {
	t.Helper()
	a.process.MustStop(t)
	out, err := exec.Command("culvert", "audit", "verify", "--dir", a.dir, "--key", a.publicKey).CombinedOutput()
	if err != nil || !strings.Contains(string(out), ", 0 findings") {
		t.Errorf("audit verify: %v\n%s", err, out)
	}
	t.Logf("the slowest refusal took %v\n%s", a.slowest, out)
	if a.slowest > 10*time.Second {
		t.Errorf("a refusal took %v", a.slowest)
	}
}

// TestAuditFileCannotGrow: the kernel refuses to let a file grow, in the middle of a record, as a full disk does.
func TestAuditFileCannotGrow(t *testing.T) {
	t.Parallel()
	a := mustAudit(t, filepath.Join(t.TempDir(), "d"), nil)
	segments, err := filepath.Glob(filepath.Join(a.dir, "*.jsonl"))
	if err != nil || len(segments) != 1 {
		t.Fatalf("segments: %v, %v", segments, err)
	}
	info, err := os.Stat(segments[0])
	if err != nil {
		t.Fatal(err)
	}
	var limit unix.Rlimit
	pid := a.process.cmd.Process.Pid
	if err := unix.Prlimit(pid, unix.RLIMIT_FSIZE, nil, &limit); err != nil {
		t.Fatal(err)
	}
	if err := unix.Prlimit(pid, unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: uint64(info.Size()) + 10, Max: limit.Max}, nil); err != nil {
		t.Fatal(err)
	}
	a.mustRefuse(t, "limit")
	if err := unix.Prlimit(pid, unix.RLIMIT_FSIZE, &limit, nil); err != nil {
		t.Fatal(err)
	}
	a.mustRecover(t, "limit", "write_failed")
	a.mustVerify(t)
}

// TestAuditDirectoryTakenAway: something else stands in the place of the directory, or nothing that a directory
// could be made in; what was there is put back.
func TestAuditDirectoryTakenAway(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "d")
	a := mustAudit(t, dir, nil)
	for _, tc := range []struct {
		fault string
		put   func(path string) error
	}{
		{"fifo", func(path string) error { return syscall.Mkfifo(path, 0o600) }},
		{"dangling link", func(path string) error { return os.Symlink("nowhere/at/all", path) }},
	} {
		beside := filepath.Join(dir, "beside")
		must(t, tc.put(beside))
		exchange(t, a.dir, beside)
		a.mustRefuse(t, tc.fault)
		exchange(t, a.dir, beside)
		must(t, os.Remove(beside))
		a.mustRecover(t, tc.fault, "segment_moved")
	}
	a.mustVerify(t)
}

// TestAuditFilesTakenAway: the log makes what was taken from its directory again, and what stands in the way of that
// keeps no request waiting; but it says what became of its records.
func TestAuditFilesTakenAway(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "d")
	a := mustAudit(t, dir, nil)
	hashes := filepath.Join(a.dir, "hashes")
	must(t, os.Remove(hashes))
	must(t, syscall.Mkfifo(hashes, 0o600))
	a.await(t, "GET", "/readyz", "", 503, `{"name":"audit","status":"unready"`)
	a.await(t, "GET", "/vault/v1/kv/"+a.object, "", 200, diskSecret)
	must(t, os.Remove(hashes))
	a.await(t, "GET", "/readyz", "", 200, `{"name":"audit","status":"ready"`)
	for _, name := range []string{"checkpoint", "checkpoint.new", "key"} {
		_ = os.Remove(filepath.Join(a.dir, name))
		must(t, syscall.Mkfifo(filepath.Join(a.dir, name), 0o600))
	}
	a.mustStore(t, "beside pipes")
	a.mustVerify(t)

	// Gone with all that was in it: nobody has to be refused for that, but it is found.
	a = mustAudit(t, filepath.Join(t.TempDir(), "d"), nil)
	aside := filepath.Join(t.TempDir(), "aside")
	must(t, os.Rename(a.dir, aside))
	must(t, os.RemoveAll(aside))
	a.mustStore(t, "removed")
	a.await(t, "GET", "/vault/v1/kv/"+a.object, "", 200, diskSecret)
	a.await(t, "GET", "/readyz", "", 200, `{"name":"audit","status":"ready"`)
	a.process.MustStop(t)
	out := mustFail(t, 1, "audit", "verify", "--dir", a.dir, "--key", a.publicKey)
	for _, want := range []string{"missing  records 0 to ", "audit.log.resumed segment_"} {
		if !strings.Contains(out, want) {
			t.Errorf("audit verify: %q is not in\n%s", want, out)
		}
	}
}

// exchange lets two paths change what they lead to, in one step: between two the log would make its directory again.
func exchange(t *testing.T, a, b string) {
	t.Helper()
	must(t, unix.Renameat2(unix.AT_FDCWD, a, unix.AT_FDCWD, b, unix.RENAME_EXCHANGE))
}

// TestAuditDisk: the disk of the log is really full, or only to be read. It takes a file system of its own.
func TestAuditDisk(t *testing.T) {
	t.Parallel()
	in := newSpace(t)
	if in == nil {
		return
	}
	dir := filepath.Join(t.TempDir(), "d")
	log := filepath.Join(dir, "audit")
	must(t, os.MkdirAll(log, 0o700))
	in.run(t, "mount", "-t", "tmpfs", "-o", "size=256k,mode=700", "disk", log)
	a := mustAudit(t, dir, in)

	filler := filepath.Join(a.dir, "filler")
	full := make([]byte, 1<<20)
	if err := os.WriteFile(filler, full, 0o600); err == nil {
		t.Fatal("the disk is not full")
	}
	// The segment's last page has room for some records more.
	a.mustRefuse(t, "full")
	must(t, os.Remove(filler))
	a.mustRecover(t, "full", "disk_full")

	// A disk that turned read-only is laid over the log: the kernel lets nobody have the disk itself so while
	// files on it are open.
	in.run(t, "mount", "-t", "tmpfs", "-o", "ro", "disk", log)
	a.mustRefuse(t, "read-only")
	in.run(t, "umount", log)
	a.mustRecover(t, "read-only", "segment_moved")
	a.mustVerify(t)
}

// space is a process in a mount namespace of its own, in which others can be started. nil is none.
type space struct{ pid int }

// newSpace needs no privilege, but a kernel that lets everybody have a user namespace; nil if this one does not,
// or has no such programs.
func newSpace(t *testing.T) *space {
	t.Helper()
	holder := exec.Command("cat")
	holder.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
	}
	held, err := holder.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := holder.Start(); err != nil {
		t.Logf("no file systems can be mounted here: %v", err)
		return nil
	}
	t.Cleanup(func() { _ = held.Close(); _ = holder.Wait() })
	s := &space{holder.Process.Pid}
	probe := s.enter()
	if out, err := exec.Command(probe[0], append(probe[1:], "mount", "-t", "tmpfs", "probe", t.TempDir())...).CombinedOutput(); err != nil {
		t.Logf("no file systems can be mounted here: %v %s", err, out)
		return nil
	}
	return s
}

// enter is what stands before a command that is to run there.
func (s *space) enter() []string {
	if s == nil {
		return nil
	}
	return []string{"nsenter", "--preserve-credentials", "-U", "-m", "-t", fmt.Sprint(s.pid)}
}

// path is a path of the space, for who is outside of it.
func (s *space) path(inside string) string {
	if s == nil {
		return inside
	}
	return filepath.Join("/proc", fmt.Sprint(s.pid), "root", inside)
}

func (s *space) run(t *testing.T, command ...string) {
	t.Helper()
	args := append(s.enter(), command...)
	if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v %s", strings.Join(command, " "), err, out)
	}
}
