package main_test

import (
	"testing"
	"time"

	main "culvert/cmd/culvert"
)

// What is shown of a job that runs: how far it is, how fast, and until when.
func TestProgressLine(t *testing.T) {
	began := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	line := main.ProgressLines("rewrap", "running")
	for _, tc := range []struct {
		after       time.Duration
		done, total uint64
		want        string
	}{
		{0, 0, 0, "rewrap running: [--------------------] 0 of 0"},
		{time.Second, 0, 1000, "rewrap running: [--------------------] 0 of 1000"},
		{2 * time.Second, 250, 1000, "rewrap running: [#####---------------] 250 of 1000, 125/s, 6s left"},
		{10 * time.Second, 1000, 1000, "rewrap running: [####################] 1000 of 1000, 100/s"},
		{10 * time.Second, 1100, 1000, "rewrap running: [####################] 1100 of 1000, 110/s"},
	} {
		if got := line(began.Add(tc.after), tc.done, tc.total); got != tc.want {
			t.Errorf("got  %s\nwant %s", got, tc.want)
		}
	}
}
