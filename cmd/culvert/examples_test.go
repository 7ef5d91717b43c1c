package main_test

import (
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	main "culvert/cmd/culvert"
)

// TestAPIExamples pastes the examples of server/API.md into one shell for each section, in the order of
// the page. Pipes has other tests: its examples need a provider.
func TestAPIExamples(t *testing.T) {
	text, err := os.ReadFile("../../server/API.md")
	if err != nil {
		t.Fatal(err)
	}
	addrs, err := freeAddrs(1)
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(t.TempDir())
	p := MustStartDev(t, main.Defaults().DataDir, addrs[0])
	sections := strings.Split(string(text), "\n## ")
	preamble := strings.ReplaceAll(shellLines(sections[0]), "127.0.0.1:8700", addrs[0])
	for name, want := range map[string][]string{
		"Objects": {
			`"name":"card","updated_at"`, `"value":"4111 1111 1111 1111"}`, `"current_version":true`, `{"name":"card","success":true}`,
		},
		"Data keys": {`"data_key"`, `"context":{"organization_id":"org_2"}`},
		"Keys":      {`{"object":"kek","id":"`, `"versions":2`, `{"object":"job","id":"`},
		"API keys and roles": {
			`"state":"active"`, `{"object":"role","name":"billing"`, `"allowed":true,"reason":"allowed_by_rule"`, `{"api_key":null}`, `"expires_at":"2099-01-01T00:00:00.000Z"`,
		},
		"Events": {`{"object":"list","data":[`},
	} {
		t.Run(name, func(t *testing.T) {
			script := preamble + "set -e\n"
			for _, section := range sections {
				if strings.HasPrefix(section, name+"\n") {
					script += strings.ReplaceAll(shellLines(section), "curl ", `curl -w '\n' `)
				}
			}
			out, err := exec.Command("sh", "-c", script).CombinedOutput()
			if err != nil || strings.Contains(string(out), `"code":`) {
				t.Errorf("%v\n%s\nof:\n%s", err, out, script)
			}
			for _, part := range want {
				if !strings.Contains(string(out), part) {
					t.Errorf("nothing printed %s:\n%s", part, out)
				}
			}
		})
	}
	p.MustStop(t)
}

// shellLines joins the sh blocks of a text.
func shellLines(text string) string {
	var lines strings.Builder
	for _, m := range regexp.MustCompile("(?ms)^```sh\n(.*?)^```$").FindAllStringSubmatch(text, -1) {
		lines.WriteString(m[1])
	}
	return lines.String()
}
