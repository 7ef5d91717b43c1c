package webhooks

import (
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"culvert/connectors"
	"culvert/internal/events"
	"culvert/keys"
)

const (
	userAgent = "culvert"
	// maxHeaderBytes bounds the header of an answer; nothing of it is looked at.
	maxHeaderBytes = 16 << 10
	// maxBodyBytes is what is read of an answer, so that the connection can be used again.
	maxBodyBytes = 4 << 10
)

// sender makes attempts. It is safe for concurrent use.
type sender struct {
	client  *http.Client
	timeout time.Duration
	now     func() time.Time
}

// newSender makes a client that follows no redirect and asks no proxy, which would resolve the name itself.
func newSender(egress *connectors.Egress, timeout time.Duration, now func() time.Time) *sender {
	return &sender{
		timeout: timeout, now: now,
		client: &http.Client{
			Transport: &http.Transport{
				Proxy:                  nil,
				DialContext:            egress.DialContext,
				TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12},
				DisableCompression:     true, // a small answer must not unfold into a large one
				MaxResponseHeaderBytes: maxHeaderBytes,
				MaxIdleConnsPerHost:    1,
				IdleConnTimeout:        30 * time.Second,
			},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
}

func (s *sender) close() { s.client.CloseIdleConnections() }

// attempt is the outcome of one: a status, or the reason why there is none, or both.
type attempt struct {
	status  int
	reason  Reason
	at      time.Time
	latency time.Duration
}

func (a attempt) accepted() bool { return a.reason == "" }

// refusedAsForged reports an answer that a receiver may give to a signature that it does not know.
func (a attempt) refusedAsForged() bool { return a.status >= 400 && a.status <= 499 }

// send makes one attempt. The signature under the first signer is what SDKs verify; all are in a header of our
// own.
func (s *sender) send(ctx context.Context, url string, e *events.Stored, signers []keys.WebhookSigner) attempt {
	a := attempt{at: s.now(), reason: ReasonBroken}
	body, err := events.AppendJSON(nil, e)
	if err != nil {
		return a
	}
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return a
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("User-Agent", userAgent)
	sign(r.Header, a.at, body, signers)
	began := time.Now()
	response, err := s.client.Do(r)
	a.latency = time.Since(began)
	if err != nil {
		a.reason = reasonOf(err)
		return a
	}
	_, _ = io.CopyN(io.Discard, response.Body, maxBodyBytes)
	_ = response.Body.Close()
	a.status, a.reason = response.StatusCode, reasonOfStatus(response.StatusCode)
	return a
}

// sign sets the headers (contract section 3). Python's SDK splits at a comma and a space, and wants two parts.
func sign(header http.Header, at time.Time, body []byte, signers []keys.WebhookSigner) {
	const separator = ", v1="
	parts := []string{"t=" + strconv.FormatInt(at.UnixMilli(), 10)}
	for _, signer := range signers {
		parts = append(parts, signer.Sign(at, body))
	}
	header.Set("WorkOS-Signature", strings.Join(parts[:2], separator))
	header.Set("Culvert-Signature", strings.Join(parts, separator))
}
