// Package sdkv9_test drives the server with github.com/workos/workos-go/v9, unmodified but for its base
// URL.
package sdkv9_test

import (
	"errors"
	"net/http"
	"sync"
	"testing"

	"github.com/workos/workos-go/v9"

	"culvert/internal/e2e/gosdk/sdktest"
)

func newClient(t *testing.T, options ...workos.ClientOption) *workos.Client {
	t.Helper()
	s := sdktest.Ours(t)
	return workos.NewClient(s.APIKey, append([]workos.ClientOption{workos.WithBaseURL(s.BaseURL)}, options...)...)
}

// recorder is the transport of a client whose test looks at the wire.
type recorder struct {
	mu   sync.Mutex
	wire []string
	// fail says whether the answer of the request with this number is to be lost on the way.
	fail func(n int) bool
	keys []string
}

var errLost = errors.New("the connection broke")

func (r *recorder) RoundTrip(req *http.Request) (*http.Response, error) {
	res, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.wire = append(r.wire, req.Method+" "+res.Status[:3])
	r.keys = append(r.keys, req.Header.Get("Idempotency-Key"))
	if r.fail != nil && r.fail(len(r.wire)) {
		_ = res.Body.Close()
		return nil, errLost
	}
	return res, nil
}

func (r *recorder) client() workos.ClientOption {
	return workos.WithHTTPClient(&http.Client{Transport: r})
}

// object is what a test knows of an object that it has created.
type object struct {
	workos.VaultObject
	version string
}

func mustCreate(t *testing.T, c *workos.Client, name string, keyContext map[string]string) object {
	t.Helper()
	value := sdktest.Secret("")
	metadata, err := c.Vault().CreateKv(t.Context(), &workos.VaultCreateKvParams{
		Name: name, Value: value, KeyContext: keyContext,
	})
	if err != nil {
		t.Fatalf("create %q: %v", name, err)
	}
	return object{
		VaultObject: workos.VaultObject{ID: metadata.ID, Name: name, Value: value, Metadata: metadata},
		version:     *metadata.VersionID,
	}
}

func mustRead(t *testing.T, c *workos.Client, id string) workos.VaultObject {
	t.Helper()
	o, err := c.Vault().GetKv(t.Context(), id)
	if err != nil {
		t.Fatalf("read %s: %v", id, err)
	}
	return *o
}

func mustUpdate(t *testing.T, c *workos.Client, id, value string, check *string) *workos.ObjectWithoutValue {
	t.Helper()
	o, err := c.Vault().UpdateKv(t.Context(), id, &workos.VaultUpdateKvParams{Value: value, VersionCheck: check})
	if err != nil {
		t.Fatalf("update %s: %v", id, err)
	}
	return o
}

// refused requires the error to be of exactly this status, of the class that the SDK has for it, and to
// name its request.
func refused(t *testing.T, err error, status int) *workos.APIError {
	t.Helper()
	var api *workos.APIError
	if !errors.As(err, &api) {
		t.Fatalf("want a refusal with %d, got error %v", status, err)
	}
	if api.StatusCode != status {
		t.Fatalf("want a refusal with %d, got %v", status, err)
	}
	var class bool
	switch status {
	case http.StatusUnauthorized:
		class = is[*workos.AuthenticationError](err)
	case http.StatusNotFound:
		class = is[*workos.NotFoundError](err)
	case http.StatusUnprocessableEntity:
		class = is[*workos.UnprocessableEntityError](err)
	default:
		class = is[*workos.APIError](err)
	}
	if !class {
		t.Errorf("status %d came as %T", status, err)
	}
	if api.RequestID == "" {
		t.Error("a refusal without a request id")
	}
	if api.Message == "" || api.Code == "" {
		t.Errorf("a refusal without a message or code: %v", err)
	}
	return api
}

func is[E error](err error) bool {
	_, ok := err.(E)
	return ok
}
