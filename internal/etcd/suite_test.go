package etcd_test

import (
	"fmt"
	"testing"

	"culvert/internal/etcd"
	"culvert/internal/etcd/etcdtest"
)

// opener gives a client with a root of its own that holds nothing.
type opener func(t testing.TB) *etcd.Client

// scenario is one part of what the stores promise, whatever etcd they stand on.
type scenario struct {
	name string
	run  func(t *testing.T, open opener)
}

func scenarios() []scenario {
	return []scenario{
		{"initialize", testInitialize},
		{"initialize at once", testInitializeAtOnce},
		{"replace an environment", testReplaceEnvironment},
		{"foreign root", testForeignRoot},
		{"environments", testEnvironments},
		{"object", testObject},
		{"versions", testVersions},
		{"name reuse", testNameReuse},
		{"conflicts", testConflicts},
		{"broken records", testBrokenRecords},
		{"KEK", testKEK},
		{"KEK conditions", testKEKConditions},
		{"KEK guards", testKEKGuards},
		{"KEK lists", testKEKLists},
		{"replace KEK", testReplaceKEK},
		{"holders", testHolders},
		{"rewrap", testRewrap},
		{"rewraps at once", testRewrapsAtOnce},
		{"rewraps of one record", testRewrapsOfOneRecord},
		{"re-encrypt", testReencrypt},
		{"CMKs", testCMKs},
		{"schedules", testSchedules},
		{"rates", testRates},
		{"rates of many replicas", testManyRates},
		{"jobs", testJobs},
		{"attempts", testAttempts},
		{"shreds", testShreds},
		{"request records", testRequestRecords},
		{"request days", testRequestDays},
		{"API keys", testAPIKeys},
		{"registrations", testRegistrations},
		{"checkpoints", testCheckpoints},
		{"event order", testEventOrder},
		{"event pages", testEventPages},
		{"event times", testEventTimes},
		{"event cursors", testEventCursors},
		{"event organization", testEventOrganization},
		{"list", testList},
		{"two stores", testTwoStores},
		{"watch cut", testWatchCut},
		{"slow watch", testSlowWatch},
		{"fences at once", testFencesAtOnce},
		{"foreign writes", testForeignWrites},
		{"epochs at once", testEpochsAtOnce},
		{"broken epoch", testBrokenEpoch},
	}
}

// TestEmbedded runs the scenarios on an etcd inside this process.
func TestEmbedded(t *testing.T) {
	for _, s := range scenarios() {
		t.Run(s.name, func(t *testing.T) { s.run(t, etcdtest.Embedded) })
	}
}

// TestCluster runs the same over gRPC on three processes, each scenario under a root of its own.
func TestCluster(t *testing.T) {
	t.Parallel()
	cluster := etcdtest.NewCluster(t)
	roots := 0
	open := func(t testing.TB) *etcd.Client {
		t.Helper()
		roots++
		return etcdtest.MustOpen(t, etcd.Config{Endpoints: cluster.Endpoints(), Prefix: fmt.Sprintf("/scenario-%d", roots)})
	}
	for _, s := range scenarios() {
		t.Run(s.name, func(t *testing.T) { s.run(t, open) })
	}
}
