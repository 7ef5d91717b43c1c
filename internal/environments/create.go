package environments

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"time"

	"culvert/internal/access"
	"culvert/internal/admission"
	"culvert/internal/audit"
	"culvert/internal/events"
	"culvert/internal/id"
	"culvert/internal/trail"
	"culvert/keys"
)

// CreateRequest asks for an environment.
type CreateRequest struct{ Name string }

// isName tells whether an environment may have the name: it stands in paths, and at the command line.
func isName(name string) bool {
	return regexp.MustCompile(`^[a-z][a-z0-9-]{0,62}$`).MatchString(name)
}

// Created is a new environment with its first API key, whose text is told this once.
type Created struct {
	*keys.Environment
	APIKey admission.NewKey
}

// Create makes an environment, and an administrator's API key of it. The answer of an earlier call cannot be given
// again, because of that key.
//
// Errors: [*InvalidError], [ErrExists], [ErrTooMany], [ErrConflict].
func (es *Environments) Create(ctx context.Context, call access.Call, q CreateRequest) (Created, error) {
	o, err := es.begin(ctx, call, access.EnvironmentsCreate)
	if err != nil {
		return Created{}, err
	}
	made, err := o.create(ctx, q.Name)
	return trail.Committed(ctx, o.Operation, made, err)
}

func (o *operation) create(ctx context.Context, name string) (Created, error) {
	if !isName(name) {
		return Created{}, &InvalidError{"name", "must be small letters, digits and dashes, at most 63, and begin with a letter"}
	}
	o.Record.ObjectName = name
	moment, err := o.free(ctx, name)
	if err != nil {
		return Created{}, err
	}
	c, made, err := o.make(ctx, name)
	if err != nil {
		return Created{}, err
	}
	for c.Moment = moment; ; {
		err := o.environments.store.CreateEnvironment(ctx, c)
		if !errors.Is(err, ErrConflict) {
			return made, err
		}
		// Another one was made meanwhile. Each round there is one more, and they are bounded.
		if c.Moment, err = o.free(ctx, name); err != nil {
			return Created{}, err
		}
	}
}

// free refuses a name that is taken. Which names there are is what the seals of the records say.
func (o *operation) free(ctx context.Context, name string) (moment int64, err error) {
	all, moment, err := o.environments.store.AllEnvironments(ctx)
	if err != nil {
		return 0, err
	}
	if slices.ContainsFunc(all, func(e *keys.Environment) bool { return e.Name() == name }) {
		return 0, ErrExists
	}
	if len(all) >= o.environments.max {
		return 0, ErrTooMany
	}
	return moment, nil
}

// make makes the keysets and the key, and leaves the intent.
func (o *operation) make(ctx context.Context, name string) (Creation, Created, error) {
	now := o.environments.now()
	record, env, err := keys.NewEnvironment(ctx, o.environments.roots, access.EnvironmentID(id.ULID(now)), name, now)
	if err != nil {
		return Creation{}, Created{}, err
	}
	o.Record.ObjectID = env.ID().OnWire()
	apiKey, by, err := firstKey(env, now)
	if err != nil {
		return Creation{}, Created{}, err
	}
	c := Creation{Record: record, Environment: env, APIKey: apiKey.KeyRecord, By: o.Environment()}
	if err := o.Intend(ctx); err != nil {
		return Creation{}, Created{}, err
	}
	if c.Event, err = o.event(env, now); err != nil {
		return Creation{}, Created{}, err
	}
	index, err := o.recordKey(ctx, &apiKey.KeyRecord, by)
	if err != nil {
		return Creation{}, Created{}, err
	}
	c.First, err = admission.KeyCreated(&apiKey.KeyRecord, by, o.environments.audit.Node(), index)
	return c, Created{env, apiKey}, err
}

// firstKey makes the key that all others of the environment come from. In its own environment it is the server that
// made it: who asked for it is an actor of another one.
func firstKey(env *keys.Environment, now time.Time) (admission.NewKey, access.Actor, error) {
	by := access.SystemActor(env.ID(), "creation of the environment")
	key, err := access.GenerateAPIKey(env.ID(), now)
	if err != nil {
		return admission.NewKey{}, by, err
	}
	hash, err := env.Pepper(key.Text())
	if err != nil {
		return admission.NewKey{}, by, fmt.Errorf("hash the API key: %w", err)
	}
	record := access.KeyRecord{
		ID: key.ID, Environment: env.ID(), Name: "root", Role: access.RoleAdmin, Hash: hash,
		CreatedAt: now, CreatedBy: by.ID(), Last4: key.Text().Last4(),
	}
	return admission.NewKey{Key: admission.Key{KeyRecord: record, State: admission.Active}, Text: key.Text()}, by, nil
}

// recordKey leaves the record of the key in the trail of the new environment, whose auditors see no other one. The
// request leads from there to who asked.
func (o *operation) recordKey(ctx context.Context, key *access.KeyRecord, by access.Actor) (uint64, error) {
	r := audit.For(access.Call{Actor: by, RequestID: o.Record.RequestID}, access.APIKeyCreate)
	r.Phase, r.Result = audit.Internal, audit.Allowed
	r.ObjectID, r.ObjectName = admission.OnWire(key.ID), key.Name
	return o.environments.audit.Append(ctx, r)
}

// created is the data of the event.
type created struct {
	Object string `json:"object"`
	ID     string `json:"id"`
	Name   string `json:"name"`
	events.Actor
}

func (o *operation) event(env *keys.Environment, at time.Time) (events.Event, error) {
	data, err := json.Marshal(created{"environment", env.ID().OnWire(), env.Name(), events.ActorOf(o.Permit.Actor())})
	if err != nil {
		return events.Event{}, fmt.Errorf("encode event: %w", err)
	}
	node, index := o.Intent()
	return events.Event{Type: events.EnvironmentCreated, Data: data, At: at, Node: node, Index: index}, nil
}
