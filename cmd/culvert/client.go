package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/pflag"
)

// clientTimeout bounds one call of the API. It is above the time that the server gives itself.
const clientTimeout = 30 * time.Second

// maxAnswer bounds what is read of an answer: a page of the longest key contexts there can be.
const maxAnswer = 64 << 20

// connection is how a command finds the server: the flags that all commands share which call it. A key is
// never a flag, because the arguments of a process are seen by others.
type connection struct {
	server, keyFile, caFile string
}

func (c *connection) register(flags *pflag.FlagSet) {
	preset := defaults()
	flags.StringVar(&c.server, "server", "http://"+preset.Addr, "`URL` of the server")
	flags.StringVar(&c.keyFile, "key-file", preset.DataDir+"/"+apiKeyFile, "`file` with the API key")
	flags.StringVar(&c.caFile, "ca-file", "", "`file` with the certificates (PEM) that the server's is checked against; default the system's")
}

// client calls the API of a server.
type client struct {
	base, credential string
	http             *http.Client
}

// open reads the files. Nothing is sent yet.
func (c *connection) open() (*client, error) {
	if err := checkOrigin("--server", c.server); err != nil {
		return nil, hinted(usage("--server must be an origin"), "such as https://culvert.example.com")
	}
	if u, err := url.Parse(c.server); err != nil || u.Scheme == "http" && !isLoopback(withPort(u)) {
		return nil, hinted(usage("--server %s would send the API key in clear", c.server), "use https, or a loopback address")
	}
	text, err := readPrivate(c.keyFile)
	if err != nil {
		return nil, hinted(fmt.Errorf("API key: %w", err), "name the file that holds it with --key-file")
	}
	if _, err := parseKeyLine(text); err != nil {
		return nil, hinted(fmt.Errorf("%s does not hold an API key", c.keyFile), "name the file that holds it with --key-file")
	}
	transport := &http.Transport{Proxy: nil, TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12}}
	if c.caFile != "" {
		pem, err := readPublic(c.caFile)
		if err != nil {
			return nil, fmt.Errorf("certificates: %w", err)
		}
		transport.TLSClientConfig.RootCAs = x509.NewCertPool()
		if !transport.TLSClientConfig.RootCAs.AppendCertsFromPEM(pem) {
			return nil, hinted(fmt.Errorf("%s has no certificate", c.caFile), "name a file of PEM certificates with --ca-file")
		}
	}
	return &client{
		base: c.server, credential: "Bearer " + strings.TrimSpace(string(text)),
		http: &http.Client{Timeout: clientTimeout, Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error {
			return http.ErrUseLastResponse // the key is for this server alone
		}},
	}, nil
}

func withPort(u *url.URL) string {
	if u.Port() == "" {
		return u.Host + ":80"
	}
	return u.Host
}

// get calls a route and decodes its answer.
func (c *client) get(ctx context.Context, path string, query url.Values, answer any) error {
	if len(query) > 0 {
		path += "?" + query.Encode()
	}
	return c.call(ctx, http.MethodGet, path, nil, answer)
}

// eachOf goes through all pages of a list, so that a long one needs no memory.
func (c *client) eachOf(ctx context.Context, path string, query url.Values, each func(json.RawMessage) error) error {
	for {
		var page struct {
			Data []json.RawMessage `json:"data"`
			Meta struct {
				After string `json:"after"`
			} `json:"list_metadata"`
		}
		if err := c.get(ctx, path, query, &page); err != nil {
			return err
		}
		for _, raw := range page.Data {
			if err := each(raw); err != nil {
				return err
			}
		}
		if page.Meta.After == "" {
			return nil
		}
		query.Set("after", page.Meta.After)
	}
}

// post calls a route with a body, if it is not nil.
func (c *client) post(ctx context.Context, path string, body, answer any) error {
	return c.call(ctx, http.MethodPost, path, body, answer)
}

func (c *client) call(ctx context.Context, method, path string, body, answer any) error {
	var content []byte
	if body != nil {
		var err error
		if content, err = json.Marshal(body); err != nil {
			return fmt.Errorf("encode the request: %w", err)
		}
	}
	r, err := http.NewRequestWithContext(ctx, method, c.base+path, bytes.NewReader(content))
	if err != nil {
		return err
	}
	r.Header.Set("Authorization", c.credential)
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	response, err := c.http.Do(r)
	if err != nil {
		hint := "see that it runs, or name another one with --server"
		if unverified := new(tls.CertificateVerificationError); errors.As(err, &unverified) {
			hint = "name the file with its CA's certificates with --ca-file, and the server as its certificate does"
		}
		if errors.Is(err, http.ErrSchemeMismatch) {
			hint = "it speaks plain HTTP there: name it with http:// if it is on this machine, or what stands before it and speaks HTTPS"
		}
		return hinted(fmt.Errorf("call the server: %w", err), hint)
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	if response.StatusCode >= http.StatusMultipleChoices {
		return answered(response.StatusCode, text)
	}
	if response.StatusCode == http.StatusNoContent {
		return nil
	}
	if err := json.Unmarshal(text, answer); err != nil {
		return hinted(errors.New("the answer is no JSON"), "see that --server is a Culvert server")
	}
	return nil
}

// apiError is an answer that is an error.
type apiError struct {
	status        int
	code, message string
	requestID     string
	// refused is the code of the first refused value, if the answer lists some.
	refused string
}

func (e *apiError) Error() string {
	return fmt.Sprintf("%s (%s, request %s)", strings.TrimSuffix(e.message, "."), e.code, e.requestID)
}

// answered reads an error of the API; the list of refused values says more than its heading.
func answered(status int, text []byte) error {
	var body struct {
		Message   string `json:"message"`
		Code      string `json:"code"`
		RequestID string `json:"request_id"`
		Errors    []struct {
			Code    string `json:"code"`
			Message string `json:"message"`
		} `json:"errors"`
	}
	if json.Unmarshal(text, &body) != nil || body.Code == "" {
		return hinted(fmt.Errorf("the server answered with status %d and no error of Culvert's", status), "see that --server is a Culvert server, and not what stands before it")
	}
	err := &apiError{status: status, code: body.Code, message: body.Message, requestID: body.RequestID}
	if len(body.Errors) > 0 {
		err.refused, err.message = body.Errors[0].Code, body.Errors[0].Message
	}
	return hinted(err, err.hint())
}

// hint is what the person at the command line can do about an answer.
func (e *apiError) hint() string {
	switch e.code {
	case "unauthorized":
		return "name the file that holds an API key of this server with --key-file"
	case "forbidden":
		return "use an API key whose role allows it: culvert access explain, by somebody who may, says what it lacks"
	case "exceeds_own_rights":
		return "nobody gives what they do not have: use an API key that may all of it, or ask for less"
	case "api_key_already_expired":
		return "make another one with culvert api-keys create"
	case "api_key_rotated":
		return "culvert api-keys show ID names its successor, which can be rotated"
	case "last_admin_api_key":
		return "make another one first: culvert api-keys create --name NAME --role admin; with --force only culvert api-keys recover, at the data directory, lets anybody back in"
	case "too_many_api_keys":
		return "culvert api-keys list shows when they were used, culvert api-keys revoke ID ends one"
	case "role_exists", "role_in_use", "too_many_roles":
		return "culvert access roles list shows the roles, culvert api-keys list who has which"
	case "environment_exists":
		return "culvert environments list shows them; who has lost the API key of one makes another with culvert api-keys recover --environment NAME, at the data directory"
	case "too_many_environments":
		return "culvert environments list shows them; roles and scopes tell apart what need not be an environment of its own"
	case "entity_not_found":
		return "culvert keys list shows the KEKs, culvert keys jobs the jobs, culvert keys cmk list customers' keys, culvert api-keys list API keys, culvert access roles list roles, culvert environments list environments, culvert webhooks list endpoints, culvert audit streams streams"
	case "key_shredded":
		return "what was under it is gone for good; the next value of the same context gets a new KEK"
	case "root_key_refused":
		return "culvert keys show ID names the root key: see that it is enabled, and that its policy lets the server use it"
	case "cmk_refused":
		return "see that the customer's key is enabled, and that its policy lets this server's role use it for the item: deploy/kms/customer-key-policy.json shows how; " +
			"one that is no AWS key has to be under other_root_keys in the server's settings"
	case "cmk_unavailable":
		return "try again; nothing is known of the key as long as its KMS does not answer, or this server has no credentials for it"
	case "cmk_exists", "too_many_cmks":
		return "culvert keys cmk list shows them, culvert keys cmk detach ID takes one away"
	case "cmk_busy":
		return "culvert keys cmk show ID names the job; wait for it, or end it with culvert keys cancel"
	case "job_ended":
		return "culvert keys job ID shows how; to do it again, make another job"
	case "job_not_cancelled":
		return "make the job again: what is done already is passed over"
	case "job_not_cancellable":
		return "it ends by itself: culvert keys job ID shows how far it is"
	case "invalid_encrypted_keys":
		return "the file has to hold encrypted_keys and nothing else, as this server answered them with the data key"
	case "too_many_versions":
		return "rotate it no more: what is under it opens and can be stored as before, since a KEK keeps all its versions"
	case "duplicate_endpoint", "too_many_endpoints":
		return "culvert webhooks list shows the endpoints, culvert webhooks delete ID takes one away"
	case "invalid_url":
		return "use an https URL on port 443 of a public host, or have the server's setting webhooks.egress.allow name the host; http is for loopback, under culvert dev"
	case "invalid_cursor":
		return "GET /events shows the ids of events; one that is older than the log's history is not known any more"
	case "shred_in_progress", "too_many_jobs":
		return "culvert keys jobs shows what is under way"
	case "invalid_request_parameters", "invalid_query", "invalid_type":
		if e.refused == "unknown_event_type" {
			return "culvert webhooks events lists the names of events"
		}
		return "the command's --help says what it takes"
	case "rate_limit_exceeded":
		return "wait some seconds; the server's settings limits.requests_per_key and limits.requests_per_environment say how many requests may come"
	case "route_not_found", "method_not_allowed":
		return "the server is of an older version than this command, or --server leads to something else"
	case "integrity_failure":
		return "somebody changed the store: the server's log names the record under the id of the request"
	}
	if e.status == http.StatusServiceUnavailable {
		return "try again; /readyz of the server says what it misses"
	}
	if e.status < http.StatusInternalServerError {
		return "the command's --help says what it takes; the audit log has the request under its id" // the server's log has no line of it
	}
	return "the server's log has more under the id of the request"
}
