package rpc

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"sync"
	"time"

	"github.com/dugnad/dugnad/p2p"
)

const (
	// batchBytesMax bounds what is written at once, besides the last frame.
	batchBytesMax = 64 << 10
	// readBytes is the size of a line's read buffer.
	readBytes = 16 << 10
	// goodbyeTimeMax is how long a member that broke the rules is given to take
	// the reason.
	goodbyeTimeMax = time.Second
)

// batches holds buffers for what is written at once.
var batches = sync.Pool{New: func() any {
	b := make([]byte, 0, batchBytesMax+FrameBytesMax+headerBytes)
	return &b
}}

// errGone is why a line ends that the other side closed.
var errGone = errors.New("stream was closed by the other side")

// line is one stream with its queue of what is to be written. Both sides build
// on it.
type line struct {
	stream  p2p.Stream
	reader  *bufio.Reader
	stalled time.Duration

	mu sync.Mutex
	// queued is signalled when there is something to write, or never will be.
	queued sync.Cond
	first  *outgoing
	last   *outgoing
	// closed says that nothing more is queued.
	closed bool
	// taken is called, with mu held, when the last of o is about to be written.
	taken func(o *outgoing)
}

// outgoing is a message in a line's queue, sent in frames of which other
// messages' get between.
type outgoing struct {
	kind, more kind
	id         uint64
	// head goes before the body, in the first frame.
	head, body []byte
	// begun says that some of it may have been written.
	begun  bool
	queued bool
	// owner is whom taken finds the message's purpose by.
	owner    any
	from, to *outgoing
}

func newLine(s p2p.Stream, stalled time.Duration) *line {
	l := &line{stream: s, reader: bufio.NewReaderSize(s, readBytes), stalled: stalled}
	l.queued.L = &l.mu
	return l
}

// enqueue adds o at the end. It is called with mu held.
func (l *line) enqueue(o *outgoing) {
	o.queued, o.from, o.to = true, l.last, nil
	if l.last == nil {
		l.first = o
		l.queued.Signal()
	} else {
		l.last.to = o
	}
	l.last = o
}

// drop takes o out, if it is there: not a byte of it is read afterwards. It is
// called with mu held.
func (l *line) drop(o *outgoing) {
	if !o.queued {
		return
	}
	if o.from == nil {
		l.first = o.to
	} else {
		o.from.to = o.to
	}
	if o.to == nil {
		l.last = o.from
	} else {
		o.to.from = o.from
	}
	o.queued, o.from, o.to = false, nil, nil
}

// notice queues a message of one frame. It is called with mu held.
func (l *line) notice(k kind, id uint64, payload []byte) {
	if !l.closed {
		l.enqueue(&outgoing{kind: k, id: id, head: payload})
	}
}

// write writes what is queued, as much at once as there is, until the line is
// closed and nothing is left, or the stream fails.
func (l *line) write() error {
	for {
		l.mu.Lock()
		for l.first == nil && !l.closed {
			l.queued.Wait()
		}
		if l.first == nil {
			l.mu.Unlock()
			return nil
		}
		l.mu.Unlock()
		// Whoever is about to queue something gets to do so first: then it goes
		// along. Alone, this costs nothing that can be measured.
		runtime.Gosched()
		if err := l.flush(); err != nil {
			return err
		}
	}
}

func (l *line) flush() error {
	buffer := batches.Get().(*[]byte)
	defer batches.Put(buffer)
	b := (*buffer)[:0]
	l.mu.Lock()
	for l.first != nil && len(b) < batchBytesMax {
		o := l.first
		l.drop(o)
		b = o.appendFrame(b)
		if len(o.body) > 0 {
			l.enqueue(o)
		} else if l.taken != nil {
			l.taken(o)
		}
	}
	if !l.closed {
		l.stream.SetWriteDeadline(time.Now().Add(l.stalled))
	}
	l.mu.Unlock()
	_, err := l.stream.Write(b)
	return err
}

// appendFrame appends the next frame.
func (o *outgoing) appendFrame(b []byte) []byte {
	k, head := o.kind, o.head
	if o.begun {
		k, head = o.more, nil
	}
	o.begun = true
	n := min(len(o.body), FrameBytesMax-len(head))
	b = appendHeader(b, header{len(head) + n, k, o.id})
	b = append(b, head...)
	b = append(b, o.body[:n]...)
	o.body = o.body[n:]
	return b
}

// next reads a frame's header.
func (l *line) next() (header, error) {
	b, err := l.reader.Peek(headerBytes)
	if err != nil {
		if errors.Is(err, io.EOF) && len(b) == 0 {
			return header{}, errGone
		}
		return header{}, noEOF(err)
	}
	h, err := decodeHeader(b)
	if err != nil {
		return h, err
	}
	_, err = l.reader.Discard(headerBytes)
	return h, err
}

// small reads a payload of at most max bytes, which are valid until the next
// read.
func (l *line) small(h header, most int) ([]byte, error) {
	if h.length > most {
		return nil, fail(CodeProtocol, "frame of kind %d has %d bytes, at most %d", h.kind, h.length, most)
	}
	b, err := l.reader.Peek(h.length)
	if err != nil {
		return nil, noEOF(err)
	}
	_, err = l.reader.Discard(h.length)
	return b, err
}

// prefix reads the first bytes of a payload: as many as there are, up to n. They
// are valid until the next read.
func (l *line) prefix(h header, n int) ([]byte, error) {
	b, err := l.reader.Peek(min(h.length, n))
	return b, noEOF(err)
}

// skip reads over n bytes.
func (l *line) skip(n int) error {
	_, err := l.reader.Discard(n)
	return noEOF(err)
}

// grow reads n bytes to the end of to, which gets no longer than most: memory is
// taken for what has come, not for what was announced.
func (l *line) grow(to []byte, n, most int) ([]byte, error) {
	was := len(to)
	if cap(to)-was < n {
		to = append(make([]byte, 0, min(max(2*cap(to), was+n), most)), to...)
	}
	to = to[:was+n]
	_, err := io.ReadFull(l.reader, to[was:])
	return to, noEOF(err)
}

// writes starts the writer. The channel has one value when it has ended.
func (l *line) writes(e *Endpoint) <-chan error {
	written := make(chan error, 1)
	e.work(func() {
		err := l.write()
		if err != nil {
			l.reset()
		}
		written <- err
	})
	return written
}

// wind ends a line whose reader ended for a reason, and returns what was behind
// that. Who broke the rules is told so.
func (l *line) wind(reason error, written <-chan error) error {
	if !errors.Is(reason, ErrProtocol) {
		l.abandon()
		if err := <-written; errors.Is(err, os.ErrDeadlineExceeded) {
			return fmt.Errorf("write for %v: %w", l.stalled, err)
		}
		return reason
	}
	l.mu.Lock()
	if !l.closed {
		l.dropAll()
		l.notice(kindGoodbye, 0, encodeFailure(reason))
		l.stream.SetWriteDeadline(time.Now().Add(goodbyeTimeMax))
		l.closed = true
		l.queued.Broadcast()
	}
	l.mu.Unlock()
	if <-written == nil {
		l.stream.Close()
	} else {
		l.reset()
	}
	return reason
}

// reset ends the stream. It can only fail when that is done.
func (l *line) reset() { _ = l.stream.Reset() }

// abandon ends the line at once.
func (l *line) abandon() {
	l.mu.Lock()
	l.dropAll()
	l.closed = true
	l.queued.Broadcast()
	l.mu.Unlock()
	l.reset()
}

func (l *line) dropAll() {
	for l.first != nil {
		l.drop(l.first)
	}
}

func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
