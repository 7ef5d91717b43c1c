package audit_test

import (
	"bufio"
	"context"
	"fmt"
	"math"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"culvert/internal/audit"
)

// The test binary runs itself as another process for what cannot be done to the process of a test.
const (
	childMode = "CULVERT_TEST_AUDIT_CHILD"
	childDir  = "CULVERT_TEST_AUDIT_DIR"
)

func TestMain(m *testing.M) {
	var err error
	switch os.Getenv(childMode) {
	case "":
		os.Exit(m.Run())
	case "writers":
		err = childWriters(os.Getenv(childDir))
	case "limit":
		err = childLimit(os.Getenv(childDir))
	}
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

func child(t *testing.T, mode, dir string) *exec.Cmd {
	t.Helper()
	program, err := os.Executable()
	must(t, err)
	command := exec.CommandContext(t.Context(), program)
	command.Env = append(os.Environ(), childMode+"="+mode, childDir+"="+dir)
	return command
}

// childWriters appends from 64 goroutines until it is killed, and tells each acknowledged record.
func childWriters(dir string) error {
	l, err := audit.Open(audit.Config{Dir: dir, Node: "node-a", SegmentBytes: 256 << 10})
	if err != nil {
		return err
	}
	var group sync.WaitGroup
	for g := range 64 {
		group.Go(func() {
			for i := 0; ; i++ {
				request := fmt.Sprintf("%d-%d-%d", os.Getpid(), g, i)
				index, err := l.Append(context.Background(), named(request))
				if err != nil {
					return
				}
				fmt.Printf("%d %s\n", index, request)
			}
		})
	}
	group.Wait()
	return nil
}

func TestKilledWritersLoseNothingAcknowledged(t *testing.T) {
	dir := t.TempDir()
	acknowledged := map[uint64]string{}
	for range 5 {
		command := child(t, "writers", dir)
		output, err := command.StdoutPipe()
		must(t, err)
		must(t, command.Start())
		lines := bufio.NewScanner(output)
		for count := 0; lines.Scan(); count++ {
			var index uint64
			var request string
			if n, _ := fmt.Sscanf(lines.Text(), "%d %s", &index, &request); n == 2 {
				acknowledged[index] = request
			}
			if count == 2000 {
				must(t, command.Process.Kill())
			}
		}
		_ = command.Wait()
	}
	if len(acknowledged) < 5*2000 {
		t.Fatalf("acknowledged: got %d, want 10,000: the child did not run", len(acknowledged))
	}
	MustClose(t, MustOpen(t, audit.Config{Dir: dir}))
	for _, r := range MustRead(t, dir, 0) {
		if want, ok := acknowledged[r.Index]; ok && want != r.RequestID {
			t.Fatalf("record %d: got %q, acknowledged was %q", r.Index, r.RequestID, want)
		}
		delete(acknowledged, r.Index)
	}
	if len(acknowledged) > 0 {
		t.Errorf("%d acknowledged records are missing", len(acknowledged))
	}
}

// childLimit lets the kernel refuse writes beyond a file size, in the middle of a record, and then
// allow them again: a full disk that needs no privilege.
func childLimit(dir string) error {
	signal.Ignore(syscall.SIGXFSZ)
	l, err := audit.Open(audit.Config{Dir: dir, Node: "node-a", Wait: wait, FsyncEvery: tick})
	if err != nil {
		return err
	}
	if _, err := l.Append(context.Background(), named("before")); err != nil {
		return err
	}
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
		return err
	}
	if err := setFileSize(limit, 300); err != nil {
		return err
	}
	_, err = l.Append(context.Background(), read())
	if err == nil || !strings.Contains(err.Error(), "file too large") || l.Health() == nil {
		return fmt.Errorf("beyond the limit: append %v, health %v", err, l.Health())
	}
	if err := setFileSize(limit, math.MaxUint64); err != nil {
		return err
	}
	for deadline := time.Now().Add(patience); l.Health() != nil && time.Now().Before(deadline); {
		time.Sleep(tick)
	}
	if _, err := l.Append(context.Background(), named("after")); err != nil {
		return err
	}
	return l.Close()
}

// setFileSize sets the soft limit, as far as the hard one allows.
func setFileSize(limit syscall.Rlimit, size uint64) error {
	limit.Cur = min(size, limit.Max)
	return syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit)
}

func TestKernelRefusesWrites(t *testing.T) {
	dir := t.TempDir()
	if output, err := child(t, "limit", dir).CombinedOutput(); err != nil {
		t.Fatalf("child: %v\n%s", err, output)
	}
	want := []string{"audit.log.begun", "before", "audit.log.resumed write_failed", "after"}
	if got := requests(MustRead(t, dir, 0)); !slices.Equal(got, want) {
		t.Errorf("records: got %v, want %v", got, want)
	}
}
