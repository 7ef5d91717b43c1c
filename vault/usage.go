package vault

import (
	"context"

	"culvert/internal/access"
	"culvert/internal/trail"
)

// Quota is what an environment may hold; 0 is no bound.
type Quota struct {
	// Objects are the live ones.
	Objects int
	// Bytes are those of all kept versions of all objects, as sealed. Names, key contexts and what the store adds do
	// not count.
	Bytes int64
}

// Usage is what an environment holds, beside its quota.
type Usage struct {
	Quota   Quota
	Objects int
	Bytes   int64
	// AtLeast marks an environment with more objects than are counted: it has that many, or more, and of its bytes
	// nobody knows.
	AtLeast bool
}

// Usage says what the environment holds. A part of an environment has no numbers of its own.
func (v *Vault) Usage(ctx context.Context, call access.Call) (Usage, error) {
	o, err := v.authorize(ctx, call, access.UsageRead)
	if err != nil {
		return Usage{}, err
	}
	has, err := o.vault.store.Usage(ctx, o.Environment())
	return trail.Answer(ctx, o.Operation, has, err)
}
