//go:build e2e

package e2e_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// fault is what the proxy does to one token request.
type fault string

// The faults. Those before the provider has seen the request leave the refresh token as it was; after the
// others it is used up, and who sent it does not know.
const (
	none         fault = "answered"
	slowRequest  fault = "answered, the request came late"
	slowReply    fault = "answered, the reply came late"
	loseRequest  fault = "lost before the provider saw it"
	busy         fault = "answered with 503 before the provider saw it"
	brokenPage   fault = "answered with a page of HTML before the provider saw it"
	loseReply    fault = "carried out, and the reply lost"
	cutReply     fault = "carried out, and the reply cut short"
	gatewayError fault = "carried out, and answered with 502"
	gatewayPage  fault = "carried out, and answered with a page of HTML and 200"
	sendersDeath fault = "its sender was killed"
)

var (
	harmless = []fault{slowRequest, slowReply, loseRequest, busy, brokenPage}
	lossy    = append([]fault{loseReply, loseReply, cutReply, gatewayError, gatewayPage}, harmless...)
)

const (
	// grace is how long the proxy answers a refresh token as it did before, on behalf of the provider, and
	// until the replacement is used for the first time: so do those that rotate and mean it well.
	grace = 10 * time.Minute
	// A late request or reply is late by up to lateness, far below the sender's patience.
	lateness = 4 * time.Second
	// faulty of a hundred token requests suffer a fault.
	faulty = 12
)

// answered is a reply of the provider with tokens.
type answered struct {
	access, refresh string
	// body is the whole reply.
	body  []byte
	at    time.Time
	lives time.Duration
}

// faultProxy stands between the program's processes and the token endpoint.
type faultProxy struct {
	ledger *ledger
	chaos  *chaos
	dice   *dice
	// lenient: there is a grace period, so that replies may be lost.
	lenient bool
	backend string
	base    string
	port    uint16

	mu sync.Mutex
	// calm ends the faults; guarded by mu.
	calm bool
	// held processes' requests wait before they are forwarded. Guarded by mu; a channel is closed when its
	// process's requests may go on.
	held map[int]chan struct{}
}

// newFaultProxy listens until the end of the test.
func newFaultProxy(t *testing.T, lenient bool, d *dice) *faultProxy {
	t.Helper()
	p := &faultProxy{lenient: lenient, dice: d, held: map[int]chan struct{}{}}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p.base, p.port = "http://"+l.Addr().String(), l.Addr().(*net.TCPAddr).AddrPort().Port()
	s := &http.Server{Handler: p}
	go func() { _ = s.Serve(l) }()
	t.Cleanup(func() { _ = s.Close() })
	return p
}

// quiet ends the faults.
func (p *faultProxy) quiet() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.calm = true
}

// hold keeps what a process sends from now on from being forwarded, until release.
func (p *faultProxy) hold(replica int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.held[replica] = make(chan struct{})
}

func (p *faultProxy) release(replica int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	close(p.held[replica])
	delete(p.held, replica)
}

func (p *faultProxy) draw() fault {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.calm || p.dice.n(100) >= faulty {
		return none
	}
	if p.lenient {
		return lossy[p.dice.n(len(lossy))]
	}
	return harmless[p.dice.n(len(harmless))]
}

// ServeHTTP takes token requests alone: nothing else here has a browser.
func (p *faultProxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	sent, err := io.ReadAll(r.Body)
	form, parseErr := url.ParseQuery(string(sent))
	if err != nil || parseErr != nil {
		return // the sender was killed while it sent: the provider saw nothing either
	}
	g, s := p.ledger.arrive(form.Get("refresh_token"), p.chaos.ownerOf(r.RemoteAddr))
	if g == nil {
		http.Error(w, `{"error":"invalid_grant"}`, http.StatusBadRequest)
		return
	}
	x := &passage{faultProxy: p, g: g, s: s, w: w, r: r, sent: sent, fault: p.draw()}
	x.run()
}

// passage is one token request on its way.
type passage struct {
	*faultProxy
	g     *generation
	s     *send
	w     http.ResponseWriter
	r     *http.Request
	sent  []byte
	fault fault
}

func (x *passage) run() {
	if x.s.replica < 0 && knowsSenders && !x.lenient {
		// Nobody would read the reply. A provider that had seen the request would have lost the grant.
		x.lose(sendersDeath)
	}
	killed := x.chaos.at(received, x.s.replica)
	if killed && (!x.lenient || x.dice.n(2) == 0) {
		x.lose(sendersDeath)
	}
	x.pass()
	switch x.fault {
	case slowRequest:
		x.late()
	case loseRequest:
		x.lose(loseRequest)
	case busy:
		x.reply(http.StatusServiceUnavailable, "application/json", []byte(`{"error":"temporarily_unavailable"}`))
		return
	case brokenPage:
		x.reply(http.StatusInternalServerError, "text/html", []byte("<!doctype html><title>Oops</title>"))
		return
	}
	status, body, err := x.forward()
	if err != nil {
		x.ledger.fail(x.g.of, "the provider does not answer: %v", err)
		x.lose(loseRequest)
	}
	switch x.fault {
	case slowReply:
		x.late()
	case loseReply:
		x.lose(loseReply)
	case cutReply:
		x.w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		_, _ = x.w.Write(body[:len(body)/2])
		x.lose(cutReply)
	case gatewayError:
		x.reply(http.StatusBadGateway, "application/json", []byte(`{"error":"server_error"}`))
		return
	case gatewayPage:
		x.reply(http.StatusOK, "text/html", []byte("<!doctype html><title>Back in a minute</title>"))
		return
	}
	x.reply(status, "application/json", body)
}

// pass waits until the sender's requests may be forwarded. It does not return if the sender is dead by then.
func (x *passage) pass() {
	for {
		x.mu.Lock()
		held := x.held[x.s.replica]
		alive := x.r.Context().Err() == nil && (held != nil || x.ledger.forward(x.s))
		x.mu.Unlock()
		if !alive {
			x.lose(sendersDeath)
		}
		if held == nil {
			return
		}
		select {
		case <-held:
		case <-x.r.Context().Done():
			x.lose(sendersDeath)
		}
	}
}

// lose breaks the connection, and does not return.
func (x *passage) lose(how fault) {
	x.ledger.end(x.g, x.s, false, string(how))
	panic(http.ErrAbortHandler)
}

func (x *passage) late() {
	select {
	case <-time.After(x.dice.upTo(lateness)):
	case <-x.r.Context().Done():
		x.lose(sendersDeath)
	}
}

// reply writes it as a whole, and lets the sender be struck right then or a little later.
func (x *passage) reply(status int, kind string, body []byte) {
	x.w.Header().Set("Content-Type", kind)
	x.w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	x.w.WriteHeader(status)
	_, err := x.w.Write(body)
	if err == nil {
		err = http.NewResponseController(x.w).Flush()
	}
	// Who is killed from now on may have read it and stored nothing.
	delivered := err == nil && (x.fault == none || x.fault == slowRequest || x.fault == slowReply)
	x.ledger.end(x.g, x.s, delivered, string(x.fault))
	x.chaos.at(replied, x.s.replica)
	time.AfterFunc(x.dice.upTo(30*time.Millisecond), func() { x.chaos.at(soonAfter, x.s.replica) })
}

// forward asks the provider, or repeats what it said within its grace.
func (x *passage) forward() (int, []byte, error) {
	x.g.turn.Lock()
	defer x.g.turn.Unlock()
	before, found, used := x.ledger.successor(x.g)
	if found && x.lenient && !used && time.Since(before.at) < grace {
		body, err := before.again()
		return http.StatusOK, body, err
	}
	req, err := http.NewRequest(x.r.Method, x.backend+x.r.URL.Path, bytes.NewReader(x.sent))
	if err != nil {
		return 0, nil, err
	}
	req.Header = x.r.Header.Clone()
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return 0, nil, err
	}
	if res.StatusCode != http.StatusOK {
		x.ledger.fail(x.g.of, "the provider refuses token %d, of which it has given %s: %d %s", x.g.n, heirs(found), res.StatusCode, cut(body))
		return res.StatusCode, body, nil
	}
	a, err := parseAnswer(body)
	if err == nil {
		x.ledger.rotated(x.g, a)
	}
	return res.StatusCode, body, err
}

func heirs(found bool) string {
	if found {
		return "the next one"
	}
	return "no other"
}

// cut is the beginning of a refusal, in which no token stands.
func cut(body []byte) string { return strings.TrimSpace(string(body[:min(len(body), 200)])) }

func parseAnswer(body []byte) (answered, error) {
	var reply struct {
		AccessToken  string `json:"access_token"`
		RefreshToken string `json:"refresh_token"`
		ExpiresIn    int    `json:"expires_in"`
	}
	if err := json.Unmarshal(body, &reply); err != nil {
		return answered{}, err
	}
	if reply.AccessToken == "" || reply.RefreshToken == "" {
		return answered{}, fmt.Errorf("no rotation in the reply")
	}
	return answered{reply.AccessToken, reply.RefreshToken, body, time.Now(), time.Duration(reply.ExpiresIn) * time.Second}, nil
}

// again is the same reply some time later: its access token ends when it ends.
func (a answered) again() ([]byte, error) {
	var reply map[string]any
	if err := json.Unmarshal(a.body, &reply); err != nil {
		return nil, err
	}
	reply["expires_in"] = max(0, int((a.lives - time.Since(a.at)).Seconds()))
	return json.Marshal(reply)
}
