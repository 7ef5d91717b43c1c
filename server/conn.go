package server

import (
	"bytes"
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"time"

	"culvert/internal/id"
)

// net/http answers a request that it cannot read as HTTP by itself, before any handler: in plain text,
// without a request id, and with 501 for an unknown transfer coding. SDKs need JSON in every answer
// (contract section 0, rule 1), and there is no hook, so the connection looks at what is written to it.

// Listener wraps what [http.Server.Serve] is given, so that those answers are JSON too.
func (s *Server) Listener(l net.Listener) net.Listener { return &listener{l, s, nil} }

// TLSListener is [Server.Listener] for an address that speaks HTTPS. It goes to [http.Server.Serve] too,
// not to ServeTLS, under which a listener sees only ciphertext.
//
// It offers HTTP/1.1 and no HTTP/2: net/http has another parser for that, with refusals that no
// listener sees and with ways of its own to make a server work, and no SDK needs it.
func (s *Server) TLSListener(l net.Listener, config *tls.Config) net.Listener {
	config = config.Clone()
	config.NextProtos = []string{"http/1.1"}
	return &listener{l, s, config}
}

type listener struct {
	net.Listener
	server *Server
	// tls is nil where the address speaks plain HTTP.
	tls *tls.Config
}

func (l *listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	c = &deadlines{Conn: c}
	if l.tls != nil {
		// net/http sets the first deadline for writing once it has read a header. TLS writes before that: its
		// part of the handshake, and an answer to each KeyUpdate (RFC 8446 section 4.6.3) of a client that
		// need not read any of them. One that is closed already is found out by the first read.
		_ = c.SetWriteDeadline(time.Now().Add(readHeaderTimeout))
		c = &tlsConn{tls.Server(c, l.tls), l.server}
	}
	return &conn{c, l.server}, nil
}

type conn struct {
	net.Conn
	server *Server
}

// Write passes everything on but net/http's own refusals, each of which arrives in one piece. No answer
// of ours can be taken for one: ours are JSON or pages, neither of which has CR LF in it, so no part of a
// body looks like a header.
func (c *conn) Write(b []byte) (int, error) {
	status := ownRefusal(b)
	if status == 0 {
		return c.Conn.Write(b)
	}
	if _, err := c.Conn.Write(c.server.malformedRequest(status)); err != nil {
		return 0, err
	}
	return len(b), nil
}

// CloseWrite lets net/http hang up in two steps, so that a client which is still sending gets to read
// why.
func (c *conn) CloseWrite() error { return closeWrite(c.Conn) }

func closeWrite(c net.Conn) error {
	if half, ok := c.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

// ownRefusal is the status of a refusal by net/http itself; 0 if b is anything else.
func ownRefusal(b []byte) int {
	const proto, plain = "HTTP/1.1 ", "\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n"
	if len(b) < len(proto)+3 || string(b[:len(proto)]) != proto || b[len(proto)] < '4' {
		return 0
	}
	status, err := strconv.Atoi(string(b[len(proto) : len(proto)+3]))
	if err != nil {
		return 0
	}
	head, _, found := bytes.Cut(b, []byte("\r\n\r\n"))
	// An Expect that net/http does not know gets a bare 417, which we never answer.
	if !found || status != http.StatusExpectationFailed && !bytes.HasSuffix(b[:len(head)+4], []byte(plain)) {
		return 0
	}
	return status
}

// malformedRequest is the same refusal as JSON, counted and logged as every answer.
func (s *Server) malformedRequest(status int) []byte {
	p := malformed("malformed_request", "The request is not well-formed HTTP.")
	if status < http.StatusInternalServerError {
		p.status = status
	}
	return s.refusal(p)
}

// refusal is a whole answer to what never became a request.
func (s *Server) refusal(p *problem) []byte {
	requestID := "req_" + id.ULID(s.now())
	body := appendProblem(nil, p, requestID, false)
	s.unmatched.requests.count("other", p.status)
	s.logger.LogAttrs(context.Background(), slog.LevelInfo, "request",
		slog.String("method", "other"), slog.String("route", unmatched),
		slog.Int("status", p.status), slog.String("request_id", requestID))

	b := append([]byte(nil), "HTTP/1.1 "...)
	b = strconv.AppendInt(b, int64(p.status), 10)
	b = append(b, " "+http.StatusText(p.status)...)
	b = append(b, "\r\nContent-Type: application/json\r\nConnection: close\r\nX-Request-Id: "+requestID...)
	b = append(b, "\r\nContent-Length: "...)
	b = strconv.AppendInt(b, int64(len(body)), 10)
	b = append(b, "\r\n\r\n"...)
	return append(b, body...)
}
