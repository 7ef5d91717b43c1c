package main

import (
	"strings"
	"time"

	"culvert/connectors"
	"culvert/internal/webhooks"
)

// validate checks the form of the settings.
func (c *WebhooksConfig) validate() error {
	for _, bound := range []struct {
		name        string
		value       time.Duration
		least, most time.Duration
		says        string
	}{
		{"timeout", c.Timeout, time.Second, time.Minute, "from 1s to 1m"},
		{"retry_first", c.RetryFirst, 100 * time.Millisecond, time.Hour, "from 100ms to 1h"},
		{"retry_longest", c.RetryLongest, c.RetryFirst, 24 * time.Hour, "from webhooks.retry_first to 24h"},
		{"retry_for", c.RetryFor, time.Second, 30 * 24 * time.Hour, "from 1s to 720h"},
	} {
		if bound.value < bound.least || bound.value > bound.most {
			return usage("setting webhooks.%s: must be %s", bound.name, bound.says)
		}
	}
	if _, err := c.egress(production); err != nil {
		return usage("setting %s", strings.TrimPrefix(err.Error(), "connectors: "))
	}
	return nil
}

func (c *WebhooksConfig) timing() webhooks.Timing {
	return webhooks.Timing{Timeout: c.Timeout, First: c.RetryFirst, Longest: c.RetryLongest, For: c.RetryFor}
}

// egress is where endpoints may be. Development allows this machine.
func (c *WebhooksConfig) egress(m mode) (*connectors.Egress, error) {
	return connectors.NewEgress(connectors.EgressConfig{
		AllowLoopback: m == development, Allow: c.Egress.Allow, Setting: "webhooks.egress.allow",
	})
}
