package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"culvert/internal/access"
	"culvert/internal/etcd"
)

// enrolment is what a start knows of its state directory.
type enrolment struct {
	node string
	dir  *dataDir
	// lost are the files of the directory that this start did not find and has begun anew.
	lost []string
	env  access.EnvironmentID
	// embedded tells that the store is in the directory too: no other one belongs to it.
	embedded bool
}

// enroll registers the state directory in the store, for ever, and warns of parts of the trail that are
// missing beside it: whoever took them away, and with them what they recorded, must not find that nobody
// noticed.
func (g *graph) enroll(ctx context.Context, f *floor, e enrolment) error {
	path, err := filepath.Abs(e.dir.path)
	if err != nil {
		return fmt.Errorf("data directory: %w", err)
	}
	// Where there is no name, the path has to do.
	host, _ := os.Hostname()
	first, err := f.store.Register(ctx, etcd.Registration{Node: e.node, Host: host, Dir: path, At: f.ids.Now()})
	if err != nil {
		return err
	}
	all, err := f.store.Registrations(ctx, e.env)
	if err != nil {
		g.log.ErrorContext(ctx, "the list of state directories is not what was stored", slog.Any("error", err))
	}
	if g.mode == production {
		g.log.InfoContext(ctx, "state directory registered", slog.String("node", e.node), slog.Bool("new", first), slog.Int("registered", len(all)))
	}
	known := !first || e.embedded && len(all) > 1
	for _, name := range e.lost {
		if known {
			g.log.WarnContext(ctx, "the store has data, but this was missing from the data directory and was begun anew; "+
				"put it back from a copy if it was not removed on purpose", slog.String("missing", e.dir.file(name)))
		}
	}
	return nil
}
