package server

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"time"
)

// tlsConn is a connection that begins with a handshake, at the first read: so that is under the time
// limit of a request's header, and in the goroutine of its connection.
type tlsConn struct {
	*tls.Conn
	server *Server
}

// Read passes a failed handshake on as the end of the connection. net/http would answer its error as a
// malformed request, so that every scan of ports was an access to log; it does not know that it reads TLS.
func (c *tlsConn) Read(b []byte) (int, error) {
	if err := c.Handshake(); err != nil {
		var record tls.RecordHeaderError
		if errors.As(err, &record) && record.Conn != nil && isHTTP(record.RecordHeader) {
			c.server.refusePlain(record.Conn)
		}
		return 0, io.EOF
	}
	return c.Conn.Read(b)
}

// isHTTP tells from its first bytes whether a client speaks HTTP in clear.
func isHTTP(head [5]byte) bool {
	switch string(head[:]) {
	case "GET /", "HEAD ", "POST ", "PUT /", "PATCH", "DELET", "OPTIO":
		return true
	}
	return false
}

// refusePlain tells a client that sent its request in clear. It is not led to HTTPS: the API key that it
// sent has been seen by whoever listens on its way, and a redirect would hide that.
func (s *Server) refusePlain(c net.Conn) {
	_ = c.SetDeadline(time.Now().Add(plainTimeout))
	if _, err := c.Write(s.refusal(malformed("https_required", "This address speaks HTTPS only. A key that was sent without it is not secret any more."))); err != nil {
		return
	}
	// A connection that is closed with something unread is reset, and the answer may be lost with it.
	_, _ = io.CopyN(io.Discard, c, maxHeaderBytes)
}

// plainTimeout bounds how long a client in clear is dealt with.
const plainTimeout = time.Second
