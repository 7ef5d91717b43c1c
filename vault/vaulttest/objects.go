package vaulttest

import (
	"slices"
	"testing"

	"culvert/internal/audit"
	"culvert/internal/events"
	"culvert/internal/secret"
	"culvert/keys"
	"culvert/vault"
)

// MustContext parses a key context from name/value pairs.
func MustContext(t testing.TB, pairs ...string) keys.Context {
	t.Helper()
	items := map[string]string{}
	for pair := range slices.Chunk(pairs, 2) {
		items[pair[0]] = pair[1]
	}
	c, err := keys.ParseContext(items)
	must(t, "key context", err)
	return c
}

// Value is a secret of a test.
func Value(text string) secret.Bytes { return secret.New([]byte(text)) }

// MustCreate stores a value under a name, in the context {organization_id: org_1}.
func (s *Stack) MustCreate(t testing.TB, name, value string) vault.Metadata {
	t.Helper()
	m, err := s.Vault.Create(t.Context(), s.Call(), vault.CreateRequest{
		Name: name, Value: Value(value), Context: MustContext(t, "organization_id", "org_1"),
	})
	must(t, "create", err)
	return m
}

// MustUpdate stores a new value, whatever is there.
func (s *Stack) MustUpdate(t testing.TB, object vault.ObjectID, value string) vault.Object {
	t.Helper()
	o, err := s.Vault.Update(t.Context(), s.Call(), vault.UpdateRequest{ID: object, Value: Value(value)})
	must(t, "update", err)
	return o
}

// MustGet opens an object.
func (s *Stack) MustGet(t testing.TB, object vault.ObjectID) vault.Object {
	t.Helper()
	o, err := s.Vault.Get(t.Context(), s.Call(), object)
	must(t, "get", err)
	return o
}

// MustDelete deletes an object, whatever its version.
func (s *Stack) MustDelete(t testing.TB, object vault.ObjectID) {
	t.Helper()
	_, err := s.Vault.Delete(t.Context(), s.Call(), vault.DeleteRequest{ID: object})
	must(t, "delete", err)
}

// MustAuditRecords reads the audit log back, oldest first.
func (s *Stack) MustAuditRecords(t testing.TB) []audit.Record {
	t.Helper()
	var records []audit.Record
	must(t, "read the audit log", audit.Read(s.AuditDir, 0, func(r audit.Record, _ []byte) error {
		records = append(records, r)
		return nil
	}))
	return records
}

// MustAuditOf returns the audit records of one request, oldest first.
func (s *Stack) MustAuditOf(t testing.TB, requestID string) []audit.Record {
	t.Helper()
	return slices.DeleteFunc(s.MustAuditRecords(t), func(r audit.Record) bool { return r.RequestID != requestID })
}

// MustEvents returns the first hundred events, oldest first.
func (s *Stack) MustEvents(t testing.TB) []events.Stored {
	t.Helper()
	must(t, "fence", s.Store.Fence(t.Context()))
	page, err := s.Store.Page(t.Context(), s.Environment.ID(), events.Query{
		Types: []events.Type{events.DataCreated, events.DataUpdated, events.DataDeleted, events.KEKCreated, events.KEKRotated},
		Limit: events.MaxLimit, Order: events.Ascending,
	})
	must(t, "events", err)
	return page.Data
}
