//go:build e2e

package e2e_test

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// keptLines is how much of what happened to an account is told.
const keptLines = 60

// line is one of a timeline.
type line struct {
	at   time.Time
	text string
}

// digest stands for a token in what people read.
func digest(token string) string {
	sum := sha256.Sum256([]byte(token))
	return hex.EncodeToString(sum[:4])
}

// fail notes what must not be. f is nil if it is about no account.
func (l *ledger) fail(f *family, format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.problem(f, format, args...)
}

func (l *ledger) problem(f *family, format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if f == nil {
		l.problems = append(l.problems, fmt.Sprintf("%s %s", l.stamp(time.Now()), text))
		return
	}
	l.note(f, "WRONG: %s", text)
	l.problems = append(l.problems, fmt.Sprintf("%s account %d: %s", l.stamp(time.Now()), f.n, text))
}

func (l *ledger) note(f *family, format string, args ...any) {
	f.lines = append(f.lines, line{time.Now(), fmt.Sprintf(format, args...)})
	if len(f.lines) > 2*keptLines {
		f.lines = append([]line{}, f.lines[len(f.lines)-keptLines:]...)
	}
}

// phase tells when one ended.
func (l *ledger) phase(t *testing.T, what string) {
	t.Helper()
	t.Logf("%s %s", l.stamp(time.Now()), what)
}

func (l *ledger) stamp(at time.Time) string { return fmt.Sprintf("%9.3f s", at.Sub(l.began).Seconds()) }

// timeline is what happened to an account, and to the processes meanwhile.
func (l *ledger) timeline(f *family) string {
	all := append([]line{}, f.lines...)
	for _, h := range l.hurts {
		if h.to.IsZero() || len(f.lines) > 0 && h.to.After(f.lines[0].at) {
			all = append(all, line{h.from, fmt.Sprintf("    replica %d: %s, for %s", h.replica, h.what, h.length().Round(time.Millisecond))})
		}
	}
	slices.SortStableFunc(all, func(a, b line) int { return a.at.Compare(b.at) })
	var b strings.Builder
	for _, line := range all {
		fmt.Fprintf(&b, "%s  %s\n", l.stamp(line.at), line.text)
	}
	return b.String()
}

// report fails the test for what was wrong, with the timelines of the first accounts concerned.
func (l *ledger) report(t *testing.T) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	for what, n := range l.counts {
		t.Logf("%6d × %s", n, what)
	}
	const shown = 100
	for i, problem := range l.problems {
		if i == shown {
			t.Errorf("and %d more", len(l.problems)-shown)
			break
		}
		t.Error(problem)
	}
	told := 0
	for _, f := range l.families {
		if told < 5 && f.wrong() {
			t.Logf("account %d:\n%s", f.n, l.timeline(f))
			told++
		}
	}
}

func (f *family) wrong() bool {
	for _, line := range f.lines {
		if strings.HasPrefix(line.text, "WRONG") {
			return true
		}
	}
	return false
}
