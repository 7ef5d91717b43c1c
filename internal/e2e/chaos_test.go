//go:build e2e

package e2e_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"
)

// dice is the one source of chance, so that a seed tells as much of a run as it can.
type dice struct {
	mu sync.Mutex
	// r is guarded by mu.
	r *rand.Rand
}

func newDice(seed uint64) *dice { return &dice{r: rand.New(rand.NewPCG(seed, 0))} }

func (d *dice) n(n int) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.r.IntN(n)
}

func (d *dice) upTo(length time.Duration) time.Duration { return time.Duration(d.n(int(length))) }

func (d *dice) between(from, to time.Duration) time.Duration { return from + d.upTo(to-from) }

// moment is when a process is struck.
type moment string

// The moments.
const (
	whenever       moment = "at any time"
	received       moment = "when its request has come"
	replied        moment = "when the reply is written"
	soonAfter      moment = "just after the reply"
	attemptWritten moment = "when an attempt was written"
	grantWritten   moment = "when a grant was written"
)

var moments = []moment{whenever, received, replied, soonAfter, attemptWritten, grantWritten}

const (
	// armedFor is how long a moment is waited for.
	armedFor = 5 * time.Second
	// A pause is short, or so long that others have to take the process for dead.
	shortPause, longPause = 8 * time.Second, 80 * time.Second
)

// knowsSenders: the system tells which process a connection is of. Where it does not, nobody is struck at
// the steps of his requests, and nobody killed to whom that would cost a grant.
const knowsSenders = runtime.GOOS == "linux"

// chaos kills and stops processes.
type chaos struct {
	ledger   *ledger
	proxy    *faultProxy
	dice     *dice
	replicas []*replica
	// lenient: a reply may be lost with its process. long: pauses may be long.
	lenient, long bool
	// locked is who had the lock of each grant last; it belongs to the goroutine that watches etcd.
	locked map[string]int

	mu sync.Mutex
	// armed is the moment of the next strike, nil if there is none. Guarded by mu.
	armed *strike
}

type strike struct {
	at    moment
	kill  bool
	pause time.Duration
}

// run strikes until the context ends.
func (c *chaos) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			c.arm(nil)
			return
		case <-time.After(c.dice.between(500*time.Millisecond, 3*time.Second)):
		}
		if c.dice.n(3) > 0 {
			c.rest(ctx)
		}
		s := c.next()
		switch {
		case s.kill && !c.lenient:
			c.killAtRest(ctx, c.any())
		case s.at == whenever:
			c.strike(s, c.any())
		default:
			c.arm(s)
			c.await(ctx)
		}
	}
}

// rest waits until every process is well, so that there is something to lose again. A long pause goes on
// meanwhile.
func (c *chaos) rest(ctx context.Context) {
	for until := time.Now().Add(2 * shortPause); c.well() < len(c.replicas) && time.Now().Before(until) && ctx.Err() == nil; {
		time.Sleep(50 * time.Millisecond)
	}
}

func (c *chaos) well() (n int) {
	for _, r := range c.replicas {
		if !r.isStruck() {
			n++
		}
	}
	return n
}

// next draws a strike. Where a lost reply is a lost grant, nobody is killed who may have one.
func (c *chaos) next() *strike {
	s := &strike{at: moments[c.dice.n(len(moments))], kill: c.dice.n(5) < 3, pause: c.dice.between(100*time.Millisecond, shortPause)}
	if c.long && c.dice.n(12) == 0 {
		s.pause = longPause
	}
	if !c.lenient {
		s.kill = knowsSenders && (s.at == whenever || c.dice.n(3) == 0)
	}
	if s.kill && !c.lenient {
		s.at = whenever
	}
	return s
}

func (c *chaos) arm(s *strike) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.armed = s
}

// await waits until the armed strike has been made.
func (c *chaos) await(ctx context.Context) {
	for until := time.Now().Add(armedFor); time.Now().Before(until) && ctx.Err() == nil; time.Sleep(10 * time.Millisecond) {
		c.mu.Lock()
		waiting := c.armed != nil
		c.mu.Unlock()
		if !waiting {
			return
		}
	}
	c.arm(nil)
}

// at tells that a moment has come for a process; it reports whether the process was killed for it.
func (c *chaos) at(m moment, replica int) (killed bool) {
	c.mu.Lock()
	s := c.armed
	if s == nil || s.at != m || replica < 0 {
		c.mu.Unlock()
		return false
	}
	c.armed = nil
	c.mu.Unlock()
	return c.strike(s, c.replicas[replica]) && s.kill
}

// strike spares the last process that is well: callers have to get through.
func (c *chaos) strike(s *strike, r *replica) bool {
	if c.well() < 2 {
		return false
	}
	if s.kill {
		return r.kill(fmt.Sprintf("killed %s", s.at))
	}
	return r.pause(fmt.Sprintf("stopped %s", s.at), s.pause)
}

func (c *chaos) any() *replica { return c.replicas[c.dice.n(len(c.replicas))] }

// killAtRest kills a process that has stored every reply it got, with its requests held before the
// provider has seen them.
func (c *chaos) killAtRest(ctx context.Context, r *replica) {
	c.proxy.hold(r.n)
	defer c.proxy.release(r.n)
	for until := time.Now().Add(armedFor); time.Now().Before(until) && ctx.Err() == nil; time.Sleep(10 * time.Millisecond) {
		if r.isStruck() {
			return
		}
		if c.ledger.settled(r.n) {
			// A little later there are requests that wait.
			time.Sleep(c.dice.upTo(time.Second))
			c.strike(&strike{at: whenever, kill: true}, r)
			// What it had sent and nobody had read yet is held, too.
			for r.isStruck() && ctx.Err() == nil {
				time.Sleep(50 * time.Millisecond)
			}
			return
		}
	}
}

// wrote strikes at what is written to etcd, and notes it. A lock is put with its attempt, and names its node.
// It is called by one goroutine.
func (c *chaos) wrote(key string, value []byte) {
	kind, rest, _ := strings.Cut(key, "/")
	_, grant, _ := strings.Cut(rest, "/")
	switch kind {
	case "lock":
		node, _, _ := strings.Cut(string(value), " ")
		owner := slices.IndexFunc(c.replicas, func(r *replica) bool { return r.node == node })
		c.locked[grant] = owner
		c.ledger.locked(grant, owner)
		c.at(attemptWritten, owner)
	case "grant":
		c.ledger.written(grant, value)
		if owner, ok := c.locked[grant]; ok {
			c.at(grantWritten, owner)
		}
	}
}

// ownerOf is the process at the other end of a connection, as Linux knows it; -1 if it does not say, or the
// process is gone. The kernel's table may lack rows while others come and go, so it is read again.
func (c *chaos) ownerOf(remote string) int {
	at, err := netip.ParseAddrPort(remote)
	for range 5 {
		if inode := inodeOf(at.Port(), c.proxy.port); err == nil && inode != "" {
			return c.holderOf("socket:[" + inode + "]")
		}
	}
	return -1
}

// holderOf is the process that has this open.
func (c *chaos) holderOf(socket string) int {
	for _, r := range c.replicas {
		dir := fmt.Sprintf("/proc/%d/fd", r.pid())
		files, _ := os.ReadDir(dir)
		for _, f := range files {
			if to, err := os.Readlink(dir + "/" + f.Name()); err == nil && to == socket {
				return r.n
			}
		}
	}
	return -1
}

// inodeOf is the socket on 127.0.0.1 that is connected to there, from one port to the other; proc(5) has the
// format. The same port may lead to elsewhere, too.
func inodeOf(from, to uint16) string {
	table, err := os.ReadFile("/proc/net/tcp")
	if err != nil {
		return ""
	}
	local, remote := fmt.Sprintf("0100007F:%04X", from), fmt.Sprintf("0100007F:%04X", to)
	for row := range strings.Lines(string(table)) {
		if fields := strings.Fields(row); len(fields) > 9 && fields[1] == local && fields[2] == remote {
			return fields[9]
		}
	}
	return ""
}
