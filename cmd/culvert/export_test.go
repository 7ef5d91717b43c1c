package main

import (
	"context"
	"net"
	"time"
)

// What the external tests of this package look at.
var (
	LoadConfig = loadConfig
	KeysOf     = keysOf
	Report     = report
	Nearest    = nearest
	Defaults   = defaults
	ShellQuote = shellQuote
	IsLoopback = isLoopback
)

// Main is the program, for tests that run it as a process of its own.
var Main = main

// Validate checks the form of the settings.
func (c *Config) Validate() error { return c.validate() }

// ValidateServer checks what production asks for besides.
func (c *Config) ValidateServer() error { return c.validateServer() }

// DrainTimeout is how long requests in progress may go on after a signal.
const DrainTimeout time.Duration = drainTimeout

// Listen takes the addresses of the settings, which need not have been validated, and lets go of them again.
func (c *Config) Listen(ctx context.Context) (api net.Addr, err error) {
	g := &graph{mode: production}
	defer func() { _ = g.Close() }()
	if err := g.listen(ctx, *c); err != nil {
		return nil, err
	}
	return g.listener.Addr(), nil
}

// ProgressLines is what is shown of one job, again and again.
func ProgressLines(kind, state string) func(now time.Time, done, total uint64) string {
	var m meter
	return func(now time.Time, done, total uint64) string {
		return m.line(job{Kind: kind, State: state, Done: done, Total: total}, now)
	}
}
