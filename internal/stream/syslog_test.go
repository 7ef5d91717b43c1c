package stream_test

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"culvert/internal/audit"
	"culvert/internal/stream"
)

// authority is a CA of a test, and where its certificate is.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	file string
	dir  string
}

func MustAuthority(t testing.TB) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "CA"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	must(t, err)
	cert, err := x509.ParseCertificate(der)
	must(t, err)
	a := &authority{cert: cert, key: key, dir: t.TempDir()}
	a.file = filepath.Join(a.dir, "ca.pem")
	must(t, os.WriteFile(a.file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	return a
}

// MustIssue makes a certificate for 127.0.0.1 and writes it and its key into files.
func (a *authority) MustIssue(t testing.TB, name string) (pair tls.Certificate, certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	must(t, err)
	private, err := x509.MarshalPKCS8PrivateKey(key)
	must(t, err)
	certPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	keyPEM := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})
	certFile, keyFile = filepath.Join(a.dir, name+".pem"), filepath.Join(a.dir, name+".key")
	must(t, os.WriteFile(certFile, certPEM, 0o600))
	must(t, os.WriteFile(keyFile, keyPEM, 0o600))
	pair, err = tls.X509KeyPair(certPEM, keyPEM)
	must(t, err)
	return pair, certFile, keyFile
}

// syslogReceiver is a receiver of RFC 5425 that can be told to break connections.
type syslogReceiver struct {
	received
	listener net.Listener
	// behave decides what becomes of connection number n: how many messages are read before it is broken; below
	// zero it is served to its end. One that is broken may have got more than it counts: what counts is read.
	behave   func(n int) int
	serving  sync.WaitGroup
	mu       sync.Mutex
	messages []string
	conns    int
}

func MustReceiver(t testing.TB, config *tls.Config, behave func(n int) int) *syslogReceiver {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	if config != nil {
		listener = tls.NewListener(listener, config)
	}
	r := &syslogReceiver{listener: listener, behave: behave}
	r.serving.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			r.serve(conn)
		}
	})
	t.Cleanup(func() { _ = listener.Close(); r.serving.Wait() })
	return r
}

func (r *syslogReceiver) serve(conn net.Conn) {
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(patience))
	r.mu.Lock()
	n := r.conns
	r.conns++
	r.mu.Unlock()
	most, in := r.behave(n), bufio.NewReader(conn)
	for i := 0; most < 0 || i < most; i++ {
		message, err := frame(in)
		if err != nil {
			return
		}
		r.mu.Lock()
		r.messages = append(r.messages, message)
		r.mu.Unlock()
		if index, ok := indexOf(message); ok {
			r.add(index)
		}
	}
	// Broken: TCP is reset, and what was not read is lost.
	raw := conn
	if secured, ok := conn.(*tls.Conn); ok {
		raw = secured.NetConn()
	}
	_ = raw.(*net.TCPConn).SetLinger(0)
	_ = raw.Close()
}

// frame reads one message (RFC 5425 section 4.3).
func frame(in *bufio.Reader) (string, error) {
	length, err := in.ReadString(' ')
	if err != nil {
		return "", err
	}
	n, err := strconv.Atoi(strings.TrimSuffix(length, " "))
	if err != nil {
		return "", err
	}
	message := make([]byte, n)
	_, err = io.ReadFull(in, message)
	return string(message), err
}

func (r *syslogReceiver) all() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]string(nil), r.messages...)
}

var (
	inJSON   = regexp.MustCompile(`"index":(\d+)`)
	inParams = regexp.MustCompile(` index="(\d+)"`)
)

func indexOf(message string) (uint64, bool) {
	for _, form := range []*regexp.Regexp{inParams, inJSON} {
		if found := form.FindStringSubmatch(message); found != nil {
			index, err := strconv.ParseUint(found[1], 10, 64)
			return index, err == nil
		}
	}
	return 0, false
}

// TestSyslogSendsAgainWhatWasNotAcknowledged: connections break at every place, and each record arrives, in order.
// What counts as received is what the receiver has read, not what the kernel took.
func TestSyslogSendsAgainWhatWasNotAcknowledged(t *testing.T) {
	ca := MustAuthority(t)
	pair, _, _ := ca.MustIssue(t, "server")
	_, certFile, keyFile := ca.MustIssue(t, "client")
	clients := x509.NewCertPool()
	clients.AddCert(ca.cert)
	receiver := MustReceiver(t, &tls.Config{Certificates: []tls.Certificate{pair}, ClientCAs: clients, ClientAuth: tls.RequireAndVerifyClientCert},
		func(n int) int {
			if n < 12 && n%3 != 2 {
				return 5 * n
			}
			return -1
		})
	l, dir := MustLog(t), t.TempDir()
	MustAppend(t, l, 300)
	s := MustStart(t, l, dir, stream.Spec{
		Name: "siem", Kind: stream.Syslog, Address: receiver.listener.Addr().String(), Facility: stream.DefaultFacility,
		CAFile: ca.file, CertFile: certFile, KeyFile: keyFile, Batch: 10,
	})
	MustAppend(t, l, 100)
	caughtUp(t, s, l)
	if again := wantAll(t, receiver.received.all(), l.Size()); again == 0 {
		t.Error("connections were broken, and nothing came twice: the test broke nothing")
	}
}

// TestSyslogThatNeverEnds: a receiver that reads all and never ends a connection has acknowledged nothing.
func TestSyslogThatNeverEnds(t *testing.T) {
	l, dir := MustLog(t), t.TempDir()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer func() { _ = listener.Close() }()
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() { _, _ = io.Copy(io.Discard, conn) }() // and holds it
		}
	}()
	s, err := stream.Start(stream.Config{Log: l, Dir: dir, Timing: stream.Timing{
		Poll: 5 * time.Millisecond, Timeout: 50 * time.Millisecond, First: time.Millisecond, Longest: time.Millisecond, Settle: time.Millisecond,
	}, Streams: []stream.Spec{{Name: "siem", Kind: stream.Syslog, Address: listener.Addr().String(), Plain: true}}})
	must(t, err)
	eventually(t, "stalled", func() bool { return s.Statuses(time.Now())[0].Reason == stream.ReasonNoEnd })
	if next, _ := s.Needed(); next != 0 {
		t.Errorf("the place moved to %d", next)
	}
	must(t, s.Close())
}

// TestSyslogChecksCertificates: a receiver that is not the one named gets nothing.
func TestSyslogChecksCertificates(t *testing.T) {
	ca, other := MustAuthority(t), MustAuthority(t)
	pair, _, _ := ca.MustIssue(t, "server")
	receiver := MustReceiver(t, &tls.Config{Certificates: []tls.Certificate{pair}}, func(int) int { return -1 })
	_, port, err := net.SplitHostPort(receiver.listener.Addr().String())
	must(t, err)
	l, dir := MustLog(t), t.TempDir()
	spec := stream.Spec{Name: "siem", Kind: stream.Syslog, Address: receiver.listener.Addr().String(), CAFile: other.file}
	named := spec
	named.Name, named.Address, named.CAFile = "named", "localhost:"+port, ca.file // the certificate is for the address
	s := MustStart(t, l, dir, spec, named)
	for i := range 2 {
		eventually(t, "refused", func() bool { return s.Statuses(time.Now())[i].Reason == stream.ReasonTLS })
	}
	if got := receiver.all(); len(got) != 0 {
		t.Errorf("got %q", got)
	}
	must(t, s.Close())
	spec.CAFile = ca.file
	caughtUp(t, MustStart(t, l, dir, spec), l)
}

// message is RFC 5424's grammar, as far as we use it.
var message = regexp.MustCompile(`(?s)^<(\d{1,3})>1 (\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z) ([!-~]{1,255}) culvert (\d+) ([!-~]{1,32}) (-|\[culvert@32473(?: [!-~]+="(?:[^"\\\]]|\\["\\\]])*")*\])(?: (.*))?$`)

// TestSyslogMessages reads both formats as a receiver does.
func TestSyslogMessages(t *testing.T) {
	receiver := MustReceiver(t, nil, func(int) int { return -1 })
	l, dir := MustLog(t), t.TempDir()
	for _, r := range []audit.Result{audit.Allowed, audit.Denied, audit.Failed} {
		_, err := l.Append(t.Context(), audit.Record{
			Action: "vault.data.read", Phase: audit.Access, Result: r, ObjectName: "a\"b\\c]d\ne é", KeyContext: map[string]string{"t": "]"},
		})
		must(t, err)
	}
	MustNotary(t, l)
	spec := stream.Spec{Name: "json", Kind: stream.Syslog, Address: receiver.listener.Addr().String(), Plain: true, Facility: 4}
	caughtUp(t, MustStart(t, l, dir, spec), l)
	spec.Name, spec.Format = "structured", stream.Structured
	caughtUp(t, MustStart(t, l, dir, spec), l)
	eventually(t, "checkpoints", func() bool { return strings.Count(strings.Join(receiver.all(), ""), " checkpoint ") >= 2 })
	severities := map[string]int{}
	for _, text := range receiver.all() {
		parts := message.FindStringSubmatch(text)
		if parts == nil {
			t.Fatalf("no message of RFC 5424: %q", text)
		}
		if parts[6] == "-" && !json.Valid([]byte(parts[7])) {
			t.Errorf("not JSON: %q", parts[7])
		}
		if strings.ContainsAny(text, "\n\r") {
			t.Errorf("an end of line within a message: %q", text)
		}
		severities[parts[1]]++
	}
	for result, pri := range map[string]string{"allowed": "38", "denied": "36", "failed": "35"} {
		if severities[pri] < 2 {
			t.Errorf("%s: %d messages with PRI %s: %v", result, severities[pri], pri, severities)
		}
	}
	if want := `object_name="a\"b\\c\]d` + "\uFFFD" + `e é"`; !strings.Contains(strings.Join(receiver.all(), "\n"), want) {
		t.Errorf("no %s", want)
	}
}

// noStore keeps checkpoints nowhere.
type noStore struct{}

func (noStore) Put(context.Context, string, time.Time, []byte) error { return nil }
func (noStore) Newest(context.Context) (map[string][]byte, error)    { return nil, nil }
func (noStore) Nodes(context.Context) ([]string, error)              { return []string{"node-a"}, nil }

// noteSigner signs with a key of the test.
type noteSigner struct {
	note.Signer
	verifier string
}

func (s noteSigner) VerifierKey() string { return s.verifier }

func (noteSigner) Earlier() []audit.Signer { return nil }

// MustNotary signs a checkpoint of what is there, and ends.
func MustNotary(t testing.TB, l *audit.Log) {
	t.Helper()
	private, public, err := note.GenerateKey(rand.Reader, "test")
	must(t, err)
	signer, err := note.NewSigner(private)
	must(t, err)
	n, err := audit.StartNotary(audit.NotaryConfig{Log: l, Store: noStore{}, Signer: func(context.Context) (audit.Signer, error) {
		return noteSigner{signer, public}, nil
	}})
	must(t, err)
	must(t, n.Close())
	if c, _ := l.LastCheckpoint(); c.Size == 0 {
		t.Fatal(fmt.Errorf("no checkpoint: %w", n.Health()))
	}
}
