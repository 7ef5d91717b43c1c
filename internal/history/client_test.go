package history_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"testing"
	"time"
)

// api calls one process.
type api struct {
	base, key string
	http      *http.Client
}

func newAPI(t testing.TB, p *process, key string) *api {
	transport := &http.Transport{MaxIdleConnsPerHost: 128}
	t.Cleanup(transport.CloseIdleConnections)
	// Longer than any request may take: an answer that comes is never lost by impatience.
	return &api{base: p.base, key: key, http: &http.Client{Transport: transport, Timeout: 20 * time.Second}}
}

// described is what answers say of a version; object is the same with its name and value.
type described struct {
	ID        string `json:"id"`
	VersionID string `json:"version_id"`
	UpdatedAt string `json:"updated_at"`
}

type answer struct {
	described
	Name     string    `json:"name"`
	Value    string    `json:"value"`
	Metadata described `json:"metadata"`
	Code     string    `json:"code"`
	Data     []struct {
		ID        string `json:"id"`
		Name      string `json:"name"`
		UpdatedAt string `json:"updated_at"`
	} `json:"data"`
	// raw is the body as it came.
	raw []byte
}

// call returns status 0 if there was no whole answer.
func (a *api) call(ctx context.Context, method, path string, body any, header ...string) (int, answer) {
	var encoded []byte
	if body != nil {
		encoded, _ = json.Marshal(body)
	}
	r, err := http.NewRequestWithContext(ctx, method, a.base+path, bytes.NewReader(encoded))
	if err != nil {
		return 0, answer{}
	}
	r.Header.Set("Authorization", "Bearer "+a.key)
	r.Header.Set("Content-Type", "application/json")
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	resp, err := a.http.Do(r)
	if err != nil {
		return 0, answer{}
	}
	defer func() { _ = resp.Body.Close() }()
	var got answer
	if got.raw, err = io.ReadAll(resp.Body); err != nil || json.Unmarshal(got.raw, &got) != nil {
		return 0, answer{}
	}
	return resp.StatusCode, got
}

// insist is call for those who try again when they are told that nothing was changed, as SDKs do: on a
// busy machine etcd may have no leader for a moment.
func (a *api) insist(ctx context.Context, method, path string, body any, header ...string) (int, answer) {
	for range 50 {
		status, got := a.call(ctx, method, path, body, header...)
		if status != http.StatusServiceUnavailable || got.Code == "outcome_unknown" {
			return status, got
		}
		time.Sleep(100 * time.Millisecond)
	}
	return http.StatusServiceUnavailable, answer{Code: "tried often"}
}

// do carries out an operation of a history on one name. An operation that is no part of the history says
// why in aside: it certainly did nothing, or nobody knows what it read.
func (a *api) do(ctx context.Context, in asked) (out told, aside string) {
	var status int
	var got answer
	check := ""
	if in.check != "" {
		check = "?version_check=" + url.QueryEscape(in.check)
	}
	switch in.verb {
	case create:
		status, got = a.call(ctx, http.MethodPost, "/vault/v1/kv",
			map[string]any{"name": in.name, "value": in.value, "key_context": map[string]string{"of": in.name}})
		got.Metadata = got.described
	case read:
		status, got = a.call(ctx, http.MethodGet, "/vault/v1/kv/name/"+in.name, nil)
	case get:
		status, got = a.call(ctx, http.MethodGet, "/vault/v1/kv/"+in.id, nil)
	case update:
		body := map[string]any{"value": in.value}
		if in.check != "" {
			body["version_check"] = in.check
		}
		status, got = a.call(ctx, http.MethodPut, "/vault/v1/kv/"+in.id, body)
	case remove:
		status, got = a.call(ctx, http.MethodDelete, "/vault/v1/kv/"+in.id+check, nil)
	}
	return verdictOf(in, status, got)
}

// refused and unexpected are operations that are no part of a history; the second kind is a fault.
const (
	refused    = "refused"
	unexpected = "unexpected"
)

// verdictOf reads an answer as the model does.
func verdictOf(in asked, status int, got answer) (out told, aside string) {
	switch {
	case status == http.StatusOK || status == http.StatusCreated:
		return told{verdict: done, id: got.Metadata.ID, version: got.Metadata.VersionID, at: got.Metadata.UpdatedAt, value: got.Value}, ""
	case status == http.StatusNotFound:
		return told{verdict: notFound}, ""
	case status == http.StatusConflict && got.Code == "item_already_exists":
		return told{verdict: exists}, ""
	case status == http.StatusConflict && got.Code == "version_conflict":
		return told{verdict: conflict}, ""
	case status != 0 && status != http.StatusServiceUnavailable:
		return told{}, fmt.Sprint(unexpected, " ", status, " ", got.Code)
	case in.verb == read || in.verb == get:
		return told{}, refused
	case status != 0 && got.Code != "outcome_unknown":
		// The answer says that nothing was changed, and the history holds it to that.
		return told{}, refused
	}
	return told{verdict: unknown}, ""
}

// page shows what a list says of some names; false without an answer.
func (a *api) page(ctx context.Context, order, search string) (map[string]told, bool) {
	status, got := a.call(ctx, http.MethodGet, "/vault/v1/kv?limit=100&order="+order+"&search="+search, nil)
	if status != http.StatusOK {
		return nil, false
	}
	shown := map[string]told{}
	for _, o := range got.Data {
		shown[o.Name] = told{verdict: done, id: o.ID, at: o.UpdatedAt}
	}
	return shown, true
}
