package p2p

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"runtime"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/transport"
	libp2pquic "github.com/libp2p/go-libp2p/p2p/transport/quic"
	"github.com/libp2p/go-libp2p/p2p/transport/quicreuse"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
	"github.com/quic-go/quic-go"
	"golang.org/x/sys/unix"
)

// listening returns the address of h's listener of that protocol.
func listening(t *testing.T, h *Host, protocol int) ma.Multiaddr {
	t.Helper()
	for _, a := range h.swarm.ListenAddresses() {
		if _, err := a.ValueForProtocol(protocol); err == nil {
			return a
		}
	}
	t.Fatal("no such listener")
	return nil
}

// Ten thousand connections of strangers cost no more than the slots that they may
// have, in goroutines and in memory; who is a member is served meanwhile, and who
// wants to become one afterwards.
func TestTenThousandStrangers(t *testing.T) {
	const (
		count, step = 10_000, 1000
		// goroutinesMax and heapBytesMax bound what the strangers add, the test's own
		// ends of the connections included.
		goroutinesMax = 200
		heapBytesMax  = 16 << 20
	)
	first := founder(t, func(c *Config) { c.HandshakesMax, c.HandshakeTimeout = 8, time.Minute })
	second := join(t, first, RoleWorker)
	first.Handle(testProtocol, echo)
	askEcho(t, second, first.Self(), "before")
	goroutines, heap := runtime.NumGoroutine(), heapBytes()
	address := must[net.Addr](t)(manet.ToNetAddr(listening(t, first, ma.P_TCP))).String()
	talk := []string{"", "\xff\xff\xff\xff", "\x13/multistream/1.0.0\n", "GET / HTTP/1.1\r\n\r\n"}
	openMax := raiseFileLimit(t) / 3 // both ends of each are in this process
	var open []net.Conn
	defer func() { closeAll(open) }()
	for i := range count {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatalf("connection %d: %v", i, err)
		}
		// Who found no slot may be cut off by now.
		_, _ = io.WriteString(conn, talk[i%len(talk)])
		if open = append(open, conn); len(open) > openMax {
			closeAll(open[:len(open)/2])
			open = open[len(open)/2:]
		}
		if i%step == step-1 {
			askEcho(t, second, first.Self(), "meanwhile")
		}
	}
	eventually(t, "no more goroutines than slots", func() bool { return runtime.NumGoroutine() < goroutines+goroutinesMax })
	grown := heapBytes() - heap
	t.Logf("%d open, heap grew by %d KiB", len(open), grown>>10)
	if grown > heapBytesMax {
		t.Errorf("the heap has grown by %d bytes, at most %d", grown, heapBytesMax)
	}
	askEcho(t, second, first.Self(), "after")
	closeAll(open)
	open = nil
	join(t, first, RoleWorker)
}

func heapBytes() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func closeAll(conns []net.Conn) {
	for _, c := range conns {
		c.Close()
	}
}

// raiseFileLimit has the process open as many files as it may, and returns how many.
func raiseFileLimit(t *testing.T) int {
	t.Helper()
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	limit.Cur = limit.Max
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	return int(min(limit.Max, 1<<20))
}

// Over QUIC a stranger has a connection before the hello: it ends in time.
func TestSilentQUIC(t *testing.T) {
	first := founder(t, func(c *Config) { c.HandshakeTimeout = 200 * time.Millisecond })
	manager := must[*quicreuse.ConnManager](t)(quicreuse.NewConnManager(quic.StatelessResetKey{}, quic.TokenGeneratorKey{}))
	defer manager.Close()
	private, err := testKey(t, 9).libp2p()
	if err != nil {
		t.Fatal(err)
	}
	raw := must[transport.Transport](t)(libp2pquic.NewTransport(private, manager, nil, nil, nil))
	for _, talk := range [][]byte{nil, {0xff, 0xff, 0xff, 0xff}, []byte("\x13/multistream/1.0.0\n"), {0, 0, 0, 9, 1}} {
		conn := must[transport.CapableConn](t)(raw.Dial(testContext(t), listening(t, first, ma.P_QUIC_V1), first.self))
		if talk != nil {
			s := must[network.MuxedStream](t)(conn.OpenStream(testContext(t)))
			if _, err := s.Write(talk); err != nil {
				t.Fatal(err)
			}
		}
		eventually(t, "cut off", conn.IsClosed)
		conn.Close()
	}
	if conns := first.swarm.Conns(); len(conns) != 0 {
		t.Errorf("the swarm has seen %v", conns)
	}
}

// With no slot free the other side is told so.
func TestNoSlotFree(t *testing.T) {
	first := founder(t, func(c *Config) { c.HandshakesMax = 1 })
	release, ok := first.door.slots.take(nil)
	if !ok {
		t.Fatal("no slot")
	}
	cfg := testConfig(t, t.TempDir())
	cfg.Listen = cfg.Listen[:1]
	cfg.Invitation = invite(t, first, RoleWorker, 1)
	cfg.Invitation.Contacts[0].Addresses = []string{listening(t, first, ma.P_QUIC_V1).String()}
	h := must[*Host](t)(load(cfg))
	defer h.Close()
	if err := h.listen(); err != nil {
		t.Fatal(err)
	}
	h.hearContacts()
	if err := h.connect(testContext(t), first.self); !errors.Is(err, ErrBusy) {
		t.Fatalf("error %v", err)
	}
	release()
	if err := h.connect(testContext(t), first.self); err != nil {
		t.Fatal(err)
	}
}

func TestSlots(t *testing.T) {
	s := newSlots(4, 2)
	address := func(text string) ma.Multiaddr { return ma.StringCast(text) }
	take := func(text string, want bool) func() {
		t.Helper()
		release, ok := s.take(address(text))
		if ok != want {
			t.Fatalf("%s: %v", text, ok)
		}
		return release
	}
	first := take("/ip4/192.0.2.1/tcp/1", true)
	take("/ip4/192.0.2.1/udp/2/quic-v1", true)
	take("/ip4/192.0.2.1/tcp/3", false)
	take("/ip6/2001:db8::1/tcp/1", true)
	first()
	first()
	take("/ip6/2001:db8:0:ff::2/tcp/1", true)
	take("/ip6/2001:db8:0:ff::3/tcp/1", false)
	take("/ip4/127.0.0.1/tcp/1", true)
	take("/ip4/127.0.0.1/tcp/2", false)
}

// What a member writes on this package's own protocols can be anything.
func TestGarbageFromAMember(t *testing.T) {
	first := founder(t)
	second := join(t, first, RoleWorker)
	s := newScene(t)
	list := NewExpulsions(first.Grid())
	forger := signer{grid: first.Grid(), key: second.key, admin: second.Membership()}
	x := forger.expel(first.Self(), time.Now())
	list.entries[x.key()] = x
	list.settle()
	frame := func(b []byte) []byte { return append(binary.BigEndian.AppendUint32(nil, uint32(len(b))), b...) }
	for _, protocol := range ownProtocols {
		for _, b := range [][]byte{
			{0xff, 0xff, 0xff, 0xff},
			frame([]byte("garbage")),
			frame(nil),
			frame(list.Encode()),
			frame(appendBytes(nil, testInvitation(t, s, s.byAdmin).Encode())),
			{0, 0, 0, 200, 1},
		} {
			stream := must[Stream](t)(second.Open(testContext(t), first.Self(), protocol))
			stream.SetDeadline(time.Now().Add(waitMax))
			_, _ = stream.Write(b)
			_ = stream.CloseWrite()
			_, _ = io.Copy(io.Discard, io.LimitReader(stream, 1<<20))
			stream.Reset()
		}
	}
	if out := first.Expelled(); len(out) != 0 {
		t.Fatalf("a worker has expelled %v", out)
	}
	first.Handle(testProtocol, echo)
	askEcho(t, second, first.Self(), "still here")
}

// A member of another grid is told so, whoever dials.
func TestMemberOfAnotherGrid(t *testing.T) {
	first, other := founder(t), founder(t)
	for _, pair := range [][2]*Host{{first, other}, {other, first}} {
		pair[0].book.hear(pair[1].self, pair[1].libp2p.Addrs())
		if err := pair[0].connect(testContext(t), pair[1].self); !errors.Is(err, ErrWrongGrid) {
			t.Errorf("error %v", err)
		}
	}
	if len(first.swarm.Conns())+len(other.swarm.Conns()) != 0 {
		t.Error("they are connected")
	}
}

// The file of members is a cache: whatever it holds, the node opens.
func FuzzBook(f *testing.F) {
	b := newBook(16)
	now := testTime
	for n := range byte(3) {
		p := must[peer.ID](f)(testKey(f, n+1).NodeID().peer())
		b.entries[p] = &entry{role: RoleWorker, name: "n", seen: now, addresses: []ma.Multiaddr{ma.StringCast("/ip4/192.0.2.1/tcp/1")}}
	}
	encoded := b.encode()
	f.Add(encoded[:len(encoded)-checksumBytes])
	f.Fuzz(func(t *testing.T, in []byte) {
		fresh := newBook(16)
		if fresh.decode(append(in[:len(in):len(in)], checksum(in)...), now) != nil {
			return
		}
		again := newBook(16)
		if err := again.decode(fresh.encode(), now); err != nil || len(again.entries) > len(fresh.entries) {
			t.Fatalf("%d members, %d after writing them: %v", len(fresh.entries), len(again.entries), err)
		}
	})
}

func FuzzDialBack(f *testing.F) {
	f.Add(appendBytes(appendBytes(appendBytes(nil, "/ip4/192.0.2.1/tcp/1"), ma.StringCast("/ip4/192.0.2.1/tcp/1").Bytes()), "no answer"))
	f.Fuzz(func(_ *testing.T, b []byte) { _, _ = decodeDialBack(b) })
}
