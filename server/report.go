package server

import (
	"context"

	"culvert/internal/audit"
)

// actionKeyCheck is what the audit trail says was being done: nobody asked for it by this name.
const actionKeyCheck = "access.key.check"

// ReportAPIKey returns what the gate (access.GateConfig) does about an API key record that somebody
// edited. The caller of the key sees a 401 like any other; this is where an operator learns of it: one
// audit record and one count for each call that met the record.
func ReportAPIKey(log *audit.Log, metrics *Metrics) func(ctx context.Context, keyID string, err error) {
	return func(ctx context.Context, keyID string, _ error) {
		metrics.IntegrityFailure()
		// The call is refused either way, so there is nobody to tell that the trail is down: readiness does.
		_, _ = log.Append(ctx, audit.Record{
			Action: actionKeyCheck, Phase: audit.Internal, Result: audit.Failed, Code: codeIntegrity, KeyID: keyID,
		})
	}
}
