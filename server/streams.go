package server

import (
	"context"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"culvert/internal/access"
	"culvert/internal/stream"
)

// listStreams is GET /culvert/v1/audit/streams, of the node that answers.
func (s *Server) listStreams() handler {
	return handle(endpoint[struct{}, stream.List]{
		status: http.StatusOK,
		decode: func(x *exchange) (none struct{}, err error) {
			_, err = x.query()
			return none, err
		},
		call: func(ctx context.Context, c access.Call, _ struct{}) (stream.List, error) {
			return s.streams.List(ctx, c)
		},
		encode: func(b []byte, l stream.List) ([]byte, error) {
			w := &jsonWriter{b: b}
			list(w, l.Streams, "", "", func(st stream.Status) { w.stream(l.Node, &st) })
			return w.done()
		},
	})
}

// rewindStream is POST /culvert/v1/audit/streams/{name}/rewind.
func (s *Server) rewindStream() handler {
	return handle(endpoint[stream.RewindRequest, stream.Status]{
		status: http.StatusOK,
		decode: func(x *exchange) (q stream.RewindRequest, err error) {
			if q.Name, err = x.segment("name"); err != nil {
				return q, err
			}
			var index *int
			var since *time.Time
			if err := x.object(changed("index", countInto, &index), changed("since", momentInto, &since)); err != nil {
				return q, err
			}
			if index != nil {
				n := uint64(*index)
				q.Index = &n
			}
			if since != nil {
				q.Since = *since
			}
			return q, nil
		},
		call: s.streams.Rewind,
		encode: func(b []byte, st stream.Status) ([]byte, error) {
			w := &jsonWriter{b: b}
			w.stream(s.audit.Node(), &st)
			return w.done()
		},
	})
}

// stream appends how a stream does; not where it leads, which is the operator's to know.
func (w *jsonWriter) stream(node string, st *stream.Status) {
	w.raw(`{"object":"audit_stream","name":`)
	w.text(st.Name)
	w.raw(`,"type":`)
	w.text(string(st.Kind))
	w.raw(`,"node":`)
	w.text(node)
	w.raw(`,"state":`)
	w.text(string(st.State))
	w.raw(`,"reason":`)
	w.textOrNull(string(st.Reason))
	w.raw(`,"stalled_since":`)
	w.timeOrNull(st.Since)
	w.raw(`,"next_index":`)
	w.number(int(st.Next))
	w.raw(`,"log_size":`)
	w.number(int(st.End))
	w.raw(`,"lag_records":`)
	w.number(int(st.End - st.Next))
	w.raw(`,"lag_seconds":`)
	w.number(int(st.Lag.Seconds()))
	w.raw(`,"delivered_at":`)
	w.timeOrNull(st.Counts.DeliveredAt)
	w.raw(`,"delivered_records":`)
	w.number(int(st.Counts.Records))
	w.raw(`,"missing_records":`)
	w.number(int(st.Counts.Missing))
	w.raw(`,"attempts":`)
	w.number(int(st.Counts.Attempts))
	w.raw(`,"failures":`)
	w.number(int(st.Counts.Failures))
	w.raw(`}`)
}

// streamCollector is how streams do, looked at whenever metrics are asked for. Their names are the settings', so the
// labels are bounded.
type streamCollector struct {
	statuses                                                         func() []stream.Status
	lagRecords, lagSeconds, stalled, records, missing, attempts, bad *prometheus.Desc
}

// WatchStreams adds the streams of the audit log to what is served. It is called once at most.
func (m *Metrics) WatchStreams(statuses func() []stream.Status) {
	label := []string{"stream"}
	describe := func(name, help string) *prometheus.Desc {
		return prometheus.NewDesc("culvert_audit_stream_"+name, help, label, nil)
	}
	m.registry.MustRegister(&streamCollector{
		statuses:   statuses,
		lagRecords: describe("lag_records", "Records of the audit log that the receiver has not acknowledged."),
		lagSeconds: describe("lag_seconds", "For how long the oldest of them has been waiting."),
		stalled:    describe("stalled", "1 while the receiver acknowledges nothing, else 0."),
		records:    describe("records_total", "Records that the receiver acknowledged."),
		missing:    describe("missing_records_total", "Records that were not in the log any more when it was their turn. Anything but zero is an alarm."),
		attempts:   describe("attempts_total", "Batches that were sent, once or again."),
		bad:        describe("failures_total", "Attempts that failed."),
	})
}

// Describe implements [prometheus.Collector].
func (c *streamCollector) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.lagRecords, c.lagSeconds, c.stalled, c.records, c.missing, c.attempts, c.bad} {
		to <- d
	}
}

// Collect implements [prometheus.Collector].
func (c *streamCollector) Collect(to chan<- prometheus.Metric) {
	for _, st := range c.statuses() {
		gauge := func(d *prometheus.Desc, v float64) {
			to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, st.Name)
		}
		count := func(d *prometheus.Desc, n uint64) {
			to <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), st.Name)
		}
		gauge(c.lagRecords, float64(st.End-st.Next))
		gauge(c.lagSeconds, st.Lag.Seconds())
		if st.State == stream.Stalled {
			gauge(c.stalled, 1)
		} else {
			gauge(c.stalled, 0)
		}
		count(c.records, st.Counts.Records)
		count(c.missing, st.Counts.Missing)
		count(c.attempts, st.Counts.Attempts)
		count(c.bad, st.Counts.Failures)
	}
}
