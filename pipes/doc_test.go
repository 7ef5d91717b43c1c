package pipes_test

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"
)

// Every test that the threat table names exists.
func TestThreatTableNamesTests(t *testing.T) {
	doc, err := os.ReadFile("doc.go")
	must(t, err)
	files, err := filepath.Glob("*_test.go")
	must(t, err)
	defined := map[string]bool{}
	for _, file := range files {
		content, err := os.ReadFile(file)
		must(t, err)
		for _, found := range regexp.MustCompile(`(?m)^func (Test\w+)\(`).FindAllSubmatch(content, -1) {
			defined[string(found[1])] = true
		}
	}
	names := regexp.MustCompile(`\bTest[A-Z]\w+`).FindAllString(string(doc), -1)
	if len(names) < 20 {
		t.Errorf("the table names %d tests", len(names))
	}
	for _, name := range names {
		if !defined[name] {
			t.Errorf("%s does not exist", name)
		}
	}
}
