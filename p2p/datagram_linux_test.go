package p2p

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"
)

// mark returns a control message.
func mark(level, kind int32, body []byte) []byte {
	b := make([]byte, unix.CmsgSpace(len(body)))
	head := (*unix.Cmsghdr)(unsafe.Pointer(&b[0]))
	head.Level, head.Type = level, kind
	head.SetLen(unix.CmsgLen(len(body)))
	copy(b[unix.CmsgLen(0):], body)
	return b
}

// TestDatagrams: datagrams come out as they went in, one by one, whether the kernel
// joined them or not, with who sent them; one that is longer than its message is cut.
func TestDatagrams(t *testing.T) {
	to, err := listenDatagrams("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)}, func(netip.AddrPort) {})
	if err != nil {
		t.Fatal(err)
	}
	defer to.Close()
	from, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer from.Close()
	joined, ok := to.(*datagrams)
	if !ok {
		t.Skip("the kernel joins no datagrams")
	}
	const segment, longest = 100, 150
	var want [][]byte
	send := func(size, segment int) {
		b := bytes.Repeat([]byte{byte(len(want) + 1)}, size)
		var marks []byte
		if segment > 0 {
			marks = mark(unix.IPPROTO_UDP, unix.UDP_SEGMENT, binary.NativeEndian.AppendUint16(nil, uint16(segment)))
		}
		if _, _, err := from.WriteMsgUDP(b, marks, to.LocalAddr().(*net.UDPAddr)); err != nil {
			t.Fatal(err)
		}
		if segment == 0 {
			segment = size
		}
		for ; len(b) > 0; b = b[min(segment, len(b)):] {
			want = append(want, b[:min(segment, len(b), longest)])
		}
	}
	send(1, 0)
	send(20*segment+7, segment)
	send(3*segment, segment)
	send(longest+1, 0)
	send(segment, 0)
	if err := to.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	messages := make([]ipv4.Message, 8)
	for i := range messages {
		messages[i].Buffers, messages[i].OOB = [][]byte{make([]byte, longest)}, make([]byte, 128)
	}
	kept := 0
	for got := 0; got < len(want); {
		n, err := joined.ReadBatch(messages, 0)
		if err != nil || n == 0 {
			t.Fatalf("%d of %d datagrams came, then %d, %v", got, len(want), n, err)
		}
		for _, m := range messages[:n] {
			if !bytes.Equal(m.Buffers[0][:m.N], want[got]) {
				t.Fatalf("datagram %d is %d bytes of %d, want %d of %d", got, m.N, m.Buffers[0][0], len(want[got]), want[got][0])
			}
			if m.Addr.String() != from.LocalAddr().String() {
				t.Fatalf("datagram %d is from %v", got, m.Addr)
			}
			got++
		}
		kept = max(kept, len(joined.rest))
	}
	if kept < segment {
		t.Error("no train was longer than a batch")
	}
	if err := to.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := joined.ReadBatch(messages, 0); !errors.Is(err, net.ErrClosed) {
		t.Fatal("read of a closed socket:", err)
	}
}

// TestSplitControl: only the length of the datagrams is taken out.
func TestSplitControl(t *testing.T) {
	tos := mark(unix.IPPROTO_IP, unix.IP_TOS, []byte{2})
	info := mark(unix.IPPROTO_IP, unix.IP_PKTINFO, make([]byte, 12))
	length := func(n uint32) []byte {
		return mark(unix.IPPROTO_UDP, unix.UDP_GRO, binary.NativeEndian.AppendUint32(nil, n))
	}
	both := append(bytes.Clone(tos), info...)
	for name, test := range map[string]struct {
		control []byte
		segment int
		marks   []byte
	}{
		"nothing":       {nil, 3000, nil},
		"alone":         {both, 3000, both},
		"train":         {append(append(bytes.Clone(tos), length(1200)...), info...), 1200, both},
		"length first":  {append(length(1200), both...), 1200, both},
		"length last":   {append(bytes.Clone(both), length(1200)...), 1200, both},
		"length of 0":   {length(0), 3000, nil},
		"short message": {[]byte{1, 2, 3}, 3000, nil},
	} {
		t.Run(name, func(t *testing.T) {
			segment, marks := splitControl(test.control, 3000)
			if segment != test.segment || !bytes.Equal(marks, test.marks) {
				t.Fatalf("%d, %x, want %d, %x", segment, marks, test.segment, test.marks)
			}
		})
	}
}

// TestReturnedDatagrams: the socket tells of addresses at which nobody listens, and
// goes on to work for all others.
func TestReturnedDatagrams(t *testing.T) {
	for _, c := range []struct {
		network string
		ip      net.IP
	}{{"udp4", net.IPv4(127, 0, 0, 1)}, {"udp6", net.IPv6loopback}} {
		t.Run(c.network, func(t *testing.T) {
			refused := make(chan netip.AddrPort, 16)
			s, err := listenDatagrams(c.network, &net.UDPAddr{IP: c.ip}, func(at netip.AddrPort) { refused <- at })
			if err != nil {
				t.Skipf("no socket: %v", err)
			}
			defer s.Close()
			joined, ok := s.(*datagrams)
			if !ok {
				t.Skip("the kernel joins no datagrams")
			}
			gone, err := net.ListenUDP(c.network, &net.UDPAddr{IP: c.ip})
			if err != nil {
				t.Fatal(err)
			}
			nowhere := gone.LocalAddr().(*net.UDPAddr)
			gone.Close()
			there, err := net.ListenUDP(c.network, &net.UDPAddr{IP: c.ip})
			if err != nil {
				t.Fatal(err)
			}
			defer there.Close()
			b := make([]byte, 16)
			for range 3 {
				for _, to := range []*net.UDPAddr{nowhere, there.LocalAddr().(*net.UDPAddr)} {
					if _, _, err := joined.WriteMsgUDP([]byte("question"), nil, to); err != nil {
						t.Fatalf("write to %s: %v", to, err)
					}
				}
				if n, _, err := there.ReadFromUDP(b); err != nil || string(b[:n]) != "question" {
					t.Fatalf("%q, %v", b[:n], err)
				}
			}
			if _, err := there.WriteToUDP([]byte("answer"), s.LocalAddr().(*net.UDPAddr)); err != nil {
				t.Fatal(err)
			}
			messages := []ipv4.Message{{Buffers: [][]byte{b}, OOB: make([]byte, 128)}}
			if n, err := joined.ReadBatch(messages, 0); err != nil || n != 1 || string(b[:messages[0].N]) != "answer" {
				t.Fatalf("%d, %v", n, err)
			}
			if at := <-refused; at.Port() != uint16(nowhere.Port) || at.Addr().String() != nowhere.IP.String() {
				t.Errorf("%s refused, want %s", at, nowhere)
			}
		})
	}
}
