package pipes

import (
	"encoding/json"
	"fmt"
	"time"

	"culvert/internal/events"
)

// wireTime is the time layout of contract section 0, rule 3: milliseconds, always all digits.
const wireTime = "2006-01-02T15:04:05.000Z"

// cause of an event: the audit record of the intent, so that every change leads to its record.
type cause struct {
	node  string
	index uint64
}

func (o *operation) cause() cause {
	node, index := o.Intent()
	return cause{node, index}
}

func (c cause) event(t events.Type, at time.Time, data any) (events.Event, error) {
	encoded, err := json.Marshal(data)
	if err != nil {
		return events.Event{}, fmt.Errorf("encode event: %w", err)
	}
	return events.Event{Type: t, Data: encoded, At: at, Node: c.node, Index: c.index}, nil
}

// accountData is the data object of the events about an account (contract section 3).
type accountData struct {
	Object       string        `json:"object"`
	ID           AccountID     `json:"id"`
	Integration  IntegrationID `json:"data_integration_id"`
	Slug         string        `json:"provider_slug"`
	User         *string       `json:"user_id"`
	Organization *string       `json:"organization_id"`
	Scopes       []string      `json:"scopes"`
	State        State         `json:"state"`
	CreatedAt    string        `json:"created_at"`
	UpdatedAt    string        `json:"updated_at"`
	// Our own, of accounts that need reauthorization.
	Reason string `json:"reason,omitempty"`
	Hint   string `json:"reason_hint,omitempty"`
}

// aboutAccount is an event that tells what an account is from now on, or was last.
func (c cause) aboutAccount(t events.Type, a *Account, at time.Time) (events.Event, error) {
	return c.event(t, at, accountData{
		Object: "connected_account", ID: a.ID, Integration: a.Integration, Slug: a.Slug,
		User: nullable(a.Owner.User), Organization: nullable(a.Owner.Organization),
		Scopes: append([]string{}, a.Scopes...), State: a.State,
		CreatedAt: a.CreatedAt.UTC().Format(wireTime), UpdatedAt: a.UpdatedAt.UTC().Format(wireTime),
		Reason: a.Reason, Hint: ReasonHint(a.Reason),
	})
}

// aboutRefresh is the event of a refresh: it exists so that the refresh's transaction leaves a trace by
// which its outcome can be found out.
func (c cause) aboutRefresh(a *Account, at time.Time) (events.Event, error) {
	return c.event(events.GrantRefreshed, at, struct {
		Object       string        `json:"object"`
		Integration  IntegrationID `json:"data_integration_id"`
		Slug         string        `json:"provider_slug"`
		Account      AccountID     `json:"connected_account_id"`
		User         *string       `json:"user_id"`
		Organization *string       `json:"organization_id"`
	}{"grant", a.Integration, a.Slug, a.ID, nullable(a.Owner.User), nullable(a.Owner.Organization)})
}

// aboutEnd is the event of an account whose grant is about to end.
func (c cause) aboutEnd(a *Account, end time.Time, refreshable bool, at time.Time) (events.Event, error) {
	what := "access_token"
	if refreshable {
		what = "grant"
	}
	return c.event(events.AccountExpiring, at, struct {
		Object       string        `json:"object"`
		ID           AccountID     `json:"id"`
		Integration  IntegrationID `json:"data_integration_id"`
		Slug         string        `json:"provider_slug"`
		User         *string       `json:"user_id"`
		Organization *string       `json:"organization_id"`
		State        State         `json:"state"`
		// Ending is "grant", or "access_token" where there is nothing to renew it with.
		Ending string `json:"ending"`
		EndsAt string `json:"ends_at"`
		Hint   string `json:"hint"`
	}{
		"connected_account", a.ID, a.Integration, a.Slug, nullable(a.Owner.User), nullable(a.Owner.Organization), a.State,
		what, end.UTC().Format(wireTime), "ask the user to connect the account again before it ends: no refresh moves this end",
	})
}

// aboutFailure is the event of a flow that connected nothing (contract section 3).
func (c cause) aboutFailure(f *Flow, out failure, at time.Time) (events.Event, error) {
	return c.event(events.ConnectionFailed, at, struct {
		Object              string        `json:"object"`
		Integration         IntegrationID `json:"data_integration_id"`
		Slug                string        `json:"provider_slug"`
		User                *string       `json:"user_id"`
		Organization        *string       `json:"organization_id"`
		Code                string        `json:"error_code"`
		Reason              *string       `json:"error_reason"`
		ProviderError       *string       `json:"provider_error"`
		ProviderDescription *string       `json:"provider_error_description"`
		CreatedAt           string        `json:"created_at"`
	}{
		"connection_failed", f.Integration, f.Slug, nullable(f.Owner.User), nullable(f.Owner.Organization),
		out.code, nullable(out.reason), nullable(out.providerError), nullable(out.description), at.UTC().Format(wireTime),
	})
}

// aboutIntegration is an event about an integration: our own, beside the contract's.
func (c cause) aboutIntegration(t events.Type, i *Integration, at time.Time) (events.Event, error) {
	return c.event(t, at, struct {
		Object    string        `json:"object"`
		ID        IntegrationID `json:"id"`
		Slug      string        `json:"slug"`
		Ownership Ownership     `json:"ownership"`
		Enabled   bool          `json:"enabled"`
		CreatedAt string        `json:"created_at"`
		UpdatedAt string        `json:"updated_at"`
	}{"data_integration", i.ID, i.Slug, i.Ownership, i.Enabled, i.CreatedAt.UTC().Format(wireTime), i.UpdatedAt.UTC().Format(wireTime)})
}

// aboutConfiguration is an event about what an organization has set of an integration. Of its client it has
// the id.
func (c cause) aboutConfiguration(t events.Type, f *Configuration, at time.Time) (events.Event, error) {
	client := ""
	if f.Client != nil {
		client = f.Client.ID
	}
	return c.event(t, at, struct {
		Object       string        `json:"object"`
		ID           IntegrationID `json:"id"`
		Organization string        `json:"organization_id"`
		Slug         string        `json:"slug"`
		Enabled      *bool         `json:"enabled"`
		Scopes       []string      `json:"scopes"`
		ClientID     *string       `json:"client_id"`
		CreatedAt    string        `json:"created_at"`
		UpdatedAt    string        `json:"updated_at"`
	}{
		"data_integration_configuration", f.Integration, f.Organization, f.Slug, f.Enabled, f.Scopes, nullable(client),
		f.CreatedAt.UTC().Format(wireTime), f.UpdatedAt.UTC().Format(wireTime),
	})
}

// nullable is null for the empty string: the contract's members are always there.
func nullable(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}
