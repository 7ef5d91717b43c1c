package proof

import (
	"context"

	"culvert/internal/access"
	"culvert/internal/trail"
)

// KeyRotation is the public key that checkpoints are signed with from now on, and the one before.
type KeyRotation struct{ Key, Before string }

// RotateKey makes another key to sign checkpoints with. Every node takes it within seconds: its log has a record of
// the change, signed by both keys. The key is one for all environments, so only who is admin of the one that it stands
// in may do it.
func (a *Auditor) RotateKey(ctx context.Context, call access.Call) (KeyRotation, error) {
	o, err := a.guard.Begin(ctx, call, access.AuditKeyRotate)
	if err != nil {
		return KeyRotation{}, err
	}
	if o.Environment() != a.config.Home {
		return trail.Committed(ctx, o, KeyRotation{}, access.ErrDenied)
	}
	if err := o.Intend(ctx); err != nil {
		return KeyRotation{}, err
	}
	r := KeyRotation{Before: a.config.Key()}
	r.Key, err = a.config.Rotate(ctx)
	return trail.Committed(ctx, o, r, err)
}
