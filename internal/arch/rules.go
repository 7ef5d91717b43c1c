package arch

// Module is the path that the tables below leave out.
const Module = "culvert"

// MaxLines is the length above which a file has to be split.
const MaxLines = 500

// Rules are the tables that [Check] goes by. Paths are relative to the module; a path ending in "/..."
// stands for everything below it, one ending in "/*" for one element below it.
type Rules struct {
	// Arrows lists for each package which packages of this module its non-test files may import.
	// The first row that matches a package is the one that counts.
	Arrows []Arrow
	// Confined lists third-party imports and the only packages that may have them, also in tests.
	Confined []Confined
	// Refused lists imports that no non-test file may have, whatever its package.
	Refused []string
	// Revealing lists the files that may call secret.Bytes.Reveal. Tests may: they look for canaries.
	Revealing []string
	// Exceptions are single files that may break one of the tables above.
	Exceptions []Exception
}

// Arrow is a package and what it may import.
type Arrow struct {
	Package string
	Imports []string
}

// Confined is an import, and below it whatever path it has, that stays in a few packages.
type Confined struct {
	Import string
	In     []string
}

// Exception lets one file have one import (or call Reveal, spelt "Reveal") for a stated reason. One
// that no file needs any more is a violation too.
type Exception struct {
	File, Import, Reason string
}

// leaves know nothing of each other's users. They may import one another; the compiler refuses cycles.
func leaves() []string {
	return []string{
		"internal/access", "internal/admission", "internal/audit", "internal/base62", "internal/events", "internal/id", "internal/idempotency", "internal/journal",
		"internal/origin", "internal/outage", "internal/proof", "internal/ratelimit", "internal/record", "internal/secret", "internal/text",
	}
}

// above returns the leaves and what else a package may look down on.
func above(packages ...string) []string { return append(leaves(), packages...) }

// Culvert returns the rules of this module: imports go down only. vault and pipes are siblings that
// never meet, connectors knows no storage and no keys, and nothing but cmd knows internal/etcd.
func Culvert() Rules {
	return Rules{
		Arrows: []Arrow{
			{"cmd/culvert", above("server", "vault", "pipes", "connectors", "connectors/*", "keys", "keys/*", "internal/etcd", "internal/webhooks", "internal/environments", "internal/stream", "internal/export", "internal/reads")},
			{"server", above("vault", "pipes", "keys", "server/pages", "internal/webhooks", "internal/environments", "internal/stream", "internal/export")},
			{"server/pages", nil},
			{"vault", above("keys", "internal/trail")},
			{"pipes", above("keys", "connectors", "internal/trail")},
			{"connectors", leaves()},
			{"connectors/...", above("connectors")},
			{"keys", above("internal/trail")}, // operations on KEKs are use cases: permit, fence and trail as in vault
			{"keys/*", above("keys")},
			{"internal/etcd", above("vault", "pipes", "keys", "internal/webhooks", "internal/environments", "internal/reads")},
			// A use case as those on API keys, on top of keys: an environment is its keysets.
			{"internal/environments", above("keys", "internal/trail")},
			// A sibling of vault and pipes: keys signs what it sends, and connectors says where it may be sent.
			{"internal/webhooks", above("keys", "connectors", "internal/trail")},
			{"internal/reads", above("keys")}, // for the one word that says a record is not what was stored
			{"internal/events", above("internal/trail")},
			{"internal/admission", above("internal/trail")},            // API keys and roles: use cases, as operations on keys
			{"internal/proof", above("internal/trail")},                // asking the audit log is a use case: permit, fence and trail
			{"internal/export", above("internal/trail")},               // files of records are use cases, as asking for them
			{"internal/stream", above("connectors", "internal/trail")}, // connectors says where it may be sent
			{"internal/trail", leaves()},
			{"internal/arch", nil},
			{"internal/e2e/...", nil},
			{"internal/bench/...", nil},
			{"internal/*", leaves()},
		},
		Confined: []Confined{
			{"go.etcd.io", []string{"internal/etcd/..."}},
			{"github.com/gin-gonic", []string{"server", "internal/bench/floor"}}, // the floor is the baseline
			{"github.com/tink-crypto", []string{"keys/..."}},
			{"github.com/aws", []string{"keys/*"}},
			{"cloud.google.com", []string{"keys/*"}},
			{"github.com/Azure", []string{"keys/*"}},
			{"github.com/ThalesGroup", []string{"keys/pkcs11", "keys/keystest"}}, // the tests make keys in a SoftHSM
			{"github.com/miekg", []string{"keys/pkcs11"}},
			{"github.com/spf13/cobra", []string{"cmd/culvert"}},
			{"github.com/knadh/koanf", []string{"cmd/culvert"}},
		},
		// The danger of these is in their names; Tink's test packages make keys that are no secret.
		Refused: []string{"*test", "testing", "testing/*", "insecure*", "fakekms", "testkeyset", "testutil"},
		Revealing: []string{
			"internal/secret/secret.go", // where it is defined
			"keys/*.go",
			"keys/*/*.go", // a root key wraps a share, which it has to look at
			"connectors/...",
			"server/wire.go",
		},
		Exceptions: exceptions(),
	}
}

// exceptions names the files that may do what their package may not.
func exceptions() []Exception {
	const tink = "github.com/tink-crypto/tink-go/v2/"
	return []Exception{
		{
			"keys/dek.go", tink + "insecuresecretdataaccess",
			"a DEK is 32 random bytes that never were a Tink keyset; the token is what Tink asks for raw bytes",
		},
		{
			"keys/localkms/file.go", tink + "insecurecleartextkeyset",
			"the local root key is a keyset that nothing above it could wrap: its file's mode is all there is",
		},
		{
			"cmd/culvert/apikey.go", "Reveal",
			"the first start writes the root API key into its file of mode 0600, once",
		},
	}
}
