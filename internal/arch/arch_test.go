package arch_test

import (
	"path/filepath"
	"strings"
	"testing"

	"culvert/internal/arch"

	"github.com/google/go-cmp/cmp"
)

// TestTree holds the module to its own picture.
func TestTree(t *testing.T) {
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	packages, err := arch.Load(t.Context(), root)
	if err != nil {
		t.Fatal(err)
	}
	// A loader that found nothing would agree with every rule.
	seen := map[string]bool{}
	files := 0
	for _, p := range packages {
		seen[p.Path] = true
		files += len(p.Files)
	}
	for _, want := range []string{"cmd/culvert", "server", "vault", "keys", "internal/etcd", "internal/secret"} {
		if !seen[want] {
			t.Errorf("package %s was not looked at", want)
		}
	}
	if files < len(packages) {
		t.Errorf("%d files in %d packages were looked at", files, len(packages))
	}
	for _, violation := range arch.Check(arch.Culvert(), packages) {
		t.Error(violation)
	}
}

// TestCheck shows for each rule a package that breaks it next to one that does not.
func TestCheck(t *testing.T) {
	file := func(name string, imports ...string) arch.File {
		return arch.File{Path: name, Test: strings.HasSuffix(name, "_test.go"), Imports: imports}
	}
	for _, tc := range []struct {
		name string
		pkg  arch.Package
		want []string
	}{
		{
			name: "down",
			pkg:  arch.Package{Path: "vault", Files: []arch.File{file("vault/a.go", "culvert/keys", "culvert/internal/access", "fmt")}},
		},
		{
			name: "up",
			pkg:  arch.Package{Path: "keys", Files: []arch.File{file("keys/a.go", "culvert/vault")}},
			want: []string{"keys/a.go imports culvert/vault: imports go down only; keys may not look there"},
		},
		{
			name: "siblings",
			pkg:  arch.Package{Path: "pipes", Files: []arch.File{file("pipes/a.go", "culvert/vault")}},
			want: []string{"pipes/a.go imports culvert/vault: imports go down only; pipes may not look there"},
		},
		{
			name: "a leaf looks up",
			pkg:  arch.Package{Path: "internal/audit", Files: []arch.File{file("internal/audit/a.go", "culvert/keys")}},
			want: []string{"internal/audit/a.go imports culvert/keys: imports go down only; internal/audit may not look there"},
		},
		{
			name: "connectors and keys, by a tunnel",
			pkg:  arch.Package{Path: "connectors", Deps: []string{"fmt", "culvert/keys"}},
			want: []string{"connectors depends on keys by way of another package"},
		},
		{
			name: "no row",
			pkg:  arch.Package{Path: "util", Files: []arch.File{file("util/a.go", "culvert/keys")}},
			want: []string{"util/a.go imports culvert/keys: package util has no row in the table of arrows"},
		},
		{
			name: "etcd where it belongs",
			pkg:  arch.Package{Path: "internal/etcd", Files: []arch.File{file("internal/etcd/a.go", "go.etcd.io/etcd/client/v3")}},
		},
		{
			name: "etcd elsewhere, also in a test",
			pkg:  arch.Package{Path: "vault", Files: []arch.File{file("vault/a_test.go", "go.etcd.io/etcd/client/v3")}},
			want: []string{"vault/a_test.go imports go.etcd.io/etcd/client/v3: only in internal/etcd/..."},
		},
		{
			name: "gin elsewhere",
			pkg:  arch.Package{Path: "vault", Files: []arch.File{file("vault/a.go", "github.com/gin-gonic/gin")}},
			want: []string{"vault/a.go imports github.com/gin-gonic/gin: only in server, internal/bench/floor"},
		},
		{
			name: "Tink elsewhere",
			pkg:  arch.Package{Path: "server", Files: []arch.File{file("server/a.go", "github.com/tink-crypto/tink-go/v2/aead")}},
			want: []string{"server/a.go imports github.com/tink-crypto/tink-go/v2/aead: only in keys/..."},
		},
		{
			name: "a cloud SDK in keys itself",
			pkg:  arch.Package{Path: "keys", Files: []arch.File{file("keys/a.go", "github.com/aws/aws-sdk-go-v2/aws")}},
			want: []string{"keys/a.go imports github.com/aws/aws-sdk-go-v2/aws: only in keys/*"},
		},
		{
			name: "a cloud SDK at the edge",
			pkg:  arch.Package{Path: "keys/awskms", Files: []arch.File{file("keys/awskms/a.go", "github.com/aws/aws-sdk-go-v2/aws")}},
		},
		{
			name: "an HSM beside another provider",
			pkg:  arch.Package{Path: "keys/awskms", Files: []arch.File{file("keys/awskms/a.go", "github.com/miekg/pkcs11")}},
			want: []string{"keys/awskms/a.go imports github.com/miekg/pkcs11: only in keys/pkcs11"},
		},
		{
			name: "an HSM where it belongs",
			pkg:  arch.Package{Path: "keys/pkcs11", Files: []arch.File{file("keys/pkcs11/a.go", "github.com/ThalesGroup/crypto11")}},
		},
		{
			name: "test code in the program",
			pkg: arch.Package{Path: "vault", Files: []arch.File{
				file("vault/a.go", "culvert/keys/keystest", "testing", "testing/synctest"),
			}},
			want: []string{
				"vault/a.go imports culvert/keys/keystest: only in tests",
				"vault/a.go imports testing: only in tests",
				"vault/a.go imports testing/synctest: only in tests",
			},
		},
		{
			name: "test code in tests",
			pkg:  arch.Package{Path: "vault", Files: []arch.File{file("vault/a_test.go", "culvert/keys/keystest", "testing")}},
		},
		{
			name: "test code in a package for tests",
			pkg:  arch.Package{Path: "keys/keystest", Files: []arch.File{file("keys/keystest/a.go", "culvert/vault", "testing")}},
		},
		{
			name: "danger by name",
			pkg: arch.Package{Path: "keys", Files: []arch.File{
				file("keys/a.go", "github.com/tink-crypto/tink-go/v2/insecurecleartextkeyset"),
			}},
			want: []string{"keys/a.go imports github.com/tink-crypto/tink-go/v2/insecurecleartextkeyset: only in tests"},
		},
		{
			name: "too long",
			pkg:  arch.Package{Path: "keys", Files: []arch.File{{Path: "keys/a.go", Lines: 501}, {Path: "keys/b.go", Lines: 500}}},
			want: []string{"keys/a.go has 501 lines; 500 is the most"},
		},
		{
			name: "plaintext where it may be seen",
			pkg:  arch.Package{Path: "server", Files: []arch.File{{Path: "server/wire.go", Reveals: []int{7}}, {Path: "server/a_test.go", Test: true, Reveals: []int{1}}}},
		},
		{
			name: "plaintext elsewhere",
			pkg:  arch.Package{Path: "server", Files: []arch.File{{Path: "server/kv.go", Reveals: []int{7, 9}}}},
			want: []string{
				"server/kv.go:7 reveals a secret: it is not among the files that may",
				"server/kv.go:9 reveals a secret: it is not among the files that may",
			},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			rules := arch.Culvert()
			rules.Exceptions = nil
			got := arch.Check(rules, []arch.Package{tc.pkg})
			if diff := cmp.Diff(got, tc.want); diff != "" {
				t.Errorf("violations (-got +want):\n%s", diff)
			}
		})
	}
}

// TestExceptions shows that an exception holds for its file alone, and does not outlive its need.
func TestExceptions(t *testing.T) {
	rules := arch.Culvert()
	rules.Exceptions = []arch.Exception{
		{File: "keys/dek.go", Import: "example.com/insecurething", Reason: "raw key bytes"},
		{File: "vault/a.go", Import: "Reveal", Reason: "it did once"},
		{File: "keys/dek.go", Import: "example.com/insecureother"},
	}
	packages := []arch.Package{{Path: "keys", Files: []arch.File{
		{Path: "keys/dek.go", Imports: []string{"example.com/insecurething", "example.com/insecureother"}},
		{Path: "keys/kek.go", Imports: []string{"example.com/insecurething"}},
	}}}
	want := []string{
		"keys/kek.go imports example.com/insecurething: only in tests",
		"vault/a.go: the exception for Reveal is needed no more",
		"keys/dek.go: the exception for example.com/insecureother has no reason",
	}
	if diff := cmp.Diff(arch.Check(rules, packages), want); diff != "" {
		t.Errorf("violations (-got +want):\n%s", diff)
	}
}

func TestParseFile(t *testing.T) {
	const source = `package x

import (
	"fmt"
	other "example.com/x"
)

func f(b other.Bytes) {
	fmt.Println(b.Reveal())
	g := b.Reveal
	_ = g
	_ = b.Len()
	// b.Reveal() in a comment is none
}
`
	got, err := arch.ParseFile("x/x.go", []byte(source))
	if err != nil {
		t.Fatal(err)
	}
	want := arch.File{Path: "x/x.go", Imports: []string{"fmt", "example.com/x"}, Reveals: []int{9, 10}, Lines: 14}
	if diff := cmp.Diff(got, want); diff != "" {
		t.Errorf("file (-got +want):\n%s", diff)
	}
	if _, err := arch.ParseFile("x/y.go", []byte("package")); err == nil {
		t.Error("a file that does not parse was accepted")
	}
}
