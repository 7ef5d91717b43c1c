package main

import (
	"cmp"
	"context"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"culvert/internal/access"
	"culvert/internal/stream"
	"culvert/server"
)

// specs are the streams in order of their names.
func (c *AuditConfig) specs() []stream.Spec {
	var all []stream.Spec
	for _, name := range slices.Sorted(maps.Keys(c.Streams)) {
		s := c.Streams[name]
		all = append(all, stream.Spec{
			Name: name, Kind: stream.Kind(s.Type), Path: s.Path, Address: s.Address, Plain: s.Plain, Facility: s.Facility, URL: s.URL,
			CAFile: s.CAFile, CertFile: s.CertFile, KeyFile: s.KeyFile, TokenFile: s.TokenFile, SecretFile: s.SecretFile,
			Format: stream.Format(cmp.Or(s.Format, string(stream.Lines))), Batch: s.BatchRecords,
		})
	}
	return all
}

// validateStreams checks the form of the sections audit.streams.NAME.
func (c *Config) validateStreams() error {
	all := c.Audit.specs()
	if len(all) > stream.MaxStreams {
		return usage("setting audit.streams: %d streams are the most", stream.MaxStreams)
	}
	for i := range all {
		if err := all[i].Check(); err != nil {
			return hinted(usage("setting audit.streams.%s.%v", all[i].Name, err), "culvert help settings says what a stream needs")
		}
		if all[i].Path != "" && inside(c.DataDir, all[i].Path) {
			return usage("setting audit.streams.%s.path: must not be in the data directory, which is this program's alone", all[i].Name)
		}
	}
	return nil
}

// inside tells whether a path is below a directory.
func inside(dir, path string) bool {
	absolute, err := filepath.Abs(dir)
	if err != nil {
		return false
	}
	rest, err := filepath.Rel(absolute, path)
	return err == nil && rest != ".." && !strings.HasPrefix(rest, "../")
}

// buildStreams begins to send the audit log to where the settings say.
func (g *graph) buildStreams(cfg Config, f *floor, gate *access.Gate, metrics *server.Metrics) (*stream.Desk, error) {
	streams, err := stream.Start(stream.Config{
		Log: f.audit, Dir: filepath.Join(cfg.DataDir, "streams"), Streams: cfg.Audit.specs(), Logger: g.log,
	})
	if err != nil {
		return nil, hinted(err, "how far a stream has come is in "+filepath.Join(cfg.DataDir, "streams")+"; without its file it begins at the oldest record")
	}
	g.opened("streams of the audit log", streams.Close)
	f.streams = streams
	metrics.WatchStreams(func() []stream.Status { return streams.Statuses(time.Now()) })
	return stream.NewDesk(stream.DeskConfig{Streams: streams, Gate: gate, Audit: f.audit, Fence: f.store.Fence, Now: f.ids.Now})
}

// streamHealth is never red: no request waits for a stream.
func (f *floor) streamHealth(context.Context) []server.Check {
	if f.streams == nil || len(f.streams.Statuses(time.Now())) == 0 {
		return nil
	}
	look := check("audit_streams", f.streams.Health(), "a receiver of the audit log acknowledges nothing: its records wait")
	if look.State != server.Ready {
		look.State = server.Degraded
	}
	return []server.Check{look}
}
