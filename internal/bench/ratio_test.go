package bench_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

const (
	// rounds alternate between the two servers; the median of their ratios is the result.
	rounds = 5
	round  = 2 * time.Second
	// valueBytes is the size of a value, and objects how many the page is cut from.
	valueBytes = 1024
	objects    = 200
)

// bench is both servers with the same data behind the same routes.
type bench struct {
	culvert, floor *process
	key            string
	ids            []string // one object for each connection
	value          string
	// crowd sends many requests at once that are not measured.
	crowd *http.Client
	// restart begins culvert again on the same data, with other settings.
	restart func(settings ...string)
}

// BenchmarkRatio is the figure that the targets are about: culvert's rate as a part of bare gin's.
func BenchmarkRatio(b *testing.B) {
	s := mustServers(b)
	put := []byte(`{"value":"` + s.value + `"}`)
	for _, c := range []struct {
		name   string
		status int
		next   request
	}{
		{"read", 200, func(out *bytes.Buffer, w, _ int) { head(out, "GET", "/vault/v1/kv/"+s.ids[w], s.key, 0) }},
		{"update", 201, func(out *bytes.Buffer, w, _ int) {
			head(out, "PUT", "/vault/v1/kv/"+s.ids[w], s.key, len(put))
			out.Write(put)
		}},
		{"create", 201, s.create},
		{"token", 200, s.token},
		{"page", 200, func(out *bytes.Buffer, _, _ int) { head(out, "GET", "/vault/v1/kv?limit=100", s.key, 0) }},
	} {
		b.Run(c.name, func(b *testing.B) {
			for b.Loop() {
				s.measure(b, c.status, c.next)
			}
		})
	}
}

// measure alternates rounds and reports the median ratio with what it was made of.
func (s *bench) measure(b *testing.B, status int, next request) (ratio float64) {
	var ratios []float64
	var ours, floor rate
	var client, server, gin time.Duration
	var requests, ginRequests int
	mustLoad(b, s.culvert.addr, status, next, round/4) // warm both
	mustLoad(b, s.floor.addr, status, next, round/4)
	for range rounds {
		gin -= s.floor.cpu(b)
		floor = mustLoad(b, s.floor.addr, status, next, round)
		gin += s.floor.cpu(b)
		client -= ownCPU(b)
		server -= s.culvert.cpu(b)
		ours = mustLoad(b, s.culvert.addr, status, next, round)
		client += ownCPU(b)
		server += s.culvert.cpu(b)
		requests += ours.requests
		ginRequests += floor.requests
		ratios = append(ratios, ours.perSecond/floor.perSecond)
	}
	slices.Sort(ratios)
	b.ReportMetric(ratios[len(ratios)/2], "ratio")
	b.ReportMetric(ours.perSecond, "req/s")
	b.ReportMetric(floor.perSecond, "gin-req/s")
	b.ReportMetric(float64(ours.p99.Microseconds()), "p99-µs")
	b.ReportMetric(float64(floor.p99.Microseconds()), "gin-p99-µs")
	// Processor time says more than rates where other programs run on the machine.
	b.ReportMetric(float64(server.Microseconds())/float64(requests), "cpu-µs/req")
	b.ReportMetric(float64(gin.Microseconds())/float64(ginRequests), "gin-cpu-µs/req")
	b.ReportMetric(100*client.Seconds()/(client+server).Seconds(), "client-cpu-%")
	b.ReportMetric(0, "ns/op")
	return ratios[len(ratios)/2]
}

// create names every object anew, in this run and between runs of the benchmark.
func (s *bench) create(out *bytes.Buffer, w, n int) {
	body := `{"key_context":{"organization_id":"org_1"},"value":"` + s.value + `","name":"` +
		strconv.FormatInt(time.Now().UnixNano(), 36) + "-" + strconv.Itoa(w) + "-" + strconv.Itoa(n) + `"}`
	head(out, "POST", "/vault/v1/kv", s.key, len(body))
	out.WriteString(body)
}

// token asks for the living token of one of the users, a different one for each connection.
func (s *bench) token(out *bytes.Buffer, w, _ int) {
	body := `{"user_id":"` + user(w) + `"}`
	head(out, "POST", "/data-integrations/github/token", s.key, len(body))
	out.WriteString(body)
}

func user(n int) string { return fmt.Sprintf("user_%03d", n) }

// mustConnect imports an account for every connection and returns an answer with a token. The tokens live
// for years and could be refreshed, so a vend asks whether they are due and finds that they are not.
func (s *bench) mustConnect(b *testing.B) []byte {
	b.Helper()
	base := "http://" + s.culvert.addr
	mustCall(b, "POST", base+"/data-integrations", s.key,
		`{"provider":"github","enabled":true,"credentials":{"type":"custom","client_id":"id","client_secret":"secret-of-the-benchmark"}}`)
	for w := range connections {
		mustCall(b, "POST", base+"/user_management/users/"+user(w)+"/connected_accounts/github", s.key, fmt.Sprintf(
			`{"access_token":"gho_%036d","refresh_token":"ghr_%036d","expires_at":"2100-01-01T00:00:00Z","scopes":["read:user","user:email"]}`, w, w))
	}
	answer := mustCall(b, "POST", base+"/data-integrations/github/token", s.key, `{"user_id":"`+user(0)+`"}`)
	if !bytes.Contains(answer, []byte(`"active":true`)) {
		b.Fatalf("no token: %s", answer)
	}
	return answer
}

func mustServers(b *testing.B) *bench {
	b.Helper()
	s := &bench{value: strings.Repeat("v", valueBytes), crowd: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: importers}}}
	data := filepath.Join(b.TempDir(), "data")
	addr := freeAddr(b)
	bin, own := mustBuild(b, "culvert/cmd/culvert"), addr
	s.restart = func(settings ...string) {
		if s.culvert != nil {
			_ = s.culvert.cmd.Process.Signal(syscall.SIGTERM)
			_ = s.culvert.cmd.Wait()
		}
		s.culvert = mustStart(b, own, bin, append([]string{"dev", "--addr", own, "--data-dir", data}, settings...)...)
		mustBeReady(b, own)
	}
	s.restart()
	key, err := os.ReadFile(filepath.Join(data, "root-api-key"))
	if err != nil {
		b.Fatal(err)
	}
	s.key = strings.TrimSpace(string(key))
	base := "http://" + addr + "/vault/v1/kv"
	answers := map[string][]byte{}
	for i := range objects {
		answers["post"] = mustCall(b, "POST", base, s.key,
			fmt.Sprintf(`{"name":"object-%03d","value":%q,"key_context":{"organization_id":"org_1"}}`, i, s.value))
		var made struct {
			ID string `json:"id"`
		}
		if err := json.Unmarshal(answers["post"], &made); err != nil {
			b.Fatal(err)
		}
		s.ids = append(s.ids, made.ID)
	}
	answers["get"] = mustCall(b, "GET", base+"/"+s.ids[0], s.key, "")
	answers["put"] = mustCall(b, "PUT", base+"/"+s.ids[0], s.key, `{"value":"`+s.value+`"}`)
	answers["list"] = mustCall(b, "GET", base+"?limit=100", s.key, "")
	answers["token"] = s.mustConnect(b)
	dir := b.TempDir()
	for name, answer := range answers {
		if err := os.WriteFile(filepath.Join(dir, name), answer, 0o600); err != nil {
			b.Fatal(err)
		}
	}
	addr = freeAddr(b)
	s.floor = mustStart(b, addr, mustBuild(b, "culvert/internal/bench/floor"), addr, dir)
	return s
}
