package main

import (
	"errors"
	"io"
	"syscall"
)

// errNobodyReads is output that nobody reads any more, as behind `| head`.
var errNobodyReads = errors.New("nobody reads the output")

// outlet is standard output that tells when nobody reads it, and tells that from a connection of which the
// same can be said.
type outlet struct{ to io.Writer }

func (o outlet) Write(b []byte) (int, error) {
	n, err := o.to.Write(b)
	if errors.Is(err, syscall.EPIPE) {
		err = errNobodyReads
	}
	return n, err
}
