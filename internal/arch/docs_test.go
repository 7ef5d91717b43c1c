package arch_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestDocsNameTests: a promise in the documentation of a package that names the test behind it, as the threat
// models do, names one that there is.
func TestDocsNameTests(t *testing.T) {
	defined, named := map[string]bool{}, map[string][]string{}
	definition, name := regexp.MustCompile(`(?m)^func (Test\w+)\(`), regexp.MustCompile(`\bTest[A-Z]\w+`)
	err := filepath.WalkDir("../..", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.HasSuffix(path, ".go") {
			return err
		}
		isDoc, isTest := entry.Name() == "doc.go", strings.HasSuffix(path, "_test.go")
		if !isDoc && !isTest {
			return nil
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if isDoc {
			named[path] = name.FindAllString(string(content), -1)
		}
		for _, found := range definition.FindAllSubmatch(content, -1) {
			defined[string(found[1])] = true
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for doc, tests := range named {
		for _, test := range tests {
			if !defined[test] {
				t.Errorf("%s names %s, which does not exist", doc, test)
			}
		}
	}
	for _, doc := range []string{"../../keys/doc.go", "../../pipes/doc.go"} {
		if got := len(named[doc]); got < 20 {
			t.Errorf("%s names %d tests", doc, got)
		}
	}
}
