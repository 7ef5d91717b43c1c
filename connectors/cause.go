package connectors

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
)

// transportError is a call without an answer. Before there was a connection nothing can have happened;
// after it anything can have.
func transportError(err error, connected bool) error {
	switch {
	case connected:
		return &Error{Class: Ambiguous, Cause: causeOf(err)}
	case errors.Is(err, ErrBlocked):
		return blocked(causeOf(err))
	}
	return &Error{Class: Transient, Cause: causeOf(err)}
}

// causeOf puts an error of the network into words of our own. The originals quote URLs with their
// queries, lines of the reply and names in certificates, which are the other side's to choose.
func causeOf(err error) error {
	var (
		dns     *net.DNSError
		errno   syscall.Errno
		blocked *blockedError
		network net.Error
	)
	switch {
	case errors.As(err, &blocked):
		return blocked
	case errors.Is(err, context.Canceled):
		return context.Canceled
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		return context.DeadlineExceeded
	case errors.As(err, &dns) && dns.IsNotFound:
		return errors.New("the host name does not exist")
	case errors.As(err, &dns):
		return errors.New("the host name could not be resolved")
	case errors.As(err, &errno):
		return errno
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return io.ErrUnexpectedEOF
	case errors.As(err, &network) && network.Timeout():
		return context.DeadlineExceeded
	}
	if cause := tlsCause(err); cause != nil {
		return cause
	}
	return errors.New("the answer is not HTTP, or the connection failed")
}

// tlsCause names what is wrong with a provider's TLS, or nil if something else is.
func tlsCause(err error) error {
	var (
		authority x509.UnknownAuthorityError
		hostname  x509.HostnameError
		invalid   x509.CertificateInvalidError
		verify    *tls.CertificateVerificationError
		record    tls.RecordHeaderError
		alert     tls.AlertError
	)
	switch {
	case errors.As(err, &authority):
		return errors.New("the certificate is signed by an unknown authority")
	case errors.As(err, &hostname):
		return errors.New("the certificate is for another name")
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return errors.New("the certificate is expired or not yet valid")
	case errors.As(err, &invalid), errors.As(err, &verify):
		return errors.New("the certificate is not valid")
	case errors.As(err, &record):
		return errors.New("the answer is not TLS")
	case errors.As(err, &alert):
		return errors.New("the TLS handshake was refused")
	}
	return nil
}
