package history_test

import (
	"path/filepath"
	"testing"
	"time"

	"culvert/internal/etcd/etcdtest"
)

// TestProcesses is about two processes of the shipped binary on one etcd of three.
func TestProcesses(t *testing.T) {
	cluster := etcdtest.NewCluster(t)
	binary, rootKey := mustBuild(t), filepath.Join(t.TempDir(), "root.key")
	one := mustStart(t, binary, rootKey, cluster.Endpoints())
	two := mustStart(t, binary, rootKey, cluster.Endpoints())
	first, second := newAPI(t, one, one.key), newAPI(t, two, two.key)

	t.Run("linearizable", func(t *testing.T) {
		r := newRecorder("plain", first, second)
		r.run(t.Context(), 4*time.Second)
		r.mustBeLinearizable(t)
	})
	t.Run("linearizable with a slowed watch", func(t *testing.T) {
		const delay = 60 * time.Millisecond
		var roads []*road
		var endpoints []string
		for _, endpoint := range cluster.Endpoints() {
			r, to := newRoad(t, endpoint, delay)
			roads, endpoints = append(roads, r), append(endpoints, to)
		}
		slow := mustStart(t, binary, rootKey, endpoints)
		r := newRecorder("slow", first, newAPI(t, slow, one.key))
		r.run(t.Context(), 4*time.Second)
		r.mustBeLinearizable(t)
		late := int64(0)
		for _, road := range roads {
			late += road.late.Load()
		}
		if late < 100 {
			t.Errorf("only %d messages of the watch were late", late)
		}
	})
	t.Run("one version check", func(t *testing.T) { oneVersionCheck(t, first, second) })
	t.Run("lost answers", func(t *testing.T) { lostAnswers(t, first, second) })
	// Last, because etcd needs a while to be as before.
	t.Run("linearizable while the leader dies", func(t *testing.T) {
		r := newRecorder("leader", first, second)
		leader := cluster.MustLeader(t)
		killed := after(1500*time.Millisecond, leader.Kill)
		r.run(t.Context(), 5*time.Second)
		<-killed
		leader.MustStart(t)
		r.run(t.Context(), time.Second)
		// The next one stops: it keeps its connections and answers nothing, and does not know for how long.
		leader = cluster.MustLeader(t)
		awake := after(time.Second, func() {
			leader.Pause()
			time.Sleep(3 * time.Second)
			leader.Continue()
		})
		r.run(t.Context(), 6*time.Second)
		<-awake
		r.mustBeLinearizable(t)
	})
}

// after does something in a while; the channel is closed when it is done.
func after(d time.Duration, do func()) <-chan struct{} {
	finished := make(chan struct{})
	go func() {
		defer close(finished)
		time.Sleep(d)
		do()
	}()
	return finished
}
