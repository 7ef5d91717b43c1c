package main_test

import (
	"encoding/json"
	"io"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestLimitsOfAProcess: a process keeps to its quota, also after it was killed, and says how much there is; profiles
// are at the admin address alone; its log is JSON if it is to be.
func TestLimitsOfAProcess(t *testing.T) {
	addrs, err := freeAddrs(2)
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "data")
	flags := []string{"--set", "admin_addr=" + addrs[1], "--set", "log.format=json", "--set", "limits.objects_per_environment=2"}
	p := MustStartDev(t, dir, addrs[0], flags...)
	api := MustAPI(t, p.Base, dir)
	create := func(name string, want int, in string) {
		t.Helper()
		status, text := api.say(t, http.MethodPost, "/vault/v1/kv", `{"name":"`+name+`","value":"v","key_context":{"org":"1"}}`)
		if status != want || !strings.Contains(text, in) {
			t.Errorf("%s: %d %s", name, status, text)
		}
	}
	create("a", 201, "")
	create("b", 201, "")
	create("c", 403, "limits.objects_per_environment")
	for url, want := range map[string]int{
		"http://" + addrs[1] + "/debug/pprof/profile?seconds=1": 200, "http://" + addrs[1] + "/debug/pprof/cmdline": 404,
		"http://" + addrs[1] + "/metrics": 200, p.Base + "/debug/pprof/heap": 404, p.Base + "/metrics": 404,
	} {
		response, err := http.Get(url)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(response.Body)
		if err != nil || response.StatusCode != want || len(text) == 0 {
			t.Errorf("%s: %d, %v", url, response.StatusCode, err)
		}
		if err := response.Body.Close(); err != nil {
			t.Error(err)
		}
		if strings.HasSuffix(url, "/metrics") && want == 200 && !strings.Contains(string(text), "\nculvert_objects{environment=") {
			t.Error("the metrics have no objects")
		}
	}
	p.Kill()
	p = MustStartDev(t, dir, addrs[0], flags...)
	create("d", 403, "quota_exceeded")
	shown, err := exec.Command("culvert", "usage", "--server", p.Base, "--key-file", filepath.Join(dir, "root-api-key")).CombinedOutput()
	if err != nil || !strings.Contains(string(shown), "2 of 2") || !strings.Contains(string(shown), "without a limit") {
		t.Errorf("usage: %v\n%s", err, shown)
	}
	p.MustStop(t)
	var requests int
	for line := range strings.Lines(p.logs.String()) {
		if strings.HasPrefix(line, "{") && json.Valid([]byte(line)) && strings.Contains(line, `"msg":"request"`) {
			requests++
		}
	}
	if requests == 0 {
		t.Errorf("no request in a log of JSON:\n%s", p.logs)
	}
}
