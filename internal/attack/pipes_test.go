package attack_test

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"culvert/internal/access"
	"culvert/internal/events"
	"culvert/internal/id"
	"culvert/keys"
	"culvert/pipes"
)

// Who needs a record of pipes asks the store here, behind its fence, as the use cases do: what a route makes
// of the failure is the same for all records.

// The providers of the integrations that the tests make. The account of one is asked for by its id, that of
// the other in its integration's list: so each of the two records can be attacked while the other is.
const (
	slug       = "provider"
	listedSlug = "second"
)

// organization is the one that has set something of an integration.
const organization = "org_1"

var owner = pipes.Owner{Kind: pipes.OwnedByUser, User: "user_1"}

// fillPipes stores one record of each kind that pipes has. Nothing in them is opened here, so what would
// be sealed is not.
func (e *estate) fillPipes(t *testing.T, env *keys.Environment) {
	t.Helper()
	now := time.Now().UTC()
	ulid := func() string { return id.ULID(now) }
	integration, account := newAccount(env.ID(), slug, now)
	grant := pipes.Grant{
		ID: pipes.GrantID("grant_" + ulid()), Environment: env.ID(), Integration: integration.ID, Generation: 1,
		Sealed: []byte("sealed"), ObtainedAt: now, TokenMAC: []byte("keyed hash of a refresh token"),
	}
	account.Grant = grant.ID
	grant.DueAt = now.Add(time.Hour)
	told := []events.Event{{Type: events.DataCreated, Data: []byte("{}"), At: now, Node: "test"}}
	must(t, e.stack.Store.Apply(t.Context(), pipes.Change{
		Environment: env.ID(),
		Integration: &pipes.Put[pipes.Integration]{Record: integration},
		Configuration: &pipes.Put[pipes.Configuration]{Record: pipes.Configuration{
			Integration: integration.ID, Environment: env.ID(), Slug: slug, Organization: organization, CreatedAt: now, UpdatedAt: now,
		}},
		Account:     &pipes.Put[pipes.Account]{Record: account},
		Connections: &pipes.Put[pipes.Connections]{Record: pipes.Connections{Owner: owner, Slug: slug, Compatibility: account.ID}},
		Grant:       &pipes.Put[pipes.Grant]{Record: grant},
		Flow: &pipes.Put[pipes.Flow]{Record: pipes.Flow{
			ID: pipes.FlowID(ulid()), Environment: env.ID(), Integration: integration.ID, Slug: slug, Owner: owner,
			TicketHash: []byte("keyed hash of a ticket"), CreatedAt: now, ExpiresAt: now.Add(time.Hour),
		}},
		Events: told,
	}))
	_, err := e.stack.Store.PutAttempt(t.Context(), pipes.Step{Environment: env.ID(), Attempt: pipes.Attempt{
		Grant: grant.ID, Generation: 1, ID: ulid(), Owner: "another", Process: "first", Sends: 1, At: now,
	}})
	must(t, err)
	// Of another grant, so that it is not attacked together with the attempt, and without a lease.
	e.writer.MustPut(t, "lock/"+string(env.ID())+"/grant_"+ulid(), []byte("another first"))
	integration, account = newAccount(env.ID(), "gone", now)
	must(t, e.stack.Store.Apply(t.Context(), pipes.Change{
		Environment: env.ID(),
		Retired:     &pipes.Put[pipes.Integration]{Record: integration},
		Revocation: &pipes.Put[pipes.Revocation]{Record: pipes.Revocation{
			ID: account.ID, Environment: env.ID(), Integration: integration.ID, Slug: "gone", Owner: owner,
			State: pipes.RevocationPending, Grant: &grant, NextAt: now.Add(time.Hour), CreatedAt: now,
		}},
		Events: told,
	}))
	integration, account = newAccount(env.ID(), listedSlug, now)
	e.listed[string(integration.ID)], e.listed[string(account.ID)] = true, true
	must(t, e.stack.Store.Apply(t.Context(), pipes.Change{
		Environment: env.ID(),
		Integration: &pipes.Put[pipes.Integration]{Record: integration},
		Account:     &pipes.Put[pipes.Account]{Record: account},
		Events:      told,
	}))
}

// newAccount is an account of the owner's, and the integration that it is of.
func newAccount(env access.EnvironmentID, slug string, now time.Time) (pipes.Integration, pipes.Account) {
	i := pipes.Integration{
		ID: pipes.IntegrationID("data_integration_" + id.ULID(now)), Environment: env, Slug: slug, Ownership: pipes.OwnedByUser,
		DIK: "dik_" + id.ULID(now), AuthMethods: []pipes.AuthMethod{pipes.MethodOAuth}, CreatedAt: now, UpdatedAt: now,
	}
	return i, pipes.Account{
		ID: pipes.AccountID("data_installation_" + id.ULID(now)), Environment: env, Integration: i.ID, Slug: slug,
		Owner: owner, Method: pipes.MethodOAuth, State: pipes.Connected, CreatedAt: now, UpdatedAt: now,
	}
}

// subjectOfPipes is the part of subjectOf for records of pipes; nil for any other kind.
func (e *estate) subjectOfPipes(key string, env access.EnvironmentID, field []string) *subject {
	last := field[len(field)-1]
	switch field[0] {
	case "integration":
		return e.stored(key, func(t testing.TB) error {
			_, err := e.stack.Store.Integration(t.Context(), env, slug, pipes.OwnedByUser)
			_, allErr := e.stack.Store.Integrations(t.Context(), env)
			return both(t, err, allErr)
		})
	case "configuration":
		return e.stored(key, func(t testing.TB) error {
			_, err := e.stack.Store.Configuration(t.Context(), env, pipes.IntegrationID(field[2]), organization)
			_, allErr := e.stack.Store.ConfigurationsOf(t.Context(), env, pipes.IntegrationID(field[2]), 10)
			return both(t, err, allErr)
		})
	case "account":
		return e.stored(key, func(t testing.TB) error {
			_, err := e.stack.Store.Account(t.Context(), env, pipes.AccountID(last))
			return err
		})
	case "owner":
		return e.stored(key, func(t testing.TB) error {
			_, err := e.stack.Store.Connections(t.Context(), env, owner, slug)
			return err
		})
	case "member":
		return e.stored(key, func(t testing.TB) error {
			_, err := e.stack.Store.AccountsOf(t.Context(), env, pipes.IntegrationID(field[2]), "", 10)
			return err
		})
	case "grant":
		return e.stored(key, func(t testing.TB) error {
			_, err := e.stack.Store.Grant(t.Context(), env, pipes.GrantID(last))
			return err
		})
	case "attempt":
		return e.stored(key, func(t testing.TB) error {
			_, err := e.stack.Store.Standing(t.Context(), env, pipes.GrantID(last))
			_, allErr := e.stack.Store.Attempts(t.Context(), env)
			return both(t, err, allErr)
		})
	case "lock":
		return e.unproven(key, func(t testing.TB) error { return e.locked(t, env, pipes.GrantID(last)) })
	case "due":
		return e.unproven(key, func(t testing.TB) error { return e.claimed(t, key, env, field[2], pipes.GrantID(last)) })
	case "token":
		return e.stored(key, func(t testing.TB) error {
			_, err := e.stack.Store.GrantOf(t.Context(), env, []byte("keyed hash of a refresh token"))
			return err
		})
	case "revocation":
		return e.stored(key, func(t testing.TB) error {
			_, err := e.stack.Store.Revocation(t.Context(), env, pipes.AccountID(last))
			_, allErr := e.stack.Store.Revocations(t.Context(), env, "", 10)
			return both(t, err, allErr)
		})
	case "revoking":
		return e.stored(key, func(t testing.TB) error {
			_, _, err := e.stack.Store.Revoking(t.Context(), env, "", 10)
			return err
		})
	case "retired":
		return e.stored(key, func(t testing.TB) error {
			_, err := e.stack.Store.Retired(t.Context(), env)
			return err
		})
	case "flow":
		return e.stored(key, func(t testing.TB) error {
			_, err := e.stack.Store.Flow(t.Context(), env, pipes.FlowID(last))
			_, allErr := e.stack.Store.Flows(t.Context(), env, time.Now().Add(-time.Hour), time.Now().Add(time.Hour))
			return both(t, err, allErr)
		})
	}
	return nil
}

// unproven is a record in whose value nothing stands that is relied on: whatever it is, it does what it does by
// being there.
func (e *estate) unproven(key string, read func(testing.TB) error) *subject {
	s := e.stored(key, read)
	s.broken = []string{ok}
	return s
}

// locked asks whether a grant is locked.
func (e *estate) locked(t testing.TB, env access.EnvironmentID, grant pipes.GrantID) error {
	t.Helper()
	found, err := e.stack.Store.Standing(t.Context(), env, grant)
	if err == nil && found.Lock.Revision == 0 {
		return errors.New("there is no lock")
	}
	return err
}

// claimed claims the grant that is due at a time, as a caretaker does, and puts its place back as it was.
func (e *estate) claimed(t testing.TB, key string, env access.EnvironmentID, at string, grant pipes.GrantID) error {
	t.Helper()
	millis, err := strconv.ParseInt(at, 16, 64)
	must(t, err)
	value, due := e.writer.MustAll(t)[key], time.UnixMilli(millis)
	claim := pipes.Claim{Environment: env, Until: due.Add(time.Hour)}
	ids, err := e.stack.Store.ClaimDue(t.Context(), env, due, claim.Until, 10)
	if err != nil {
		return err
	}
	if !slices.Equal(ids, []pipes.GrantID{grant}) {
		return fmt.Errorf("due are %q", ids)
	}
	e.writer.MustPut(t, key, value)
	return e.stack.Store.ReleaseDue(t.Context(), claim, grant, time.Time{})
}

// both are two ways to one record, which must agree on it.
func both(t testing.TB, one, other error) error {
	t.Helper()
	if (one == nil) != (other == nil) {
		t.Errorf("by itself: %v, in a list: %v", one, other)
	}
	return errors.Join(one, other)
}

// stored makes a subject of a read of the store.
func (e *estate) stored(key string, read func(testing.TB) error) *subject {
	return &subject{key: key, intact: ok, broken: []string{integrity}, ask: func(t testing.TB) string {
		must(t, e.stack.Store.Fence(t.Context()))
		err := read(t)
		switch {
		case err == nil:
			return ok
		case errors.Is(err, keys.ErrTampered):
			return integrity
		}
		return strings.ReplaceAll(err.Error(), "\n", "; ")
	}}
}
