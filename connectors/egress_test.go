package connectors_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"

	"culvert/connectors"

	"golang.org/x/net/dns/dnsmessage"
)

// TestEgressRanges has a row for each range that no provider lives in: its ends, and that it is refused
// as itself, behind a name, and as IPv4 in IPv6.
func TestEgressRanges(t *testing.T) {
	e := MustEgress(t, connectors.EgressConfig{})
	for _, tc := range []struct{ first, last, rule string }{
		{"0.0.0.0", "0.255.255.255", "this network"},
		{"10.0.0.0", "10.255.255.255", "private"},
		{"100.64.0.0", "100.127.255.255", "carrier-grade NAT"},
		{"127.0.0.0", "127.255.255.255", "loopback"},
		{"168.63.129.16", "168.63.129.16", "metadata"},
		{"169.254.0.0", "169.254.255.255", "link-local"},
		{"169.254.169.254", "169.254.169.254", "metadata"},
		{"172.16.0.0", "172.31.255.255", "private"},
		{"192.0.0.0", "192.0.0.255", "protocol assignments"},
		{"192.0.2.0", "192.0.2.255", "documentation"},
		{"192.31.196.0", "192.31.196.255", "reverse DNS"},
		{"192.52.193.0", "192.52.193.255", "tunnelling"},
		{"192.88.99.0", "192.88.99.255", "6to4"},
		{"192.168.0.0", "192.168.255.255", "private"},
		{"192.175.48.0", "192.175.48.255", "reverse DNS"},
		{"198.18.0.0", "198.19.255.255", "benchmarking"},
		{"198.51.100.0", "198.51.100.255", "documentation"},
		{"203.0.113.0", "203.0.113.255", "documentation"},
		{"224.0.0.0", "239.255.255.255", "multicast"},
		{"240.0.0.0", "255.255.255.255", "reserved"},

		{"::", "::", "unspecified"},
		{"::1", "::1", "loopback"},
		{"::2", "::7f00:1", "IPv4-compatible"},
		{"::ffff:0.0.0.0", "::ffff:0.255.255.255", "this network"},
		{"::ffff:10.0.0.0", "::ffff:10.255.255.255", "private"},
		{"::ffff:127.0.0.1", "::ffff:127.0.0.1", "loopback"},
		{"::ffff:169.254.169.254", "::ffff:169.254.169.254", "metadata"},
		{"::ffff:192.168.0.1", "::ffff:192.168.255.255", "private"},
		{"64:ff9b::", "64:ff9b::ffff:ffff", "NAT64"},
		{"64:ff9b:1::", "64:ff9b:1:ffff:ffff:ffff:ffff:ffff", "NAT64"},
		{"100::", "100::ffff:ffff:ffff:ffff", "discard"},
		{"2001::", "2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff", "protocol assignments"},
		{"2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", "documentation"},
		{"2002::", "2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "6to4"},
		{"3fff::", "3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff", "documentation"},
		{"5f00::", "5f00:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "segment routing"},
		{"fc00::", "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "unique local"},
		{"fd00:ec2::254", "fd00:ec2::254", "metadata"},
		{"fd20:ce::254", "fd20:ce::254", "metadata"},
		{"fe80::", "febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "link-local"},
		{"fe80::1%eth0", "fe80::1%eth0", "link-local"},
		{"fd00::1%eth0", "fd00::1%eth0", "unique local"},
		{"fec0::", "feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "site-local"},
		{"ff00::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "multicast"},
		{"4000::", "4000::", "not global unicast"},
		{"1fff:ffff::", "1fff:ffff::", "not global unicast"},
		{"8000::1", "fbff::1", "not global unicast"},
	} {
		for _, text := range []string{tc.first, tc.last} {
			ip := netip.MustParseAddr(text)
			for _, host := range []string{"provider.example", text} {
				err := e.Judge(host, 443, ip)
				if !errors.Is(err, connectors.ErrBlocked) || !strings.Contains(err.Error(), tc.rule) {
					t.Errorf("%s behind %s: %v, want it blocked as %s", text, host, err, tc.rule)
				}
				if err != nil && strings.Contains(err.Error(), text) {
					t.Errorf("%s: the error names the address: %v", text, err)
				}
			}
		}
	}
	// The twin: the addresses just outside, and some of everyday life.
	for _, text := range []string{
		"1.0.0.0", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "126.255.255.255", "128.0.0.0",
		"168.63.129.15", "168.63.129.17", "169.253.255.255", "169.255.0.0", "172.15.255.255", "172.32.0.0",
		"191.255.255.255", "192.0.1.0", "192.0.3.0", "192.167.255.255", "192.169.0.0", "198.17.255.255", "198.20.0.0",
		"198.51.99.255", "203.0.114.0", "223.255.255.255", "140.82.112.3", "8.8.8.8", "::ffff:8.8.8.8",
		"2000::", "2001:200::", "2001:4860:4860::8888", "2606:50c0:8000::153", "2a00:1450:4001:80b::200a", "3ffe:ffff::",
	} {
		if err := e.Judge("provider.example", 443, netip.MustParseAddr(text)); err != nil {
			t.Errorf("%s: %v, want it allowed", text, err)
		}
	}
}

func TestEgressAllow(t *testing.T) {
	e := MustEgress(t, connectors.EgressConfig{Allow: []string{
		"ghes.corp", "GitLab.Corp.:8443", "10.7.0.0/16", "192.168.3.4", "192.168.3.4:9000", "127.0.0.1:8500", "fd12::/16",
		"localhost:8600", "169.254.9.9",
	}})
	for _, tc := range []struct {
		host string
		port uint16
		ip   string
		ok   bool
	}{
		{"ghes.corp", 443, "10.1.1.1", true},
		{"GHES.corp.", 443, "10.1.1.1", true},
		{"ghes.corp", 8443, "10.1.1.1", false},
		{"ghes.corp", 443, "fd99::1", true},
		{"ghes.corp", 443, "127.0.0.1", true},
		{"ghes.corp", 443, "140.82.112.3", true},
		// A name does not open the metadata service, whoever owns it.
		{"ghes.corp", 443, "169.254.169.254", false},
		{"ghes.corp", 443, "fd00:ec2::254", false},
		{"ghes.corp", 443, "fe80::1", false},
		{"ghes.corp", 443, "0.0.0.0", false},
		{"x.ghes.corp", 443, "10.1.1.1", false},
		{"provider.example", 443, "140.82.112.3", true},
		{"provider.example", 8443, "140.82.112.3", false},
		{"provider.example", 25, "2606:50c0:8000::153", false},
		{"evilghes.corp", 443, "10.1.1.1", false},
		{"gitlab.corp", 8443, "10.1.1.1", true},
		{"gitlab.corp", 443, "10.1.1.1", false},
		{"gitlab.corp", 443, "140.82.112.3", true},
		{"other.corp", 443, "10.7.255.255", true},
		{"other.corp", 5432, "10.7.255.255", true},
		{"other.corp", 443, "::ffff:10.7.1.1", true},
		{"other.corp", 443, "10.8.0.0", false},
		{"other.corp", 443, "fd12:1::1", true},
		{"other.corp", 443, "fd13::1", false},
		{"192.168.3.4", 443, "192.168.3.4", true},
		{"192.168.3.4", 9000, "192.168.3.4", true},
		{"192.168.3.4", 9001, "192.168.3.4", false},
		{"192.168.3.5", 443, "192.168.3.5", false},
		{"127.0.0.1", 8500, "127.0.0.1", true},
		{"127.0.0.1", 8501, "127.0.0.1", false},
		{"localhost", 8600, "127.0.0.1", true},
		{"localhost", 8600, "::1", true},
		{"localhost", 8601, "127.0.0.1", false},
		{"localhost", 8600, "10.7.1.1", false},
		{"169.254.9.9", 443, "169.254.9.9", true},
	} {
		err := e.Judge(tc.host, tc.port, netip.MustParseAddr(tc.ip))
		if (err == nil) != tc.ok {
			t.Errorf("%s:%d at %s: %v, want allowed: %v", tc.host, tc.port, tc.ip, err, tc.ok)
		}
	}
	for _, entry := range []string{
		"", "*.corp", "10.0.0.0/33", "0.0.0.0/0", "::/0", "host:0", "host:99999", "host:x", "https://host", "a b", "::ffff:10.0.0.0/104",
		"1.2.3", "1.2.3:8500", "10.1.2.300", "2130706433", "127.1", "0x7f.1", "0x7f000001", "a.0", "a..b", ".corp", "10.0.0/8",
	} {
		if _, err := connectors.NewEgress(connectors.EgressConfig{Allow: []string{entry}}); err == nil {
			t.Errorf("the entry %q was accepted", entry)
		}
	}
}

func TestEgressLoopback(t *testing.T) {
	dev := MustEgress(t, connectors.EgressConfig{AllowLoopback: true})
	for _, tc := range []struct {
		host, ip string
		ok       bool
	}{
		{"127.0.0.1", "127.0.0.1", true},
		{"127.9.9.9", "127.9.9.9", true},
		{"localhost", "127.0.0.1", true},
		{"LOCALHOST.", "::1", true},
		{"::1", "::1", true},
		// A public name that leads to this machine is an attack in development too.
		{"provider.example", "127.0.0.1", false},
		// And localhost is never somebody else.
		{"localhost", "10.0.0.1", false},
		{"localhost", "140.82.112.3", false},
		{"provider.example", "10.0.0.1", false},
	} {
		err := dev.Judge(tc.host, 8500, netip.MustParseAddr(tc.ip))
		if (err == nil) != tc.ok {
			t.Errorf("%s at %s: %v, want allowed: %v", tc.host, tc.ip, err, tc.ok)
		}
	}
}

func TestEgressCheckURL(t *testing.T) {
	production := MustEgress(t, connectors.EgressConfig{})
	dev := MustEgress(t, connectors.EgressConfig{AllowLoopback: true})
	listed := MustEgress(t, connectors.EgressConfig{Allow: []string{"127.0.0.1:8500", "idp.example:8443"}})
	for _, tc := range []struct {
		egress *connectors.Egress
		url    string
		ok     bool
	}{
		{production, "https://idp.example/token", true},
		{production, "https://idp.example:443/token?tenant=a%20b", true},
		{production, "https://140.82.112.3/token", true},
		{production, "https://idp.example:8443/token", false},
		{listed, "https://idp.example:8443/token", true},
		{listed, "https://idp.example:8444/token", false},
		{production, "http://idp.example/token", false},
		{dev, "http://idp.example/token", false},
		{production, "http://127.0.0.1:8500/token", false},
		{listed, "http://127.0.0.1:8500/token", true},
		{listed, "http://127.0.0.1:8501/token", false},
		{dev, "http://127.0.0.1:8500/token", true},
		{dev, "http://[::1]:8500/token", true},
		{dev, "http://localhost:8500/token", true},
		{production, "https://localhost/token", false},
		{production, "https://10.0.0.1/token", false},
		{production, "https://[::ffff:10.0.0.1]/token", false},
		{production, "https://[fd00:ec2::254]/token", false},
		{production, "https://[fe80::1%25eth0]/token", false},
		{production, "https://user@idp.example/token", false},
		{production, "https://user:pw@idp.example/token", false},
		{production, "https://idp.example/token#x", false},
		{production, "https://idp.example/token#", false},
		{production, "https:idp.example/token", false},
		{production, "//idp.example/token", false},
		{production, "/token", false},
		{production, "https:///token", false},
		{production, "https://idp.example:/token", false},
		{production, "https://idp.example:0/token", false},
		{production, "https://idp.example:65536/token", false},
		{production, "https://idp.example\\@evil.example/", false},
		{production, "https://idp.example/to ken", false},
		{production, "https://idp.example/token\n", false},
		{production, "https://ídp.example/token", false},
		{production, "https://idp%2eexample/token", false},
		{production, "https://idp!.example/token", false},
		{production, "https://idp.example,evil.example/token", false},
		{production, "https://{host}/token", false},
		{production, "https://idp.example/${config.tenant}/token", false},
		{production, "https://idp.example/token?a;b", false},
		{production, "javascript:alert(1)", false},
		{production, "file:///etc/passwd", false},
		{production, "ftp://idp.example/", false},
		{production, "https://idp.example/" + strings.Repeat("a", 2048), false},
		{production, "", false},
	} {
		err := tc.egress.CheckURL(tc.url)
		if (err == nil) != tc.ok || err != nil && !errors.Is(err, connectors.ErrBlocked) {
			t.Errorf("%s: %v, want allowed: %v", tc.url, err, tc.ok)
		}
		if err != nil && tc.url != "" && strings.Contains(err.Error(), tc.url) {
			t.Errorf("%s: the error repeats the URL", tc.url)
		}
	}
}

// TestEgressRebinding: a name that was public when it was checked and is this machine when it is dialled.
func TestEgressRebinding(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	var reached atomic.Int32
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			reached.Add(1)
			conn.Close()
		}
	}()
	_, port, err := net.SplitHostPort(listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}

	resolver := MustDNS(t, netip.MustParseAddr("127.0.0.1"))
	address := net.JoinHostPort("rebind.example", port)
	e := MustEgress(t, connectors.EgressConfig{AllowLoopback: true})
	e.SetResolver(resolver)
	if _, err := e.DialContext(t.Context(), "tcp", address); !errors.Is(err, connectors.ErrBlocked) {
		t.Errorf("error is %v, want ErrBlocked", err)
	}
	if n := reached.Load(); n != 0 {
		t.Errorf("the inside was connected to %d times", n)
	}

	// The twin: the same name, once the operator allows it.
	e = MustEgress(t, connectors.EgressConfig{Allow: []string{address}})
	e.SetResolver(resolver)
	conn, err := e.DialContext(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
}

// MustDNS serves a resolver that has one address for every name.
func MustDNS(t *testing.T, ip netip.Addr) *net.Resolver {
	t.Helper()
	server, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	go func() {
		buffer := make([]byte, 512)
		for {
			n, from, err := server.ReadFrom(buffer)
			if err != nil {
				return
			}
			var query dnsmessage.Message
			if query.Unpack(buffer[:n]) != nil || len(query.Questions) != 1 {
				continue
			}
			question := query.Questions[0]
			answer := dnsmessage.Message{
				Header:    dnsmessage.Header{ID: query.ID, Response: true, Authoritative: true},
				Questions: query.Questions,
			}
			if question.Type == dnsmessage.TypeA {
				answer.Answers = []dnsmessage.Resource{{
					Header: dnsmessage.ResourceHeader{Name: question.Name, Class: dnsmessage.ClassINET},
					Body:   &dnsmessage.AResource{A: ip.As4()},
				}}
			}
			if packed, err := answer.Pack(); err == nil {
				_, _ = server.WriteTo(packed, from)
			}
		}
	}()
	return &net.Resolver{
		PreferGo: true,
		Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "udp", server.LocalAddr().String())
		},
	}
}
