package pipes

import (
	"time"

	"culvert/internal/access"
)

// Attempt is a refresh of one token of one generation of a grant, as stored at the grant's id. It has no
// lease: it must outlive a crash of its owner, because the refresh token that it is about may have been used
// up. It is put before the token is sent, and goes with it. A grant of several tokens has one attempt:
// whoever wants to refresh another of them finishes it first. The attempts that people list are flows
// ([AttemptView]).
type Attempt struct {
	Grant      GrantID `cbor:"1,keyasint"`
	Generation uint64  `cbor:"2,keyasint"`
	TokenMAC   []byte  `cbor:"3,keyasint"`
	ID         string  `cbor:"4,keyasint"`
	Owner      string  `cbor:"5,keyasint"` // node id
	// Sends counts how often the token was about to be sent, by all owners.
	Sends int `cbor:"6,keyasint"`
	// Ambiguous is set once the token was, or may have been, sent without a readable reply.
	Ambiguous bool      `cbor:"7,keyasint,omitempty"`
	At        time.Time `cbor:"8,keyasint"`
	// Idle is set by an owner who has no request under way any more and leaves the rest to others.
	Idle bool `cbor:"9,keyasint,omitempty"`
	// Process tells the lives of one node apart.
	Process string `cbor:"10,keyasint,omitempty"`
	// Name is which of the grant's tokens it is of; empty for the main one.
	Name string `cbor:"11,keyasint,omitempty"`
}

// Lock keeps others from a grant while its holder refreshes it. It ends with its holder's lease, and saves
// work: what counts is the attempt. Revision is 0 if there is none.
type Lock struct {
	Holder   Holder
	Revision int64
}

// Holder is one life of one node.
type Holder struct{ Node, Process string }

// Standing is what there is of a refresh of a grant: neither of both need be.
type Standing struct {
	Attempt At[Attempt]
	Lock    Lock
}

// Step is one step of a refresh as one transaction: the attempt is put, or removed, if the one there is at
// Revision, where 0 means that there must be none.
type Step struct {
	Environment access.EnvironmentID
	Attempt     Attempt
	Revision    int64
	Remove      bool
	// GrantAt is the revision at which the grant must be; 0: wherever it is.
	GrantAt int64
	// Lock is what becomes of the lock. One that is taken must be at LockAt before, where 0 means that
	// there must be none.
	Lock   Locking
	LockAt int64
}

// Locking is what becomes of a lock.
type Locking int

// The ways.
const (
	LockKept Locking = iota
	LockTaken
	LockReleased
)

// turnOf is what a refresh may do about a grant.
type turnOf int

const (
	// free: nobody is at it, and nobody was.
	free turnOf = iota
	// resumed: somebody was, and has no request under way. The same token is sent again.
	resumed
	// held: somebody is at it.
	held
	// orphaned: somebody was, and is gone. A request of his may still be under way.
	orphaned
)

// open is the attempt of a token that the grant still has; nil if there is none. Its generation is an older
// one where a journal brought another of the tokens meanwhile.
func (s *Standing) open(g *Grant) *Attempt {
	a := s.Attempt.Record
	if a == nil || !g.keeps(a.Name, a.Generation) || g.Named[a.Name].Dead {
		return nil
	}
	return a
}

// whose decides whose turn it is at a grant, for one life of one node.
//
// The lives of one node do not overlap: the state directory is locked, and so is the node's place in etcd.
// So what an earlier life of this node left is taken over at once: its journal was read before.
func (s *Standing) whose(g *Grant, me Holder) turnOf {
	a := s.open(g)
	locked := s.Lock.Revision != 0 && s.Lock.Holder.Node != me.Node
	switch {
	case locked:
		return held
	case a == nil:
		return free
	case a.Owner == me.Node || a.Idle:
		return resumed
	}
	return orphaned
}

// doubts reports that the token that one life of a node is about to store may be dead already, at a provider
// that ends a grant when a used-up refresh token comes back: a successor of that node took over, or judged, what
// it was late to store, and may have sent the old token again. No one can tell, so what is known goes on with the
// token until its own refresh: if the provider calls it dead then, the rotation was lost.
func (s *Standing) doubts(g *Grant, name string, me Holder) bool {
	a := s.open(g)
	return g.dead(name) || a != nil && a.Name == name && a.Owner != me.Node
}

// lost reports that this attempt's token was, or may have been, used up by a send whose answer the grant does not have.
func (a *Attempt) lost(g *Grant) bool { return a.Ambiguous || g.doubted(a.Name) }

// next is the attempt of one of the tokens that goes on from there, of this holder, under an id of its own.
// Whoever left one without saying that no request is under way may have sent the token without hearing of it.
func (s *Standing) next(g *Grant, name string, me Holder, id string) Attempt {
	next := Attempt{Generation: g.Generation, Name: name, ID: id, Owner: me.Node, Process: me.Process}
	if a := s.open(g); a != nil && a.Name == name {
		next.Sends, next.Ambiguous = a.Sends, a.Ambiguous || !a.Idle
	}
	return next
}

// familyPatience bounds how long a successor waits for the owner's node to come back with its journal,
// where an old refresh token that is sent again ends the grant.
const familyPatience = 10 * time.Minute

// successorWait is how long a successor waits from when it first saw an orphaned attempt, on its own
// monotonic clock: clocks of two machines are never compared. By then no request of the owner is under
// way. Where re-use kills the family it is longer, as long as nobody needs the refresh: until the access
// token ends.
func successorWait(settled time.Duration, killsFamily bool, accessLives time.Duration) time.Duration {
	if !killsFamily {
		return settled
	}
	return max(settled, min(accessLives, familyPatience))
}
