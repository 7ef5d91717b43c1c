package keys

import (
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"culvert/internal/access"
	"culvert/internal/secret"
)

// FirstEnvironment is the name of the environment that a store begins with. API keys of it may look after all
// environments, so no other one gets the name.
const FirstEnvironment = "default"

// Environments are the environments whose keys this process holds. One that was made while the process runs is
// added, none is ever taken out: whoever works through all of them asks again each time. It is safe for concurrent
// use, and a look costs no lock.
type Environments struct {
	mu sync.Mutex // held by Add, so that two of them lose nothing
	// byID is replaced, never changed.
	byID atomic.Pointer[map[access.EnvironmentID]*Environment]
}

var _ access.Peppers = (*Environments)(nil)

// NewEnvironments collects environments by their ids.
func NewEnvironments(environments ...*Environment) *Environments {
	byID := make(map[access.EnvironmentID]*Environment, len(environments))
	for _, e := range environments {
		byID[e.ID()] = e
	}
	es := &Environments{}
	es.byID.Store(&byID)
	return es
}

// Add takes an environment up. One that is known stays what it is.
func (es *Environments) Add(e *Environment) {
	es.mu.Lock()
	defer es.mu.Unlock()
	before := *es.byID.Load()
	if _, ok := before[e.ID()]; ok {
		return
	}
	next := maps.Clone(before)
	next[e.ID()] = e
	es.byID.Store(&next)
}

// Environment finds one. The error is [ErrNoEnvironment].
func (es *Environments) Environment(id access.EnvironmentID) (*Environment, error) {
	e, ok := (*es.byID.Load())[id]
	if !ok {
		return nil, ErrNoEnvironment
	}
	return e, nil
}

// Named finds one by its name. The error is [ErrNoEnvironment].
func (es *Environments) Named(name string) (*Environment, error) {
	for _, e := range es.All() {
		if e.Name() == name {
			return e, nil
		}
	}
	return nil, ErrNoEnvironment
}

// IDs are those of all environments, in order.
func (es *Environments) IDs() []access.EnvironmentID {
	return slices.Sorted(maps.Keys(*es.byID.Load()))
}

// All are the environments in the order of their ids, which is that of their creation.
func (es *Environments) All() []*Environment {
	byID := *es.byID.Load()
	all := make([]*Environment, 0, len(byID))
	for _, id := range slices.Sorted(maps.Keys(byID)) {
		all = append(all, byID[id])
	}
	return all
}

// Pepper implements [access.Peppers]. The error is [ErrNoEnvironment].
func (es *Environments) Pepper(env access.EnvironmentID, apiKey secret.Bytes) ([]byte, error) {
	e, err := es.Environment(env)
	if err != nil {
		return nil, err
	}
	return e.Pepper(apiKey)
}
