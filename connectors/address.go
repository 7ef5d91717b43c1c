package connectors

import "net/netip"

// addressRange is a range that no provider lives in: what is there belongs to this machine, to the
// network around it or to nobody, and a request there is one that an attacker made us send.
type addressRange struct {
	prefix netip.Prefix
	// name is what errors call the range; they do not name the address, which may be an inside one.
	name string
	// never is a range that stays closed even for a name that the operator allows: a name's owner may
	// point it at the metadata service. Only the address itself on the list opens it.
	never bool
}

// specialRanges are the ranges of the IANA special-purpose registries (RFC 6890 and its updates), and
// single addresses at which clouds answer about the machine that asks. The first that fits counts.
func specialRanges() []addressRange {
	at := netip.MustParsePrefix
	return []addressRange{
		{at("0.0.0.0/8"), "this network", true},
		{at("10.0.0.0/8"), "private", false},
		{at("100.64.0.0/10"), "shared (carrier-grade NAT)", false},
		{at("127.0.0.0/8"), "loopback", false},
		{at("168.63.129.16/32"), "metadata service", true}, // Azure; looks like any public address
		{at("169.254.169.254/32"), "metadata service", true},
		{at("169.254.0.0/16"), "link-local", true},
		{at("172.16.0.0/12"), "private", false},
		{at("192.0.0.0/24"), "protocol assignments", false},
		{at("192.0.2.0/24"), "documentation", false},
		{at("192.31.196.0/24"), "anycast for reverse DNS", false},
		{at("192.52.193.0/24"), "multicast tunnelling", false},
		{at("192.88.99.0/24"), "6to4 relay", false},
		{at("192.168.0.0/16"), "private", false},
		{at("192.175.48.0/24"), "anycast for reverse DNS", false},
		{at("198.18.0.0/15"), "benchmarking", false},
		{at("198.51.100.0/24"), "documentation", false},
		{at("203.0.113.0/24"), "documentation", false},
		{at("224.0.0.0/4"), "multicast", true},
		{at("240.0.0.0/4"), "reserved", true}, // with 255.255.255.255

		{at("::/128"), "unspecified", true},
		{at("::1/128"), "loopback", false},
		{at("::/96"), "IPv4-compatible", true},
		{at("64:ff9b::/96"), "NAT64", false}, // any IPv4 address, the inside ones too
		{at("64:ff9b:1::/48"), "local NAT64", false},
		{at("100::/64"), "discard", true},
		{at("2001::/23"), "protocol assignments", false}, // with Teredo, which carries IPv4 addresses
		{at("2001:db8::/32"), "documentation", false},
		{at("2002::/16"), "6to4", false}, // carries IPv4 addresses
		{at("3fff::/20"), "documentation", false},
		{at("5f00::/16"), "segment routing", false},
		{at("fd00:ec2::254/128"), "metadata service", true}, // AWS
		{at("fd20:ce::254/128"), "metadata service", true},  // Google
		{at("fc00::/7"), "unique local", false},
		{at("fe80::/10"), "link-local", true},
		{at("fec0::/10"), "site-local", true},
		{at("ff00::/8"), "multicast", true},
	}
}

// plain is the address that a packet will go to: IPv4 in IPv6 clothes is IPv4. A zone is dropped, as a
// prefix would not contain an address that has one.
func plain(ip netip.Addr) netip.Addr { return ip.Unmap().WithZone("") }

// special finds the range of an address, or nil for one where a provider may live. Of IPv6, only
// 2000::/3 is given out.
func special(ranges []addressRange, ip netip.Addr) *addressRange {
	for i := range ranges {
		if ranges[i].prefix.Contains(ip) {
			return &ranges[i]
		}
	}
	if ip.Is6() && ip.As16()[0]>>5 != 1 {
		return &addressRange{name: "not global unicast", never: true}
	}
	return nil
}
