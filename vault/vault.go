package vault

import (
	"errors"

	"culvert/internal/access"
	"culvert/internal/audit"
	"culvert/internal/id"
	"culvert/internal/trail"
	"culvert/keys"
)

// Vault is the use cases. It is immutable and safe for concurrent use.
//
// Every method takes the call of an authenticated actor first and returns access.ErrDenied if the
// actor may not, access.ErrUnauthenticated if its key was revoked meanwhile, keys.ErrTampered for a
// record that is not what was stored, and an outage.Error if a dependency (etcd, root key, audit) does
// not answer. The other errors stand at the methods.
type Vault struct {
	store        Store
	keys         *keys.Keys
	environments *keys.Environments
	guard        *trail.Guard
	ids          *id.Clock
	limits       Limits
	locks        *stripes
}

// Config is what a [Vault] is made of. All fields but Limits are required.
type Config struct {
	Store        Store
	Keys         *keys.Keys
	Environments *keys.Environments
	Gate         *access.Gate
	Audit        *audit.Log
	// IDs makes object and version ids and is the clock of their times.
	IDs *id.Clock
	// Limits default field by field; see there.
	Limits Limits
}

// New checks the configuration and returns a ready Vault.
func New(c Config) (*Vault, error) {
	if c.Store == nil || c.Keys == nil || c.Environments == nil || c.Gate == nil || c.Audit == nil || c.IDs == nil {
		return nil, errors.New("vault: incomplete configuration")
	}
	limits, err := c.Limits.withDefaults()
	if err != nil {
		return nil, err
	}
	return &Vault{
		store:        c.Store,
		keys:         c.Keys,
		environments: c.Environments,
		guard:        &trail.Guard{Gate: c.Gate, Audit: c.Audit, Fence: c.Store.Fence, Verdict: judge},
		ids:          c.IDs,
		limits:       limits,
		locks:        newStripes(),
	}, nil
}
