package content

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/dugnad/dugnad/p2p"
)

// Protocol is the name of the streams that objects come by.
//
// A stream carries requests one after another, each followed by its answers.
// Every frame is its length, a byte that says its kind, and the body; numbers
// are big-endian.
const Protocol = "/dugnad/content/1"

// The kinds of frames. The numbers never change.
const (
	// requestList asks what a holder has: hash, digest of the chain that is
	// known (or zeros).
	requestList = 1
	// requestRange asks for chunks: hash, first chunk, count, a byte that is 1
	// to insist. There is an answer for each chunk; a refusal ends the range.
	requestRange = 2

	// answerList: flags, size, bitmap of chunks if the object is partial, the
	// chain's states unless its digest is the one of the request.
	answerList = 16
	// answerData: chunk, its bytes.
	answerData = 17
	// answerRefusal: code, milliseconds to wait, count of members, the members.
	answerRefusal = 18
)

const (
	frameHead     = 4 + 1
	dataHeadBytes = frameHead + 4

	requestBytesMax = 1 + 2*len(Hash{})
	answerBytesMax  = 1 + 1 + 8 + chunksMax/8 + chunksMax*len(midstate{})

	// RangeChunksMax bounds the chunks of one request.
	RangeChunksMax = 16
	// ReferralsMax bounds the members in a refusal.
	ReferralsMax     = 8
	nodeBytesMax     = 128
	refusalWaitMax   = time.Minute
	listComplete     = 1
	listKnown        = 2
	listRequestBytes = 2 * len(Hash{})
	rangeBytes       = len(Hash{}) + 4 + 4 + 1
)

// errFrame is returned for what is no frame of this protocol.
var errFrame = errors.New("frame is malformed")

// frame returns a frame whose body is b.
func frame(kind byte, b []byte) []byte {
	to := binary.BigEndian.AppendUint32(nil, uint32(1+len(b)))
	return append(append(to, kind), b...)
}

// readHead reads a frame's kind and the length of its body, at most most-1.
func readHead(r io.Reader, most int) (kind byte, n int, err error) {
	var b [frameHead]byte
	if _, err := io.ReadFull(r, b[:]); err != nil {
		return 0, 0, err
	}
	length := binary.BigEndian.Uint32(b[:])
	if length < 1 || int64(length) > int64(most) {
		return 0, 0, fmt.Errorf("%w: length %d, at most %d", errFrame, length, most)
	}
	return b[4], int(length) - 1, nil
}

// request is a frame of a fetcher.
type request struct {
	kind         byte
	hash, known  Hash
	first, count int
	insist       bool
}

func (r request) frame() []byte {
	body := append([]byte(nil), r.hash[:]...)
	if r.kind == requestList {
		return frame(r.kind, append(body, r.known[:]...))
	}
	body = binary.BigEndian.AppendUint32(body, uint32(r.first))
	body = binary.BigEndian.AppendUint32(body, uint32(r.count))
	return frame(r.kind, append(body, flag(r.insist, 1)))
}

func flag(on bool, bit byte) byte {
	if on {
		return bit
	}
	return 0
}

func readRequest(r io.Reader) (request, error) {
	kind, n, err := readHead(r, requestBytesMax)
	if err != nil {
		return request{}, err
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(r, b); err != nil {
		return request{}, noEOF(err)
	}
	return parseRequest(kind, b)
}

// noEOF is for an end in the middle of a frame.
func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

func parseRequest(kind byte, b []byte) (request, error) {
	q := request{kind: kind}
	switch {
	case kind == requestList && len(b) == listRequestBytes:
		q.hash, q.known = Hash(b), Hash(b[len(Hash{}):])
		return q, nil
	case kind == requestRange && len(b) == rangeBytes:
		q.hash = Hash(b)
		b = b[len(Hash{}):]
		first, count := binary.BigEndian.Uint32(b), binary.BigEndian.Uint32(b[4:])
		if first < chunksMax && count >= 1 && count <= RangeChunksMax && b[8] <= 1 {
			q.first, q.count, q.insist = int(first), int(count), b[8] == 1
			return q, nil
		}
	}
	return request{}, fmt.Errorf("%w: request of kind %d and %d bytes", errFrame, kind, len(b))
}

// listing is what a holder says that it has.
type listing struct {
	size int64
	// have is nil if the object is complete.
	have bitmap
	// chain is nil if the request's was the same.
	chain *chain
}

func (l listing) frame() []byte {
	body := []byte{flag(l.have == nil, listComplete) | flag(l.chain == nil, listKnown)}
	body = binary.BigEndian.AppendUint64(body, uint64(l.size))
	body = append(body, l.have...)
	if l.chain != nil {
		body = l.chain.appendStates(body)
	}
	return frame(answerList, body)
}

func parseListing(h Hash, b []byte) (listing, error) {
	bad := fmt.Errorf("%w: listing of %d bytes", errFrame, len(b))
	if len(b) < 9 || b[0]&^(listComplete|listKnown) != 0 {
		return listing{}, bad
	}
	flags, size := b[0], binary.BigEndian.Uint64(b[1:])
	if size > ObjectBytesMax {
		return listing{}, fmt.Errorf("%w: object of %d bytes", errFrame, size)
	}
	l, b := listing{size: int64(size)}, b[9:]
	if flags&listComplete == 0 {
		n := chunksOf(l.size)
		if len(b) < (n+7)/8 {
			return listing{}, bad
		}
		l.have, b = append(bitmap{}, b[:(n+7)/8]...), b[(n+7)/8:]
		if n%8 != 0 && l.have[n/8]>>(n%8) != 0 {
			return listing{}, bad
		}
	}
	if flags&listKnown != 0 {
		if len(b) > 0 {
			return listing{}, bad
		}
		return l, nil
	}
	c, err := newChain(h, l.size, b)
	if err != nil {
		return listing{}, bad
	}
	l.chain = c
	return l, nil
}

// refusal is an answer without what was asked for.
type refusal struct {
	code code
	wait time.Duration
	// others hold, or will soon hold, what was asked for.
	others []p2p.NodeID
}

func (f refusal) frame() []byte {
	body := binary.BigEndian.AppendUint16(nil, uint16(f.code))
	body = binary.BigEndian.AppendUint32(body, uint32(f.wait.Milliseconds()))
	others := f.others[:min(len(f.others), ReferralsMax)]
	body = append(body, byte(len(others)))
	for _, id := range others {
		body = append(append(body, byte(len(id))), id...)
	}
	return frame(answerRefusal, body)
}

func parseRefusal(b []byte) (refusal, error) {
	bad := fmt.Errorf("%w: refusal of %d bytes", errFrame, len(b))
	if len(b) < 7 || b[6] > ReferralsMax {
		return refusal{}, bad
	}
	f := refusal{code: code(binary.BigEndian.Uint16(b)), wait: time.Duration(binary.BigEndian.Uint32(b[2:])) * time.Millisecond}
	f.wait = min(f.wait, refusalWaitMax)
	n, b := int(b[6]), b[7:]
	for range n {
		if len(b) < 1 || b[0] < 1 || b[0] > nodeBytesMax || len(b) < 1+int(b[0]) {
			return refusal{}, bad
		}
		f.others = append(f.others, p2p.NodeID(b[1:1+int(b[0])]))
		b = b[1+int(b[0]):]
	}
	if len(b) > 0 {
		return refusal{}, bad
	}
	return f, nil
}
