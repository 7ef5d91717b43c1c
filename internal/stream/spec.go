package stream

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"path/filepath"
	"regexp"

	"culvert/internal/origin"
)

// Kind is where a stream leads.
type Kind string

// The kinds.
const (
	File   Kind = "file"
	Syslog Kind = "syslog"
	HTTP   Kind = "http"
)

// Format is how records look there.
type Format string

// The formats. Lines are JSON objects, one each. An array is the body of one HTTP request. Structured is syslog's
// own: the members of a record are parameters of an SD-ELEMENT, and there is no message.
const (
	Lines      Format = "lines"
	Array      Format = "array"
	Structured Format = "structured"
)

const (
	// MaxStreams bounds what one node serves; their names are labels of metrics.
	MaxStreams = 16
	// MaxBatch and DefaultBatch are records that are sent at once.
	MaxBatch     = 10_000
	DefaultBatch = 500
	// DefaultFacility is syslog's "log audit".
	DefaultFacility = 13
)

// Spec is one stream. What is not said of its kind is empty.
type Spec struct {
	// Name is required: 1 to 32 lower-case letters, digits and hyphens. The place in the log is kept under it.
	Name string
	Kind Kind
	// Path is the file, absolute.
	Path string
	// Address is where a syslog receiver listens, host:port. Plain speaks TCP without TLS, for loopback alone.
	Address string
	Plain   bool
	// Facility is the syslog facility of every message, 1 to 23; default [DefaultFacility]. The kernel's, 0, is not for us.
	Facility int
	// URL is what batches are posted to: https, or http on loopback. It is shown in no answer, and must not hold
	// a secret.
	URL string
	// CAFile is what the receiver's certificate is checked against, default the system's; CertFile and KeyFile are
	// what is shown to it. They are read for every connection.
	CAFile, CertFile, KeyFile string
	// TokenFile holds the bearer token, SecretFile the key of the HMAC in the header Culvert-Signature. They are
	// read for every request.
	TokenFile, SecretFile string
	// Format is default Lines.
	Format Format
	// Batch is how many records are sent at once; default [DefaultBatch].
	Batch int
}

var nameForm = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,31}$`)

// Check refuses what cannot work; it looks at no file and no network. The error names the field as settings do.
func (s *Spec) Check() error {
	if !nameForm.MatchString(s.Name) {
		return errors.New("the name must be 1 to 32 lower-case letters, digits and hyphens")
	}
	if s.Batch < 0 || s.Batch > MaxBatch {
		return fmt.Errorf("batch: must be from 1 to %d", MaxBatch)
	}
	if (s.CertFile == "") != (s.KeyFile == "") {
		return errors.New("cert_file and key_file: give both or neither")
	}
	if err := s.only(); err != nil {
		return err
	}
	switch s.Kind {
	case File:
		if !filepath.IsAbs(s.Path) {
			return errors.New("path: must be absolute")
		}
		return nil
	case Syslog:
		return errors.Join(s.checkSyslog(), s.checkHost("address"))
	case HTTP:
		return errors.Join(s.checkHTTP(), s.checkHost("url"))
	}
	return errors.New("type: must be file, syslog or http")
}

// checkHost refuses addresses where no receiver is, but the metadata services of clouds. A name that leads to one is
// refused when it is connected to.
func (s *Spec) checkHost(setting string) error {
	_, host := s.target()
	if ip, err := netip.ParseAddr(host); err == nil && (ip.IsLinkLocalUnicast() || ip.IsMulticast() || ip.IsUnspecified()) {
		return fmt.Errorf("%s: no receiver can be at a link-local or multicast address", setting)
	}
	return nil
}

// only refuses what is of another kind: it would be without effect.
func (s *Spec) only() error {
	for _, f := range []struct {
		name  string
		given bool
		kinds []Kind
	}{
		{"path", s.Path != "", []Kind{File}},
		{"address", s.Address != "", []Kind{Syslog}},
		{"plain", s.Plain, []Kind{Syslog}},
		{"facility", s.Facility != 0, []Kind{Syslog}},
		{"url", s.URL != "", []Kind{HTTP}},
		{"ca_file", s.CAFile != "", []Kind{Syslog, HTTP}},
		{"cert_file", s.CertFile != "", []Kind{Syslog, HTTP}},
		{"token_file", s.TokenFile != "", []Kind{HTTP}},
		{"secret_file", s.SecretFile != "", []Kind{HTTP}},
		{"format array", s.Format == Array, []Kind{HTTP}},
		{"format structured", s.Format == Structured, []Kind{Syslog}},
	} {
		fits := !f.given
		for _, k := range f.kinds {
			fits = fits || k == s.Kind
		}
		if !fits {
			return fmt.Errorf("%s: a stream of type %q has no use for it", f.name, s.Kind)
		}
	}
	switch s.Format {
	case "", Lines, Array, Structured:
		return nil
	}
	return errors.New("format: must be lines, array or structured")
}

func (s *Spec) checkSyslog() error {
	host, port, err := net.SplitHostPort(s.Address)
	if err != nil || host == "" || port == "" {
		return errors.New("address: must be host:port, such as siem.example.com:6514")
	}
	if s.Facility < 0 || s.Facility > 23 {
		return errors.New("facility: must be from 1 to 23")
	}
	if s.Plain && !origin.IsLoopback(host) {
		return errors.New("plain: records would be on the wire in clear; only a loopback address may be spoken to without TLS")
	}
	if s.Plain && (s.CAFile != "" || s.CertFile != "") {
		return errors.New("plain: there is no TLS to use certificates for")
	}
	return nil
}

func (s *Spec) checkHTTP() error {
	u, err := url.Parse(s.URL)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http":
		return errors.New("url: must be https://host[:port]/path")
	case u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return errors.New("url: must have neither a user nor a query; token_file is for credentials")
	case u.Scheme == "http" && !origin.IsLoopback(u.Hostname()):
		return errors.New("url: records would be on the wire in clear; http is for loopback addresses")
	}
	return nil
}

// target is host:port of what is connected to, and the host alone.
func (s *Spec) target() (target, host string) {
	if s.Kind == Syslog {
		host, _, _ = net.SplitHostPort(s.Address)
		return s.Address, host
	}
	u, err := url.Parse(s.URL)
	if err != nil {
		return "", ""
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	return net.JoinHostPort(u.Hostname(), port), u.Hostname()
}
