package admission

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"culvert/internal/access"
	"culvert/internal/events"
	"culvert/internal/trail"
)

// CreateRequest asks for a new API key.
type CreateRequest struct {
	Name string
	// Role is one of the program's or of the environment's. It may be empty where there are Permissions, or an
	// Organization.
	Role access.Role
	// Permissions are actions, or whatever an application wants to be told of its own.
	Permissions []string
	// Organization owns the key.
	Organization string
	Scope        access.Scope
	Lifetime     Lifetime
}

func (r *CreateRequest) check() error {
	if err := checkText("name", r.Name, MaxName); err != nil {
		return err
	}
	if r.Organization != "" {
		if err := checkText("organization_id", r.Organization, MaxID); err != nil {
			return err
		}
	}
	if r.Role == "" && r.Organization == "" && len(r.Permissions) == 0 {
		return invalid("role", "is required where there are no permissions: it says what the key may")
	}
	if err := checkPermissions(r.Permissions); err != nil {
		return err
	}
	return checkScope("scope", &r.Scope)
}

// Create makes an API key. Its text is in the answer and nowhere else, so the answer of an earlier call cannot be
// given again.
//
// Errors: [*InvalidError], [ErrExceeds], [ErrTooManyKeys].
func (r *Register) Create(ctx context.Context, call access.Call, q CreateRequest) (NewKey, error) {
	o, err := r.begin(ctx, call, access.APIKeyCreate)
	if err != nil {
		return NewKey{}, err
	}
	made, err := o.create(ctx, &q)
	return trail.Committed(ctx, o.Operation, made, err)
}

func (o *operation) create(ctx context.Context, q *CreateRequest) (NewKey, error) {
	if err := q.check(); err != nil {
		return NewKey{}, err
	}
	now := o.register.now()
	expires, err := q.Lifetime.end(now)
	if err != nil {
		return NewKey{}, err
	}
	record := access.KeyRecord{
		Name: q.Name, Role: q.Role, Permissions: slices.Clone(q.Permissions), Organization: q.Organization, Scope: q.Scope,
		ExpiresAt: expires,
	}
	key, err := o.generate(&record)
	if err != nil {
		return NewKey{}, err
	}
	if err := o.about(&record); err != nil {
		return NewKey{}, err
	}
	err = o.retry(ctx, func() error {
		change := KeyChange{Environment: o.Environment(), Put: []KeyAt{{Record: &record}}, Role: record.Role}
		if change.RoleRevision, err = o.gives(ctx, &record); err != nil {
			return err
		}
		if change.Remove, err = o.room(ctx); err != nil {
			return err
		}
		return o.change(ctx, change, told{events.APIKeyCreated, &record, nil})
	})
	return NewKey{Key{record, Active, record.RevokedAt}, key.Text()}, err
}

// generate makes a key's text, and what the store has of it.
func (o *operation) generate(record *access.KeyRecord) (access.APIKey, error) {
	now := o.register.now()
	key, err := access.GenerateAPIKey(o.Environment(), now)
	if err != nil {
		return access.APIKey{}, err
	}
	record.ID, record.Environment = key.ID, key.Environment
	record.CreatedAt, record.CreatedBy, record.Last4 = now, o.Permit.Actor().ID(), key.Text().Last4()
	if record.Hash, err = o.register.peppers.Pepper(key.Environment, key.Text()); err != nil {
		return access.APIKey{}, fmt.Errorf("hash the API key: %w", err)
	}
	return key, nil
}

// gives refuses a key that would allow what the caller may not, and returns the revision of its role.
func (o *operation) gives(ctx context.Context, record *access.KeyRecord) (int64, error) {
	rules, revision, err := o.rulesOf(ctx, record.Role)
	if errors.Is(err, ErrNoRole) {
		return 0, invalid("role", "must be one of "+roleNames()+", or a role of the environment")
	}
	if err != nil {
		return 0, err
	}
	if !o.Permit.Gives(record, rules, o.register.now()) {
		return 0, ErrExceeds
	}
	return revision, nil
}

func roleNames() string {
	var names []string
	for _, r := range access.Roles() {
		names = append(names, string(r))
	}
	return strings.Join(names, ", ")
}

// told is an event of a change, and what was changed of the record.
type told struct {
	event  events.Type
	record *access.KeyRecord
	before *access.KeyRecord
}

// change stores a change with its intent and its events.
func (o *operation) change(ctx context.Context, c KeyChange, of ...told) error {
	if err := o.Intend(ctx); err != nil {
		return err
	}
	for _, t := range of {
		e, err := o.keyEvent(t)
		if err != nil {
			return err
		}
		c.Events = append(c.Events, e)
	}
	return o.register.store.ChangeAPIKeys(ctx, c)
}

// room is which ended keys have to go so that there is room for another one. They are kept as long as there is,
// because the trail names them.
func (o *operation) room(ctx context.Context) ([]KeyAt, error) {
	all, _, err := o.register.store.APIKeys(ctx, o.Environment())
	if err != nil {
		return nil, err
	}
	excess := len(all) - o.register.maxKeys + 1
	var gone []KeyAt
	for _, k := range all { // the oldest first
		if len(gone) < min(excess, maxRemoved) && !k.Record.Usable(o.register.now()) {
			gone = append(gone, k)
		}
	}
	if len(gone) == 0 && excess > 0 {
		return nil, ErrTooManyKeys
	}
	return gone, nil
}

// maxRemoved bounds how many keys one transaction removes.
const maxRemoved = 20
