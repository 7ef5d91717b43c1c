package etcd_test

import (
	"slices"
	"testing"
	"time"

	"culvert/internal/etcd"
	"culvert/internal/etcd/etcdtest"
)

// TestMembers takes members away from three processes, under writers and readers: with two left the store
// goes on by itself within seconds, and what was acknowledged is there.
func TestMembers(t *testing.T) {
	t.Parallel()
	cluster := etcdtest.NewCluster(t)
	p := newPlace(t, etcdtest.MustOpen(t, etcd.Config{Endpoints: cluster.Endpoints()}))
	s := p.mustStore(t)
	c := p.mustKEK(t, s, nil)
	follower := func() *etcdtest.Member {
		leader := cluster.MustLeader(t)
		return cluster.Members[(slices.Index(cluster.Members, leader)+1)%3]
	}
	for _, tc := range []struct {
		name   string
		victim func() *etcdtest.Member
		fault  func(*etcdtest.Member)
		undo   func(*etcdtest.Member)
	}{
		{
			"the leader killed", func() *etcdtest.Member { return cluster.MustLeader(t) },
			(*etcdtest.Member).Kill, func(m *etcdtest.Member) { m.MustStart(t) },
		},
		{
			"the leader stopped", func() *etcdtest.Member { return cluster.MustLeader(t) },
			(*etcdtest.Member).Pause, (*etcdtest.Member).Continue,
		},
		{"a follower stopped", follower, (*etcdtest.Member).Pause, (*etcdtest.Member).Continue},
	} {
		t.Run(tc.name, func(t *testing.T) {
			u := startCallers(t, p, s, c, 4)
			time.Sleep(300 * time.Millisecond)
			victim := tc.victim()
			tc.fault(victim)
			since := time.Now()
			u.mustRecover(t) // with two members
			t.Logf("writes and reads go on after %s", time.Since(since))
			time.Sleep(500 * time.Millisecond)
			tc.undo(victim)
			u.mustRecover(t)
			time.Sleep(300 * time.Millisecond)
			u.finish(t, s)
			if err := s.Health(t.Context()); err != nil {
				t.Errorf("health afterwards: %v", err)
			}
		})
	}
}
