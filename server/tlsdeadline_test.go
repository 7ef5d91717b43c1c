package server_test

import (
	"crypto/tls"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"culvert/server"
)

// single is a listener of one connection.
type single struct {
	net.Listener
	c net.Conn
}

func (l single) Accept() (net.Conn, error) { return l.c, nil }

// deaf is the end of a client that sends, and reads nothing before it is closed.
type deaf struct {
	net.Conn
	closed chan struct{}
}

func (d deaf) Read([]byte) (int, error) {
	<-d.closed
	return 0, net.ErrClosed
}

// TestTLSWritesBeforeFirstRequest: net/http has set no deadline for writing by then, and a client that does
// not read what TLS writes must not hold a connection for good.
func TestTLSWritesBeforeFirstRequest(t *testing.T) {
	certified := httptest.NewTLSServer(http.NotFoundHandler())
	certified.Close()
	shown := &tls.Config{Certificates: certified.TLS.Certificates, MinVersion: tls.VersionTLS12}
	trusting := certified.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
	trusting.ServerName = "example.com"

	// begin accepts a connection and reads from it as net/http does for its first request.
	begin := func(near net.Conn) (n int, after time.Duration) {
		accepted, err := new(server.Server).TLSListener(single{c: near}, shown).Accept()
		must(t, err)
		began := time.Now()
		must(t, accepted.SetReadDeadline(began.Add(10*time.Second)))
		n, _ = accepted.Read(make([]byte, 1))
		return n, time.Since(began)
	}
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		defer func() { _, _ = near.Close(), far.Close() }()
		closed := make(chan struct{})
		defer close(closed)
		go func() { _ = tls.Client(deaf{far, closed}, trusting).Handshake() }()
		if n, after := begin(near); n != 0 || after > 10*time.Second {
			t.Errorf("a client that does not read: %d bytes after %v", n, after)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		defer func() { _, _ = near.Close(), far.Close() }()
		go func() { _, _ = tls.Client(far, trusting).Write([]byte("G")) }()
		if n, after := begin(near); n != 1 || after != 0 {
			t.Errorf("twin, a client that reads: %d bytes after %v", n, after)
		}
	})
}
