package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"
)

// drainTimeout bounds how long requests that have begun may go on after the first signal. It is above
// the five seconds that any use case may wait for etcd.
const drainTimeout = 10 * time.Second

// Run serves until ctx ends or serving fails, lets the requests in progress finish, and closes
// everything. Readiness turns red first, and for the drain delay nothing else changes. Requests that are
// still going after [drainTimeout] are cut off.
func (g *graph) Run(ctx context.Context) error {
	api := door{g.server.HTTPServer(), g.server.Listener(g.listener)}
	if g.certificate != nil {
		api.listener = g.server.TLSListener(g.listener, g.certificate.server())
	}
	doors := []door{api}
	if g.admin != nil {
		doors = append(doors, door{
			&http.Server{
				Handler: g.server.AdminHandler(), ReadHeaderTimeout: adminTimeout,
				ReadTimeout: adminTimeout, WriteTimeout: profileTimeout,
			},
			g.admin,
		})
	}
	failed := make(chan error, len(doors))
	for _, d := range doors {
		go func() { failed <- d.serve() }()
	}
	var err error
	left := len(doors)
	select {
	case <-ctx.Done():
		g.log.Info("stopping", slog.Duration("refuses_connections_in", g.drainDelay), slog.Duration("then_at_most", drainTimeout))
		g.server.Drain()
		select {
		case <-time.After(g.drainDelay):
		case err = <-failed:
			left--
		}
	case err = <-failed:
		left--
	}
	// Not under ctx: it has ended, and what is in progress may finish.
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTimeout)
	defer cancel()
	for _, d := range doors {
		err = errors.Join(err, d.drain(drain, g.log))
	}
	for range left {
		err = errors.Join(err, <-failed)
	}
	return errors.Join(err, g.Close())
}

const (
	// adminTimeout bounds a request to the admin address, and profileTimeout what it answers: a profile of a minute.
	adminTimeout   = 10 * time.Second
	profileTimeout = 70 * time.Second
)

// door is a listener and what answers there.
type door struct {
	server   *http.Server
	listener net.Listener
}

func (d door) serve() error {
	if err := d.server.Serve(d.listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve on %s: %w", d.listener.Addr(), err)
	}
	return nil
}

func (d door) drain(ctx context.Context, log *slog.Logger) error {
	err := d.server.Shutdown(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		log.WarnContext(ctx, "requests were cut off", slog.String("address", d.listener.Addr().String()))
		return d.server.Close()
	}
	return err
}
