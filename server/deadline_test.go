package server_test

import (
	"errors"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"culvert/server"
)

// counting counts the deadlines that reach a connection.
type counting struct {
	net.Conn
	set int
}

func (c *counting) SetReadDeadline(t time.Time) error  { c.set++; return c.Conn.SetReadDeadline(t) }
func (c *counting) SetWriteDeadline(t time.Time) error { c.set++; return c.Conn.SetWriteDeadline(t) }

// withPipe runs a test with both ends of a connection; nothing waits for real.
func withPipe(t *testing.T, test func(t *testing.T, c net.Conn, under *counting, peer net.Conn)) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		defer func() { _, _ = near.Close(), far.Close() }()
		under := &counting{Conn: near}
		test(t, server.WithDeadlines(under), under, far)
	})
}

// readUntil reads one byte and tells after how long it ended, and whether by a deadline.
func readUntil(c net.Conn) (time.Duration, bool) {
	began := time.Now()
	_, err := c.Read(make([]byte, 1))
	return time.Since(began), errors.Is(err, os.ErrDeadlineExceeded)
}

func TestReadDeadline(t *testing.T) {
	withPipe(t, func(t *testing.T, c net.Conn, under *counting, peer net.Conn) {
		// Case 1: what was set before a Read ends it, and of several the last.
		must(t, c.SetReadDeadline(time.Now().Add(time.Hour)))
		must(t, c.SetReadDeadline(time.Time{}))
		must(t, c.SetReadDeadline(time.Now().Add(10*time.Second)))
		if under.set != 0 {
			t.Errorf("deadlines before a read: %d reached the connection", under.set)
		}
		if after, expired := readUntil(c); after != 10*time.Second || !expired {
			t.Errorf("deadline of 10 s: ended after %v, by it: %v", after, expired)
		}

		// Case 2: one that has passed ends a Read under way, at once.
		must(t, c.SetReadDeadline(time.Time{}))
		time.AfterFunc(time.Minute, func() { _ = c.SetReadDeadline(time.Unix(1, 0)) })
		if after, expired := readUntil(c); after != time.Minute || !expired {
			t.Errorf("ended by hand after a minute: ended after %v, by it: %v", after, expired)
		}

		// Case 3: so it does if it was set before the Read, until another is set.
		if after, expired := readUntil(c); after != 0 || !expired {
			t.Errorf("passed already: ended after %v, by it: %v", after, expired)
		}

		// Case 4: a Read under way gets a new one, also none.
		must(t, c.SetReadDeadline(time.Now().Add(time.Minute)))
		time.AfterFunc(time.Second, func() { _ = c.SetReadDeadline(time.Time{}) })
		time.AfterFunc(time.Hour, func() { _, _ = peer.Write([]byte("x")) })
		if after, expired := readUntil(c); after != time.Hour || expired {
			t.Errorf("lifted: ended after %v, by a deadline: %v", after, expired)
		}

		// Case 5: one that is hardly later than the present one is not worth a timer.
		must(t, c.SetReadDeadline(time.Now().Add(time.Minute)))
		time.AfterFunc(0, func() { _, _ = peer.Write([]byte("x")) })
		readUntil(c)
		under.set = 0
		time.Sleep(500 * time.Millisecond)
		must(t, c.SetReadDeadline(time.Now().Add(time.Minute)))
		if after, expired := readUntil(c); after != time.Minute-500*time.Millisecond || !expired || under.set != 0 {
			t.Errorf("hardly later: ended after %v, by it: %v, %d reached the connection", after, expired, under.set)
		}
		// Twin: an earlier one is.
		must(t, c.SetReadDeadline(time.Now().Add(time.Second)))
		if after, expired := readUntil(c); after != time.Second || !expired {
			t.Errorf("earlier: ended after %v, by it: %v", after, expired)
		}
	})
}

func TestWriteDeadline(t *testing.T) {
	withPipe(t, func(t *testing.T, c net.Conn, under *counting, _ net.Conn) {
		write := func() (time.Duration, bool) {
			began := time.Now()
			_, err := c.Write([]byte("x"))
			return time.Since(began), errors.Is(err, os.ErrDeadlineExceeded)
		}
		must(t, c.SetWriteDeadline(time.Now().Add(time.Minute)))
		must(t, c.SetWriteDeadline(time.Now().Add(time.Minute)))
		if after, expired := write(); after != time.Minute || !expired || under.set != 1 {
			t.Errorf("ended after %v, by it: %v, %d reached the connection", after, expired, under.set)
		}
		must(t, c.SetDeadline(time.Now().Add(time.Hour)))
		if after, expired := write(); after != time.Hour || !expired {
			t.Errorf("both set: ended after %v, by it: %v", after, expired)
		}
	})
}
