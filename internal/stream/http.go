package stream

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"culvert/connectors"
)

const (
	// maxHeaderBytes and maxBodyBytes bound what is read of an answer; nothing but its status and Retry-After counts.
	maxHeaderBytes = 16 << 10
	maxBodyBytes   = 4 << 10
	// maxRetryAfter is the longest that a receiver may ask to be left alone.
	maxRetryAfter = time.Hour
)

// httpSink posts batches. A 2xx is the acknowledgement; everything else is not, redirects included, which are not
// followed: they would lead records, and a credential, elsewhere.
type httpSink struct {
	spec    Spec
	egress  *connectors.Egress
	timeout time.Duration
	now     func() time.Time
	// client is nil until a connection is wanted.
	client *http.Client
	body   []byte
}

func (s *httpSink) late() bool                   { return false }
func (s *httpSink) settle(context.Context) error { return nil }

func (s *httpSink) drop() {
	if s.client != nil {
		s.client.CloseIdleConnections()
		s.client = nil
	}
}

// open makes a client that asks no proxy, which would resolve the name itself.
func (s *httpSink) open() error {
	if s.client != nil {
		return nil
	}
	config, err := tlsConfig(&s.spec)
	if err != nil {
		return err
	}
	s.client = &http.Client{
		Transport: &http.Transport{
			DialContext:            s.egress.DialContext,
			TLSClientConfig:        config,
			ForceAttemptHTTP2:      true,
			DisableCompression:     true, // a small answer must not unfold into a large one
			MaxResponseHeaderBytes: maxHeaderBytes,
			MaxIdleConnsPerHost:    1,
			IdleConnTimeout:        time.Minute,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return nil
}

func (s *httpSink) send(ctx context.Context, b *batch) error {
	if err := s.open(); err != nil {
		return fail(ReasonCredentials, err)
	}
	contentType := "application/x-ndjson"
	if s.spec.Format == Array {
		contentType = "application/json"
		s.body = b.appendArray(s.body[:0])
	} else {
		s.body = b.appendLines(s.body[:0])
	}
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, s.spec.URL, bytes.NewReader(s.body))
	if err != nil {
		return fail(ReasonUnreachable, err)
	}
	r.Header.Set("Content-Type", contentType)
	r.Header.Set("User-Agent", "culvert")
	describe(r.Header, b)
	if err := s.authorize(r.Header); err != nil {
		return err
	}
	response, err := s.client.Do(r)
	if err != nil {
		return fail(ReasonUnreachable, err)
	}
	_, _ = io.CopyN(io.Discard, response.Body, maxBodyBytes)
	_ = response.Body.Close()
	return s.judge(response)
}

// describe says what is in the batch. The id is the same whenever the same records are sent, so that a receiver
// knows a batch again; how records fall into batches may differ after a restart, their node and index do not.
func describe(header http.Header, b *batch) {
	header.Set("Culvert-Node", b.node)
	if b.checkpoint != nil {
		header.Set("Culvert-Batch", fmt.Sprintf("%s:checkpoint:%d", b.node, b.size))
		return
	}
	header.Set("Culvert-First-Index", strconv.FormatUint(b.first(), 10))
	header.Set("Culvert-Last-Index", strconv.FormatUint(b.last(), 10))
	header.Set("Culvert-Batch", fmt.Sprintf("%s:%d-%d", b.node, b.first(), b.last()))
}

// authorize reads the credentials anew: they may have been replaced.
func (s *httpSink) authorize(header http.Header) error {
	if s.spec.TokenFile != "" {
		token, err := readSecret(s.spec.TokenFile)
		if err != nil {
			return err
		}
		header.Set("Authorization", "Bearer "+string(oneLine(token)))
	}
	if s.spec.SecretFile == "" {
		return nil
	}
	secret, err := readSecret(s.spec.SecretFile)
	if err != nil {
		return err
	}
	header.Set("Culvert-Signature", signature(oneLine(secret), s.now(), s.body))
	clear(secret)
	return nil
}

// signature has the form of that of webhooks: the time in milliseconds, and HMAC-SHA256 of time, dot and body.
func signature(secret []byte, at time.Time, body []byte) string {
	t := strconv.FormatInt(at.UnixMilli(), 10)
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(t + "."))
	mac.Write(body)
	return "t=" + t + ", v1=" + hex.EncodeToString(mac.Sum(nil))
}

// judge makes of a status what it means.
func (s *httpSink) judge(response *http.Response) error {
	status := response.StatusCode
	if status >= 200 && status <= 299 {
		return nil
	}
	f := &failure{reason: ReasonStatus, err: fmt.Errorf("the receiver answered %d", status)}
	switch status {
	case http.StatusRequestEntityTooLarge:
		f.reason = ReasonTooLarge
	case http.StatusTooManyRequests:
		f.reason = ReasonTooMany
	}
	f.after = retryAfter(response.Header.Get("Retry-After"), s.now())
	return f
}

// retryAfter reads both forms of the header (RFC 9110 section 10.2.3), within bounds.
func retryAfter(text string, now time.Time) time.Duration {
	if seconds, err := strconv.ParseUint(text, 10, 31); err == nil {
		return min(time.Duration(seconds)*time.Second, maxRetryAfter)
	}
	at, err := http.ParseTime(text)
	if err != nil {
		return 0
	}
	return min(max(0, at.Sub(now)), maxRetryAfter)
}
