package p2p

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync"

	ma "github.com/multiformats/go-multiaddr"
)

// Address returns where this node is reached, as Dial of another member takes it:
// "id@multiaddr,multiaddr", at most AddressTextMax bytes, the best first.
func (h *Host) Address() string {
	text := string(h.Self())
	separator := "@"
	for _, a := range byReach(h.libp2p.Addrs()) {
		if next := separator + a.String(); len(text)+len(next) <= AddressTextMax {
			text += next
			separator = ","
		}
	}
	return text
}

// Contact returns this node as an invitation names it.
func (h *Host) Contact() Contact {
	c := Contact{Node: h.Self()}
	for _, a := range byReach(h.libp2p.Addrs()) {
		if len(c.Addresses) < ContactAddressesMax && len(a.Bytes()) <= AddressBytesMax {
			c.Addresses = append(c.Addresses, a.String())
		}
	}
	return c
}

// ParseAddress takes apart what Address returned.
func ParseAddress(text string) (id NodeID, addresses []string, err error) {
	if len(text) > AddressTextMax {
		return "", nil, fmt.Errorf("read address: %w: %d bytes", ErrMalformed, len(text))
	}
	name, rest, _ := strings.Cut(text, "@")
	id = NodeID(name)
	if _, err := id.key(); err != nil {
		return "", nil, fmt.Errorf("read address: %w", err)
	}
	for part := range strings.SplitSeq(rest, ",") {
		if part == "" {
			continue
		}
		if _, err := ma.NewMultiaddr(part); err != nil {
			return "", nil, fmt.Errorf("read address: %w: %w", ErrMalformed, err)
		}
		addresses = append(addresses, part)
	}
	return id, addresses, nil
}

// Dial opens a stream for protocol to the member at an address that its Address has
// returned. Where the member has moved, its id is enough.
func (h *Host) Dial(ctx context.Context, address, protocol string) (net.Conn, error) {
	id, texts, err := ParseAddress(address)
	if err != nil {
		return nil, err
	}
	p, err := id.peer()
	if err != nil {
		return nil, err
	}
	if p != h.self && len(h.book.addresses(p)) == 0 {
		h.book.hear(p, h.dialable(parseAddresses(texts)))
	}
	return h.Open(ctx, id, protocol)
}

// Listen accepts the streams that members open for protocol, until the listener
// is closed. Streams that were accepted go on. backlog streams may wait to be
// accepted; what comes then is reset.
func (h *Host) Listen(protocol string, backlog int) net.Listener {
	l := &streamListener{h: h, protocol: protocol, waiting: make(chan Stream, max(backlog, 1)), closed: make(chan struct{})}
	h.Handle(protocol, l.take)
	return l
}

type streamListener struct {
	h        *Host
	protocol string
	waiting  chan Stream
	closed   chan struct{}
	once     sync.Once
}

// take hands a stream to Accept. The handler goes on as long as the stream: when
// it returns the stream ends.
func (l *streamListener) take(s Stream) {
	select {
	case <-l.closed:
		return
	default:
	}
	select {
	case l.waiting <- s:
	default:
		l.h.metrics.limit("backlog")
		return
	}
	select {
	case <-s.(*netStream).ended:
	case <-l.h.ctx.Done():
	}
}

// Accept returns the next stream.
func (l *streamListener) Accept() (net.Conn, error) {
	select {
	case s := <-l.waiting:
		return s, nil
	case <-l.closed:
		return nil, fmt.Errorf("accept stream of %s: %w", l.protocol, net.ErrClosed)
	case <-l.h.ctx.Done():
		return nil, fmt.Errorf("accept stream of %s: %w", l.protocol, net.ErrClosed)
	}
}

// Close stops accepting; streams that wait are reset.
func (l *streamListener) Close() error {
	l.once.Do(func() {
		close(l.closed)
		l.h.stopHandling(l.protocol)
		for {
			select {
			case s := <-l.waiting:
				_ = s.Reset() // nobody will read it
			default:
				return
			}
		}
	})
	return nil
}

// Addr is this node.
func (l *streamListener) Addr() net.Addr { return nodeAddr(l.h.Self()) }
