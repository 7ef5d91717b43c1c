package server

import (
	"net/http"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"culvert/internal/access"
	"culvert/internal/webhooks"
	"culvert/pipes"
	"culvert/vault"
)

// unmatched is the route label of requests that have none: the path itself would be a label without
// bound, and may hold anything.
const unmatched = "unmatched"

// Metrics are the counters of one process, in a registry of their own: libraries that fill the default
// registry do not decide what is served. It is safe for concurrent use.
type Metrics struct {
	registry        *prometheus.Registry
	requests        *prometheus.CounterVec
	unauthenticated *prometheus.CounterVec
	rateLimited     prometheus.Counter
	integrity       prometheus.Counter
	refreshes       *prometheus.CounterVec
	deliveries      *prometheus.CounterVec
	ambiguous       prometheus.Counter
	replayed        prometheus.Counter
}

// NewMetrics returns counters at zero.
func NewMetrics() *Metrics {
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "culvert_http_requests_total",
			Help: "Requests answered, by route template, method and status.",
		}, []string{"route", "method", "status"}),
		unauthenticated: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "culvert_unauthenticated_total",
			Help: "Requests refused before they had an actor, by reason; they leave no audit record.",
		}, []string{"reason"}),
		rateLimited: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "culvert_rate_limited_total",
			Help: "Requests refused because their API key or environment has made too many; they leave no audit record.",
		}),
		integrity: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "culvert_integrity_failures_total",
			Help: "Stored records that failed their integrity check. Anything but zero is an alarm.",
		}),
		refreshes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "culvert_refreshes_total",
			Help: "Refreshes of tokens, by how they ended. Anything but zero of rotation_lost is an alarm.",
		}, []string{"outcome"}),
		deliveries: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "culvert_webhook_attempts_total",
			Help: "Attempts to deliver events to webhook endpoints, by how they ended, and events given up.",
		}, []string{"outcome"}),
		ambiguous: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "culvert_refresh_ambiguous_sends_total",
			Help: "Refresh tokens that were sent to a provider without a readable reply.",
		}),
		replayed: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "culvert_refresh_journal_replays_total",
			Help: "Entries of the refresh journal that were dealt with after their refresh had ended, as after a crash.",
		}),
	}
	// It can only fail for two metrics of one name, which the first start would show.
	m.registry.MustRegister(m.requests, m.unauthenticated, m.rateLimited, m.integrity, m.refreshes, m.deliveries, m.ambiguous, m.replayed,
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	// At zero from the start: a rate needs a first value.
	for _, reason := range []string{reasonMissing, reasonDuplicate, reasonMalformed, reasonRejected, reasonTicket, reasonFlowRate} {
		m.unauthenticated.WithLabelValues(reason)
	}
	for _, outcome := range pipes.Outcomes() {
		m.refreshes.WithLabelValues(string(outcome))
	}
	for _, outcome := range []webhooks.Counted{webhooks.CountAccepted, webhooks.CountFailed, webhooks.CountDead} {
		m.deliveries.WithLabelValues(string(outcome))
	}
	return m
}

// ObserveUsage has the metrics show what environments hold, whenever they are asked for. It is called once.
func (m *Metrics) ObserveUsage(counted func() map[access.EnvironmentID]vault.Usage) {
	label := []string{"environment"}
	m.registry.MustRegister(&usageCollector{
		counted: counted,
		objects: prometheus.NewDesc("culvert_objects", "Objects of the vault, by environment.", label, nil),
		bytes:   prometheus.NewDesc("culvert_object_bytes", "Bytes of values as sealed, all kept versions, by environment.", label, nil),
	})
}

// usageCollector makes no series that outlives its environment; there are as many as operators have made.
type usageCollector struct {
	counted        func() map[access.EnvironmentID]vault.Usage
	objects, bytes *prometheus.Desc
}

// Describe implements [prometheus.Collector].
func (u *usageCollector) Describe(to chan<- *prometheus.Desc) { to <- u.objects; to <- u.bytes }

// Collect implements [prometheus.Collector].
func (u *usageCollector) Collect(to chan<- prometheus.Metric) {
	for env, has := range u.counted() {
		to <- prometheus.MustNewConstMetric(u.objects, prometheus.GaugeValue, float64(has.Objects), env.OnWire())
		to <- prometheus.MustNewConstMetric(u.bytes, prometheus.GaugeValue, float64(has.Bytes), env.OnWire())
	}
}

// IntegrityFailure counts a stored record that is not what was put there.
func (m *Metrics) IntegrityFailure() { m.integrity.Inc() }

// CountDelivery counts what a deliverer says.
func (m *Metrics) CountDelivery(what webhooks.Counted) {
	m.deliveries.WithLabelValues(string(what)).Inc()
}

// CountRefresh counts what a broker says of refreshes: its own words, none of them a provider's or a caller's.
func (m *Metrics) CountRefresh(what pipes.Counted) {
	switch what {
	case pipes.CountAmbiguous:
		m.ambiguous.Inc()
	case pipes.CountReplayed:
		m.replayed.Inc()
	default:
		m.refreshes.WithLabelValues(string(what)).Inc()
	}
}

// requestCounter counts one route. The status of nearly every request is looked up once.
type requestCounter struct {
	vec   *prometheus.CounterVec
	route string
	// method is the row's; "" for requests without a route.
	method      string
	ok, created prometheus.Counter
}

func (m *Metrics) requestCounter(route, method string) requestCounter {
	c := requestCounter{vec: m.requests, route: route, method: method}
	if method != "" {
		c.ok = m.requests.WithLabelValues(route, method, "200")
		c.created = m.requests.WithLabelValues(route, method, "201")
	}
	return c
}

// count is called once per request. The labels are the template, a known method and our own status:
// none of them can be chosen by a client.
func (c *requestCounter) count(method string, status int) {
	switch {
	case c.ok != nil && status == http.StatusOK:
		c.ok.Inc()
	case c.created != nil && status == http.StatusCreated:
		c.created.Inc()
	default:
		c.vec.WithLabelValues(c.route, method, strconv.Itoa(status)).Inc()
	}
}
