package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"
)

// clusterTLS is how connections to the cluster are protected; nil without any certificate and without https
// endpoints.
func (g *graph) clusterTLS(e EtcdConfig) (*tls.Config, error) {
	if !e.secure() {
		return nil, nil
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if e.CAFile != "" {
		pem, err := readPublic(e.CAFile)
		if err != nil {
			return nil, fmt.Errorf("etcd.ca_file: %w", err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("etcd.ca_file: %s holds no certificate (PEM)", e.CAFile)
		}
	}
	if e.CertFile != "" {
		shown, err := openCertificate("etcd", e.CertFile, e.KeyFile, g.log)
		if err != nil {
			return nil, err
		}
		g.certificates = append(g.certificates, shown)
		c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return shown.pair.Load(), nil }
	}
	return c, nil
}

// refusal says why a cluster that listens cannot be used: its client tells of nothing but the time that
// passed, and wrong certificates are the likeliest mistake there is. It is nil if it finds no reason.
func refusal(ctx context.Context, endpoints []string, config *tls.Config) error {
	if config == nil {
		return nil
	}
	for _, endpoint := range endpoints {
		if err := shake(ctx, strings.TrimPrefix(endpoint, "https://"), config); err != nil {
			return fmt.Errorf("%s: %w", endpoint, err)
		}
	}
	return nil
}

// shake makes one TLS connection and waits for the first byte, which a server that speaks HTTP/2 sends on
// its own; before that it may still refuse the certificate it was shown.
func shake(ctx context.Context, addr string, config *tls.Config) error {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	var dialer net.Dialer
	plain, err := dialer.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil
	}
	defer func() { _ = plain.Close() }()
	deadline, _ := ctx.Deadline()
	if err := plain.SetDeadline(deadline); err != nil {
		return err
	}
	config = config.Clone()
	config.NextProtos = []string{"h2"}
	config.ServerName, _, _ = net.SplitHostPort(addr)
	conn := tls.Client(plain, config)
	err = conn.HandshakeContext(ctx)
	if err == nil {
		_, err = conn.Read(make([]byte, 1))
	}
	// Silence is no refusal.
	if silent := net.Error(nil); errors.As(err, &silent) && silent.Timeout() || ctx.Err() != nil {
		return nil
	}
	return err
}
