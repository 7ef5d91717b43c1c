package stream

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
)

// tlsConfig is read anew for every connection, so that renewed files need no restart. The receiver's certificate
// is checked, always.
func tlsConfig(s *Spec) (*tls.Config, error) {
	_, host := s.target()
	c := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: host}
	if s.CAFile != "" {
		pem, err := readFile(s.CAFile, 0)
		if err != nil {
			return nil, err
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, &failure{reason: ReasonCredentials, err: fmt.Errorf("%s holds no certificate", s.CAFile)}
		}
	}
	if s.CertFile == "" {
		return c, nil
	}
	cert, err := readFile(s.CertFile, 0)
	if err != nil {
		return nil, err
	}
	key, err := readSecret(s.KeyFile)
	if err != nil {
		return nil, err
	}
	pair, err := tls.X509KeyPair(cert, key)
	clear(key)
	if err != nil {
		return nil, &failure{reason: ReasonCredentials, err: fmt.Errorf("%s and %s are no pair", s.CertFile, s.KeyFile)}
	}
	c.Certificates = []tls.Certificate{pair}
	return c, nil
}

// isTLS tells a failure of the handshake or of a certificate.
func isTLS(err error) bool {
	var (
		verification *tls.CertificateVerificationError
		record       tls.RecordHeaderError
		alert        tls.AlertError
	)
	return errors.As(err, &verification) || errors.As(err, &record) || errors.As(err, &alert)
}

// oneLine is the content of a file that holds one line.
func oneLine(content []byte) []byte { return bytes.TrimRight(content, "\r\n") }
