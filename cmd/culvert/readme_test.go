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

	main "culvert/cmd/culvert"

	"github.com/google/go-cmp/cmp"
)

// TestReadme runs the transcript of the README's first screen, as one shell session next to a server,
// and compares what it prints. Ids and times differ in each run; that they are ids and times does not.
func TestReadme(t *testing.T) {
	blocks := mustBlocks(t, "console")
	if len(blocks) != 2 {
		t.Fatalf("the README has %d transcripts, want 2: the server's and the client's", len(blocks))
	}
	addrs, err := freeAddrs(1)
	if err != nil {
		t.Fatal(err)
	}
	const documented = "127.0.0.1:8700"
	dir := t.TempDir()
	t.Chdir(dir)

	server := steps(blocks[0])
	if len(server) != 1 || server[0].command != "make run" {
		t.Fatalf("the first transcript is not make run: %+v", server)
	}
	p := MustStartDev(t, main.Defaults().DataDir, addrs[0])
	printed := strings.ReplaceAll(p.logs.String(), addrs[0], documented)
	for _, line := range strings.Split(server[0].output, "\n") {
		if !strings.Contains(printed, line+"\n") {
			t.Errorf("make run does not print %q but:\n%s", line, printed)
		}
	}

	client := steps(blocks[1])
	// One session, so that variables live on; a line of its own ends the output of each command.
	const end = "-- end of output --"
	var script strings.Builder
	for _, s := range client {
		script.WriteString(strings.ReplaceAll(s.command, documented, addrs[0]) + "\necho\necho '" + end + "'\n")
	}
	out, err := exec.Command("sh", "-e", "-c", script.String()).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	outputs := strings.Split(string(out), end+"\n")
	for i, s := range client {
		got, want := normalize(outputs[i]), normalize(s.output)
		if diff := cmp.Diff(got, want); diff != "" {
			t.Errorf("$ %s\n(-got +want):\n%s", s.command, diff)
		}
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

// step is a command of a transcript and what it printed.
type step struct{ command, output string }

// steps cuts a transcript: a line with a prompt begins a command, a backslash at its end continues it.
func steps(block string) []step {
	var all []step
	continued := false
	for _, line := range strings.Split(strings.TrimSuffix(block, "\n"), "\n") {
		command, prompt := strings.CutPrefix(line, "$ ")
		switch {
		case prompt:
			all = append(all, step{command: command})
		case len(all) == 0:
			continue
		case continued:
			all[len(all)-1].command += "\n" + line
		default:
			all[len(all)-1].output += line + "\n"
		}
		continued = strings.HasSuffix(line, "\\") && (prompt || continued)
	}
	for i := range all {
		all[i].output = strings.TrimSuffix(all[i].output, "\n")
	}
	return all
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
