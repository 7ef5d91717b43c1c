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

// TestDocsNameFiles: the documentation of the packages with the most files says of each what is in it, and of none
// that is gone.
func TestDocsNameFiles(t *testing.T) {
	for _, dir := range []string{"../../keys", "../../pipes", "../etcd"} {
		doc, err := os.ReadFile(filepath.Join(dir, "doc.go"))
		if err != nil {
			t.Fatal(err)
		}
		named := map[string]bool{"doc.go": true}
		for _, name := range regexp.MustCompile(`\b\w+\.go\b`).FindAllString(string(doc), -1) {
			named[name] = true
			if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
				t.Errorf("%s/doc.go names a file: %v", dir, err)
			}
		}
		files, err := filepath.Glob(filepath.Join(dir, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			if name := filepath.Base(file); !strings.HasSuffix(name, "_test.go") && !named[name] {
				t.Errorf("%s/doc.go does not say what is in %s", dir, name)
			}
		}
	}
}
