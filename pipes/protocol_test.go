package pipes_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"culvert/pipes"
)

// The protocol of refreshes as a state machine: three nodes, a provider, etcd and the network, taken apart
// at every arrow. What the nodes decide they decide with the functions of the broker; what is a model here is
// only who moves when, who is killed or stopped, and what is lost. Times are seconds.

const (
	callTime  = 20 // a request that was not taken up by then never is
	lockTime  = 30
	sendTime  = 2
	settleFor = 25
	resends   = 2
)

// How the provider answers an old refresh token.
const (
	keeps  = "keeps"  // it does not rotate
	graces = "graces" // with the successor, once more
	plain  = "plain"  // with invalid_grant
	kills  = "kills"  // with invalid_grant, and the grant ends
)

type protocolWorld struct {
	t    *rapid.T
	mode string
	now  int
	rev  int64

	// The store: one grant, its attempt and its lock.
	generation uint64
	token      int
	dead       string
	grantAt    int64
	standing   pipes.Standing
	lockUntil  int
	down       bool
	quiet      bool

	// The provider: chains of tokens. A token is worth something as the newest of its chain.
	newest map[int]int // by chain
	chain  map[int]int // by token
	ended  map[int]bool
	tokens int

	nodes    []*protocolNode
	requests []*protocolRequest

	// What happened, for the invariants. unseen are generations of which a rotation was never read.
	unseen  map[uint64]bool
	revoked map[int]bool // chains that their user ended
}

type protocolRequest struct {
	node       *protocolNode
	process    string
	generation uint64
	token      int
	at         int
	taken      bool
	// reply is the new token, -1 for invalid_grant; lost means that nobody will read it.
	reply int
	lost  bool
}

type protocolEntry struct {
	generation uint64
	token      int
}

type protocolNode struct {
	name, process string
	up, stopped   bool
	at            string
	journal       []protocolEntry

	attempt             pipes.Attempt
	attemptAt, lockAt   int64
	grantAt             int64
	token               int
	announced           bool
	began, left         int
	request             *protocolRequest
	orphan, orphanUntil int64
	replied             int
}

func newProtocolWorld(t *rapid.T) *protocolWorld {
	w := &protocolWorld{
		t: t, mode: rapid.SampledFrom([]string{keeps, graces, plain, kills}).Draw(t, "provider"),
		newest: map[int]int{}, chain: map[int]int{}, ended: map[int]bool{}, unseen: map[uint64]bool{}, revoked: map[int]bool{},
	}
	for n := range 3 {
		w.nodes = append(w.nodes, &protocolNode{name: fmt.Sprint("node", n), process: "1", up: true, at: "idle"})
	}
	w.connect()
	return w
}

func (w *protocolWorld) revision() int64 { w.rev++; return w.rev }

// connect is a callback: another chain of tokens, at another generation.
func (w *protocolWorld) connect() {
	w.tokens++
	w.chain[w.tokens], w.newest[w.tokens] = w.tokens, w.tokens
	w.store(w.generation+1, w.tokens)
}

// store is the transaction that gives the grant another generation.
func (w *protocolWorld) store(generation uint64, token int) {
	if generation <= w.generation {
		w.t.Fatalf("generation %d follows %d", generation, w.generation)
	}
	w.generation, w.token, w.dead = generation, token, ""
	w.grantAt = w.revision()
	w.standing = pipes.Standing{}
}

func (w *protocolWorld) grant() *pipes.Grant { return &pipes.Grant{Generation: w.generation} }

// take is the provider's work on one request.
func (w *protocolWorld) take(r *protocolRequest) {
	r.taken, r.reply = true, -1
	c := w.chain[r.token]
	switch {
	case w.ended[c]:
	case w.mode == keeps:
		r.reply = r.token
	case w.newest[c] == r.token:
		w.tokens++
		w.chain[w.tokens], w.newest[c] = c, w.tokens
		r.reply = w.tokens
	case w.mode == graces && w.newest[c] == r.token+1 || w.mode == graces && w.isParent(r.token, w.newest[c]):
		r.reply = w.newest[c]
	case w.mode == kills:
		w.ended[c] = true
	}
	if r.reply > 0 && !w.listens(r) {
		w.lose(r)
	}
}

// isParent tells whether the newest token of a chain replaced this one.
func (w *protocolWorld) isParent(old, newest int) bool {
	for token := newest - 1; token > 0; token-- {
		if w.chain[token] == w.chain[newest] {
			return token == old
		}
	}
	return false
}

// listens tells whether somebody will read the reply.
func (w *protocolWorld) listens(r *protocolRequest) bool {
	n := r.node
	return n.up && n.process == r.process && n.request == r && !r.lost
}

func (w *protocolWorld) lose(r *protocolRequest) {
	r.lost = true
	if r.reply > 0 && r.reply != r.token {
		w.unseen[r.generation] = true
	}
}

// pass lets time pass: leases end, and requests that nobody took up are gone.
func (w *protocolWorld) pass(seconds int) {
	for range seconds {
		w.now++
		holder := w.standing.Lock.Holder
		for _, n := range w.nodes {
			if n.up && !n.stopped && n.name == holder.Node && n.process == holder.Process {
				w.lockUntil = w.now + lockTime
			}
		}
		if w.standing.Lock.Revision != 0 && w.now >= w.lockUntil {
			w.standing.Lock = pipes.Lock{}
		}
		w.requests = slices.DeleteFunc(w.requests, func(r *protocolRequest) bool { return !r.taken && w.now-r.at >= callTime })
	}
}

func (n *protocolNode) holder() pipes.Holder { return pipes.Holder{Node: n.name, Process: n.process} }

// step is one arrow of a node's.
func (w *protocolWorld) step(n *protocolNode) {
	if !n.up || n.stopped {
		return
	}
	switch n.at {
	case "idle":
		w.look(n)
	case "ready":
		n.began = w.now
		w.announce(n)
	case "announced":
		// The look at the clock and the write to the provider are one here: what is between them is the
		// pause that pipes/doc.go names.
		if !pipes.InWindow(time.Duration(n.began)*time.Second, time.Duration(w.now)*time.Second, sendTime*time.Second) {
			n.at = "ready"
			return
		}
		w.send(n)
	case "sent":
		w.hear(n)
	case "received":
		n.journal = append(n.journal, protocolEntry{n.attempt.Generation, n.replied})
		n.at = "idle"
	case "dead":
		w.judge(n)
	case "release":
		w.release(n)
	}
}

func (w *protocolWorld) look(n *protocolNode) {
	if w.down {
		return
	}
	if len(n.journal) > 0 {
		e := n.journal[0]
		n.journal = n.journal[1:]
		if e.generation == w.generation {
			w.store(e.generation+1, e.token)
		}
		return
	}
	if w.dead != "" || w.quiet {
		return
	}
	switch pipes.Whose(w.standing, w.grant(), n.holder()) {
	case "held":
		return
	case "orphaned":
		if n.orphan != w.standing.Attempt.Revision {
			wait := pipes.SuccessorWait(settleFor*time.Second, false, 0)
			n.orphan, n.orphanUntil = w.standing.Attempt.Revision, int64(w.now)+int64(wait/time.Second)
		}
		if int64(w.now) < n.orphanUntil {
			return
		}
	}
	n.attempt = pipes.BeginAttempt(w.standing, w.grant(), "", n.holder(), fmt.Sprint(n.name, n.process, w.revision()))
	n.attemptAt, n.lockAt, n.grantAt, n.token = w.standing.Attempt.Revision, w.standing.Lock.Revision, w.grantAt, w.token
	n.announced, n.left, n.at = false, resends, "ready"
}

func (w *protocolWorld) announce(n *protocolNode) {
	if w.down {
		return
	}
	next := n.attempt
	next.Sends++
	switch {
	case w.standing.Attempt.Revision != n.attemptAt || !n.announced && w.standing.Lock.Revision != n.lockAt:
		n.at = "idle"
		return
	case w.grantAt != n.grantAt && (!n.announced || w.generation != n.attempt.Generation || w.dead != ""):
		n.at = "idle"
		return
	}
	n.grantAt = w.grantAt
	n.attempt, n.attemptAt = next, w.revision()
	w.standing.Attempt = pipes.At[pipes.Attempt]{Record: &next, Revision: n.attemptAt}
	if !n.announced {
		w.standing.Lock = pipes.Lock{Holder: n.holder(), Revision: n.attemptAt}
		w.lockUntil = w.now + lockTime
	}
	n.announced, n.at = true, "announced"
}

func (w *protocolWorld) send(n *protocolNode) {
	for _, r := range w.requests {
		flying := !r.taken && r.generation == n.attempt.Generation && r.node != n
		if flying {
			w.t.Fatalf("%s sends generation %d while a request of %s is under way", n.name, r.generation, r.node.name)
		}
	}
	n.request = &protocolRequest{node: n, process: n.process, generation: n.attempt.Generation, token: n.token, at: w.now}
	w.requests = append(w.requests, n.request)
	n.at = "sent"
}

func (w *protocolWorld) hear(n *protocolNode) {
	r := n.request
	switch {
	case r.taken && !r.lost && r.reply > 0:
		n.replied, n.at = r.reply, "received"
	case r.taken && !r.lost:
		n.at = "dead"
	case r.lost || w.now-r.at >= callTime:
		w.lose(r)
		n.attempt.Ambiguous = true
		if n.left--; n.left < 0 {
			n.at = "release"
		} else {
			n.at = "ready"
		}
	}
}

func (w *protocolWorld) judge(n *protocolNode) {
	if w.down {
		return
	}
	n.at = "idle"
	if w.generation != n.attempt.Generation || w.dead != "" || w.standing.Attempt.Revision != n.attemptAt {
		return
	}
	if n.request.generation != w.generation || n.request.reply != -1 {
		w.t.Fatal("a grant was judged without a definite reply for its generation")
	}
	w.dead = pipes.ReasonRevoked
	if n.attempt.Ambiguous {
		w.dead = pipes.ReasonRotationLost
	}
	w.grantAt, w.standing = w.revision(), pipes.Standing{}
}

func (w *protocolWorld) release(n *protocolNode) {
	if w.down {
		return
	}
	n.at = "idle"
	if w.standing.Attempt.Revision != n.attemptAt {
		return
	}
	idle := n.attempt
	idle.Idle = true
	w.standing = pipes.Standing{Attempt: pipes.At[pipes.Attempt]{Record: &idle, Revision: w.revision()}}
}

func (w *protocolWorld) kill(n *protocolNode) {
	if n.at == "received" && n.replied != n.token {
		w.unseen[n.attempt.Generation] = true
	}
	if n.at == "sent" && n.request.taken {
		w.lose(n.request)
	}
	n.up, n.at, n.request, n.announced, n.stopped = false, "idle", nil, false, false
	n.orphan = 0
}

func (w *protocolWorld) start(n *protocolNode) {
	if !n.up {
		n.up = true
		n.process += "'"
	}
}

// check holds the state to what must be true of it.
func (w *protocolWorld) check(*rapid.T) {
	if w.dead == "" || w.revoked[w.chain[w.token]] {
		return
	}
	if w.mode == keeps || w.mode == graces {
		w.t.Fatalf("the grant is dead (%s), though the provider allows a retry", w.dead)
	}
	away := slices.ContainsFunc(w.nodes, func(n *protocolNode) bool {
		return slices.ContainsFunc(n.journal, func(e protocolEntry) bool { return e.generation == w.generation })
	})
	switch {
	case !w.unseen[w.generation] && !away:
		w.t.Fatalf("the grant is dead (%s), and no reply was lost", w.dead)
	case w.dead == pipes.ReasonRevoked:
		w.t.Fatal("a lost rotation is called a revocation")
	}
}

// settle lets everybody come back and go on undisturbed; then the store has the token that works.
func (w *protocolWorld) settle() {
	w.down = false
	for _, n := range w.nodes {
		w.start(n)
		n.stopped = false
	}
	before := w.generation
	for n := range 400 {
		w.quiet = n >= 200 // what was begun ends, and nothing else begins
		for _, r := range w.requests {
			if !r.taken {
				w.take(r)
			}
		}
		for _, n := range w.nodes {
			w.step(n)
		}
		w.pass(1)
		w.check(w.t)
	}
	c := w.chain[w.token]
	for _, n := range w.nodes {
		if len(n.journal) > 0 {
			w.t.Fatal("an entry stays in a journal")
		}
	}
	if w.dead == "" && !w.ended[c] && w.generation == before {
		w.t.Fatal("nobody refreshes the grant any more")
	}
}

// Whatever is killed, stopped, lost or edited, at every arrow: at most one request of a generation is under
// way (but for the next life of a node that was killed), generations grow, no grant is called dead without a
// reply that says so of this very generation, none is lost where the provider allows a retry, and a loss is
// called one.
func TestProtocol(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := newProtocolWorld(rt)
		one := func(rt *rapid.T) *protocolNode { return rapid.SampledFrom(w.nodes).Draw(rt, "node") }
		step := func(rt *rapid.T) { w.step(one(rt)) }
		provider := func(rt *rapid.T) {
			for _, r := range w.requests {
				if !r.taken {
					w.take(r)
					return
				}
			}
		}
		actions := map[string]func(*rapid.T){
			"step": step, "another step": step, "a third step": step, "a fourth step": step,
			"the provider answers": provider, "the provider answers too": provider,
			"a reply is lost": func(*rapid.T) {
				for _, r := range w.requests {
					if w.listens(r) {
						w.lose(r)
						return
					}
				}
			},
			"time passes": func(rt *rapid.T) { w.pass(rapid.SampledFrom([]int{1, 1, 3, 26, 60}).Draw(rt, "seconds")) },
			"kill":        func(rt *rapid.T) { w.kill(one(rt)) },
			"start":       func(rt *rapid.T) { w.start(one(rt)) },
			"stop":        func(rt *rapid.T) { one(rt).stopped = true },
			"go on":       func(rt *rapid.T) { one(rt).stopped = false },
			"rewrap":      func(*rapid.T) { w.grantAt = w.revision() },
			"etcd":        func(*rapid.T) { w.down = !w.down },
			"reconnect": func(rt *rapid.T) {
				if rapid.IntRange(0, 9).Draw(rt, "seldom") == 0 {
					w.connect()
				}
			},
			"revoke": func(rt *rapid.T) {
				if rapid.IntRange(0, 9).Draw(rt, "seldom") == 0 {
					w.ended[w.chain[w.token]], w.revoked[w.chain[w.token]] = true, true
				}
			},
			"": w.check,
		}
		for range 4 {
			rt.Repeat(actions)
		}
		w.settle()
	})
}
