package stream

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"time"

	"culvert/connectors"
)

// syslogSink speaks RFC 5424 over TLS (RFC 5425). Syslog acknowledges nothing, so what was sent counts as received
// when the connection was ended in order: we say that no more will come, and the receiver, who learns of it behind
// the last message, ends his side. Until then everything since the last such end is sent again after an error.
type syslogSink struct {
	spec    Spec
	form    syslogForm
	egress  *connectors.Egress
	timeout time.Duration
	now     func() time.Time
	// conn is nil until it is wanted. ended gets what ends reading from it, which nobody else does: a receiver
	// has nothing to say.
	conn     net.Conn
	ended    chan error
	message  []byte
	messages []byte
}

func (s *syslogSink) late() bool { return true }

func (s *syslogSink) drop() {
	if s.conn == nil {
		return
	}
	_ = s.conn.Close()
	<-s.ended
	s.conn = nil
}

func (s *syslogSink) send(ctx context.Context, b *batch) error {
	if err := s.open(ctx); err != nil {
		return fail(ReasonUnreachable, err)
	}
	select {
	case err := <-s.ended:
		s.ended <- err // for drop
		return lost(err)
	default:
	}
	s.messages = s.messages[:0]
	for i := range b.leaves {
		s.message = s.form.record(s.message[:0], &b.leaves[i])
		s.messages = appendFrame(s.messages, s.message)
	}
	if b.checkpoint != nil {
		s.message = s.form.checkpoint(s.message[:0], b, s.now())
		s.messages = appendFrame(s.messages, s.message)
	}
	// A receiver that does not read fills the buffers on the way, and then the deadline ends it.
	stop := context.AfterFunc(ctx, func() { _ = s.conn.SetWriteDeadline(time.Unix(1, 0)) })
	defer stop()
	if err := s.conn.SetWriteDeadline(time.Now().Add(s.timeout)); err != nil {
		return lost(err)
	}
	if _, err := s.conn.Write(s.messages); err != nil {
		return lost(err)
	}
	return nil
}

func lost(err error) error {
	if err == nil {
		err = io.EOF
	}
	return fail(ReasonConnection, err)
}

// open connects, if there is no connection.
func (s *syslogSink) open(ctx context.Context) error {
	if s.conn != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	conn, err := s.egress.DialContext(ctx, "tcp", s.spec.Address)
	if err != nil {
		return err
	}
	if !s.spec.Plain {
		config, err := tlsConfig(&s.spec)
		if err != nil {
			return errors.Join(err, conn.Close())
		}
		secured := tls.Client(conn, config)
		if err := secured.HandshakeContext(ctx); err != nil {
			return &failure{reason: fail(ReasonTLS, err).reason, err: errors.Join(err, ignoreClosed(conn.Close()))}
		}
		conn = secured
	}
	ended := make(chan error, 1)
	go func() {
		_, err := io.Copy(io.Discard, conn)
		ended <- err
	}()
	s.conn, s.ended = conn, ended
	return nil
}

func ignoreClosed(err error) error {
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// settle ends the connection in order and waits for the receiver to do the same.
//
// Some receivers end TCP without ending TLS, so that is taken for an end too. Who can write to the network may
// feign one, and cut off what was under way: the receiver sees it by the indices, of which some are missing then.
func (s *syslogSink) settle(ctx context.Context) error {
	if s.conn == nil {
		return &failure{reason: ReasonConnection, err: errors.New("no connection")}
	}
	if err := s.conn.SetWriteDeadline(time.Now().Add(s.timeout)); err != nil {
		return lost(err)
	}
	if err := endWriting(s.conn); err != nil {
		return lost(err)
	}
	wait := time.NewTimer(s.timeout)
	defer wait.Stop()
	select {
	case err := <-s.ended:
		s.ended <- nil
		s.drop()
		if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
			return lost(err)
		}
		return nil
	case <-wait.C:
	case <-ctx.Done():
	}
	return &failure{reason: ReasonNoEnd, err: errors.New("the receiver did not end the connection after we did")}
}

// endWriting says that no more will come, in TLS and in TCP: some receivers look at one of them alone.
func endWriting(conn net.Conn) error {
	if secured, ok := conn.(*tls.Conn); ok {
		if err := secured.CloseWrite(); err != nil {
			return err
		}
		conn = secured.NetConn()
	}
	half, ok := conn.(*net.TCPConn)
	if !ok {
		return errors.New("no TCP connection")
	}
	return half.CloseWrite()
}
