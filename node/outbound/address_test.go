package outbound

import (
	"errors"
	"net/netip"
	"testing"

	"github.com/dugnad/dugnad/runtime/abi"
)

// TestAddresses is a table of addresses, and whether guests may reach them.
func TestAddresses(t *testing.T) {
	refused := []string{
		"0.0.0.0", "0.1.2.3", "10.0.0.1", "10.255.255.255", "100.64.0.1", "100.100.100.200", "100.127.255.255", "127.0.0.1", "127.255.0.9",
		"168.63.129.16", "169.254.0.1", "169.254.169.254", "172.16.0.1", "172.31.255.255", "192.0.0.1", "192.0.0.192", "192.0.2.7",
		"192.88.99.1", "192.168.1.1", "198.18.0.1", "198.19.255.255", "198.51.100.1", "203.0.113.9", "224.0.0.1", "239.255.255.255",
		"240.0.0.1", "255.255.255.255",
		"::", "::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::127.0.0.1", "::8.8.8.8",
		"64:ff9b::127.0.0.1", "64:ff9b::10.0.0.1", "64:ff9b::169.254.169.254", "64:ff9b:1::8.8.8.8", "100::1",
		"2001::1", "2001:0:7f00:1::", "2001:10::1", "2001:20::1", "2001:db8::1", "2002:7f00:1::1", "2002:a00:1::", "2002:a9fe:a9fe::1", "2002:6440:1::",
		"3fff::1", "4000::1", "5f00::1", "fc00::1", "fd00::1", "fd00:ec2::254", "fe80::1", "fe80::1%eth0", "2606:4700::1%eth0", "fec0::1", "ff02::1", "ff0e::1",
	}
	for _, s := range refused {
		if refusedFor(netip.MustParseAddr(s)) == "" {
			t.Errorf("%s may be reached", s)
		}
	}
	allowed := []string{
		"1.1.1.1", "8.8.8.8", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "126.255.255.255", "128.0.0.1", "169.253.0.1", "169.255.0.1",
		"172.15.255.255", "172.32.0.0", "192.0.1.1", "192.167.0.1", "198.17.0.1", "198.20.0.1", "223.255.255.255",
		"::ffff:8.8.8.8", "64:ff9b::8.8.8.8", "2002:808:808::1", "2001:200::1", "2001:4860:4860::8888", "2606:4700:4700::1111", "2a00:1450::1",
	}
	for _, s := range allowed {
		if why := refusedFor(netip.MustParseAddr(s)); why != "" {
			t.Errorf("%s is refused: %s", s, why)
		}
	}
}

// TestOtherNames: an address that IPv6 has another name for is the same: what a node
// listens at is not reached under it.
func TestOtherNames(t *testing.T) {
	own := netip.MustParseAddrPort("8.8.8.8:443")
	g, _ := openTest(t, func(c *Config) { c.Avoid = func() []netip.AddrPort { return []netip.AddrPort{own} } })
	for _, s := range []string{"8.8.8.8", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8", "2002:808:808::1"} {
		if err := g.check(netip.AddrPortFrom(netip.MustParseAddr(s), 443)); !errors.Is(err, abi.ErrAddress) {
			t.Errorf("%s: %v", s, err)
		}
		if err := g.check(netip.AddrPortFrom(netip.MustParseAddr(s), 80)); err != nil {
			t.Errorf("%s, another port: %v", s, err)
		}
	}
}

// TestAnswers is a table of what a resolver may say: guests reach nothing by it.
func TestAnswers(t *testing.T) {
	for _, answer := range []string{
		"::ffff:10.0.0.1", "64:ff9b::10.0.0.1", "64:ff9b:1::10.0.0.1", "2002:a00:1::1", "::10.0.0.1", "fe80::1", "fec0::1", "100::1", "2001::1",
		"10.0.0.1 ::ffff:169.254.169.254 64:ff9b::a9fe:a9fe", "0.0.0.0", "255.255.255.255", "ff02::1",
	} {
		g, n := openTest(t, func(c *Config) { c.Resolver = &names{list: map[string][]string{"a.example.": {answer}}} })
		if _, _, err := fetch(t, g, someone, "GET http://a.example/", ""); !errors.Is(err, abi.ErrAddress) || n.last(t).Code != "address" {
			t.Errorf("%s: %v", answer, err)
		}
	}
}

// FuzzAddresses: an address that is written in another way is refused as before.
func FuzzAddresses(f *testing.F) {
	f.Add([]byte{127, 0, 0, 1})
	f.Add([]byte{8, 8, 8, 8})
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) != 4 {
			return
		}
		v4 := netip.AddrFrom4([4]byte(b))
		want := refusedFor(v4)
		mapped := netip.AddrFrom16(v4.As16())
		six := [16]byte{0x20, 0x02, b[0], b[1], b[2], b[3]}
		nat := [16]byte{0, 0x64, 0xff, 0x9b, 12: b[0], 13: b[1], 14: b[2], 15: b[3]}
		for _, a := range []netip.Addr{mapped, netip.AddrFrom16(six), netip.AddrFrom16(nat)} {
			if got := refusedFor(a); got != want {
				t.Errorf("%s is %q, %s is %q", v4, want, a, got)
			}
		}
		if (v4.IsPrivate() || v4.IsLoopback() || v4.IsLinkLocalUnicast() || v4.IsMulticast() || v4.IsUnspecified()) && want == "" {
			t.Errorf("%s may be reached", v4)
		}
	})
}
