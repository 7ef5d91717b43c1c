package etcdtest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// CA issues certificates of a test's own. Its methods are for one goroutine.
type CA struct {
	// File has its certificate (PEM).
	File string
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	next int64
}

// Pair is a certificate and its key in files (PEM).
type Pair struct{ CertFile, KeyFile string }

// NewCA makes one in a directory of the test.
func NewCA(t testing.TB) *CA {
	t.Helper()
	ca := &CA{dir: t.TempDir(), next: 1}
	template := ca.template("culvert test CA")
	template.IsCA, template.BasicConstraintsValid, template.KeyUsage = true, true, x509.KeyUsageCertSign
	ca.key = mustKey(t)
	der, err := x509.CreateCertificate(rand.Reader, template, template, ca.key.Public(), ca.key)
	if err != nil {
		t.Fatal(err)
	}
	if ca.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	ca.File = filepath.Join(ca.dir, "ca.pem")
	mustPEM(t, ca.File, "CERTIFICATE", der)
	return ca
}

// Issue makes a certificate for this machine's loopback addresses, for servers and clients alike. The name
// is its common name and that of its files, which a later certificate of the same name replaces.
func (ca *CA) Issue(t testing.TB, name string) Pair {
	t.Helper()
	template := ca.template(name)
	template.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback}
	template.DNSNames = []string{"localhost"}
	template.KeyUsage = x509.KeyUsageDigitalSignature
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	key := mustKey(t)
	der, err := x509.CreateCertificate(rand.Reader, template, ca.cert, key.Public(), ca.key)
	if err != nil {
		t.Fatal(err)
	}
	text, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	pair := Pair{CertFile: filepath.Join(ca.dir, name+".pem"), KeyFile: filepath.Join(ca.dir, name+".key")}
	mustPEM(t, pair.CertFile, "CERTIFICATE", der)
	mustPEM(t, pair.KeyFile, "PRIVATE KEY", text)
	return pair
}

// Client is how a client trusts the CA's servers. It shows a certificate if one is given.
func (ca *CA) Client(t testing.TB, shown ...Pair) *tls.Config {
	t.Helper()
	c := &tls.Config{RootCAs: x509.NewCertPool(), MinVersion: tls.VersionTLS12}
	c.RootCAs.AddCert(ca.cert)
	for _, pair := range shown {
		loaded, err := tls.LoadX509KeyPair(pair.CertFile, pair.KeyFile)
		if err != nil {
			t.Fatal(err)
		}
		c.Certificates = append(c.Certificates, loaded)
	}
	return c
}

func (ca *CA) template(name string) *x509.Certificate {
	ca.next++
	return &x509.Certificate{
		SerialNumber: big.NewInt(ca.next), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
	}
}

func mustKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// mustPEM writes a file as careful people do: whole, under another name first.
func mustPEM(t testing.TB, path, kind string, der []byte) {
	t.Helper()
	text := pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
	if err := os.WriteFile(path+".new", text, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}
