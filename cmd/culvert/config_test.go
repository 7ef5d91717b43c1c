package main_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	main "culvert/cmd/culvert"

	"github.com/google/go-cmp/cmp"
)

// MustWrite writes a settings file.
func MustWrite(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "culvert.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestConfigDefaults(t *testing.T) {
	for _, text := range []string{"", "# nothing\n", "etcd:\n", "etcd: {}\nvault:\n  # versions_kept: 3\n", "addr:\n"} {
		got, err := main.LoadConfig(MustWrite(t, text), nil)
		if err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		if diff := cmp.Diff(got, main.Defaults()); diff != "" {
			t.Errorf("%q (-got +want):\n%s", text, diff)
		}
		if err := got.Validate(); err != nil {
			t.Errorf("the defaults are refused: %v", err)
		}
	}
}

func TestConfigFileAndSet(t *testing.T) {
	file := MustWrite(t, `
addr: 127.0.0.1:1
public_url: https://vault.example.com
data_dir: /var/lib/culvert
drain_delay: 5s
tls: {cert_file: /tls/cert.pem, key_file: /tls/key.pem}
root_key: {provider: local, path: /keys/root}
etcd:
  endpoints: [http://a:2379, http://b:2379]
  prefix: /one
vault: {max_value_bytes: 65536, versions_kept: 3}
keys: {cache_ttl: 30s, outage_extension: 2h}
pipes:
  return_to: [https://app.example.com]
  connectors:
    github: {base_url: https://github.example.com, identity_url: https://github.example.com/api/v3/user}
    github-app:
  egress: {allow: [10.1.0.0/16, "sso.example.com:8443"]}
  background_refresh: false
  keep_alive: 24h
events: {dir: /mnt/events, store_bytes: 100000000}
webhooks: {timeout: 20s, retry_first: 1s, retry_longest: 30m, retry_for: 24h, egress: {allow: [hooks.example.com]}}
audit: {fsync: always, segment_bytes: 70000, retention: 2160h}
limits: {path_bytes: 4096, body_bytes: 1000000, requests_per_key: 100, requests_per_environment: 1000, objects_per_environment: 10, bytes_per_environment: 20000}
log: {format: json, level: warn}
cors_origins: [https://app.example.com]
other_root_keys: {old: {path: /keys/old}}
`)
	got, err := main.LoadConfig(file, []string{
		"etcd.endpoints=https://c:2379,https://d:2379", "vault.versions_kept=7", "vault.versions_kept=8",
		"keys.cache_ttl=1m", "admin_addr=127.0.0.1:9", "etcd.prefix=/a=b", "limits.body_bytes=70000",
		"pipes.connectors.slack.base_url=http://127.0.0.1:8502", "pipes.connectors.slack.token_url=http://127.0.0.1:8503/t",
		"other_root_keys.next.provider=awskms", "other_root_keys.next.key=" + keyARN,
	})
	if err != nil {
		t.Fatal(err)
	}
	want := main.Config{
		Addr: "127.0.0.1:1", AdminAddr: "127.0.0.1:9", PublicURL: "https://vault.example.com", DataDir: "/var/lib/culvert",
		DrainDelay: 5 * time.Second, TLS: main.TLSConfig{CertFile: "/tls/cert.pem", KeyFile: "/tls/key.pem"},
		RootKey: main.RootKeyConfig{Provider: "local", Path: "/keys/root"},
		OtherRootKeys: map[string]main.RootKeyConfig{
			"old": {Path: "/keys/old"}, "next": {Provider: "awskms", Key: keyARN},
		},
		Etcd:  main.EtcdConfig{Endpoints: []string{"https://c:2379", "https://d:2379"}, Prefix: "/a=b"},
		Vault: main.VaultConfig{MaxValueBytes: 65536, VersionsKept: 8}, Keys: main.KeysConfig{CacheTTL: time.Minute, OutageExtension: 2 * time.Hour},
		Pipes: main.PipesConfig{
			ReturnTo: []string{"https://app.example.com"},
			Connectors: map[string]main.EndpointsConfig{
				"github": {BaseURL: "https://github.example.com", IdentityURL: "https://github.example.com/api/v3/user"},
				"slack":  {BaseURL: "http://127.0.0.1:8502", TokenURL: "http://127.0.0.1:8503/t"},
			},
			Egress:    main.EgressConfig{Allow: []string{"10.1.0.0/16", "sso.example.com:8443"}},
			KeepAlive: 24 * time.Hour,
		},
		Events: main.EventsConfig{Dir: "/mnt/events", StoreBytes: 100_000_000},
		Webhooks: main.WebhooksConfig{
			Timeout: 20 * time.Second, RetryFirst: time.Second, RetryLongest: 30 * time.Minute, RetryFor: 24 * time.Hour,
			Egress: main.EgressConfig{Allow: []string{"hooks.example.com"}},
		},
		Audit:       main.AuditConfig{Fsync: "always", SegmentBytes: 70000, Retention: 2160 * time.Hour},
		Limits:      main.LimitsConfig{PathBytes: 4096, BodyBytes: 70000, RequestsPerKey: 100, RequestsPerEnvironment: 1000, ObjectsPerEnvironment: 10, BytesPerEnvironment: 20000},
		Log:         main.LogConfig{Format: "json", Level: "warn"},
		CORSOrigins: []string{"https://app.example.com"},
	}
	if diff := cmp.Diff(got, want); diff != "" {
		t.Errorf("(-got +want):\n%s", diff)
	}
	if err := got.Validate(); err != nil {
		t.Error(err)
	}
}

const keyARN = "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"

func TestConfigOfAWSKMS(t *testing.T) {
	for _, text := range []string{
		"root_key: {provider: awskms, key: " + keyARN + "}",
		"root_key: {provider: awskms, key: " + keyARN + ", endpoint: https://vpce-1.kms.eu-central-1.vpce.amazonaws.com}",
		"other_root_keys: {old: {path: /x}, at-aws_2: {provider: awskms, key: " + keyARN + "}}",
		"root_key: {provider: awskms, key: arn:aws-us-gov:kms:us-gov-west-1:111122223333:alias/culvert/root, endpoint: http://127.0.0.1:8080}",
	} {
		got, err := main.LoadConfig(MustWrite(t, text), nil)
		if err == nil {
			err = got.Validate()
		}
		if err != nil {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// TestConfigSetAfterEmptySection is the order in which a null from the file could swallow a setting.
func TestConfigSetAfterEmptySection(t *testing.T) {
	got, err := main.LoadConfig(MustWrite(t, "vault:\n"), []string{"vault.versions_kept=7"})
	if err != nil {
		t.Fatal(err)
	}
	if !got.Pipes.BackgroundRefresh {
		t.Error("no background refresh by default")
	}
	off, err := main.LoadConfig(MustWrite(t, ""), []string{"pipes.background_refresh=false"})
	if err != nil || off.Pipes.BackgroundRefresh {
		t.Errorf("background refresh cannot be set off: %v", err)
	}
	if got.Vault.VersionsKept != 7 || got.Vault.MaxValueBytes != 1<<20 {
		t.Errorf("got %+v", got.Vault)
	}
}

// TestConfigRefused lists mistakes and what is said of them. Its twin are the tests above.
func TestConfigRefused(t *testing.T) {
	for _, tc := range []struct{ file, set, want string }{
		{file: "adr: x", want: "culvert.yaml: unknown setting \"adr\"\nhint: did you mean addr?"},
		{file: "etcd: {endpoint: [x]}", want: "culvert.yaml: unknown setting \"etcd.endpoint\"\nhint: did you mean etcd.endpoints?"},
		{file: "etcd.prefix: /x", want: "culvert.yaml: unknown setting \"etcd.prefix\"\nhint: in YAML write it as a section, etcd: {prefix: …}"},
		{file: "widgets: {}", want: "culvert.yaml: unknown setting \"widgets\"\nhint: culvert help settings lists them"},
		{set: "egress.allow=x", want: "unknown setting \"egress.allow\"\nhint: did you mean pipes.egress.allow?"},
		{set: "pipes.egress.alow=x", want: "unknown setting \"pipes.egress.alow\"\nhint: did you mean pipes.egress.allow?"},
		{set: "vault.frobnicate=x", want: "unknown setting \"vault.frobnicate\"\nhint: the settings there are vault.max_value_bytes"},
		{set: "pipes.egress.allow=1.2.3", want: "setting pipes.egress.allow: entry \"1.2.3\": neither a CIDR"},
		{file: "pipes: {connectors: 7}", want: "setting pipes.connectors is a section, not a value"},
		{file: "pipes: {connectors: {github: x}}", want: "setting pipes.connectors.github is a section, not a value"},
		{file: "pipes: {connectors: {github: {base: x}}}", want: "unknown setting \"pipes.connectors.github.base\""},
		{file: "pipes: {connectors: {githb: {base_url: https://x}}}",
			want: "setting pipes.connectors.githb: there is no such connector\nhint: did you mean github?"},
		{set: "pipes.connectors.nobody.base_url=https://x", want: "there is no such connector\nhint: culvert connectors list names the connectors"},
		{set: "pipes.connectors.github=https://x", want: "unknown setting \"pipes.connectors.github\""},
		{set: "pipes.connectors..base_url=https://x", want: "unknown setting \"pipes.connectors..base_url\""},
		{set: "pipes.connectors.github.base_url=http://x", want: "setting pipes.connectors: settings of github: "},
		{set: "pipes.return_to=https://x/", want: "setting pipes.return_to: \"https://x/\" is not an origin"},
		{set: "pipes.egress.allow=0.0.0.0/0", want: "setting pipes.egress.allow: entry \"0.0.0.0/0\": "},
		{set: "pipes.background_refresh=maybe", want: "setting pipes.background_refresh: must be true or false"},
		{set: "pipes.keep_alive=100ms", want: "setting pipes.keep_alive: must be 0 or from 1s to 8760h"},
		{file: "etcd: 7", want: "setting etcd is a section, not a value"},
		{file: "addr: 8700", want: "culvert.yaml: setting addr: not text; put it in quotes\n"},
		{file: "vault: {versions_kept: true}", want: "culvert.yaml: setting vault.versions_kept: no whole number\n"},
		{file: "vault: {versions_kept: ten}", want: "setting vault.versions_kept: no whole number"},
		{file: "keys: {cache_ttl: 5}", want: "setting keys.cache_ttl: a duration needs a unit, such as 30s or 5m"},
		{file: "keys: {cache_ttl: soon}", want: "setting keys.cache_ttl: no duration; write it such as 30s or 5m"},
		{file: "addr: a\naddr: b", want: `culvert.yaml: not readable as YAML: line 2: mapping key "addr" already defined at line 1`},
		{file: "- list", want: "culvert.yaml: line 1: not a setting\nhint: write name: value, such as addr: 127.0.0.1:8700"},
		{file: "addr: [a", want: "culvert.yaml: not readable as YAML: line 1: did not find expected"},
		{file: "etcd: {endpoints: 7}", want: "culvert.yaml: setting etcd.endpoints: not a list; write it as [one, two]\n"},
		{set: "vault.versions_keep=7", want: "unknown setting \"vault.versions_keep\"\nhint: did you mean vault.versions_kept?"},
		{set: "vault.versions_kept", want: "--set \"vault.versions_kept\" has no value\nhint: write it as key=value"},
		{set: "vault=7", want: "unknown setting \"vault\""},
		{set: "addr=localhost", want: "setting addr: \"localhost\" is not host:port"},
		{set: "addr=localhost:http", want: "setting addr: \"http\" is not a port"},
		{set: "addr=localhost:65536", want: "setting addr: \"65536\" is not a port"},
		{set: "addr=localhost:+80", want: "setting addr: \"+80\" is not"},
		{set: "admin_addr=0.0.0.0:9000", want: "setting admin_addr: 0.0.0.0:9000 is not a loopback address"},
		{set: "public_url=https://x/", want: "setting public_url: \"https://x/\" is not an origin"},
		{set: "public_url=ftp://x", want: "setting public_url: \"ftp://x\" is not an origin"},
		{set: "public_url=https://u@x", want: "is not an origin"},
		{set: "cors_origins=https://x,*", want: "setting cors_origins: \"*\" is not an origin"},
		{set: "drain_delay=6m", want: "setting drain_delay: must be from 0 to 5m"},
		{set: "tls.key_file=/x", want: "settings tls.cert_file and tls.key_file: give both or neither"},
		{set: "etcd.endpoints=http://x:1,https://y:1", want: "setting etcd.endpoints: http://x:1 is plain http, and another one is https"},
		{set: "data_dir=", want: "setting data_dir: must not be empty"},
		{set: "root_key.provider=aws", want: "setting root_key.provider: unknown provider \"aws\"\nhint: the providers are: local"},
		{set: "root_key.key=" + keyARN, want: "setting root_key.key: provider local has no use for it\nhint: set root_key.provider=awskms"},
		{set: "root_key.pin_file=/x", want: "setting root_key.pin_file: provider local has no use for it\nhint: set root_key.provider=awskms"},
		{set: "root_key.provider=awskms", want: "setting root_key.key: \"\" is not the full ARN of a KMS key\nhint: write it such as arn:"},
		{file: "root_key: {provider: awskms, key: alias/culvert}", want: "setting root_key.key: \"alias/culvert\" is not the full ARN"},
		{file: "root_key: {provider: awskms, path: /x, key: " + keyARN + "}", want: "setting root_key.path: provider awskms has no use for it"},
		{file: "root_key: {provider: awskms, token: x, key: " + keyARN + "}", want: "setting root_key.token: provider awskms has no use for it"},
		{file: "root_key: {provider: awskms, endpoint: http://kms.example.com, key: " + keyARN + "}",
			want: "setting root_key.endpoint: the endpoint of a KMS is https://host[:port]"},
		{file: "other_root_keys: {old: /x}", want: "setting other_root_keys.old is a section, not a value"},
		{file: "other_root_keys: {old: {file: /x}}", want: "unknown setting \"other_root_keys.old.file\""},
		{file: "other_root_keys: {old: {provider: local}}", want: "setting other_root_keys.old.path: must name the key file\nhint: other_root_keys are"},
		{file: "other_root_keys: {old: {path: /x, token: y}}", want: "setting other_root_keys.old.token: provider local has no use for it\nhint: set other_root_keys.old.provider=awskms"},
		{file: "other_root_keys: {old: {provider: aws}}", want: "setting other_root_keys.old.provider: unknown provider"},
		{file: "other_root_keys: {old: {provider: awskms}}", want: "setting other_root_keys.old.key: \"\" is not the full ARN"},
		{file: "other_root_keys: {ol/d: {path: /x}}", want: "setting other_root_keys: name \"ol/d\" is not 1 to 40 letters"},
		{set: "etcd.prefix=culvert", want: "setting etcd.prefix: must be a slash and a name"},
		{set: "etcd.prefix=/", want: "setting etcd.prefix: must be a slash and a name"},
		{set: "etcd.endpoints=unix://x:1", want: "setting etcd.endpoints: \"unix://x:1\" is neither http nor https"},
		{set: "etcd.endpoints=x", want: "setting etcd.endpoints: \"x\" has no host:port"},
		{set: "etcd.cert_file=/x", want: "settings etcd.cert_file and etcd.key_file: give both or neither"},
		{set: "etcd.ca_file=/x", want: "the embedded etcd has no use for them"},
		{file: "etcd: {endpoints: [http://x:1], ca_file: /x}", want: "http://x:1 is plain http, but certificates are given"},
		{set: "vault.max_value_bytes=1048577", want: "setting vault.max_value_bytes: must be from 1 to 1048576"},
		{set: "vault.versions_kept=0", want: "setting vault.versions_kept: must be from 1 to 100"},
		{set: "keys.outage_extension=25h", want: "setting keys.outage_extension: must be from 0 to 24h"},
		{file: "keys: {cache_ttl: 0, outage_extension: 1h}", want: "setting keys.outage_extension: with keys.cache_ttl 0 there is nothing to extend\nhint: give"},
		{set: "keys.cache_ttl=-1s", want: "setting keys.cache_ttl: must be from 0 to 24h"},
		{set: "audit.fsync=never", want: "setting audit.fsync: must be interval or always"},
		{set: "audit.retention=1ms", want: "setting audit.retention: must be 0 or at least 1s"},
		{set: "audit.segment_bytes=1", want: "setting audit.segment_bytes: must be from 65536 to 1073741824"},
		{set: "limits.requests_per_key=-1", want: "setting limits.requests_per_key: must be from 0 to 10000000"},
		{set: "limits.requests_per_environment=10000001", want: "setting limits.requests_per_environment: must be from 0 to 10000000"},
		{set: "limits.objects_per_environment=1000001", want: "setting limits.objects_per_environment: must be from 0 to 1000000"},
		{set: "limits.bytes_per_environment=-1", want: "setting limits.bytes_per_environment: must not be negative"},
		{set: "log.format=xml", want: "setting log.format: must be text or json"},
		{set: "log.level=verbose", want: "setting log.level: must be debug, info, warn or error"},
		{set: "limits.path_bytes=1", want: "setting limits.path_bytes: must be from 1024 to 65536"},
		{set: "limits.body_bytes=1", want: "setting limits.body_bytes: must be from 65536 to 67108864"},
	} {
		t.Run(tc.file+tc.set, func(t *testing.T) {
			var settings []string
			if tc.set != "" {
				settings = []string{tc.set}
			}
			cfg, err := main.LoadConfig(MustWrite(t, tc.file), settings)
			if err == nil {
				err = cfg.Validate()
			}
			mustReport(t, err, tc.want)
		})
	}
}

// TestConfigFileMode: whoever can write the settings decides what this process loads and whom it sends secrets
// to. A pipe has settings too: nobody writes to the one that a shell made.
func TestConfigFileMode(t *testing.T) {
	for mode, want := range map[os.FileMode]string{
		0o400: "", 0o640: "", 0o644: "", 0o664: "",
		0o666: "culvert.yaml has mode 0666\nhint: chmod 640 it", 0o602: "culvert.yaml has mode 0602",
	} {
		file := MustWrite(t, "addr: 127.0.0.1:1\n")
		if err := os.Chmod(file, mode); err != nil {
			t.Fatal(err)
		}
		_, err := main.LoadConfig(file, nil)
		mustReport(t, err, want)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	if _, err := w.WriteString("addr: 127.0.0.1:1\n"); err != nil {
		t.Fatal(err)
	}
	_ = w.Close()
	got, err := main.LoadConfig(fmt.Sprintf("/dev/fd/%d", r.Fd()), nil)
	if err != nil || got.Addr != "127.0.0.1:1" {
		t.Errorf("a pipe: %s, %v", got.Addr, err)
	}
}

// mustReport wants what the user is told of an error; nothing is no error.
func mustReport(t *testing.T, err error, want string) {
	t.Helper()
	var out bytes.Buffer
	if code := main.Report(&out, err); (code == 0) != (want == "") {
		t.Errorf("exit code %d, and it says:\n%s", code, &out)
	}
	if !strings.Contains(out.String(), want) {
		t.Errorf("got:\n%s\nwant in it:\n%s", &out, want)
	}
}

// TestConfigNames keeps the schema as the documentation has it: lower case, no field without a name.
func TestConfigNames(t *testing.T) {
	var walk func(reflect.Type)
	walk = func(schema reflect.Type) {
		for i := range schema.NumField() {
			f := schema.Field(i)
			if name := f.Tag.Get("koanf"); name == "" || name != strings.ToLower(name) || strings.Contains(name, ".") {
				t.Errorf("field %s has the name %q", f.Name, name)
			}
			switch f.Type.Kind() {
			case reflect.Struct:
				walk(f.Type)
			case reflect.Map:
				walk(f.Type.Elem())
			}
		}
	}
	walk(reflect.TypeFor[main.Config]())
}

func TestNearest(t *testing.T) {
	known := []string{"addr", "data-dir", "config", "set"}
	for word, want := range map[string]string{
		"adr": "addr", "datadir": "data-dir", "confg": "config", "sett": "set", "addr": "addr", "x": "", "database": "", "": "",
	} {
		if got := main.Nearest(word, known); got != want {
			t.Errorf("nearest(%q) is %q, want %q", word, got, want)
		}
	}
}

func TestIsLoopback(t *testing.T) {
	for addr, want := range map[string]bool{
		"127.0.0.1:1": true, "127.9.9.9:1": true, "[::1]:1": true, "localhost:1": true,
		":1": false, "0.0.0.0:1": false, "[::]:1": false, "10.0.0.1:1": false, "localhost.example.com:1": false, "x": false,
	} {
		if got := main.IsLoopback(addr); got != want {
			t.Errorf("%s: %v", addr, got)
		}
	}
}

// TestListensOnLoopback: the settings are judged by what they say, and a name of this machine's may lead
// elsewhere; so the address that was taken is judged again. What a name that does would be is all addresses
// here.
func TestListensOnLoopback(t *testing.T) {
	for _, tc := range []struct {
		addr, admin string
		refused     bool
	}{
		{"localhost:0", "localhost:0", false},
		{"127.0.0.1:0", "[::ffff:127.0.0.1]:0", false},
		{"127.0.0.1:0", "0.0.0.0:0", true},
		{"127.0.0.1:0", ":0", true},
	} {
		cfg := main.Defaults()
		cfg.Addr, cfg.AdminAddr = tc.addr, tc.admin
		at, err := cfg.Listen(t.Context())
		switch {
		case tc.refused && (err == nil || !strings.Contains(err.Error(), "not a loopback address")):
			t.Errorf("metrics at %s: %v", tc.admin, err)
		case !tc.refused && (err != nil || !main.IsLoopback(at.String())):
			t.Errorf("%s and metrics at %s: %v, %v", tc.addr, tc.admin, at, err)
		}
	}
}

// TestDrainTimeout: a request may wait five seconds for etcd, and must be able to.
func TestDrainTimeout(t *testing.T) {
	if main.DrainTimeout < 5*time.Second {
		t.Errorf("requests in progress get %v", main.DrainTimeout)
	}
}

// What is good enough for dev is not for production: a cluster beyond this machine is spoken to with TLS.
func TestClusterInClear(t *testing.T) {
	const production = "public_url: https://vault.example.com\netcd: {endpoints: [%s]}\n"
	for endpoints, good := range map[string]bool{
		"'http://127.0.0.1:2379', 'localhost:2379', 'http://[::1]:2379'": true,
		"'https://etcd-1:2379', 'https://10.0.0.1:2379'":                 true,
		"'https://etcd-1:2379', 'etcd-2:2379'":                           true, // the first decides
		"'http://10.0.0.1:2379'":                                         false,
		"'http://127.0.0.1:2379', 'http://etcd-2:2379'":                  false,
		"'etcd-1:2379'": false,
	} {
		cfg, err := main.LoadConfig(MustWrite(t, fmt.Sprintf(production, endpoints)), nil)
		if err == nil {
			err = cfg.Validate()
		}
		if err != nil {
			t.Fatalf("%s: %v", endpoints, err)
		}
		if err := cfg.ValidateServer(); (err == nil) != good {
			t.Errorf("%s: %v", endpoints, err)
		}
	}
}
