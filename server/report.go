package server

import (
	"context"
	"sync"
	"time"

	"culvert/internal/access"
	"culvert/internal/audit"
	"culvert/internal/webhooks"
)

// actionKeyCheck is what the audit trail says was being done: nobody asked for it by this name.
const actionKeyCheck = "access.key.check"

// actionEndpointCheck is the same of webhook endpoints.
const actionEndpointCheck = "webhooks.endpoint.check"

// ReportEndpoint returns what a deliverer does about a webhook endpoint whose record, or progress, somebody edited:
// one audit record and one count on each replica that delivers.
func ReportEndpoint(log *audit.Log, metrics *Metrics) func(context.Context, access.EnvironmentID, webhooks.EndpointID) {
	return func(ctx context.Context, env access.EnvironmentID, id webhooks.EndpointID) {
		metrics.IntegrityFailure()
		_, _ = log.Append(ctx, audit.Record{
			Action: actionEndpointCheck, Phase: audit.Internal, Result: audit.Failed, Code: codeIntegrity, EnvironmentID: env, ObjectID: string(id),
		})
	}
}

// actionReadsCheck is the same of how far reads were told of.
const actionReadsCheck = "events.reads.check"

// ReportReads returns what a reader of the audit log does about a place that somebody edited.
func ReportReads(log *audit.Log, metrics *Metrics) func(context.Context, access.EnvironmentID) {
	return func(ctx context.Context, env access.EnvironmentID) {
		metrics.IntegrityFailure()
		_, _ = log.Append(ctx, audit.Record{
			Action: actionReadsCheck, Phase: audit.Internal, Result: audit.Failed, Code: codeIntegrity, EnvironmentID: env,
		})
	}
}

// ReportAPIKey returns what the gate (access.GateConfig) does about an API key record that somebody
// edited. The caller of the key sees a 401 like any other; this is where an operator learns of it: a count for each
// call that met the record, and an audit record for the first one in a minute.
//
// Attacker: whoever knows the id of such a key, and needs no key for that, comes with it again and again until the
// disk is full that every answer waits for.
func ReportAPIKey(log *audit.Log, metrics *Metrics) func(ctx context.Context, env access.EnvironmentID, keyID string, err error) {
	told := &lately{}
	return func(ctx context.Context, env access.EnvironmentID, keyID string, _ error) {
		metrics.IntegrityFailure()
		if !told.first(string(env)+"/"+keyID, time.Now()) {
			return
		}
		// The call is refused either way, so there is nobody to tell that the trail is down: readiness does.
		_, _ = log.Append(ctx, audit.Record{
			Action: actionKeyCheck, Phase: audit.Internal, Result: audit.Failed, Code: codeIntegrity, EnvironmentID: env, KeyID: keyID,
		})
	}
}

// lately is what was told of in this minute. The zero value is none.
type lately struct {
	mu     sync.Mutex // guards what follows, for the time of a map operation
	minute int64
	told   map[string]bool
}

// first tells whether something was not told of in the minute of now.
func (l *lately) first(what string, now time.Time) bool {
	minute := now.Unix() / 60
	l.mu.Lock()
	defer l.mu.Unlock()
	if minute != l.minute || l.told == nil {
		l.minute, l.told = minute, map[string]bool{}
	}
	again := l.told[what]
	l.told[what] = true
	return !again
}
