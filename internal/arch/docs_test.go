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

// TestDocsNameFiles: where the documentation of a package says what is in which file, in a picture of its own, it says so
// of each, and names none that is gone. Packages where somebody would search have such a picture.
func TestDocsNameFiles(t *testing.T) {
	pictured := map[string]bool{}
	picture := regexp.MustCompile(`(?m)^//\t\w+\.go\b`)
	err := filepath.WalkDir("../..", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.Name() != "doc.go" {
			return err
		}
		doc, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if dir := filepath.Dir(path); picture.Match(doc) {
			pictured[filepath.ToSlash(strings.TrimPrefix(dir, "../../"))] = true
			checkPicture(t, dir, string(doc))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, pkg := range []string{
		"keys", "pipes", "internal/access", "internal/admission", "internal/audit", "internal/environments", "internal/etcd",
		"internal/export", "internal/reads", "internal/stream", "internal/webhooks",
	} {
		if !pictured[pkg] {
			t.Errorf("%s/doc.go does not say what is in which file", pkg)
		}
	}
}

// checkPicture compares the files that a documentation names with those of its directory.
func checkPicture(t *testing.T, dir, doc string) {
	t.Helper()
	named := map[string]bool{"doc.go": true}
	for _, name := range regexp.MustCompile(`\b\w+\.go\b`).FindAllString(doc, -1) {
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
