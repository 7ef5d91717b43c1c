package audit_test

import (
	"testing"

	"culvert/internal/audit"
)

// MustOpen opens a log that the test's end closes.
func MustOpen(t testing.TB, c audit.Config) *audit.Log {
	t.Helper()
	if c.Node == "" {
		c.Node = "node-a"
	}
	l, err := audit.Open(c)
	if err != nil {
		t.Fatalf("open log: %v", err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

// MustAppend appends and returns the index.
func MustAppend(t testing.TB, l *audit.Log, r audit.Record) uint64 {
	t.Helper()
	index, err := l.Append(t.Context(), r)
	if err != nil {
		t.Fatalf("append: %v", err)
	}
	return index
}
