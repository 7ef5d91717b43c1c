package webhooks

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"syscall"

	"crypto/tls"
	"crypto/x509"

	"culvert/connectors"
)

// Reason says why an attempt failed, in words of our own: errors of the network quote names and lines that are
// the receiver's to choose.
type Reason string

// The reasons.
const (
	// ReasonStatus is an answer that is no 2xx; ReasonRedirect one that leads elsewhere.
	ReasonStatus   Reason = "status"
	ReasonRedirect Reason = "redirect"
	ReasonTimeout  Reason = "timeout"
	// ReasonBlocked is an address that our own rules forbid.
	ReasonBlocked Reason = "address_not_allowed"
	ReasonDNS     Reason = "name_not_resolved"
	ReasonRefused Reason = "connection_refused"
	ReasonTLS     Reason = "tls_failed"
	// ReasonBroken is a connection that ended, or an answer that is no HTTP.
	ReasonBroken Reason = "connection_failed"
)

// reasonOf is the reason of an attempt without an answer.
func reasonOf(err error) Reason {
	var (
		dns       *net.DNSError
		network   net.Error
		authority x509.UnknownAuthorityError
		hostname  x509.HostnameError
		verify    *tls.CertificateVerificationError
		record    tls.RecordHeaderError
		alert     tls.AlertError
	)
	switch {
	case errors.Is(err, connectors.ErrBlocked):
		return ReasonBlocked
	case errors.As(err, &dns) && !dns.IsTimeout:
		return ReasonDNS
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded), errors.As(err, &network) && network.Timeout():
		return ReasonTimeout
	case errors.Is(err, syscall.ECONNREFUSED):
		return ReasonRefused
	case errors.As(err, &authority), errors.As(err, &hostname), errors.As(err, &verify), errors.As(err, &record), errors.As(err, &alert),
		errors.Is(err, http.ErrSchemeMismatch):
		return ReasonTLS
	}
	return ReasonBroken
}

// reasonOfStatus is the reason of an answer; empty if it accepts.
func reasonOfStatus(status int) Reason {
	switch {
	case status >= 200 && status <= 299:
		return ""
	case status >= 300 && status <= 399:
		return ReasonRedirect
	}
	return ReasonStatus
}
