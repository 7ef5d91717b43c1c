// Package idempotency carries an Idempotency-Key from the door to the transaction of the change it stands for.
//
// The door makes a [Request] of the header and the body. The use case says what its change is about to make
// ([Pending.Make]), and the store puts that under the key in the transaction of the change, if nothing is there: so
// of any number of repetitions one has an effect. Whoever comes later is told [ErrRepeated] by the store, and by the
// use case what the first one made, as it is now. What is stored are keyed hashes and ids, for as long as a day or
// two; so this is not for answers with a secret, which nobody could give a second time.
//
// A Pending goes from the use case to the store in the context of the call ([With], [Of]) and not as a parameter: every
// change of every store would have to take one and hand it on, and one that forgot it would make things twice.
package idempotency

import (
	"context"
	"errors"

	"culvert/internal/secret"
)

var (
	// ErrRepeated means that a request under this key has made something already. A use case turns it into an answer.
	ErrRepeated = errors.New("idempotency: the request was carried out before")
	// ErrOtherBody means that an Idempotency-Key came back with another body.
	ErrOtherBody = errors.New("idempotency: key reused with another body")
)

// Request is an Idempotency-Key with the request it stands for. The store keeps keyed hashes only.
type Request struct {
	// Method, Path and Key place the request. Path is the route's with what was in place of its parameters.
	Method, Path, Key string
	// Body is the whole request body as sent; it may hold secrets.
	Body secret.Bytes
}

// Record is what is stored of a request that has made something. The store adds a MAC. Numbers 2 to 7 are those of
// vault.Request, which stands in the same places.
type Record struct {
	// BodyMAC is a keyed hash of the body; another body under the same key is refused.
	BodyMAC []byte `cbor:"1,keyasint"`
	// IDs are of what the request has made, as its use case has named them.
	IDs []string `cbor:"8,keyasint"`
}

// Pending is a request whose change is under way. It belongs to the goroutine of its call.
type Pending struct {
	Request *Request
	// IDs are empty until the use case has said what its change makes: what is stored before that is another thing,
	// such as an event of what was tried.
	IDs []string
}

// Make says what the change that is about to be stored makes.
func (p *Pending) Make(ids ...string) { p.IDs = ids }

// pendingKey finds a Pending in a chain of contexts.
type pendingKey struct{}

// With has the store see a request that is under way.
func With(ctx context.Context, p *Pending) context.Context {
	return context.WithValue(ctx, pendingKey{}, p)
}

// Of is the request whose change is about to be stored; nil if there is none, or none that has said what it makes.
func Of(ctx context.Context) *Pending {
	p, _ := ctx.Value(pendingKey{}).(*Pending)
	if p == nil || len(p.IDs) == 0 {
		return nil
	}
	return p
}
