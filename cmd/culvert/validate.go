package main

import (
	"net"
	"strconv"
	"strings"
	"time"

	"culvert/internal/etcd"
	"culvert/internal/origin"
	"culvert/vault"
)

// validate checks the form of every setting before anything is opened, so that a typing mistake never
// leaves half of a data directory behind. It does not look at files or at the network.
func (c *Config) validate() error {
	for _, check := range []func() error{
		c.validateAddresses, c.validateRootKeys, c.validateCMK, c.validateEtcd, c.validateLimits, c.Pipes.validate, c.Webhooks.validate,
		c.Audit.validate, c.validateStreams,
	} {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

func (c *Config) validateAddresses() error {
	if err := checkHostPort("addr", c.Addr); err != nil {
		return err
	}
	if c.AdminAddr != "" {
		if err := checkHostPort("admin_addr", c.AdminAddr); err != nil {
			return err
		}
		if !isLoopback(c.AdminAddr) {
			return usage("setting admin_addr: %s is not a loopback address", c.AdminAddr)
		}
	}
	if c.PublicURL != "" {
		if err := checkOrigin("public_url", c.PublicURL); err != nil {
			return err
		}
	}
	if d := c.DrainDelay; d < 0 || d > 5*time.Minute {
		return usage("setting drain_delay: must be from 0 to 5m")
	}
	if (c.TLS.CertFile == "") != (c.TLS.KeyFile == "") {
		return usage("settings tls.cert_file and tls.key_file: give both or neither")
	}
	for _, allowed := range c.CORSOrigins {
		if err := checkOrigin("cors_origins", allowed); err != nil {
			return err
		}
	}
	if c.DataDir == "" {
		return usage("setting data_dir: must not be empty")
	}
	return nil
}

func (c *Config) validateEtcd() error {
	e := &c.Etcd
	if !strings.HasPrefix(e.Prefix, "/") || strings.Trim(e.Prefix, "/") == "" {
		return usage("setting etcd.prefix: must be a slash and a name, such as /culvert")
	}
	for _, endpoint := range e.Endpoints {
		if err := checkEndpoint(endpoint); err != nil {
			return err
		}
	}
	if (e.CertFile == "") != (e.KeyFile == "") {
		return usage("settings etcd.cert_file and etcd.key_file: give both or neither")
	}
	if e.tls() && len(e.Endpoints) == 0 {
		return hinted(usage("settings etcd.ca_file, cert_file and key_file: the embedded etcd has no use for them"),
			"name the cluster in etcd.endpoints")
	}
	return e.validateSchemes()
}

// validateSchemes refuses what would silently be another thing than it looks: a certificate for plain
// connections, and a list of both kinds, where the first decides for all.
func (e *EtcdConfig) validateSchemes() error {
	for _, endpoint := range e.Endpoints {
		if !strings.HasPrefix(endpoint, "http://") {
			continue
		}
		if e.tls() {
			return usage("setting etcd.endpoints: %s is plain http, but certificates are given", endpoint)
		}
		if e.secure() {
			return usage("setting etcd.endpoints: %s is plain http, and another one is https", endpoint)
		}
	}
	return nil
}

// validateServer refuses what is good enough for `culvert dev` only.
func (c *Config) validateServer() error {
	if c.TLS.CertFile == "" && !isLoopback(c.Addr) {
		return hinted(usage("setting addr: %s is not a loopback address, and without a certificate the API speaks plain HTTP", c.Addr),
			"give tls.cert_file and tls.key_file, or listen on a loopback address behind a proxy on this machine")
	}
	if c.PublicURL == "" {
		return hinted(usage("setting public_url: culvert server needs it"),
			"write where clients and browsers reach the server, such as https://vault.example.com")
	}
	if u, ok := origin.Parse(c.PublicURL); !ok || u.Scheme != "https" && !origin.IsLoopback(u.Hostname()) {
		return usage("setting public_url: %s is not https: browsers and providers would send secrets in clear", c.PublicURL)
	}
	return c.Etcd.validateServer()
}

// validateServer refuses a cluster in clear beyond this machine: whoever is on the way reads names and contexts,
// and writes what he likes.
func (e *EtcdConfig) validateServer() error {
	for _, endpoint := range e.Endpoints {
		if !e.secure() && !isLoopback(strings.TrimPrefix(endpoint, "http://")) {
			return hinted(usage("setting etcd.endpoints: %s is not a loopback address, and would be spoken to in clear", endpoint),
				"write it with https, and give etcd.ca_file, etcd.cert_file and etcd.key_file")
		}
	}
	return nil
}

func (c *Config) validateLimits() error {
	if n := c.Vault.MaxValueBytes; n < 1 || n > 1<<20 {
		return usage("setting vault.max_value_bytes: must be from 1 to %d", 1<<20)
	}
	if n := c.Vault.VersionsKept; n < 1 || n > 100 {
		return usage("setting vault.versions_kept: must be from 1 to 100")
	}
	if d := c.Keys.CacheTTL; d < 0 || d > 24*time.Hour {
		return usage("setting keys.cache_ttl: must be from 0 to 24h")
	}
	if d := c.Keys.OutageExtension; d < 0 || d > 24*time.Hour {
		return usage("setting keys.outage_extension: must be from 0 to 24h")
	} else if d > 0 && c.Keys.CacheTTL == 0 {
		return hinted(usage("setting keys.outage_extension: with keys.cache_ttl 0 there is nothing to extend"),
			"give keys.cache_ttl, such as 5m, or leave keys.outage_extension out")
	}
	if d := c.Pipes.KeepAlive; d != 0 && d < time.Second || d > 365*24*time.Hour {
		return usage("setting pipes.keep_alive: must be 0 or from 1s to 8760h")
	}
	if n := c.Events.StoreBytes; n != 0 && n < 1<<20 {
		return usage("setting events.store_bytes: must be 0 or at least %d", 1<<20)
	}
	if n := c.Limits.PathBytes; n < 1<<10 || n > 64<<10 {
		return usage("setting limits.path_bytes: must be from %d to %d", 1<<10, 64<<10)
	}
	if n := c.Limits.BodyBytes; n < 64<<10 || n > 64<<20 {
		return usage("setting limits.body_bytes: must be from %d to %d", 64<<10, 64<<20)
	}
	if f := c.Log.Format; f != logText && f != logJSON {
		return usage("setting log.format: must be text or json")
	}
	if _, known := c.Log.level(); !known {
		return usage("setting log.level: must be debug, info, warn or error")
	}
	return c.Limits.validateRates()
}

// maxRate keeps what is counted far from where numbers overflow.
const maxRate = 10_000_000

func (l LimitsConfig) validateRates() error {
	if n := l.RequestsPerKey; n < 0 || n > maxRate {
		return usage("setting limits.requests_per_key: must be from 0 to %d", maxRate)
	}
	if n := l.RequestsPerEnvironment; n < 0 || n > maxRate {
		return usage("setting limits.requests_per_environment: must be from 0 to %d", maxRate)
	}
	if n := l.ObjectsPerEnvironment; n < 0 || n > etcd.DefaultIndexObjects {
		return usage("setting limits.objects_per_environment: must be from 0 to %d", etcd.DefaultIndexObjects)
	}
	if l.BytesPerEnvironment < 0 {
		return usage("setting limits.bytes_per_environment: must not be negative")
	}
	return nil
}

// quota is what an environment may hold.
func (l LimitsConfig) quota() vault.Quota {
	return vault.Quota{Objects: l.ObjectsPerEnvironment, Bytes: l.BytesPerEnvironment}
}

// tls reports whether any certificate is configured.
func (e *EtcdConfig) tls() bool { return e.CAFile != "" || e.CertFile != "" }

// secure reports whether connections to the cluster are encrypted: by certificates of ours, or by an
// https endpoint checked against the system's certificates.
func (e *EtcdConfig) secure() bool {
	if e.tls() {
		return true
	}
	for _, endpoint := range e.Endpoints {
		if strings.HasPrefix(endpoint, "https://") {
			return true
		}
	}
	return false
}

func checkHostPort(setting, addr string) error {
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return hinted(usage("setting %s: %q is not host:port", setting, addr), "write it such as 127.0.0.1:8700")
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil {
		return usage("setting %s: %q is not a port from 0 to 65535", setting, port)
	} else if strconv.FormatUint(n, 10) != port {
		return usage("setting %s: %q is not a plain number", setting, port)
	}
	return nil
}

// checkOrigin accepts scheme://host[:port] and nothing more, so that comparing texts is enough later.
func checkOrigin(setting, text string) error {
	if !origin.IsWeb(text) || text != strings.ToLower(text) {
		return hinted(usage("setting %s: %q is not an origin", setting, text),
			"write it in lower case as scheme://host or scheme://host:port, without a slash at the end")
	}
	return nil
}

func checkEndpoint(endpoint string) error {
	hostport := endpoint
	if scheme, rest, ok := strings.Cut(endpoint, "://"); ok {
		if scheme != "http" && scheme != "https" {
			return usage("setting etcd.endpoints: %q is neither http nor https", endpoint)
		}
		hostport = rest
	}
	if host, _, err := net.SplitHostPort(hostport); err != nil || host == "" {
		return usage("setting etcd.endpoints: %q has no host:port", endpoint)
	}
	return checkHostPort("etcd.endpoints", hostport)
}

// isLoopback reports whether nobody but this machine can reach host:port.
func isLoopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	return err == nil && origin.IsLoopback(host)
}
