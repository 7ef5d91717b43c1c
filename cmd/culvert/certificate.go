package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// certificateInterval is how often the files of certificates are read. They are small, and reading them
// finds every way of replacing them; their times and links do not.
const certificateInterval = 10 * time.Second

// certificate is a pair of files that somebody replaces while the program runs, long before it would be
// noticed that nobody did. It is safe for concurrent use.
type certificate struct {
	// section is the section of the settings that names the files.
	section, certFile, keyFile string
	log                        *slog.Logger

	pair atomic.Pointer[tls.Certificate]
	// mu is held while reading. read is a hash of what was read last, also of what was no pair: that is
	// said once.
	mu   sync.Mutex
	read [sha256.Size]byte
}

// openCertificate reads the pair for the first time, when a bad one is an error.
func openCertificate(section, certFile, keyFile string, log *slog.Logger) (*certificate, error) {
	c := &certificate{section: section, certFile: certFile, keyFile: keyFile, log: log}
	if _, err := c.reload(); err != nil {
		return nil, err
	}
	return c, nil
}

// reload reads the files. If they hold another pair than before, new connections get that from now on; if
// they hold none, they go on getting the last one.
func (c *certificate) reload() (changed bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	cert, err := readPublic(c.certFile)
	if err != nil {
		return false, fmt.Errorf("%s.cert_file: %w", c.section, err)
	}
	key, err := readFile(c.keyFile, 0o007, 0o640)
	if err != nil {
		return false, fmt.Errorf("%s.key_file: %w", c.section, err)
	}
	defer clear(key)
	both := append(bytes.Clone(cert), key...)
	defer clear(both)
	hash := sha256.Sum256(both)
	if hash == c.read {
		return false, nil
	}
	c.read = hash
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		// The error of a broken key file would be free to quote it.
		return true, fmt.Errorf("%[1]s.cert_file and %[1]s.key_file: %[2]s and %[3]s are no pair of PEM files", c.section, c.certFile, c.keyFile)
	}
	c.pair.Store(&pair)
	c.log.Info("certificate read", slog.String("section", c.section), slog.Time("valid_until", pair.Leaf.NotAfter))
	if time.Now().After(pair.Leaf.NotAfter) {
		c.log.Warn("the certificate has expired, and others will refuse it", slog.String("section", c.section))
	}
	return true, nil
}

// check reads the files again and says in the log what came of it; that they are still missing or broken
// is not said again.
func (c *certificate) check(last string) (said string) {
	changed, err := c.reload()
	if err == nil {
		return ""
	}
	if changed || err.Error() != last {
		c.log.Warn("the last certificate stays in use", slog.String("section", c.section), slog.Any("error", err))
	}
	return err.Error()
}

// server is the TLS configuration of the API.
func (c *certificate) server() *tls.Config {
	return &tls.Config{
		MinVersion:     tls.VersionTLS12,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c.pair.Load(), nil },
	}
}

// watchCertificates reads them again at intervals and on SIGHUP, until the graph is closed. In production
// SIGHUP never ends the process, whether there are certificates or not.
func (g *graph) watchCertificates() {
	if len(g.certificates) == 0 && g.mode == development {
		return
	}
	ctx, stop := context.WithCancel(context.Background())
	var work sync.WaitGroup
	hangUp := make(chan os.Signal, 1)
	signal.Notify(hangUp, syscall.SIGHUP)
	work.Go(func() {
		tick := time.NewTicker(certificateInterval)
		defer tick.Stop()
		said := make([]string, len(g.certificates))
		for {
			select {
			case <-tick.C:
			case <-hangUp:
			case <-ctx.Done():
				return
			}
			for i, c := range g.certificates {
				said[i] = c.check(said[i])
			}
		}
	})
	g.opened("certificates", func() error {
		signal.Stop(hangUp)
		stop()
		work.Wait()
		return nil
	})
}
