package connectors_test

import (
	"net/http"
	"testing"
	"time"

	"culvert/connectors"
)

func TestRetryAfter(t *testing.T) {
	now := start()
	for _, tc := range []struct {
		value, date string
		want        time.Duration
	}{
		{"", "", 0},
		{"120", "", 2 * time.Minute},
		{" 120 ", "", 2 * time.Minute},
		{"0", "", 0},
		{"-5", "", 0},
		{"1.5", "", 0},
		{"soon", "", 0},
		{"86401", "", 24 * time.Hour},
		{"99999999999999999999999", "", 24 * time.Hour},
		{"Sun, 01 Mar 2026 12:01:00 GMT", "", time.Minute},
		{"Sunday, 01-Mar-26 12:01:00 GMT", "", time.Minute},
		{"Sun Mar  1 12:01:00 2026", "", time.Minute},
		{"Sun, 01 Mar 2026 11:59:00 GMT", "", 0},
		{"Sun, 01 Mar 2099 11:59:00 GMT", "", 24 * time.Hour},
		// The provider's clock is an hour behind: its distance counts, not ours.
		{"Sun, 01 Mar 2026 11:01:00 GMT", "Sun, 01 Mar 2026 11:00:00 GMT", time.Minute},
		{"Sun, 01 Mar 2026 12:01:00 GMT", "not a date", time.Minute},
	} {
		h := http.Header{}
		h.Set("Retry-After", tc.value)
		if tc.date != "" {
			h.Set("Date", tc.date)
		}
		if got := connectors.RetryAfter(h, now); got != tc.want {
			t.Errorf("Retry-After %q with Date %q is %v, want %v", tc.value, tc.date, got, tc.want)
		}
	}
}
