package cli

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/dugnad/dugnad/node/control"
)

// doctor runs dugnad doctor --json on a node's folder.
func doctor(t *testing.T, dir string) (d diagnosis) {
	t.Helper()
	e := runDugnad(t, "doctor", "--json", "--node-dir", dir, "--data-dir", t.TempDir())
	if err := json.Unmarshal([]byte(e.stdout), &d); err != nil || e.code != 0 || e.stderr != "" {
		t.Fatalf("doctor: exit code %d, stdout %q, stderr %q, %v", e.code, e.stdout, e.stderr, err)
	}
	return d
}

// find returns the checks of that name.
func (d *diagnosis) find(name string) (found []check) {
	for _, c := range d.Checks {
		if c.Name == name {
			found = append(found, c)
		}
	}
	return found
}

// TestDoctorAsksOthers: with a running node, another member says what it sees.
func TestDoctorAsksOthers(t *testing.T) {
	t.Parallel()
	m, other := newMachine(t, "founder"), newMachine(t, "member")
	// Connections come from the address that is listened on.
	m.flags = []string{"--loopback", "--listen", "/ip4/127.0.0.1/udp/0/quic-v1", "--listen", "/ip4/127.0.0.1/tcp/0"}
	other.flags = m.flags
	d := doctor(t, m.dir)
	if c := d.find("node"); d.Outside != nil || len(c) != 1 || c[0].State != checkSkipped || !strings.Contains(c[0].Detail, "no node runs") {
		t.Errorf("without a node: %+v, %+v", c, d.Outside)
	}
	// The last address is of this machine, and nobody listens there.
	founder := m.up(t, "--announce", "/ip4/127.9.9.9/tcp/9")
	d = doctor(t, m.dir)
	if c := d.find("seen by others"); d.Outside == nil || d.Outside.DialBack != nil || len(c) != 1 || c[0].State != checkSkipped {
		t.Errorf("alone: %+v, %+v", c, d.Outside)
	}
	member := other.up(t, "--join", founder.invite(t))
	founder.meets(t, member)
	id := statusJSON(t, other.dir).Node
	d = doctor(t, m.dir)
	if d.Outside == nil || d.Outside.DialBack == nil || d.Outside.DialBack.By != id || d.Outside.Reach.Public == "" {
		t.Fatalf("outside is %+v, checks %+v", d.Outside, d.Checks)
	}
	if c := d.find("seen by others"); len(c) != 1 || c[0].State != checkOK || !strings.Contains(c[0].Detail, id+" sees this node at /ip4/127.0.0.1/") {
		t.Errorf("seen by others: %+v", c)
	}
	addresses := d.find("address")
	reached := slices.IndexFunc(addresses, func(c check) bool { return c.State == checkOK && strings.Contains(c.Detail, "/ip4/127.0.0.1/") })
	apart := slices.IndexFunc(addresses, func(c check) bool {
		return c.State == checkSkipped && strings.Contains(c.Detail, "/ip4/127.9.9.9/tcp/9: not tried")
	})
	if len(addresses) != len(d.Outside.DialBack.Attempts) || reached < 0 || apart < 0 {
		t.Errorf("addresses: %+v", addresses)
	}
	if c := d.find("reachable"); len(c) != 1 || c[0].State != checkOK {
		t.Errorf("reachable: %+v", c)
	}
	// For people it is the same.
	member.status(t, "is there", func(control.Status) bool { return true })
	e := runDugnad(t, "doctor", "--node-dir", other.dir, "--data-dir", t.TempDir())
	if e.code != 0 || !strings.Contains(e.stdout, "sees this node at") || !strings.Contains(e.stdout, ": reached\nok      reachable ") {
		t.Errorf("doctor: exit code %d, %q, %q", e.code, e.stdout, e.stderr)
	}
	founder.stop(t)
	member.stop(t)
}

// TestReachability: whoever cannot be reached is told what to do.
func TestReachability(t *testing.T) {
	status := func(public string, relayed ...string) control.Status {
		return control.Status{
			Address: "id@/ip4/1.2.3.4/udp/4711/quic-v1,/ip4/1.2.3.4/tcp/4711",
			Reach:   control.Reach{Public: public, Relayed: relayed},
		}
	}
	for _, tt := range []struct {
		name            string
		status          control.Status
		reached, failed bool
		state           string
		says            []string
	}{
		{"public", status("public"), true, false, checkOK, []string{"from everywhere"}},
		{"reached", status("unknown"), true, true, checkOK, []string{"unknown"}},
		{"reached from nearby", status("private"), true, false, checkOK, []string{"private", "port 4711", "UPnP"}},
		{"relayed", status("private", "/p2p/x/p2p-circuit"), false, true, checkWeak, []string{"relays", "/p2p/x/p2p-circuit", "port 4711", "UDP and TCP"}},
		{"unreachable", status("private"), false, true, checkWeak, []string{"by nobody", "port 4711", "UPnP", "--announce"}},
		{"not tried", status("unknown"), false, false, checkWeak, []string{"no address could be tried", "port 4711"}},
	} {
		c := reachability(tt.status, tt.reached, tt.failed)
		if c.State != tt.state {
			t.Errorf("%s: %+v, want %s", tt.name, c, tt.state)
		}
		for _, word := range tt.says {
			if text := c.Detail + " " + c.Advice; !strings.Contains(text, word) {
				t.Errorf("%s: %q does not say %q", tt.name, text, word)
			}
		}
	}
	for address, want := range map[string]string{
		"": defaultPort, "id": defaultPort, "id@/ip4/1.2.3.4/tcp": defaultPort, "id@/ip6/::1/udp/5/quic-v1": "5",
	} {
		if got := portOf(address); got != want {
			t.Errorf("port of %q is %s, want %s", address, got, want)
		}
	}
}
