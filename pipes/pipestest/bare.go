package pipestest

import (
	"context"
	"path/filepath"
	"testing"

	"culvert/connectors"
	"culvert/pipes"
	"culvert/vault/vaulttest"
)

// MustBare builds a broker without providers over a vault's stack, for tests that are about other things
// and need one to be there.
func MustBare(t testing.TB, s *vaulttest.Stack) *pipes.Broker {
	t.Helper()
	catalog, err := connectors.NewCatalog(nil, nil)
	must(t, "catalog", err)
	egress, err := connectors.NewEgress(connectors.EgressConfig{})
	must(t, "egress", err)
	client, err := connectors.NewClient(connectors.ClientConfig{Egress: egress})
	must(t, "client", err)
	b, err := pipes.New(pipes.Config{
		Store: s.Store, Keys: s.Keys, Environments: s.Environments, Gate: s.Gate, Audit: s.Audit,
		Connectors: catalog, Client: client, Egress: egress, PublicURL: PublicURL, Journal: mustJournal(t, filepath.Join(t.TempDir(), "journal")),
	})
	must(t, "broker", err)
	t.Cleanup(func() { must(t, "close the broker", b.Close(context.Background())) })
	return b
}
