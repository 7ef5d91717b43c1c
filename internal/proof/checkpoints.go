package proof

import (
	"context"

	"culvert/internal/access"
	"culvert/internal/audit"
	"culvert/internal/outage"
	"culvert/internal/trail"
)

// maxDays bounds the checkpoints of a node that are listed: as many as are kept.
const maxDays = 400

// NodeCheckpoints is what one node signed.
type NodeCheckpoints struct {
	Node string
	// Signed are notes, the newest first.
	Signed []string
}

// Signatures are the checkpoints of all nodes, the public key, and the changes by which the keys before it handed over.
type Signatures struct {
	Key     string
	Changes []string
	Nodes   []NodeCheckpoints
}

// Signed returns the newest checkpoint of every registered node; of one that is named, those of all days that are kept.
func (a *Auditor) Signed(ctx context.Context, call access.Call, node string) (Signatures, error) {
	o, err := a.guard.Begin(ctx, call, access.AuditProve)
	if err != nil {
		return Signatures{}, err
	}
	all, err := a.signed(ctx, node)
	return trail.Answer(ctx, o, all, err)
}

func (a *Auditor) signed(ctx context.Context, node string) (Signatures, error) {
	all := Signatures{Key: a.config.Key(), Nodes: []NodeCheckpoints{}}
	changes, err := audit.KeyChanges(a.config.Log.Dir())
	if err != nil {
		return all, &outage.Error{Dependency: outage.Audit, Cause: err}
	}
	for _, signed := range changes {
		all.Changes = append(all.Changes, string(signed))
	}
	nodes, err := a.config.Checkpoints.Nodes(ctx)
	if err != nil {
		return all, err
	}
	limit := 1
	if node != "" {
		limit = maxDays
	}
	for _, n := range nodes {
		if node != "" && n != node {
			continue
		}
		signed, err := a.config.Checkpoints.List(ctx, n, limit)
		if err != nil {
			return all, err
		}
		of := NodeCheckpoints{Node: n}
		for _, s := range signed {
			of.Signed = append(of.Signed, string(s))
		}
		all.Nodes = append(all.Nodes, of)
	}
	if node != "" && len(all.Nodes) == 0 {
		return all, &InvalidError{Field: "node", Rule: "must be a registered node"}
	}
	return all, nil
}
