package etcdtest

import (
	"net"
	"net/url"
	"sync"
	"testing"
	"time"
)

// Fault is what a [Proxy] does to one request and the connection that it came on.
type Fault int

// The faults. In all of them the client sees its connection end and cannot tell which it was.
const (
	// LoseReply: the request arrives and is carried out; the answer is lost.
	LoseReply Fault = iota + 1
	// LoseRequest: the request is lost.
	LoseRequest
	// DelayRequest: the request arrives, but only after [Late], when its sender has long been told.
	DelayRequest
)

const (
	// Late is how long a delayed request is under way.
	Late = 400 * time.Millisecond
	// faultBytes tells a write from a ping or a read: a fault waits for as much from a client at once.
	faultBytes = 1000
	// whole is how long a client is silent when its request is complete.
	whole = 5 * time.Millisecond
)

// Proxy stands between clients and one member of etcd, and is the network between them. Its methods are
// safe for concurrent use.
type Proxy struct {
	listener net.Listener
	work     sync.WaitGroup

	mu sync.Mutex
	// All below are guarded by mu.
	target  string
	armed   Fault
	struck  map[Fault]int
	refuses bool
	stalled chan struct{} // closed when traffic flows again; nil while it flows
	conns   map[net.Conn]bool
	closed  bool
}

// NewProxy listens in front of an endpoint ("http://host:port") until the test ends.
func NewProxy(t testing.TB, endpoint string) *Proxy {
	t.Helper()
	u, err := url.Parse(endpoint)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{listener: l, target: u.Host, struck: map[Fault]int{}, conns: map[net.Conn]bool{}}
	p.work.Go(p.accept)
	t.Cleanup(p.close)
	return p
}

// Endpoint is what clients connect to.
func (p *Proxy) Endpoint() string { return "http://" + p.listener.Addr().String() }

// Retarget makes new connections go to another endpoint: somebody replaced the etcd.
func (p *Proxy) Retarget(t testing.TB, endpoint string) {
	t.Helper()
	u, err := url.Parse(endpoint)
	if err != nil {
		t.Fatal(err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.target = u.Host
}

// Arm makes the next request of a kilobyte or more suffer the fault.
func (p *Proxy) Arm(f Fault) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.armed = f
}

// Struck counts the faults that happened.
func (p *Proxy) Struck(f Fault) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.struck[f]
}

// Cut ends every connection and refuses new ones, until [Proxy.Restore].
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refuses = true
	for c := range p.conns {
		_ = c.Close()
	}
}

// Stall keeps every connection and lets nothing through, until [Proxy.Restore].
func (p *Proxy) Stall() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stalled == nil {
		p.stalled = make(chan struct{})
	}
}

// Restore undoes Cut and Stall.
func (p *Proxy) Restore() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refuses = false
	if p.stalled != nil {
		close(p.stalled)
		p.stalled = nil
	}
}

func (p *Proxy) close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	_ = p.listener.Close()
	p.Restore()
	p.Cut()
	p.work.Wait()
}

func (p *Proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.work.Go(func() { p.serve(client) })
	}
}

// serve is the life of one connection.
func (p *Proxy) serve(client net.Conn) {
	defer client.Close()
	p.mu.Lock()
	target := p.target
	p.mu.Unlock()
	server, err := net.Dial("tcp", target)
	if err != nil {
		return
	}
	defer server.Close()
	if !p.register(client, server) {
		return
	}
	defer p.forget(client, server)
	replies := make(chan struct{})
	go func() {
		defer close(replies)
		defer client.Close()
		p.pump(server, client)
	}()
	p.requests(client, server)
	_ = server.Close()
	<-replies
}

func (p *Proxy) register(conns ...net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.refuses || p.closed {
		return false
	}
	for _, c := range conns {
		p.conns[c] = true
	}
	return true
}

func (p *Proxy) forget(conns ...net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range conns {
		delete(p.conns, c)
	}
}

// pump copies until either end is closed.
func (p *Proxy) pump(from, to net.Conn) {
	b := make([]byte, 64<<10)
	for {
		n, err := from.Read(b)
		p.wait()
		if _, writeErr := to.Write(b[:n]); err != nil || writeErr != nil {
			return
		}
	}
}

// requests copies what the client sends, until a fault ends the connection.
func (p *Proxy) requests(client, server net.Conn) {
	b := make([]byte, 64<<10)
	for {
		n, err := client.Read(b)
		p.wait()
		if fault := p.strike(n); fault != 0 {
			p.fail(fault, b[:n], client, server)
			return
		}
		if _, writeErr := server.Write(b[:n]); err != nil || writeErr != nil {
			return
		}
	}
}

func (p *Proxy) wait() {
	p.mu.Lock()
	stalled := p.stalled
	p.mu.Unlock()
	if stalled != nil {
		<-stalled
	}
}

func (p *Proxy) strike(bytes int) Fault {
	p.mu.Lock()
	defer p.mu.Unlock()
	if bytes < faultBytes || p.armed == 0 {
		return 0
	}
	f := p.armed
	p.armed = 0
	p.struck[f]++
	return f
}

// fail carries out a fault. Once it returns, the connection to the member ends too.
func (p *Proxy) fail(f Fault, request []byte, client, server net.Conn) {
	switch f {
	case LoseReply:
		// The reply is dropped because the client is gone when the pump comes to write it.
		request = append(request[:len(request):len(request)], rest(client)...)
		_ = client.Close()
		_, _ = server.Write(request)
		time.Sleep(Late / 4)
	case DelayRequest:
		request = append(request[:len(request):len(request)], rest(client)...)
		_ = client.Close()
		time.Sleep(Late)
		_, _ = server.Write(request)
		time.Sleep(Late / 4)
	default:
		_ = client.Close()
	}
}

// rest reads until the client is silent, so that a request that comes in two pieces is complete.
func rest(client net.Conn) []byte {
	var all []byte
	b := make([]byte, 64<<10)
	for {
		_ = client.SetReadDeadline(time.Now().Add(whole))
		n, err := client.Read(b)
		all = append(all, b[:n]...)
		if err != nil {
			return all
		}
	}
}
