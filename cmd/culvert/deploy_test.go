package main_test

import (
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	main "culvert/cmd/culvert"
	"culvert/internal/etcd/etcdtest"

	"github.com/knadh/koanf/parsers/yaml"
)

const deployed = "../../deploy"

// TestDeployFirstLines: each file says at once whether anybody has seen it work.
func TestDeployFirstLines(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(deployed, "*"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			continue // a directory, with files of its own
		}
		first, rest, _ := strings.Cut(string(text), "\n")
		if strings.HasPrefix(first, "#!") {
			first, _, _ = strings.Cut(rest, "\n")
		}
		if !strings.HasPrefix(first, "# Run") && !strings.HasPrefix(first, "# Not run") {
			t.Errorf("%s begins with %q", file, first)
		}
	}
}

// TestDeployConfig makes a store with the example and starts a server on it, where only names of files and
// hosts are this machine's.
func TestDeployConfig(t *testing.T) {
	t.Parallel()
	file, err := filepath.Abs(filepath.Join(deployed, "culvert.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	ca := etcdtest.NewCA(t)
	cluster, shown, api := etcdtest.NewTLSCluster(t, ca), ca.Issue(t, "client"), ca.Issue(t, "api")
	addrs, err := freeAddrs(2)
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "data")
	var here []string
	for _, setting := range []string{
		"addr=" + addrs[0], "admin_addr=" + addrs[1], "data_dir=" + dir, "drain_delay=0s",
		"root_key.path=" + filepath.Join(t.TempDir(), "root.key"), "tls.cert_file=" + api.CertFile, "tls.key_file=" + api.KeyFile,
		"etcd.endpoints=" + strings.Join(cluster.Endpoints(), ","),
		"etcd.ca_file=" + ca.File, "etcd.cert_file=" + shown.CertFile, "etcd.key_file=" + shown.KeyFile,
	} {
		here = append(here, "--set", setting)
	}
	MustInit(t, file, here...)
	p := MustStartServer(t, ca, file, addrs[0], here...)
	client := MustAPI(t, p.Base, dir)
	client.http.Transport.(*http.Transport).TLSClientConfig = ca.Client(t)
	if status, err := client.Read("/vault/v1/kv", &struct{}{}); status != http.StatusOK {
		t.Errorf("status %d, %v", status, err)
	}
	p.MustStop(t)
}

// TestDeployCompose reads the compose file and gives the commands of its replicas to the program: as far as
// settings go they are right.
func TestDeployCompose(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(deployed, "compose.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	file, err := yaml.Parser().Unmarshal(text)
	if err != nil {
		t.Fatal(err)
	}
	services, _ := file["services"].(map[string]any)
	for _, name := range []string{"etcd-1", "etcd-2", "etcd-3", "init", "culvert-1", "culvert-2"} {
		service, ok := services[name].(map[string]any)
		if !ok {
			t.Errorf("there is no service %s", name)
			continue
		}
		args, _ := service["command"].([]any)
		if strings.HasPrefix(name, "etcd") {
			continue
		}
		var settings []string
		for i, arg := range args {
			if arg == "--set" {
				settings = append(settings, args[i+1].(string))
			}
		}
		if !slices.Contains([]any{"init", "server"}, args[0]) || len(settings) == 0 {
			t.Errorf("%s: %v", name, args)
		}
		cfg, err := main.LoadConfig(filepath.Join(deployed, "culvert.yaml"), settings)
		if err == nil {
			err = cfg.Validate()
		}
		if err == nil {
			err = cfg.ValidateServer()
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
