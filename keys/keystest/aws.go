package keystest

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

// AWS is a fake of the AWS KMS on a loopback address, for the real SDK: the JSON 1.1 protocol, keys and
// their states, AES-GCM with the encryption context as AAD, and faults. Other processes can use it, too.
//
// It was written from AWS's documentation and has not been compared with AWS. It asks for a signature of
// the right region and does not check it; policies are a function; a rotation is done when it is
// answered. Every error repeats in its message what was sent and what would have been answered, plaintext
// included: a public emulator does so, and nobody may rely on AWS not to.
//
// It is safe for concurrent use.
type AWS struct {
	server *httptest.Server
	closed chan struct{}

	mu      sync.Mutex // guards what follows
	keys    map[string]*awsKey
	aliases map[string]string // alias ARN to key ARN
	faults  map[string]*Fault
	calls   map[string]int
}

// The region of all keys of an [AWS], and the account of its caller.
const (
	AWSRegion  = "eu-central-1"
	AWSAccount = "111122223333"
)

// Fault is what an [AWS] does instead of answering. The operation is carried out all the same: an answer
// can get lost.
type Fault struct {
	// Code and Status make an error answer.
	Code   string
	Status int
	// Drop closes the connection without an answer.
	Drop bool
	// Redirect sends the client elsewhere, to be asked the same there.
	Redirect string
	// Latency is waited for first; alone it is no error.
	Latency time.Duration
	// Edit changes the members of the answer: a KMS that lies.
	Edit func(answer map[string]any)
	// Times is how many calls suffer it; 0 is all of them.
	Times int
}

// NewAWS starts a fake and ends it after the test.
func NewAWS(t testing.TB) *AWS {
	a := &AWS{
		closed: make(chan struct{}), keys: map[string]*awsKey{}, aliases: map[string]string{},
		faults: map[string]*Fault{}, calls: map[string]int{},
	}
	a.server = httptest.NewServer(http.HandlerFunc(a.serve))
	t.Cleanup(func() {
		close(a.closed)
		a.server.Close()
	})
	return a
}

// SetAWSCredentials gives this process credentials that an [AWS] takes, and keeps the SDK from looking
// for others on this machine and in its network.
func SetAWSCredentials(t testing.TB) {
	t.Helper()
	for _, variable := range AWSEnvironment() {
		name, text, _ := strings.Cut(variable, "=")
		t.Setenv(name, text)
	}
}

// AWSEnvironment is what [SetAWSCredentials] sets, for the environment of another process.
func AWSEnvironment() []string {
	return []string{
		"AWS_ACCESS_KEY_ID=AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY=example", "AWS_SESSION_TOKEN=",
		"AWS_EC2_METADATA_DISABLED=true", "AWS_CONFIG_FILE=/dev/null", "AWS_SHARED_CREDENTIALS_FILE=/dev/null",
		"AWS_PROFILE=", "AWS_REGION=", "AWS_ENDPOINT_URL=", "AWS_ENDPOINT_URL_KMS=",
	}
}

// Endpoint is the URL to give to a client.
func (a *AWS) Endpoint() string { return a.server.URL }

// Fail makes an operation suffer a fault, every operation if op is ""; the zero [Fault] ends it.
func (a *AWS) Fail(op string, f Fault) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.faults[op] = &f
}

// Calls counts the requests for an operation that have arrived, failed ones and retries included; those
// for all operations if op is "".
func (a *AWS) Calls(op string) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.calls[op]
}

// awsError is an error of the protocol.
type awsError struct {
	code   string
	status int
}

func (e *awsError) Error() string { return e.code }

func refuse(code string) error { return &awsError{code, http.StatusBadRequest} }

func (a *AWS) serve(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	op, ok := strings.CutPrefix(r.Header.Get("X-Amz-Target"), "TrentService.")
	if err != nil || !ok || r.Method != http.MethodPost || r.Header.Get("Content-Type") != "application/x-amz-json-1.1" {
		answer(w, nil, refuse("UnknownOperationException"), "")
		return
	}
	fault := a.arrived(op)
	result, err := a.perform(op, r.Header.Get("Authorization"), body)
	echo, _ := json.Marshal(result)
	if fault.Latency > 0 {
		timer := time.NewTimer(fault.Latency)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-r.Context().Done():
		case <-a.closed:
		}
	}
	if fault.Drop {
		panic(http.ErrAbortHandler) // net/http closes the connection and says nothing
	}
	if fault.Redirect != "" {
		http.Redirect(w, r, fault.Redirect, http.StatusTemporaryRedirect)
		return
	}
	if fault.Code != "" || fault.Status != 0 {
		err = &awsError{fault.Code, fault.Status}
	}
	if err == nil && fault.Edit != nil {
		fault.Edit(result)
	}
	answer(w, result, err, string(body)+string(echo))
}

// arrived counts a call and takes the fault that it suffers.
func (a *AWS) arrived(op string) Fault {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.calls[op]++
	a.calls[""]++
	for _, name := range []string{op, ""} {
		f := a.faults[name]
		if f == nil {
			continue
		}
		suffered := *f
		if f.Times > 0 {
			if f.Times--; f.Times == 0 {
				delete(a.faults, name)
			}
		}
		return suffered
	}
	return Fault{}
}

func answer(w http.ResponseWriter, result map[string]any, err error, echo string) {
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	w.Header().Set("X-Amzn-RequestId", "6a9e8f3c-0000-4000-8000-000000000000")
	if refused, ok := err.(*awsError); ok {
		w.WriteHeader(refused.status)
		result = map[string]any{"__type": refused.code, "message": "1 validation error detected in: " + echo}
	} else if err != nil {
		w.WriteHeader(http.StatusInternalServerError)
		result = map[string]any{"__type": "KMSInternalException", "message": fmt.Sprint(err, echo)}
	}
	_ = json.NewEncoder(w).Encode(result)
}
