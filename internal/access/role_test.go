package access_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"strconv"
	"testing"

	"culvert/internal/access"
)

// Every action that the program has can be named in a rule, and is told as an action of records or of a whole
// environment: add one to facts (role.go) with it.
func TestEveryActionIsKnown(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "action.go", nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	// These are of actors that have no API key.
	own := map[access.Action]bool{access.FlowConfirm: true, access.FlowComplete: true, access.TokenRefresh: true, access.TokenRevoke: true}
	found := 0
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || spec.Type == nil {
			return true
		}
		if kind, ok := spec.Type.(*ast.Ident); !ok || kind.Name != "Action" {
			return true
		}
		name, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
		if err != nil {
			t.Fatal(err)
		}
		found++
		if a := access.Action(name); access.IsAction(a) == own[a] {
			t.Errorf("%s: known %v", a, access.IsAction(a))
		}
		return true
	})
	if found < 40 {
		t.Errorf("found only %d actions", found)
	}
	for _, r := range access.Roles() {
		if rules, ok := access.BuiltIn(r); !ok || len(rules) != 1 || len(rules[0].Actions) == 0 || access.IsRoleName(r) {
			t.Errorf("role %s: %v", r, rules)
		}
	}
}
