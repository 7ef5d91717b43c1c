//go:build e2e

package e2e_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestReadmeConnect does what the README's section "Connect an account" says, with its own lines, and
// compares what they print. The steps that a person takes in a browser are pipes/walk.mjs.
func TestReadmeConnect(t *testing.T) {
	bin := binary(t)
	install(t, "pipes")
	b := readmeBlocks(t, "Connect an account")
	if got, want := b.languages, "sh sh sh json sh json sh"; strings.Join(got, " ") != want {
		t.Fatalf("the section has the blocks %s, want %s", got, want)
	}
	emulator, start, client, answers, vend, token, real := b.texts[0], b.texts[1], b.texts[2], b.texts[3], b.texts[4], b.texts[5], b.texts[6]

	const documented = "127.0.0.1:8500"
	at := startEmulator(t, emulator)
	flags, ok := strings.CutPrefix(strings.TrimSpace(start), "bin/culvert dev ")
	if !ok {
		t.Fatalf("the server is started with %q", start)
	}
	s := startServer(t, bin, strings.Fields(strings.ReplaceAll(flags, documented, at))...)
	ours := strings.NewReplacer("http://127.0.0.1:8700", s.baseURL, documented, at, ".culvert/root-api-key", s.apiKeyFile())
	sh := startShell(t)
	same := func(got, want string) {
		t.Helper()
		theirs := strings.NewReplacer(s.baseURL, "http://127.0.0.1:8700", at, documented)
		if diff := cmp.Diff(masked(theirs.Replace(got)), masked(want)); diff != "" {
			t.Errorf("(-printed +README):\n%s", diff)
		}
	}

	printed := sh.run(t, ours.Replace(client))
	same(printed, answers)
	link := regexp.MustCompile(`"url":"([^"]+)"`).FindStringSubmatch(printed)
	if link == nil {
		t.Fatalf("no link in %q", printed)
	}
	walk := exec.CommandContext(t.Context(), "node", "walk.mjs", link[1], "admin")
	walk.Dir = "pipes"
	if out, err := walk.CombinedOutput(); err != nil || string(out) != "GitHub is connected\n" {
		t.Fatalf("the browser ended at %q, %v", out, err)
	}
	same(sh.run(t, ours.Replace(vend)), token)

	// The instructions for GitHub itself end in an integration with a redirect URI.
	if got := sh.run(t, ours.Replace(real)); !strings.Contains(got, `"redirect_uri":"`+s.baseURL) {
		t.Errorf("the instructions for GitHub end in %q", got)
	}
}

// blocks are fenced blocks of a document.
type blocks struct{ languages, texts []string }

// readmeBlocks are those of one section.
func readmeBlocks(t *testing.T, section string) blocks {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(text), "\n## "+section+"\n")
	if !ok {
		t.Fatalf("the README has no section %q", section)
	}
	rest, _, _ = strings.Cut(rest, "\n## ")
	var b blocks
	for _, m := range regexp.MustCompile("(?ms)^```(\\w*)\n(.*?)^```$").FindAllStringSubmatch(rest, -1) {
		b.languages, b.texts = append(b.languages, m[1]), append(b.texts, m[2])
	}
	return b
}

// masked has names in the place of what differs from run to run.
func masked(output string) string {
	for _, r := range []struct{ pattern, name string }{
		{`[0-9A-HJKMNP-TV-Z]{26}-[0-9A-HJKMNP-TV-Z]{26}-[0-9A-Za-z]{43}`, "TICKET"},
		{`_[0-9A-HJKMNP-TV-Z]{26}`, "_ULID"},
		{`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z`, "TIME"},
		{`gho_[0-9A-Za-z_-]{27}`, "TOKEN"},
	} {
		output = regexp.MustCompile(r.pattern).ReplaceAllString(output, r.name)
	}
	return strings.TrimSpace(output)
}

// startEmulator starts what the README starts with npx, as the version that is pinned here and on a free
// port, and returns its address.
func startEmulator(t *testing.T, command string) string {
	t.Helper()
	m := regexp.MustCompile(`^npx emulate@(\S+) (start --service github --port) 8500\n$`).FindStringSubmatch(command)
	if m == nil {
		t.Fatalf("the emulator is started with %q", command)
	}
	pinned, err := os.ReadFile(filepath.Join("pipes", "package.json"))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(pinned), fmt.Sprintf(`"emulate": %q`, m[1])) {
		t.Errorf("the README has emulate %s, the tests have another", m[1])
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	at := l.Addr().String()
	_ = l.Close()
	_, port, _ := net.SplitHostPort(at)
	said := &transcript{}
	cmd := exec.Command(newNode(t), append([]string{filepath.Join("node_modules", "emulate", "dist", "index.js")}, append(strings.Fields(m[2]), port)...)...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = "pipes", said, said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	for end := time.Now().Add(startTimeout); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if c, err := net.Dial("tcp", at); err == nil {
			_ = c.Close()
			return at
		}
	}
	t.Fatalf("the emulator does not listen at %s:\n%s", at, said.tail(4<<10))
	return ""
}

// shell is one session, as a reader has it open: variables of a block are there in the next.
type shell struct {
	in  io.WriteCloser
	out *bufio.Reader
}

func startShell(t *testing.T) *shell {
	t.Helper()
	// -e, so that a line that fails is not lost among those that work.
	cmd := exec.Command("sh", "-e")
	cmd.Dir = t.TempDir()
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = cmd.Stdout
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = in.Close()
		if err := cmd.Wait(); err != nil {
			t.Errorf("the shell ended with %v", err)
		}
	})
	return &shell{in: in, out: bufio.NewReader(out)}
}

// run pastes a block and returns what it prints.
func (s *shell) run(t *testing.T, block string) string {
	t.Helper()
	const end = "-- end of the block --\n"
	if _, err := io.WriteString(s.in, block+"echo '"+strings.TrimSuffix(end, "\n")+"'\n"); err != nil {
		t.Fatal(err)
	}
	var printed strings.Builder
	for {
		line, err := s.out.ReadString('\n')
		if line == end {
			return printed.String()
		}
		printed.WriteString(line)
		if err != nil {
			t.Fatalf("the shell ended after %q: %v", printed.String(), err)
		}
	}
}
