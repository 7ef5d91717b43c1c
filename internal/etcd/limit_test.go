package etcd_test

import (
	"testing"
	"time"

	"culvert/internal/etcd"
	"culvert/internal/etcd/etcdtest"
	"culvert/internal/outage"
)

// TestLimit: a caller who has waited already waits only for what is left of his time, and a change that nobody
// would wait for is not sent.
func TestLimit(t *testing.T) {
	t.Parallel()
	endpoint := etcdtest.Listening(t)
	p := newPlace(t, etcdtest.MustOpen(t, etcd.Config{Endpoints: []string{endpoint}}))
	c := p.mustKEK(t, p.mustStore(t), nil)
	proxy := etcdtest.NewProxy(t, endpoint)
	behind := *p
	behind.client = etcdtest.MustOpen(t, etcd.Config{Endpoints: []string{proxy.Endpoint()}})
	s := behind.mustStore(t)

	proxy.Stall()
	for what, call := range map[string]func(left time.Duration) error{
		"fence": func(left time.Duration) error { return s.Fence(outage.Limit(t.Context(), time.Now().Add(left))) },
		"header": func(left time.Duration) error {
			_, err := s.Header(outage.Limit(t.Context(), time.Now().Add(left)), p.env, "00000000-0000-7000-8000-000000000000")
			return err
		},
		"create": func(left time.Duration) error {
			_, err := s.Create(outage.Limit(t.Context(), time.Now().Add(left)), p.write("late "+left.String(), c), nil)
			return err
		},
	} {
		for _, left := range []time.Duration{2 * time.Second, time.Second, -time.Second} {
			began := time.Now()
			err := call(left)
			// Without the limit all of them take five seconds.
			if took := time.Since(began); took > max(left, 0)+2*time.Second {
				t.Errorf("%s with %v left took %v", what, left, took)
			}
			if o := outage.Of(err); what != "header" && (o == nil || o.Dependency != outage.Etcd) {
				t.Errorf("%s with %v left: %v", what, left, err)
			}
			if o := outage.Of(err); what == "create" && left <= time.Second && (o == nil || o.Kind != outage.Unavailable) {
				t.Errorf("a change with %v left was sent: %v", left, err)
			}
		}
	}
	proxy.Restore()
	eventually(t, "a write within a limit", func() bool {
		_, err := s.Create(outage.Limit(t.Context(), time.Now().Add(5*time.Second)), p.write("in time "+time.Now().String(), c), nil)
		return err == nil
	})
}
