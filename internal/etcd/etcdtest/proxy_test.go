package etcdtest_test

import (
	"bytes"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"culvert/internal/etcd/etcdtest"
)

// arrivals is a server that says "+" to everything and tells what arrived and when.
type arrivals struct {
	addr string
	got  chan arrival
}

type arrival struct {
	bytes int
	at    time.Time
}

func newArrivals(t *testing.T) *arrivals {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	a := &arrivals{addr: "http://" + l.Addr().String(), got: make(chan arrival, 100)}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				b := make([]byte, 64<<10)
				for {
					n, err := c.Read(b)
					if err != nil {
						return
					}
					a.got <- arrival{n, time.Now()}
					if _, err := c.Write([]byte("+")); err != nil {
						return
					}
				}
			}()
		}
	}()
	return a
}

func mustDial(t *testing.T, p *etcdtest.Proxy) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", strings.TrimPrefix(p.Endpoint(), "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// answered sends some bytes and reports whether an answer came.
func answered(t *testing.T, c net.Conn, bytesToSend int) error {
	t.Helper()
	return answeredWithin(t, 20*time.Second, c, bytesToSend)
}

// answeredAtOnce is answered for an answer that is not expected: nobody waits long for it.
func answeredAtOnce(t *testing.T, c net.Conn, bytesToSend int) error {
	t.Helper()
	return answeredWithin(t, 300*time.Millisecond, c, bytesToSend)
}

func answeredWithin(t *testing.T, patience time.Duration, c net.Conn, bytesToSend int) error {
	t.Helper()
	_ = c.SetDeadline(time.Now().Add(patience))
	if _, err := c.Write(bytes.Repeat([]byte{'x'}, bytesToSend)); err != nil {
		return err
	}
	_, err := io.ReadFull(c, make([]byte, 1))
	return err
}

func TestProxyFaults(t *testing.T) {
	server := newArrivals(t)
	p := etcdtest.NewProxy(t, server.addr)
	const request = 2000
	for _, tc := range []struct {
		fault   etcdtest.Fault
		arrives bool
		after   time.Duration
	}{
		{etcdtest.LoseReply, true, 0},
		{etcdtest.LoseRequest, false, 0},
		{etcdtest.DelayRequest, true, etcdtest.Late},
	} {
		c := mustDial(t, p)
		if err := answered(t, c, request); err != nil {
			t.Fatalf("fault %d: before it: %v", tc.fault, err)
		}
		<-server.got
		p.Arm(tc.fault)
		if err := answered(t, c, 100); err != nil {
			t.Errorf("fault %d: a small request: %v", tc.fault, err)
		}
		<-server.got
		sent := time.Now()
		if err := answeredAtOnce(t, c, request); err == nil {
			t.Errorf("fault %d: an answer came", tc.fault)
		}
		patience := 2 * etcdtest.Late
		if tc.arrives {
			patience = 20 * time.Second
		}
		select {
		case a := <-server.got:
			if !tc.arrives || a.bytes != request || a.at.Sub(sent) < tc.after {
				t.Errorf("fault %d: %d bytes arrived after %s", tc.fault, a.bytes, a.at.Sub(sent))
			}
		case <-time.After(patience):
			if tc.arrives {
				t.Errorf("fault %d: nothing arrived", tc.fault)
			}
		}
		if n := p.Struck(tc.fault); n != 1 {
			t.Errorf("fault %d struck %d times", tc.fault, n)
		}
		if err := answered(t, mustDial(t, p), request); err != nil {
			t.Errorf("fault %d: after it: %v", tc.fault, err)
		}
		<-server.got
	}
}

func TestProxyCutAndStall(t *testing.T) {
	server := newArrivals(t)
	p := etcdtest.NewProxy(t, server.addr)
	c := mustDial(t, p)
	if err := answered(t, c, 10); err != nil {
		t.Fatal(err)
	}
	p.Stall()
	if err := answeredAtOnce(t, c, 10); err == nil {
		t.Error("an answer came through a stalled proxy")
	}
	p.Restore()
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
		t.Errorf("what was held back did not come: %v", err)
	}
	p.Cut()
	if err := answeredAtOnce(t, c, 10); err == nil {
		t.Error("an answer came on a connection that was cut")
	}
	if err := answeredAtOnce(t, mustDial(t, p), 10); err == nil {
		t.Error("an answer came on a new connection")
	}
	p.Restore()
	if err := answered(t, mustDial(t, p), 10); err != nil {
		t.Errorf("after the cut: %v", err)
	}
}
