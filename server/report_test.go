package server_test

import (
	"errors"
	"testing"
	"time"

	"culvert/internal/access"
	"culvert/internal/audit"
	"culvert/server"
	"culvert/vault/vaulttest"
)

// TestReportAPIKey: nobody needs a key to have the gate meet a broken record, so the log has it once a minute, however
// often that is, in the trail of its environment.
func TestReportAPIKey(t *testing.T) {
	s := vaulttest.New(t)
	records := func() (all []audit.Record) {
		for _, r := range s.MustAuditRecords(t) {
			if r.Action == "access.key.check" {
				all = append(all, r)
			}
		}
		return all
	}
	var got []audit.Record
	for minute := int64(0); minute != time.Now().Unix()/60; { // all within one
		before, report := len(records()), server.ReportAPIKey(s.Audit, server.NewMetrics())
		minute = time.Now().Unix() / 60
		for range 3 {
			for _, key := range []struct {
				env access.EnvironmentID
				id  string
			}{{s.Environment.ID(), "one"}, {s.Environment.ID(), "other"}, {"elsewhere", "one"}} {
				report(t.Context(), key.env, key.id, errors.New("broken"))
			}
		}
		got = records()[before:]
	}
	if len(got) != 3 {
		t.Fatalf("got %d records, want 3: %+v", len(got), got)
	}
	for i, want := range []audit.Record{
		{EnvironmentID: s.Environment.ID(), KeyID: "one"}, {EnvironmentID: s.Environment.ID(), KeyID: "other"}, {EnvironmentID: "elsewhere", KeyID: "one"},
	} {
		if got[i].EnvironmentID != want.EnvironmentID || got[i].KeyID != want.KeyID || got[i].Result != audit.Failed {
			t.Errorf("record %d: got %+v", i, got[i])
		}
	}
}
