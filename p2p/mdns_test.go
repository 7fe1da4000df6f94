package p2p

import (
	"net"
	"testing"
	"time"
)

// A node joins whom it finds on the local network; members of other grids there
// do not disturb it.
func TestJoinByLocalDiscoveryAlone(t *testing.T) {
	interfaces, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	multicast := false
	for _, i := range interfaces {
		multicast = multicast || i.Flags&net.FlagUp != 0 && i.Flags&net.FlagMulticast != 0
	}
	if !multicast {
		t.Skip("no network interface has multicast here")
	}
	local := func(c *Config) { c.MDNS = true }
	first, other := founder(t, local), founder(t, local)
	started := time.Now()
	second := join(t, first, RoleWorker, local, func(c *Config) { c.Invitation.Contacts = nil })
	t.Logf("member %v after Open was called", time.Since(started))
	first.Handle(testProtocol, echo)
	askEcho(t, second, first.Self(), "hello")
	t.Logf("first answer after %v", time.Since(started))
	if n := len(other.Connected()) + len(other.Members()); n != 0 {
		t.Errorf("the other grid has seen %d members", n)
	}
}
