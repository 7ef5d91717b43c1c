package main_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"culvert/internal/etcd/etcdtest"
)

// writeStore is how a store of this version gets into testdata.
var writeStore = flag.String("write-store", "", "write a store of this version to this directory of testdata/stores, as `v2`")

// storeFile is a whole store, as testdata/stores/README.md says.
type storeFile struct {
	RootKey []byte            `json:"root_key"`
	APIKey  []byte            `json:"api_key"`
	Records map[string][]byte `json:"records"`
}

// storeWant is what reads of a store have to give.
type storeWant struct {
	// Values are those of objects by their names.
	Values map[string]string `json:"values"`
	// Shredded are names of objects whose key was destroyed.
	Shredded []string `json:"shredded"`
	// DataKeys are keys by the blobs that they came in.
	DataKeys map[string]string `json:"data_keys"`
	// Tokens are access tokens by the users that they are of, at GitHub.
	Tokens map[string]string `json:"tokens"`
	// KEKs and Jobs are how many there are, by state and by kind.
	KEKs map[string]int `json:"keks"`
	Jobs map[string]int `json:"jobs"`
}

// TestStoresOfEveryVersion: what any version stored is opened by this one, and goes on to be written to. The
// last store is one that this version has just made.
func TestStoresOfEveryVersion(t *testing.T) {
	t.Parallel()
	stores := filepath.Join("testdata", "stores")
	entries, err := os.ReadDir(stores)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, e := range entries {
		if e.IsDir() {
			all = append(all, filepath.Join(stores, e.Name()))
		}
	}
	if len(all) == 0 {
		t.Error("there is no store")
	}
	now := filepath.Join(t.TempDir(), "now")
	if *writeStore != "" {
		now = filepath.Join(stores, *writeStore)
	}
	mustWriteStore(t, now)
	for _, dir := range append(all, now) {
		t.Run(filepath.Base(dir), func(t *testing.T) { mustOpenStore(t, dir) })
	}
}

// mustWriteStore makes a store with every kind of record and writes it to a directory that is not there yet.
func mustWriteStore(t *testing.T, to string) {
	t.Helper()
	endpoint, dir := etcdtest.Listening(t), filepath.Join(t.TempDir(), "d")
	p, api := mustDev(t, endpoint, dir)
	want := fillStore(t, api)
	p.MustStop(t)
	store := storeFile{
		RootKey: mustReadFile(t, filepath.Join(dir, "root.key")), APIKey: mustReadFile(t, filepath.Join(dir, "root-api-key")),
		Records: etcdtest.NewWriter(t, "/culvert", endpoint).MustAll(t),
	}
	// Nodes are of the moment.
	maps.DeleteFunc(store.Records, func(key string, _ []byte) bool { return strings.HasPrefix(key, "node/") })
	if err := os.Mkdir(to, 0o755); err != nil {
		t.Fatal(err) // one that is there is never written again
	}
	mustWriteJSON(t, filepath.Join(to, "store.json"), store)
	mustWriteJSON(t, filepath.Join(to, "want.json"), want)
}

// mustDev starts the program on an etcd.
func mustDev(t *testing.T, endpoint, dir string) (*Process, *API) {
	t.Helper()
	addrs, err := freeAddrs(1)
	if err != nil {
		t.Fatal(err)
	}
	p := MustStartDev(t, dir, addrs[0], "--set", "etcd.endpoints="+endpoint, "--set", "pipes.return_to=https://app.example.com")
	return p, MustAPI(t, p.Base, dir)
}

// fillStore makes records of every kind through the API, and says what they hold.
func fillStore(t *testing.T, api *API) storeWant {
	t.Helper()
	want := storeWant{
		Values: map[string]string{}, Shredded: []string{"gone"}, DataKeys: map[string]string{},
		Tokens: map[string]string{"user_1": "token of user_1", "user_2": "token of user_2"},
	}
	for name, context := range map[string]object{
		"empty context": {}, "one item": {"organization_id": "org_1"}, "two items": {"organization_id": "org_1", "region": "eu"},
		"gone": {"organization_id": "org_2"}, "ünïcödé \u2603": {"type": "pii"},
	} {
		var made storedObject
		if status, err := api.Call("POST", "/vault/v1/kv", map[string]string{"Idempotency-Key": fmt.Sprintf("%x", name)},
			object{"name": name, "value": "first of " + name, "key_context": context}, &made); err != nil || status != 201 {
			t.Fatalf("create: status %d, %v", status, err)
		}
		want.Values[name] = "second of " + name
		api.MustSay(t, 201, "PUT", "/vault/v1/kv/"+made.ID, object{"value": want.Values[name]}, nil)
	}
	dataKey := func() {
		var made struct {
			Key  string `json:"data_key"`
			Blob string `json:"encrypted_keys"`
		}
		api.MustSay(t, 200, "POST", "/vault/v1/keys/data-key", object{"context": object{"organization_id": "org_1"}}, &made)
		want.DataKeys[made.Blob] = made.Key
	}
	dataKey()
	api.MustSay(t, 201, "POST", "/data-integrations", integration(), nil)
	api.MustSay(t, 201, "POST", "/user_management/users/user_1/connected_accounts/github", object{"access_token": want.Tokens["user_1"]}, nil)
	api.MustSay(t, 201, "POST", "/user_management/users/user_2/connected_accounts/github",
		object{"access_token": want.Tokens["user_2"], "refresh_token": "refresh of user_2", "expires_at": "2999-01-01T00:00:00Z"}, nil)
	api.MustSay(t, 200, "POST", "/data-integrations/github/authorize", object{"user_id": "user_3", "return_to": "https://app.example.com/done"}, nil)

	// One KEK has two versions and DEKs under both, another two and all under the newer, and one is gone.
	mustEndJob(t, api, mustJob(t, api, object{"kind": "rotate", "context_name": "organization_id", "context_value": "org_1"}))
	mustEndJob(t, api, mustJob(t, api, object{"kind": "rewrap", "context_name": "region", "context_value": "eu"}))
	mustEndJob(t, api, mustJob(t, api, object{
		"kind": "shred", "context_name": "organization_id", "context_value": "org_2", "confirm": "organization_id=org_2",
	}))
	delete(want.Values, "gone")
	dataKey()
	want.KEKs, want.Jobs = counted(t, api, "/culvert/v1/keks", "state"), counted(t, api, "/culvert/v1/jobs", "kind")
	return want
}

// counted is how many entries of a list there are of each kind.
func counted(t *testing.T, api *API, path, member string) map[string]int {
	t.Helper()
	var page struct {
		Data []map[string]any `json:"data"`
	}
	api.MustSay(t, 200, "GET", path+"?limit=100", nil, &page)
	all := map[string]int{}
	for _, entry := range page.Data {
		all[entry[member].(string)]++
	}
	return all
}

// mustOpenStore puts a store into an empty etcd and reads all of it.
func mustOpenStore(t *testing.T, from string) {
	var store storeFile
	var want storeWant
	mustReadJSON(t, filepath.Join(from, "store.json"), &store)
	mustReadJSON(t, filepath.Join(from, "want.json"), &want)
	endpoint, dir := etcdtest.Listening(t), filepath.Join(t.TempDir(), "d")
	writer := etcdtest.NewWriter(t, "/culvert", endpoint)
	for key, value := range store.Records {
		writer.MustPut(t, key, value)
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{"root.key": store.RootKey, "root-api-key": store.APIKey} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	p, api := mustDev(t, endpoint, dir)
	want.mustBe(t, api)
	keyFile := filepath.Join(dir, "root-api-key")
	report, err := exec.Command("culvert", "verify", "--server", p.Base, "--key-file", keyFile).CombinedOutput()
	if err != nil {
		t.Errorf("culvert verify: %v\n%s", err, report)
	}
	// What is there is written to, and its keys are worked on, as if this version had made them.
	mustEndJob(t, api, mustJob(t, api, object{"kind": "rotate", "all": true}))
	mustEndJob(t, api, mustJob(t, api, object{"kind": "rewrap", "all": true}))
	for _, name := range slices.Sorted(maps.Keys(want.Values)) {
		var stored storedObject
		api.MustSay(t, 200, "GET", "/vault/v1/kv/name/"+escaped(name), nil, &stored)
		want.Values[name] = "third of " + name
		api.MustSay(t, 201, "PUT", "/vault/v1/kv/"+stored.ID, object{"value": want.Values[name]}, nil)
	}
	want.KEKs, want.Jobs = nil, nil
	want.mustBe(t, api)
}

// mustBe reads everything.
func (want *storeWant) mustBe(t *testing.T, api *API) {
	t.Helper()
	for name, value := range want.Values {
		var got storedObject
		if api.MustSay(t, 200, "GET", "/vault/v1/kv/name/"+escaped(name), nil, &got); got.Value != value {
			t.Errorf("%s: %q, want %q", name, got.Value, value)
		}
	}
	for _, name := range want.Shredded {
		api.MustSay(t, 403, "GET", "/vault/v1/kv/name/"+escaped(name), nil, nil)
	}
	for blob, key := range want.DataKeys {
		var got struct {
			Key string `json:"data_key"`
		}
		if api.MustSay(t, 200, "POST", "/vault/v1/keys/decrypt", object{"keys": blob}, &got); got.Key != key {
			t.Error("a data key is another one")
		}
	}
	for user, token := range want.Tokens {
		var got struct {
			Token struct {
				Text string `json:"access_token"`
			} `json:"access_token"`
		}
		api.MustSay(t, 200, "POST", "/data-integrations/github/token", object{"user_id": user}, &got)
		if got.Token.Text != token {
			t.Errorf("the token of %s: %q, want %q", user, got.Token.Text, token)
		}
	}
	if want.KEKs == nil {
		return
	}
	if got := counted(t, api, "/culvert/v1/keks", "state"); !maps.Equal(got, want.KEKs) {
		t.Errorf("KEKs %v, want %v", got, want.KEKs)
	}
	if got := counted(t, api, "/culvert/v1/jobs", "kind"); !maps.Equal(got, want.Jobs) {
		t.Errorf("jobs %v, want %v", got, want.Jobs)
	}
	api.MustSay(t, 200, "GET", "/events?events=vault.data.created&limit=1", nil, nil)
}

// escaped is a name in a path.
func escaped(name string) string { return url.PathEscape(name) }

func mustReadFile(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func mustReadJSON(t *testing.T, path string, v any) {
	t.Helper()
	if err := json.Unmarshal(mustReadFile(t, path), v); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}

func mustWriteJSON(t *testing.T, path string, v any) {
	t.Helper()
	text, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, append(text, '\n'), 0o644); err != nil {
		t.Fatal(err)
	}
}
