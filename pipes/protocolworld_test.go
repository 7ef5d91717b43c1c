package pipes_test

import (
	"fmt"
	"slices"

	"pgregory.net/rapid"

	"culvert/pipes"
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

	// The store: one grant of one token or two, its attempt and its lock.
	grant     pipes.Grant
	names     []string
	token     map[string]int
	dead      map[string]string
	grantAt   int64
	standing  pipes.Standing
	lockUntil int
	settling  bool
	// settled is the generation when everybody had come back.
	settled     uint64
	down, quiet bool

	// The provider: chains of tokens. A token is worth something as the newest of its chain.
	newest map[int]int // by chain
	chain  map[int]int // by token
	ended  map[int]bool
	tokens int

	nodes    []*protocolNode
	requests []*protocolRequest

	// What happened, for the invariants. unseen are tokens of which a rotation was never read.
	unseen  map[int]bool
	revoked map[int]bool // chains that their user ended
	// late are chains that the provider ended because a used-up token came again whose answer had been, or yet
	// would be, read.
	late map[int]bool
}

type protocolRequest struct {
	node       *protocolNode
	process    string
	which      string
	generation uint64
	token      int
	at         int
	taken      bool
	// reply is the new token, -1 for invalid_grant; lost means that nobody will read it.
	reply int
	lost  bool
}

type protocolEntry struct {
	which      string
	generation uint64
	token      int
}

type protocolNode struct {
	name, process string
	up, stopped   bool
	at            string
	journal       []protocolEntry

	// which is the token of the attempt; looks count, so that each is wanted in turn.
	which               string
	looks               int
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
		newest: map[int]int{}, chain: map[int]int{}, ended: map[int]bool{},
		names: rapid.SampledFrom([][]string{{""}, {"", "user"}}).Draw(t, "tokens"), token: map[string]int{}, dead: map[string]string{}, unseen: map[int]bool{}, revoked: map[int]bool{}, late: map[int]bool{},
	}
	for n := range 3 {
		w.nodes = append(w.nodes, &protocolNode{name: fmt.Sprint("node", n), process: "1", up: true, at: "idle"})
	}
	w.connect()
	return w
}

func (w *protocolWorld) revision() int64 { w.rev++; return w.rev }

// connect is a callback: other chains of tokens, at another generation.
func (w *protocolWorld) connect() {
	w.grant = pipes.Grant{Generation: w.grant.Generation + 1}
	for _, name := range w.names {
		w.tokens++
		w.chain[w.tokens], w.newest[w.tokens] = w.tokens, w.tokens
		w.token[name], w.dead[name] = w.tokens, ""
		if name != "" {
			w.grant.Named = map[string]pipes.NamedToken{name: {}}
		}
	}
	w.grantAt, w.standing = w.revision(), pipes.Standing{}
}

// land is the transaction that stores a token, if the one that it replaces is the grant's yet. An attempt of
// the other one stays.
func (w *protocolWorld) land(n *protocolNode, e protocolEntry) {
	if !pipes.Keeps(&w.grant, e.which, e.generation) {
		return
	}
	doubted := pipes.Doubts(w.standing, &w.grant, e.which, n.holder())
	if a := pipes.Open(w.standing, &w.grant); a == nil || a.Name == e.which {
		w.standing = pipes.Standing{}
	}
	pipes.Advance(&w.grant, e.which)
	w.token[e.which] = e.token
	w.judged(e.which, "")
	if named, is := w.grant.Named[e.which]; is {
		named.Doubted = doubted
		w.grant.Named = map[string]pipes.NamedToken{e.which: named}
		return
	}
	w.grant.Doubted = doubted
}

// judged is a grant with one of its tokens dead, or alive again.
func (w *protocolWorld) judged(name, dead string) {
	w.dead[name], w.grantAt = dead, w.revision()
	if name == "" {
		w.grant.Dead = dead != ""
	}
	if n, named := w.grant.Named[name]; named {
		n.Dead = dead != ""
		w.grant.Named = map[string]pipes.NamedToken{name: n}
	}
}

// overtaken tells whether a node's token is not the grant's any more, or was judged.
func (w *protocolWorld) overtaken(n *protocolNode) bool {
	return !pipes.Keeps(&w.grant, n.which, n.attempt.Generation) || w.dead[n.which] != "" || w.dead[""] != ""
}

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
		w.late[c] = !w.unseen[r.token]
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
	return n.up && n.process == r.process && n.at == "sent" && n.request == r && !r.lost
}

func (w *protocolWorld) lose(r *protocolRequest) {
	r.lost = true
	if r.reply > 0 && r.reply != r.token {
		w.unseen[r.token] = true
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
