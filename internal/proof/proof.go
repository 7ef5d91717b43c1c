// Package proof is what auditors may ask of the audit log: records, checkpoints, and proofs that a record is in the
// log and that a checkpoint is of the same log as an earlier one.
//
// The log is of the node that is asked, and of all environments; a caller sees the records of his own, and those of
// the log about itself. Hashes tell nothing of the others.
package proof

import (
	"context"
	"errors"

	"culvert/internal/access"
	"culvert/internal/audit"
	"culvert/internal/outage"
	"culvert/internal/trail"
)

// Config is what an [Auditor] needs; all fields are required.
type Config struct {
	Log  *audit.Log
	Gate *access.Gate
	// Fence returns once reads show everything that was acknowledged anywhere before.
	Fence func(context.Context) error
	// Checkpoints are those of all nodes.
	Checkpoints Checkpoints
	// Key is the public key of checkpoints, once there is one.
	Key func() string
	// Home is the environment that has the key, Rotate makes another one.
	Home   access.EnvironmentID
	Rotate func(context.Context) (string, error)
}

// Checkpoints keeps what nodes have signed. Its methods block for a few seconds at most; the error is an outage.
type Checkpoints interface {
	// Nodes are the replicas whose logs there have to be.
	Nodes(ctx context.Context) ([]string, error)
	// List returns what a node signed, the newest first. One that is not what was stored is empty.
	List(ctx context.Context, node string, limit int) ([][]byte, error)
}

// Auditor is the use cases. Its methods return access.ErrDenied, access.ErrUnauthenticated, [*InvalidError],
// [ErrRemoved] and outages, and leave a record of every call.
type Auditor struct {
	config Config
	guard  trail.Guard
}

// New checks the config.
func New(c Config) (*Auditor, error) {
	if c.Log == nil || c.Gate == nil || c.Fence == nil || c.Checkpoints == nil || c.Key == nil || c.Home == "" || c.Rotate == nil {
		return nil, errors.New("proof: auditor needs Log, Gate, Fence, Checkpoints, Key, Home and Rotate")
	}
	return &Auditor{config: c, guard: trail.Guard{Gate: c.Gate, Audit: c.Log, Fence: c.Fence, Verdict: judge}}, nil
}

// InvalidError is a refused query (422). Rule says what is allowed and never repeats what was sent.
type InvalidError struct{ Field, Rule string }

func (e *InvalidError) Error() string { return "proof: " + e.Field + " " + e.Rule }

// Codes of refusals: of an [InvalidError], and of [ErrRemoved].
const (
	CodeInvalid = "invalid_value"
	CodeRemoved = "record_removed"
)

// ErrRemoved means that retention has removed the record (410).
var ErrRemoved = errors.New("proof: the record was removed by retention")

// InclusionQuery asks for the proof of one record; a size of 0 stands for the newest checkpoint's.
type InclusionQuery struct{ Index, Size uint64 }

// Inclusion is a proof with the node whose log it is about.
type Inclusion struct {
	Node string
	audit.Inclusion
	// Checkpoint is the signed one of this size, empty if the newest is of another.
	Checkpoint string
}

// Inclusion proves that a record is in the log.
func (a *Auditor) Inclusion(ctx context.Context, call access.Call, q InclusionQuery) (Inclusion, error) {
	o, err := a.guard.Begin(ctx, call, access.AuditProve)
	if err != nil {
		return Inclusion{}, err
	}
	p := Inclusion{Node: a.config.Log.Node()}
	q.Size, p.Checkpoint = a.upTo(q.Size)
	p.Inclusion, err = a.config.Log.Include(q.Index, q.Size)
	return trail.Answer(ctx, o, p, refuse(err, "index"))
}

// ConsistencyQuery asks for the proof between two sizes; a second of 0 stands for the newest checkpoint's.
type ConsistencyQuery struct{ From, To uint64 }

// Consistency is a proof with the node whose log it is about.
type Consistency struct {
	Node string
	audit.Consistency
	// Checkpoint is the signed one of size To, empty if the newest is of another.
	Checkpoint string
}

// Consistency proves that the log of one size begins with that of another.
func (a *Auditor) Consistency(ctx context.Context, call access.Call, q ConsistencyQuery) (Consistency, error) {
	o, err := a.guard.Begin(ctx, call, access.AuditProve)
	if err != nil {
		return Consistency{}, err
	}
	p := Consistency{Node: a.config.Log.Node()}
	q.To, p.Checkpoint = a.upTo(q.To)
	p.Consistency, err = a.config.Log.Extend(q.From, q.To)
	return trail.Answer(ctx, o, p, refuse(err, "from"))
}

// upTo is the size that a proof is about, the newest checkpoint's for 0, and the signed checkpoint if that is of this size.
func (a *Auditor) upTo(size uint64) (of uint64, checkpoint string) {
	last, signed := a.config.Log.LastCheckpoint()
	if size == 0 {
		size = last.Size
	}
	if last.Size != size {
		return size, ""
	}
	return size, string(signed)
}

// refuse turns what cannot be proven into a refusal of what was asked.
func refuse(err error, field string) error {
	switch {
	case errors.Is(err, audit.ErrOutside):
		return &InvalidError{Field: field, Rule: "must be of a record below the size, which must not be beyond the log"}
	case errors.Is(err, audit.ErrRemoved):
		return ErrRemoved
	case errors.Is(err, audit.ErrNoProof):
		return &InvalidError{Field: field, Rule: "must be younger: the hashes were made anew, and older ones come back when the server starts again"}
	}
	return err
}

// judge is what an audit record says of how a call ended; it follows server/errors.go.
func judge(_ access.Action, err error) trail.Verdict {
	if err == nil {
		return trail.Allow(200)
	}
	if outage.Of(err) != nil { // first: an outage wraps its cause
		return trail.Known(err)
	}
	var invalid *InvalidError
	if errors.As(err, &invalid) {
		return trail.Fail(CodeInvalid, 422)
	}
	if errors.Is(err, ErrRemoved) {
		return trail.Fail(CodeRemoved, 410)
	}
	return trail.Known(err)
}
