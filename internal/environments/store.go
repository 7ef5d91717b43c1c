package environments

import (
	"context"

	"culvert/internal/access"
	"culvert/internal/events"
	"culvert/keys"
)

// Store keeps environments. internal/etcd implements it. Any method may return an outage.Error.
type Store interface {
	// Fence waits until this replica has seen every write acknowledged before the call.
	Fence(ctx context.Context) error
	// AllEnvironments are those of the store, in order of their ids, opened if they were not yet, and the moment of
	// that list. [ErrTampered] if one is not what was stored.
	AllEnvironments(ctx context.Context) (all []*keys.Environment, moment int64, err error)
	// CreateEnvironment stores all of a creation, or nothing of it. When it returns nil the environment can be used
	// on this replica. [ErrConflict] if there is an environment that came after the moment.
	CreateEnvironment(ctx context.Context, c Creation) error
}

// Creation is a new environment.
type Creation struct {
	Record keys.EnvironmentRecord
	// Environment is the record, opened.
	Environment *keys.Environment
	APIKey      access.KeyRecord
	// Moment is that of the list in which the name was not.
	Moment int64
	// By is the environment of whoever makes it. Event goes into the log of that one, First into the new one's.
	By    access.EnvironmentID
	Event events.Event
	First events.Event
}
