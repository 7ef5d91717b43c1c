package main_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"culvert/internal/etcd/etcdtest"
)

// Pair is two processes of the program on one etcd, each of which can be killed, stopped and started again
// while clients go on.
type Pair struct {
	sides [2]*side
	// endpoint is etcd's, rootKey the file of the root key.
	endpoint, rootKey string
}

// side is one of them.
type side struct {
	api   *API
	flags []string
	addr  string
	dir   string
	// process is nil while there is none. It belongs to the test's goroutine.
	process *Process
	// faults counts what was done to the process; it is odd while the process cannot answer.
	faults atomic.Int64
}

// MustPair starts the first process; the second one starts when it is asked to.
func MustPair(t *testing.T, flags ...string) *Pair {
	t.Helper()
	addrs, err := freeAddrs(2)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	p := &Pair{endpoint: etcdtest.Listening(t), rootKey: filepath.Join(dir, "root.key")}
	for i := range p.sides {
		p.sides[i] = &side{addr: addrs[i], dir: filepath.Join(dir, fmt.Sprint("data-", i)), flags: append([]string{
			"--set", "etcd.endpoints=" + p.endpoint, "--set", "root_key.path=" + p.rootKey,
		}, flags...)}
		p.sides[i].faults.Store(1)
	}
	p.sides[0].mustStart(t)
	return p
}

func (s *side) mustStart(t *testing.T) {
	t.Helper()
	s.process = MustStartDev(t, s.dir, s.addr, s.flags...)
	if s.api == nil {
		s.api = MustAPI(t, s.process.Base, s.dir)
	}
	s.faults.Add(1)
}

// kill is kill -9.
func (s *side) kill() {
	s.faults.Add(1)
	s.process.Kill()
	s.api.http.CloseIdleConnections()
}

// mustPause is SIGSTOP, mustContinue SIGCONT.
func (s *side) mustPause(t *testing.T) {
	t.Helper()
	s.faults.Add(1)
	mustSignal(t, s.process, syscall.SIGSTOP)
}

func (s *side) mustContinue(t *testing.T) {
	t.Helper()
	mustSignal(t, s.process, syscall.SIGCONT)
	s.faults.Add(1)
}

// errFault is what a client meets whose process was killed or stopped under its request.
var errFault = errors.New("the process was killed or stopped")

// isUp reports a process that can answer.
func (s *side) isUp() bool { return s.faults.Load()%2 == 0 }

// call sends a request to a side. The error is errFault if something was done to the process meanwhile.
func (s *side) call(method, path string, in, out any) (int, error) {
	before := s.faults.Load()
	status, err := s.api.Call(method, path, nil, in, out)
	if err != nil && (before%2 == 1 || s.faults.Load() != before) {
		return 0, errFault
	}
	return status, err
}

// runs counts how often a process began to run a job.
func (s *side) runs(job string) int {
	if s.process == nil {
		return 0
	}
	return s.count("msg=\"job runs here\" job=" + job)
}

// jobLog is what the process said of jobs.
func (s *side) jobLog() (said string) {
	if s.process == nil {
		return ""
	}
	for line := range strings.Lines(s.process.logs.String()) {
		if strings.Contains(line, "msg=\"job ") {
			said += line
		}
	}
	return said
}

func (s *side) count(text string) int { return strings.Count(s.process.logs.String(), text) }

// Traffic is what clients do while something happens to the pair: they read and update objects of their own,
// and note what is wrong.
type Traffic struct {
	pair *Pair
	// shredded is set once somebody was told that the doomed objects are shredded.
	shredded atomic.Bool
	stop     chan struct{}
	work     sync.WaitGroup

	reads, writes, refusals, faults atomic.Int64

	mu sync.Mutex
	// problems are answers that nothing explains. Guarded by mu.
	problems []string
}

// trafficObject is an object and what its one writer knows of it.
type trafficObject struct {
	id     string
	doomed bool
	// wrote and acknowledged are the last value that was sent and the last that was acknowledged.
	wrote, acknowledged int
}

func (o *trafficObject) value(n int) string { return fmt.Sprintf("%s#%d", o.id, n) }

// mayBe reports a value that a read may show once all writes have ended.
func (o *trafficObject) mayBe(value string) bool {
	for n := o.acknowledged; n <= o.wrote; n++ {
		if n == 0 && value == "made" || value == o.value(n) {
			return true
		}
	}
	return false
}

// Begin lets clients work, each on its part of the objects.
func (tr *Traffic) Begin(clients int, objects []*trafficObject) {
	tr.stop = make(chan struct{})
	for c := range clients {
		var own []*trafficObject
		for i := c; i < len(objects); i += clients {
			own = append(own, objects[i])
		}
		tr.work.Go(func() {
			for {
				select {
				case <-tr.stop:
					return
				case <-time.After(time.Duration(rand.IntN(20)) * time.Millisecond):
					tr.one(own[rand.IntN(len(own))])
				}
			}
		})
	}
}

// End stops them and tells what was wrong.
func (tr *Traffic) End(t *testing.T) {
	t.Helper()
	close(tr.stop)
	tr.work.Wait()
	t.Logf("meanwhile %d reads and %d writes were answered, %d were told to come back and %d met a killed or stopped process",
		tr.reads.Load(), tr.writes.Load(), tr.refusals.Load(), tr.faults.Load())
	for _, problem := range tr.problems {
		t.Error(problem)
	}
	if tr.reads.Load() == 0 || tr.writes.Load() == 0 {
		t.Error("no traffic")
	}
}

func (tr *Traffic) one(o *trafficObject) {
	n := rand.IntN(2)
	side := tr.pair.sides[n]
	if !side.isUp() {
		side = tr.pair.sides[1-n]
	}
	if rand.IntN(2) == 0 && !o.doomed {
		o.wrote++
		status, err := side.call(http.MethodPut, "/vault/v1/kv/"+o.id, map[string]any{"value": o.value(o.wrote)}, &struct{}{})
		if status == http.StatusCreated {
			o.acknowledged = o.wrote
			tr.writes.Add(1)
			return
		}
		tr.judge("update", o, status, err)
		return
	}
	was := tr.shredded.Load()
	var got storedObject
	status, err := side.call(http.MethodGet, "/vault/v1/kv/"+o.id, nil, &got)
	switch {
	case status == http.StatusOK && was && o.doomed:
		tr.problem("a shredded object opens")
	case status == http.StatusOK && !o.mayBe(got.Value):
		tr.problem("%s opens to something else than what was written", o.id)
	case status == http.StatusOK, status == http.StatusForbidden && o.doomed:
		tr.reads.Add(1)
	default:
		tr.judge("read", o, status, err)
	}
}

// judge tells whether a failure has an explanation. A disk that stalls for seconds makes a 503.
func (tr *Traffic) judge(what string, o *trafficObject, status int, err error) {
	switch {
	case errors.Is(err, errFault):
		tr.faults.Add(1)
	case status == http.StatusServiceUnavailable:
		tr.refusals.Add(1)
	default:
		tr.problem("%s of %s: status %d, %v", what, o.id, status, err)
	}
}

func (tr *Traffic) problem(format string, args ...any) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	tr.problems = append(tr.problems, fmt.Sprintf(format, args...))
}
