package content

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/dugnad/dugnad/p2p"
)

// holderVariable has the test binary be a holder: its value is the multiaddr to
// listen on.
const holderVariable = "DUGNAD_CONTENT_HOLDER"

// hostObjectBytes is the size of what the benchmarks fetch from hosts.
const hostObjectBytes = 100_000_000

func hostConfig(dir, address string) p2p.Config {
	c := p2p.Default()
	c.Dir, c.Listen, c.AllowLoopback = dir, []string{address}, true
	c.MDNS, c.DHT, c.PortMap, c.HolePunch, c.Relay = false, false, false, false, false
	return c
}

// found opens the first host of a grid, and returns the text of an invitation.
func found(ctx context.Context, dir, address string) (*p2p.Host, string, error) {
	if _, err := p2p.FoundGrid(dir); err != nil {
		return nil, "", err
	}
	h, err := p2p.Open(ctx, hostConfig(dir, address))
	if err != nil {
		return nil, "", err
	}
	invitation, err := h.Authority().Invite(p2p.RoleClient, time.Now().Add(time.Hour), 1, []p2p.Contact{h.Contact()})
	if err != nil {
		return nil, "", err
	}
	text, err := invitation.Text()
	return h, text, err
}

// joinHost opens a host that joins by the invitation.
func joinHost(t testing.TB, address, invitation string) *p2p.Host {
	t.Helper()
	c := hostConfig(t.TempDir(), address)
	var err error
	if c.Invitation, err = p2p.ParseInvitation(invitation); err != nil {
		t.Fatal(err)
	}
	h, err := p2p.Open(deadline(t), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeOf(t, h) })
	return h
}

func closeOf(t testing.TB, c io.Closer) {
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}

// hold gives an object until its standard input ends. It says who it is, and how
// to join its grid; then, for each line that it reads, what processor time it has used.
func hold(address string) error {
	dir, err := os.MkdirTemp("", "content-holder-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	h, invitation, err := found(context.Background(), dir, address)
	if err != nil {
		return err
	}
	defer h.Close()
	c := testConfig(filepath.Join(dir, "content"))
	c.Network = h
	s, err := Open(context.Background(), c)
	if err != nil {
		return err
	}
	defer s.Close()
	if _, _, err := s.Put(context.Background(), bytes.NewReader(noise(1, hostObjectBytes)), ""); err != nil {
		return err
	}
	fmt.Println(h.Self(), invitation)
	for asked := bufio.NewScanner(os.Stdin); asked.Scan(); {
		used, err := cpuUsed()
		if err != nil {
			return err
		}
		fmt.Println(int64(used))
	}
	return nil
}

// giver is a holder that a benchmark fetches from.
type giver struct {
	id         p2p.NodeID
	invitation string
	// cpu is the processor time of its process, nil if that is this one.
	cpu func() time.Duration
}

// holderProcess starts a holder.
func holderProcess(t testing.TB, address string) giver {
	t.Helper()
	child := exec.Command(os.Args[0]) // ends with its standard input
	child.Env = append(os.Environ(), holderVariable+"="+address)
	child.Stderr = os.Stderr
	in, err := child.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		if err := child.Wait(); err != nil {
			t.Error(err)
		}
	})
	said := bufio.NewReader(out)
	line := func() string {
		text, err := said.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(text)
	}
	id, invitation, _ := strings.Cut(line(), " ")
	return giver{p2p.NodeID(id), invitation, func() time.Duration {
		if _, err := fmt.Fprintln(in); err != nil {
			t.Fatal(err)
		}
		used, err := strconv.ParseInt(line(), 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		return time.Duration(used)
	}}
}

// holderHere opens a holder in this process.
func holderHere(t testing.TB, address string) giver {
	t.Helper()
	h, invitation, err := found(deadline(t), t.TempDir(), address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeOf(t, h) })
	c := testConfig(t.TempDir())
	c.Network = h
	put(t, openStore(t, c), noise(1, hostObjectBytes), "")
	return giver{id: h.Self(), invitation: invitation}
}

// BenchmarkFetchHosts fetches an object of 100 MB from another host, in this process
// and in one of its own. cpu-ms/op is what this process uses, holder-cpu-ms/op the
// other one: on a busy machine they change less than the time on the clock.
func BenchmarkFetchHosts(b *testing.B) {
	for _, holder := range []struct {
		name string
		open func(testing.TB, string) giver
	}{{"here", holderHere}, {"process", holderProcess}} {
		for _, address := range []struct{ name, text string }{{"quic", "/ip4/127.0.0.1/udp/0/quic-v1"}, {"tcp", "/ip4/127.0.0.1/tcp/0"}} {
			b.Run(holder.name+"/"+address.name, func(b *testing.B) {
				benchmarkHosts(b, holder.open(b, address.text), address.text)
			})
		}
	}
}

func benchmarkHosts(b *testing.B, from giver, address string) {
	c := testConfig(b.TempDir())
	c.Network = joinHost(b, address, from.invitation)
	s := openStore(b, c)
	h := Sum(noise(1, hostObjectBytes))
	fetchOnce(b, s, h, []p2p.NodeID{from.id}) // what the holder did to get the object is over
	used := func(cpu func() time.Duration) time.Duration {
		if cpu == nil {
			return 0
		}
		return cpu()
	}
	b.SetBytes(hostObjectBytes)
	here, there := cpuTime(b), used(from.cpu)
	b.ResetTimer()
	for b.Loop() {
		fetchOnce(b, s, h, []p2p.NodeID{from.id})
	}
	perOp := func(d time.Duration) float64 { return float64(d.Milliseconds()) / float64(b.N) }
	b.ReportMetric(perOp(cpuTime(b)-here), "cpu-ms/op")
	if from.cpu != nil {
		b.ReportMetric(perOp(from.cpu()-there), "holder-cpu-ms/op")
	}
}
