package main_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"culvert/internal/etcd/etcdtest"
)

// newKey is an API key that was made over HTTP.
type newKey struct {
	ID    string `json:"id"`
	Value string `json:"value"`
}

// mustCall is a call of the root key that has to succeed.
func (s *side) mustCall(t *testing.T, method, path string, in, out any, want int) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		status, err := s.api.Call(method, path, nil, in, out)
		if status == want {
			return
		}
		if status != http.StatusServiceUnavailable || time.Now().After(deadline) {
			t.Fatalf("%s %s: status %d, %v", method, path, status, err)
		}
	}
}

// with is the same client with another key.
func (a *API) with(key string) *API { return &API{base: a.base, key: key, http: a.http} }

func reading(prefix string) []any {
	return []any{map[string]any{"effect": "allow", "actions": []string{"vault.data.read"}, "scope": map[string]string{"name_prefix": prefix}}}
}

// TestRevocationEverywhere: what takes rights away holds on every replica from its acknowledgement on: the very next
// request is refused, and no memory of the replica that it came to knows better. The log has how long that took.
func TestRevocationEverywhere(t *testing.T) {
	t.Parallel()
	pair := MustPair(t)
	pair.sides[1].mustStart(t)
	one := pair.sides[0]
	var object storedObject
	one.mustCall(t, "POST", "/vault/v1/kv", map[string]any{"name": "seen/one", "value": "v", "key_context": map[string]string{}}, &object, 201)
	for what, change := range map[string]func(t *testing.T, key newKey, role string){
		"revocation": func(t *testing.T, key newKey, _ string) {
			one.mustCall(t, "DELETE", "/culvert/v1/api-keys/"+key.ID+"?force=true", nil, &struct{}{}, 204)
		},
		"end at once": func(t *testing.T, key newKey, _ string) {
			one.mustCall(t, "POST", "/culvert/v1/api-keys/"+key.ID+"/expire", map[string]any{}, &struct{}{}, 200)
		},
		"rotation without overlap": func(t *testing.T, key newKey, _ string) {
			one.mustCall(t, "POST", "/culvert/v1/api-keys/"+key.ID+"/rotate", map[string]any{"overlap": "0s"}, &struct{}{}, 201)
		},
		"role with another scope": func(t *testing.T, _ newKey, role string) {
			one.mustCall(t, "PUT", "/culvert/v1/roles/"+role, map[string]any{"rules": reading("other/")}, &struct{}{}, 200)
		},
		"role without the action": func(t *testing.T, _ newKey, role string) {
			rules := []any{map[string]any{"effect": "allow", "actions": []string{"vault.names.list"}}}
			one.mustCall(t, "PUT", "/culvert/v1/roles/"+role, map[string]any{"rules": rules}, &struct{}{}, 200)
		},
	} {
		var times [2][]time.Duration
		for round := range 10 {
			role := fmt.Sprintf("%s-%d", strings.ReplaceAll(what, " ", "-"), round)
			one.mustCall(t, "POST", "/culvert/v1/roles", map[string]any{"name": role, "rules": reading("seen/")}, &struct{}{}, 201)
			var key newKey
			one.mustCall(t, "POST", "/culvert/v1/api-keys", map[string]any{"name": "taken", "role": role}, &key, 201)
			for i, s := range pair.sides {
				if status, err := s.api.with(key.Value).Read("/vault/v1/kv/"+object.ID, &object); status != 200 {
					t.Fatalf("before the %s, replica %d: status %d, %v", what, i, status, err)
				}
			}
			change(t, key, role)
			changed := time.Now()
			// The other replica first: it has to be told.
			for _, i := range []int{1, 0} {
				times[i] = append(times[i], pair.sides[i].mustRefuse(t, what, key.Value, object.ID, changed))
			}
		}
		for i := range times {
			slices.Sort(times[i])
			t.Logf("%s: effective at replica %d after %v (median) and %v (slowest of %d)", what, i, times[i][len(times[i])/2], times[i][len(times[i])-1], len(times[i]))
		}
	}
}

// mustRefuse wants the first answer to a read to be a refusal, and returns when it came. An outage is no answer.
func (s *side) mustRefuse(t *testing.T, what, key, object string, since time.Time) time.Duration {
	t.Helper()
	status, err := s.api.with(key).Read("/vault/v1/kv/"+object, &struct{}{})
	if status != http.StatusUnauthorized && status != http.StatusForbidden {
		t.Fatalf("after a %s: status %d, %v", what, status, err)
	}
	return time.Since(since)
}

// TestRevocationReachesNobody: a replica that hears nothing of etcd any more gives nothing out, rather than go by
// what it knew; once it hears again, the key that was revoked meanwhile is refused.
func TestRevocationReachesNobody(t *testing.T) {
	t.Parallel()
	pair := MustPair(t)
	proxy := etcdtest.NewProxy(t, pair.endpoint)
	pair.sides[1].flags = append(pair.sides[1].flags, "--set", "etcd.endpoints="+proxy.Endpoint())
	pair.sides[1].mustStart(t)
	one, two := pair.sides[0], pair.sides[1]
	var object storedObject
	var key newKey
	one.mustCall(t, "POST", "/vault/v1/kv", map[string]any{"name": "one", "value": "v", "key_context": map[string]string{}}, &object, 201)
	one.mustCall(t, "POST", "/culvert/v1/api-keys", map[string]any{"name": "taken", "role": "reader"}, &key, 201)
	read := func() int {
		status, _ := two.api.with(key.Value).Call(http.MethodGet, "/vault/v1/kv/"+object.ID, nil, nil, &struct{}{})
		return status
	}
	two.api.with(key.Value).await(t, "GET", "/vault/v1/kv/"+object.ID, "", 200, `"value":"v"`)

	proxy.Stall()
	one.mustCall(t, "DELETE", "/culvert/v1/api-keys/"+key.ID, nil, &struct{}{}, 204)
	if status := read(); status == http.StatusOK {
		t.Errorf("a replica cut off from etcd answers with the revoked key: status %d", status)
	}
	proxy.Restore()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		status := read()
		if status == http.StatusUnauthorized {
			break
		}
		if status == http.StatusOK || time.Now().After(deadline) {
			t.Fatalf("the revoked key: status %d", status)
		}
	}
	// The twin: what was not revoked is answered again.
	two.api.await(t, "GET", "/vault/v1/kv/"+object.ID, "", 200, `"value":"v"`)
}
