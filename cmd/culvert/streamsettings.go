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

// StreamConfig is a section audit.streams.NAME: a stream of this node's audit log, to a file, a syslog receiver or an
// HTTP receiver. Every record is sent at least once and in order; a receiver that is away is waited for, and nothing
// else waits. The name is 1 to 32 lower-case letters, digits and hyphens; how far a stream has come is kept under it.
type StreamConfig struct {
	// Type is "file", "syslog" or "http".
	Type string `koanf:"type"`
	// Path is the file that lines of JSON are appended to, absolute. It is made if it is missing, and made again
	// when it was renamed; its directory is not. It must not be in the data directory.
	Path string `koanf:"path"`
	// Address is where a syslog receiver listens, host:port. It is spoken to in RFC 5424 over TLS (RFC 5425), and
	// its certificate is always checked.
	Address string `koanf:"address"`
	// Plain speaks TCP without TLS to a syslog receiver at a loopback address. Default: false.
	Plain bool `koanf:"plain"`
	// Facility is syslog's facility, 1 to 23. Default 13, "log audit".
	Facility int `koanf:"facility"`
	// URL is where batches are posted to, https, or http at a loopback address. It must not hold a secret.
	URL string `koanf:"url"`
	// CAFile has the certificates (PEM) that the receiver's is checked against. Default: the system's.
	CAFile string `koanf:"ca_file"`
	// CertFile and KeyFile are what this process shows to the receiver (PEM); both or neither. They are read for
	// every connection. Users other than the owner and the group must not be able to read KeyFile.
	CertFile string `koanf:"cert_file"`
	KeyFile  string `koanf:"key_file"`
	// TokenFile holds the bearer token for an HTTP receiver, on one line. It is read for every batch. Users other than
	// the owner and the group must not be able to read it.
	TokenFile string `koanf:"token_file"`
	// SecretFile holds a secret that batches are signed with, on one line: the header Culvert-Signature has the time
	// and HMAC-SHA256 of time, dot and body, as webhooks have. The rules are those of TokenFile.
	SecretFile string `koanf:"secret_file"`
	// Format is "lines", a JSON object for each record; "array", one JSON array for each batch of an HTTP receiver;
	// or "structured", syslog's structured data. Default lines.
	Format string `koanf:"format"`
	// BatchRecords is how many records are sent at once, 1 to 10000. Default 500.
	BatchRecords int `koanf:"batch_records"`
}

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
