package main_test

import (
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	main "culvert/cmd/culvert"

	"github.com/google/go-cmp/cmp"
)

// TestReadme pastes the lines of the README's first screen into a shell next to a server, and compares
// what they print. Ids and times differ in each run; that they are ids and times does not.
func TestReadme(t *testing.T) {
	start, printed, client, answers := mustFirstScreen(t)
	if start != "make run\n" {
		t.Fatalf("the first command is not make run: %s", start)
	}
	addrs, err := freeAddrs(1)
	if err != nil {
		t.Fatal(err)
	}
	const documented, cwd = "127.0.0.1:8700", "/home/you/culvert"
	dir := t.TempDir()
	t.Chdir(dir)

	p := MustStartDev(t, main.Defaults().DataDir, addrs[0])
	// It is printed before the server is ready, but comes through a pipe.
	got, as := "", strings.NewReplacer(addrs[0], documented, dir, cwd)
	for began := time.Now(); !strings.Contains(got, printed) && time.Since(began) < 30*time.Second; time.Sleep(10 * time.Millisecond) {
		got = as.Replace(p.logs.String())
	}
	if !strings.Contains(got, printed) {
		t.Errorf("make run prints\n%s\nwithout\n%s", got, printed)
	}
	// -e, so that a line that fails is not lost among those that work.
	out, err := exec.Command("sh", "-e", "-c", strings.ReplaceAll(client, documented, addrs[0])).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if diff := cmp.Diff(normalize(string(out)), normalize(answers)); diff != "" {
		t.Errorf("(-got +want):\n%s", diff)
	}
	p.MustStop(t)
}

// TestReadmeRunsDev ties the command of the transcript to the program that TestReadme starts.
func TestReadmeRunsDev(t *testing.T) {
	text, err := os.ReadFile("../../Makefile")
	if err != nil {
		t.Fatal(err)
	}
	if !regexp.MustCompile(`(?m)^run: build .*\n\t@exec \$\(BIN\) dev$`).Match(text) {
		t.Error("make run is not culvert dev without flags any more")
	}
}

// TestReadmeGo parses the Go program of the README; internal/e2e does with the SDK what it does.
func TestReadmeGo(t *testing.T) {
	blocks := mustBlocks(t, "go")
	if len(blocks) == 0 {
		t.Fatal("the README has no Go")
	}
	for _, block := range blocks {
		if _, err := parser.ParseFile(token.NewFileSet(), "README.md", block, parser.AllErrors); err != nil {
			t.Error(err)
		}
	}
}

// TestReadmeSettings reads the settings of the README as the program does.
func TestReadmeSettings(t *testing.T) {
	blocks := mustBlocks(t, "yaml")
	if len(blocks) == 0 {
		t.Fatal("the README has no settings")
	}
	for _, block := range blocks {
		cfg, err := main.LoadConfig(MustWrite(t, block), nil)
		if err == nil {
			err = cfg.Validate()
		}
		if err != nil {
			t.Errorf("%v in:\n%s", err, block)
		}
	}
}

// TestReadmeLinks looks for what the documents point to.
func TestReadmeLinks(t *testing.T) {
	for _, name := range []string{"README.md", "SECURITY.md"} {
		text, err := os.ReadFile(filepath.Join("../..", name))
		if err != nil {
			t.Fatal(err)
		}
		links := regexp.MustCompile(`\]\(([^)]+)\)`).FindAllStringSubmatch(string(text), -1)
		if len(links) == 0 {
			t.Errorf("%s has no links", name)
		}
		for _, link := range links {
			if strings.Contains(link[1], "://") {
				continue
			}
			if _, err := os.Stat(filepath.Join("../..", link[1])); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

// mustBlocks returns the README's fenced blocks of one language.
func mustBlocks(t *testing.T, language string) []string {
	t.Helper()
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	var blocks []string
	for _, m := range regexp.MustCompile("(?ms)^```"+language+"\n(.*?)^```$").FindAllStringSubmatch(string(text), -1) {
		blocks = append(blocks, m[1])
	}
	return blocks
}

// mustFirstScreen returns the blocks before the README's diagram: the command that starts a server, what
// it prints, the commands of a client, what those print.
func mustFirstScreen(t *testing.T) (start, printed, client, answers string) {
	t.Helper()
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	var languages, blocks []string
	for _, m := range regexp.MustCompile("(?ms)^```(\\w*)\n(.*?)^```$").FindAllStringSubmatch(string(text), 4) {
		languages, blocks = append(languages, m[1]), append(blocks, m[2])
	}
	if diff := cmp.Diff(languages, []string{"sh", "", "sh", "json"}); diff != "" {
		t.Fatalf("the first screen has other blocks (-got +want):\n%s", diff)
	}
	return blocks[0], blocks[1], blocks[2], blocks[3]
}

// normalize puts names in the place of what differs from run to run.
func normalize(output string) string {
	for _, r := range []struct{ pattern, name string }{
		{`[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}`, "UUIDv7"},
		{`_[0-9A-HJKMNP-TV-Z]{26}`, "_ULID"},
		{`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z`, "TIME"},
	} {
		output = regexp.MustCompile(r.pattern).ReplaceAllString(output, r.name)
	}
	return strings.TrimSpace(output)
}
