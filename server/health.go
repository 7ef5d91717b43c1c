package server

import (
	"context"
	"net/http"
	"slices"
	"sync"
	"time"
)

// State is what readiness says of a dependency.
type State string

// The states.
const (
	// Ready: it works.
	Ready State = "ready"
	// Degraded: it works, but somebody should look. The replica goes on getting requests.
	Degraded State = "degraded"
	// Unready: requests that need it fail. The replica should get none.
	Unready State = "unready"
)

// Check is the state of one dependency.
type Check struct {
	// Name is the dependency as outage names it: "etcd", "root_key", "audit"; "server" for the process itself;
	// the name of its setting for a root key that is not the current one.
	Name  string
	State State
	// Reason is a sentence for people where State is not Ready. The page asks for no credential: it
	// holds no address, path, id or error text.
	Reason string
}

const (
	// healthEvery is how often the dependencies are looked at: /readyz asks for no credential, so it
	// must not be a way to make the server work.
	healthEvery = time.Second
	// healthTimeout is shorter than the probes of load balancers and of Kubernetes.
	healthTimeout = 900 * time.Millisecond
)

// health remembers the last look.
type health struct {
	look func(context.Context) []Check
	now  func() time.Time

	// mu is held while looking: callers that come meanwhile share the answer.
	mu     sync.Mutex
	at     time.Time
	checks []Check
}

func (h *health) current() []Check {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.at.IsZero() && h.now().Sub(h.at) < healthEvery {
		return h.checks
	}
	// Not the request's context: the answer is for every caller, and one of them may hang up.
	ctx, cancel := context.WithTimeout(context.Background(), healthTimeout)
	defer cancel()
	h.checks = h.look(ctx)
	h.at = h.now()
	return h.checks
}

// Drain makes readiness red from now on and lets every answer end its connection, so that whoever spreads
// requests sends them elsewhere before [http.Server.Shutdown] takes no more. Requests are answered as before.
func (s *Server) Drain() { s.draining.Store(true) }

// alive is GET /healthz: the process answers. It asks no dependency, or an outage of etcd would make an
// orchestrator restart every replica.
func (s *Server) alive() handler {
	return func(x *exchange) error {
		return x.answer(http.StatusOK, false, func(b []byte) ([]byte, error) {
			return append(b, `{"status":"alive"}`...), nil
		})
	}
}

// ready is GET /readyz: 503 if anything is unready, with every dependency named.
func (s *Server) ready() handler {
	return func(x *exchange) error {
		checks := s.health.current()
		if s.draining.Load() {
			checks = append(slices.Clone(checks), Check{Name: "server", State: Unready, Reason: "the server is stopping"})
		}
		overall, status := Ready, http.StatusOK
		for _, c := range checks {
			// Anything but the two good states is unready: a state nobody foresaw must not pass for health.
			switch {
			case c.State == Ready:
			case c.State == Degraded && overall != Unready:
				overall = Degraded
			case c.State != Degraded:
				overall, status = Unready, http.StatusServiceUnavailable
			}
		}
		return x.answer(status, false, func(b []byte) ([]byte, error) {
			w := &jsonWriter{b: b}
			w.raw(`{"status":`)
			w.text(string(overall))
			w.raw(`,"checks":[`)
			for i, c := range checks {
				if i > 0 {
					w.raw(`,`)
				}
				w.check(c)
			}
			w.raw(`]}`)
			return w.done()
		})
	}
}

func (w *jsonWriter) check(c Check) {
	w.raw(`{"name":`)
	w.text(c.Name)
	w.raw(`,"status":`)
	w.text(string(c.State))
	w.raw(`,"reason":`)
	w.textOrNull(c.Reason)
	w.raw(`}`)
}
