package server_test

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"culvert/internal/outage"
	"culvert/server"
)

// TestManual: API.md has a section for every row of the table that names its action, and every code.
func TestManual(t *testing.T) {
	text, err := os.ReadFile("API.md")
	must(t, err)
	manual := string(text)
	d := newDoor(t)
	braces := regexp.MustCompile(`:(\w+)`)
	for _, row := range d.server.Routes() {
		_, section, found := strings.Cut(manual, "\n### "+row.Method+" "+braces.ReplaceAllString(row.Path, "{$1}")+"\n")
		section, _, _ = strings.Cut(section, "\n### ")
		if !found || !strings.Contains(section, string(row.Action)) {
			t.Errorf("%s %s has no section, or one without %q", row.Method, row.Path, row.Action)
		}
	}
	for _, err := range server.Sentinels() {
		if _, code, _, _ := d.server.Problem(err); !strings.Contains(manual, "`"+code+"`") {
			t.Errorf("code %s is not documented", code)
		}
	}
	for _, o := range []*outage.Error{
		{Dependency: outage.Etcd}, {Dependency: outage.Etcd, Kind: outage.Full}, {Dependency: outage.Etcd, Kind: outage.Unknown},
		{Dependency: outage.RootKey}, {Dependency: outage.CMK}, {Dependency: outage.Audit}, {Dependency: outage.Journal}, {Dependency: outage.Clock}, {Dependency: outage.Node}, {Dependency: outage.Segments},
	} {
		if !strings.Contains(manual, "`"+o.Code()+"`") {
			t.Errorf("code %s is not documented", o.Code())
		}
	}
	source, err := os.ReadFile("errors.go")
	must(t, err)
	for _, match := range regexp.MustCompile(`(?:code: |p\.code = |malformed\()"(\w+)"`).FindAllStringSubmatch(string(source), -1) {
		if !strings.Contains(manual, "`"+match[1]+"`") {
			t.Errorf("code %s is not documented", match[1])
		}
	}
}
