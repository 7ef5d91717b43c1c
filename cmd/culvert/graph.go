package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/net/netutil"
	"golang.org/x/sys/unix"

	"culvert/server"
)

// graph is the running program: every part made once, in the order of what stands on what, and closed
// in reverse. It is the only place where packages meet that do not know each other.
type graph struct {
	mode mode
	log  *slog.Logger
	// drainDelay is the setting drain_delay.
	drainDelay time.Duration
	listener   net.Listener
	// admin is nil without admin_addr.
	admin  net.Listener
	server *server.Server
	// certificate is what clients are shown; nil without the section tls. certificates are all there are.
	certificate  *certificate
	certificates []*certificate
	// tls is how connections to etcd are protected; nil if they are not.
	tls *tls.Config
	// keyFile is where the API key is, as an absolute path; firstStart tells that this start made it,
	// and anotherKey that it did so in a store that was not new.
	keyFile    string
	firstStart bool
	anotherKey bool
	// closers are in the order of opening.
	closers []closer
}

type closer struct {
	name  string
	close func() error
}

// opened notes what Close has to close.
func (g *graph) opened(name string, close func() error) {
	g.closers = append(g.closers, closer{name, close})
}

// Close closes everything that was opened, the newest first, also after a failed one.
func (g *graph) Close() error {
	var all error
	for i := len(g.closers) - 1; i >= 0; i-- {
		if err := g.closers[i].close(); err != nil && !errors.Is(err, net.ErrClosed) {
			all = errors.Join(all, fmt.Errorf("close %s: %w", g.closers[i].name, err))
		}
	}
	g.closers = nil
	return all
}

// build opens everything that cfg names. On an error nothing stays open.
func build(ctx context.Context, cfg Config, m mode, log *slog.Logger) (_ *graph, err error) {
	g := &graph{mode: m, log: log, drainDelay: cfg.DrainDelay}
	defer func() {
		if err != nil {
			err = errors.Join(err, g.Close())
		}
	}()
	// Before anything is made: a mistyped data_dir must not become the directory of an empty database.
	if m == production && len(cfg.Etcd.Endpoints) == 0 {
		if _, err := os.Stat(filepath.Join(cfg.DataDir, "etcd")); errors.Is(err, fs.ErrNotExist) {
			return nil, noStore(filepath.Join(cfg.DataDir, "etcd"))
		}
	}
	dir, err := openDataDir(cfg.DataDir)
	if err != nil {
		return nil, err
	}
	g.opened("data directory", dir.Close)
	if cfg.TLS.CertFile != "" {
		if g.certificate, err = openCertificate("tls", cfg.TLS.CertFile, cfg.TLS.KeyFile, log); err != nil {
			return nil, err
		}
		g.certificates = append(g.certificates, g.certificate)
	}
	// The addresses next: one that is taken must not leave a store behind that nobody asked for.
	if err := g.listen(ctx, cfg); err != nil {
		return nil, err
	}
	floor, err := g.buildFloor(ctx, cfg, dir)
	if err != nil {
		return nil, err
	}
	g.watchCertificates()
	return g, g.buildHouse(cfg, floor)
}

// listen takes the addresses. Connections wait in the kernel until Run serves them.
func (g *graph) listen(ctx context.Context, cfg Config) (err error) {
	if g.listener, err = g.take(ctx, "API", cfg.Addr, map[mode]string{development: "--addr", production: "--set addr=…"}[g.mode]); err != nil {
		return err
	}
	if cfg.TLS.CertFile == "" && isLoopback(cfg.Addr) {
		if err := stayedHere("addr", cfg.Addr, g.listener.Addr()); err != nil {
			return err
		}
	}
	if cfg.AdminAddr == "" {
		return nil
	}
	if g.admin, err = g.take(ctx, "admin", cfg.AdminAddr, "--set admin_addr=…"); err != nil {
		return err
	}
	return stayedHere("admin_addr", cfg.AdminAddr, g.admin.Addr())
}

// stayedHere refuses an address that looked like loopback in the settings and is another one. "localhost"
// is a name, and where it leads is up to whoever writes the hosts file or answers for DNS.
func stayedHere(setting, addr string, at net.Addr) error {
	if isLoopback(at.String()) {
		return nil
	}
	return hinted(fmt.Errorf("setting %s: %s is %s here, which is not a loopback address", setting, addr, at), "write it as 127.0.0.1 and a port")
}

// take listens. flag is how the address can be changed.
func (g *graph) take(ctx context.Context, name, addr, flag string) (net.Listener, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, hinted(fmt.Errorf("%s address: %w", name, err),
			"another one can be given with "+flag+"; port 0 takes a free one")
	}
	g.opened(name+" listener", l.Close)
	return netutil.LimitListener(l, maxConnections()), nil
}

// maxConnections keeps files for etcd and the audit log: an embedded etcd that cannot open its next file
// ends the process, and without a limit anybody could bring that about with idle connections. It also
// bounds what unfinished headers of strangers take: 128 KiB each.
func maxConnections() int {
	const most, reserved = 1024, 128
	var files unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &files) != nil || files.Cur > most+reserved {
		return most
	}
	return max(int(files.Cur)-reserved, 16)
}
