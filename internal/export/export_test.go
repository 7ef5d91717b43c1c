package export_test

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"culvert/internal/access"
	"culvert/internal/audit"
	"culvert/internal/export"
	"culvert/vault/vaulttest"
)

// bench is a stack whose exports are at a time of the test.
type bench struct {
	*vaulttest.Stack
	config  export.Config
	exports *export.Exports
	ahead   atomic.Int64
}

func newBench(t *testing.T, limits export.Limits) *bench {
	t.Helper()
	b := &bench{Stack: vaulttest.New(t)}
	n := 0
	b.config = export.Config{
		Log: b.Audit, Gate: b.Gate, Fence: b.Store.Fence, Dir: filepath.Join(t.TempDir(), "exports"), Limits: limits,
		Nodes:  func(context.Context) ([]string, error) { return []string{b.Audit.Node(), "node-z"}, nil },
		NewID:  func() string { n++; return "0000000000000000000000000" + string(rune('0'+n)) },
		Now:    func() time.Time { return time.Now().Add(time.Duration(b.ahead.Load())) },
		Logger: slog.New(slog.DiscardHandler),
	}
	b.open(t)
	t.Cleanup(func() { must(t, b.exports.Close()) })
	return b
}

func (b *bench) open(t *testing.T) {
	t.Helper()
	var err error
	b.exports, err = export.Open(b.config)
	must(t, err)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func everything() export.Request {
	return export.Request{Since: time.Unix(1, 0), Until: time.Now().Add(48 * time.Hour)}
}

// made waits until an export is not pending any more.
func (b *bench) made(t *testing.T, id export.ID) export.Export {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		x, err := b.exports.Show(t.Context(), b.Call(), id)
		must(t, err)
		if x.State != export.Pending {
			return x
		}
		if time.Now().After(end) {
			t.Fatalf("not made: %+v", x)
		}
	}
}

// TestExportsAreBounded: in bytes and in number, and they end.
func TestExportsAreBounded(t *testing.T) {
	b := newBench(t, export.Limits{Exports: 2, Bytes: 4 << 10})
	first, err := b.exports.Create(t.Context(), b.Call(), everything())
	must(t, err)
	if x := b.made(t, first.ID); x.State != export.Ready || len(x.OtherNodes) != 1 || x.OtherNodes[0] != "node-z" {
		t.Errorf("got %+v", x)
	}
	for range 50 {
		_, err := b.Audit.Append(t.Context(), audit.Record{EnvironmentID: b.Environment.ID(), Action: access.DataRead, Phase: audit.Access, Result: audit.Allowed})
		must(t, err)
	}
	second, err := b.exports.Create(t.Context(), b.Call(), everything())
	must(t, err)
	if x := b.made(t, second.ID); x.State != export.Failed || x.Code != export.CodeTooLarge {
		t.Errorf("got %+v", x)
	}
	if _, err := b.exports.Fetch(t.Context(), b.Call(), second.ID); err != export.ErrNotReady {
		t.Errorf("a file that is not there: %v", err)
	}
	if _, err := b.exports.Create(t.Context(), b.Call(), everything()); err != export.ErrTooMany {
		t.Errorf("one too many: %v", err)
	}
	b.ahead.Store(int64(export.Lifetime))
	if _, err := b.exports.Fetch(t.Context(), b.Call(), first.ID); err != export.ErrNone {
		t.Errorf("one that has expired: %v", err)
	}
	must(t, b.exports.Close())
	b.open(t) // which looks for those that have expired
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		left, err := os.ReadDir(b.config.Dir)
		must(t, err)
		if len(left) == 0 {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("not deleted: %v", left)
		}
	}
	_, err = b.exports.Create(t.Context(), b.Call(), everything())
	must(t, err)
}

// TestExportsHaveARoomTogether: of all files of a node, whosever they are.
func TestExportsHaveARoomTogether(t *testing.T) {
	b := newBench(t, export.Limits{})
	of := everything()
	of.Actions = []access.Action{access.DataRead} // what the test does itself is in none of them
	for range 5 {
		_, err := b.Audit.Append(t.Context(), audit.Record{EnvironmentID: b.Environment.ID(), Action: access.DataRead, Phase: audit.Access, Result: audit.Allowed})
		must(t, err)
	}
	made := func() export.Export {
		t.Helper()
		x, err := b.exports.Create(t.Context(), b.Call(), of)
		must(t, err)
		return b.made(t, x.ID)
	}
	first := made()
	must(t, b.exports.Close())
	b.config.Limits.Total = 2*first.Bytes + first.Bytes/2
	b.open(t)
	if x := made(); x.State != export.Ready || x.Bytes != first.Bytes {
		t.Errorf("the second of a room for two and a half: %+v, the first %+v", x, first)
	}
	if x := made(); x.State != export.Failed || x.Code != export.CodeNoRoom {
		t.Errorf("the third: %+v", x)
	}
}

// TestExportsSurviveARestart: what is ready stays, what was interrupted is made anew, and half a file goes.
func TestExportsSurviveARestart(t *testing.T) {
	b := newBench(t, export.Limits{})
	x, err := b.exports.Create(t.Context(), b.Call(), everything())
	must(t, err)
	ready := b.made(t, x.ID)
	must(t, b.exports.Close())

	facts := filepath.Join(b.config.Dir, string(x.ID)+".export")
	text, err := os.ReadFile(facts)
	must(t, err)
	pending := export.IDPrefix + "PENDING"
	other := strings.ReplaceAll(strings.ReplaceAll(string(text), string(x.ID), pending), `"state":"ready"`, `"state":"pending"`)
	must(t, os.WriteFile(filepath.Join(b.config.Dir, pending+".export"), []byte(other), 0o600))
	must(t, os.WriteFile(filepath.Join(b.config.Dir, pending+".csv"), []byte("half"), 0o600))
	must(t, os.WriteFile(filepath.Join(b.config.Dir, export.IDPrefix+"LOST.csv"), []byte("half"), 0o600))
	b.open(t)
	for _, id := range []export.ID{x.ID, export.ID(pending)} {
		if again := b.made(t, id); again.State != export.Ready || again.Records != ready.Records || again.Bytes != ready.Bytes {
			t.Errorf("%s: %+v, want %+v", id, again, ready)
		}
		f, err := b.exports.Fetch(t.Context(), b.Call(), id)
		must(t, err)
		must(t, f.Close())
	}
	if _, err := os.Stat(filepath.Join(b.config.Dir, export.IDPrefix+"LOST.csv")); !os.IsNotExist(err) {
		t.Errorf("what is nobody's stays: %v", err)
	}
}

// TestEveryCallIsAuthorizedAndRecorded: who may not gets nothing, and nothing leaves that cannot be recorded.
func TestEveryCallIsAuthorizedAndRecorded(t *testing.T) {
	b := newBench(t, export.Limits{})
	x, err := b.exports.Create(t.Context(), b.Call(), everything())
	must(t, err)
	b.made(t, x.ID)
	calls := map[string]func(access.Call) error{
		"create": func(c access.Call) error { _, err := b.exports.Create(t.Context(), c, everything()); return err },
		"show":   func(c access.Call) error { _, err := b.exports.Show(t.Context(), c, x.ID); return err },
		"fetch": func(c access.Call) error {
			f, err := b.exports.Fetch(t.Context(), c, x.ID)
			if err == nil {
				err = f.Close()
			}
			return err
		},
	}
	for name, call := range calls {
		denied := b.MustCallAs(t, "no such role")
		if err := call(denied); err == nil {
			t.Errorf("%s without rights", name)
		}
		if r := b.MustAuditOf(t, denied.RequestID); len(r) != 1 || r[0].Result != audit.Denied {
			t.Errorf("%s without rights: recorded %+v", name, r)
		}
		must(t, call(b.Call()))
	}
	must(t, b.Audit.Close())
	for name, call := range calls {
		if err := call(b.Call()); err == nil {
			t.Errorf("%s without audit log", name)
		}
	}
}
