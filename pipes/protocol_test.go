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
		n.journal = append(n.journal, protocolEntry{n.which, n.attempt.Generation, n.replied})
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
		w.land(n, n.journal[0])
		n.journal = n.journal[1:]
		return
	}
	which := w.wants(n)
	if w.dead[which] != "" || w.dead[""] != "" || w.quiet {
		return
	}
	switch pipes.Whose(w.standing, &w.grant, n.holder()) {
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
	if a := pipes.Open(w.standing, &w.grant); a != nil {
		which = a.Name // first
	}
	n.which, n.token = which, w.token[which]
	n.attempt = pipes.BeginAttempt(w.standing, &w.grant, which, n.holder(), fmt.Sprint(n.name, n.process, w.revision()))
	n.attemptAt, n.lockAt, n.grantAt = w.standing.Attempt.Revision, w.standing.Lock.Revision, w.grantAt
	n.announced, n.left, n.at = false, resends, "ready"
}

// wants is the token that a node wants now: each in turn, in the end those first that nobody refreshed.
func (w *protocolWorld) wants(n *protocolNode) string {
	n.looks++
	for _, name := range w.names {
		if w.settling && w.dead[name] == "" && pipes.Keeps(&w.grant, name, w.settled) {
			return name
		}
	}
	return w.names[n.looks%len(w.names)]
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
	case w.grantAt != n.grantAt && (!n.announced || w.overtaken(n)):
		n.at = "idle"
		return
	}
	n.grantAt = w.grantAt
	n.attempt, n.attemptAt = next, w.revision()
	w.standing.Attempt = pipes.At[pipes.Attempt]{Record: &next, Revision: n.attemptAt}
	w.standing.Lock = pipes.Lock{Holder: n.holder(), Revision: n.attemptAt}
	w.lockUntil = w.now + lockTime
	n.announced, n.at = true, "announced"
}

func (w *protocolWorld) send(n *protocolNode) {
	for _, r := range w.requests {
		// One whose connection broke may yet be taken up: to send the token again then is what an ambiguous outcome
		// asks for, of whoever goes on with it.
		resent := r.lost && n.attempt.Ambiguous
		flying := !r.taken && r.node != n && !resent
		if flying && pipes.Keeps(&w.grant, r.which, r.generation) && pipes.Keeps(&w.grant, n.which, n.attempt.Generation) {
			w.t.Fatalf("%s sends token %d while a request of %s with %d is under way", n.name, n.token, r.node.name, r.token)
		}
	}
	w.repeats(n)
	n.request = &protocolRequest{node: n, process: n.process, which: n.which, generation: n.attempt.Generation, token: n.token, at: w.now}
	w.requests = append(w.requests, n.request)
	n.at = "sent"
}

// repeats holds a send of a used-up token to what the protocol allows: its answer is lost, as far as this node
// can know, because whoever has it was away for longer than a lock lives and a successor waits.
func (w *protocolWorld) repeats(n *protocolNode) {
	for _, r := range w.requests {
		if r.token == n.token && r.reply > 0 && !w.unseen[r.token] && r.reply != r.token &&
			w.now-r.at < lockTime+settleFor-sendTime {
			w.t.Fatalf("%s sends token %d again while %s may come back with the answer", n.name, n.token, r.node.name)
		}
	}
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
	if w.overtaken(n) || w.standing.Attempt.Revision != n.attemptAt {
		return
	}
	if n.request.token != w.token[n.which] || n.request.reply != -1 {
		w.t.Fatal("a token was judged without a definite reply for it")
	}
	dead := pipes.ReasonRevoked
	if pipes.Lost(n.attempt, &w.grant) {
		dead = pipes.ReasonRotationLost
	}
	w.judged(n.which, dead)
	w.standing = pipes.Standing{}
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
		w.unseen[n.token] = true
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
	for _, name := range w.names {
		w.checkToken(name, w.dead[name])
	}
}

func (w *protocolWorld) checkToken(name, dead string) {
	if dead == "" || w.revoked[w.chain[w.token[name]]] {
		return
	}
	if w.mode == keeps || w.mode == graces {
		w.t.Fatalf("token %q is dead (%s), though the provider allows a retry", name, dead)
	}
	away := slices.ContainsFunc(w.nodes, func(n *protocolNode) bool {
		return slices.ContainsFunc(n.journal, func(e protocolEntry) bool {
			return e.which == name && pipes.Keeps(&w.grant, name, e.generation)
		})
	})
	// The one exception: a node that was stopped, or gone with its journal, for longer than a successor waits, with
	// the answer that nobody else had. The successor had to take it for lost and sent the old token; where that ends
	// the grant, what the node brings in the end is dead. [protocolWorld.repeats] says that it waited, and a
	// chain is in this set for no other reason.
	late := w.late[w.chain[w.token[name]]]
	switch {
	case !w.unseen[w.token[name]] && !away && !late:
		w.t.Fatalf("token %q is dead (%s), and no reply was lost", name, dead)
	case dead == pipes.ReasonRevoked:
		w.t.Fatalf("a lost rotation of token %q is called a revocation", name)
	}
}

// settle lets everybody come back and go on undisturbed; then the store has the tokens that work.
func (w *protocolWorld) settle() {
	w.down = false
	for _, n := range w.nodes {
		w.start(n)
		n.stopped = false
	}
	w.settling, w.settled = true, w.grant.Generation
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
	for _, n := range w.nodes {
		if len(n.journal) > 0 {
			w.t.Fatal("an entry stays in a journal")
		}
	}
	for _, name := range w.names {
		if w.dead[""] == "" && w.dead[name] == "" && !w.ended[w.chain[w.token[name]]] && pipes.Keeps(&w.grant, name, w.settled) {
			w.t.Fatalf("nobody refreshes token %q any more", name)
		}
	}
}

// Whatever is killed, stopped, lost or edited, at every arrow: at most one request with a token of a grant is
// under way, however many tokens it has (but for the next life of a node that was killed), no token is called
// dead without a reply that says so of it, none is lost where the provider allows a retry, or with the refresh
// of another, and a loss is called one.
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
					c := w.chain[w.token[rapid.SampledFrom(w.names).Draw(rt, "token")]]
					w.ended[c], w.revoked[c] = true, true
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
