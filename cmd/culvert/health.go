package main

import (
	"context"
	"sync"

	"culvert/internal/outage"
	"culvert/server"
)

// health asks every dependency. The page is public: it names them and says no more.
func (f *floor) health(ctx context.Context) []server.Check {
	storage := check(outage.Etcd, f.store.Health(ctx), "storage does not answer, or has no room left")
	if storage.State == server.Ready && len(f.store.Degraded()) > 0 {
		storage.State, storage.Reason = server.Degraded, "the clocks of the replicas cannot be compared or differ"
	}
	checks := append([]server.Check{storage}, f.rootKeyHealth(ctx)...)
	refreshes := check(outage.Journal, f.journal.Health(), "the refresh journal cannot be written: tokens that have ended are not refreshed here")
	if refreshes.State != server.Ready {
		// All else is served; and what is full here may be full on every replica.
		refreshes.State = server.Degraded
	}
	return append(append(checks, f.auditHealth(), refreshes), f.streamHealth(ctx)...)
}

// rootKeyHealth asks all root keys at once, because a look at the health has little time. Without one of the
// others only what is under it cannot be opened: the replica goes on getting requests.
func (f *floor) rootKeyHealth(ctx context.Context) []server.Check {
	all := f.roots.All()
	checks := make([]server.Check, len(all))
	var asked sync.WaitGroup
	for i, key := range all {
		asked.Go(func() {
			err := key.Check(ctx)
			if i == 0 {
				checks[i] = check(outage.RootKey, err, "the root key cannot be used")
				if outage.Of(err) != nil && f.warm() {
					// Every replica has the same root key: without any of them nothing would be read at all.
					checks[i].State = server.Degraded
					checks[i].Reason = "the root key does not answer: key contexts in memory go on for a while, others wait for it"
				}
				return
			}
			checks[i] = check(f.rootKeySettings[i], err, "this root key cannot be used, nor what is still under it")
			if err != nil {
				checks[i].State = server.Degraded
			}
		})
	}
	asked.Wait()
	return checks
}

func check(name string, err error, reason string) server.Check {
	if err != nil {
		return server.Check{Name: name, State: server.Unready, Reason: reason}
	}
	return server.Check{Name: name, State: server.Ready}
}

// auditHealth is red if records cannot be written. Without checkpoints they are, and can be signed later.
func (f *floor) auditHealth() server.Check {
	trail := check(outage.Audit, f.audit.Health(), "audit records cannot be written")
	if trail.State == server.Ready && f.notary.Health() != nil {
		trail.State, trail.Reason = server.Degraded, "checkpoints of the audit log cannot be signed or stored"
	} else if trail.State == server.Ready && f.witness != nil && f.witness.Health() != nil {
		trail.State, trail.Reason = server.Degraded, "checkpoints of the audit log do not reach the witness, or do not fit what it has"
	}
	return trail
}
