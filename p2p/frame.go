package p2p

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"
)

// readAnswer reads the listener's answer.
func readAnswer(s io.Reader) (*greeting, error) {
	r, theirs, err := readStatus(s)
	if err != nil {
		return nil, err
	}
	g := &greeting{membership: r.membership(), news: r.news(), clock: theirs}
	return g, r.done()
}

// readStatus reads a frame that begins with a code and the other side's clock. A
// refusal is an error.
func readStatus(s io.Reader) (*reader, time.Time, error) {
	b, err := readFrame(s)
	if err != nil {
		return nil, time.Time{}, err
	}
	r := &reader{b: b}
	version := r.u8()
	code := Code(r.u8())
	theirs := r.time()
	if r.err == nil && code != CodeOK {
		refusal := &Refusal{Code: code, Clock: theirs}
		refusal.Text, refusal.proof = cutProof(r.b)
		return nil, theirs, refusal
	}
	if r.err == nil && version != encodingVersion {
		return nil, theirs, fmt.Errorf("%w: %d, this node knows %d", ErrVersion, version, encodingVersion)
	}
	return r, theirs, r.err
}

func (r *reader) membership() *Membership {
	m, err := DecodeMembership(r.bytes(membershipBytesMax))
	if err != nil && r.err == nil {
		r.b, r.err = nil, err
	}
	return m
}

func (r *reader) news() news {
	n := news{name: plain(string(r.bytes(NameBytesMax)), NameBytesMax)}
	r.fixed(n.expelled[:])
	r.fixed(n.session[:])
	n.record = r.bytes(recordBytesMax)
	return n
}

func appendNews(b []byte, n news) []byte {
	b = appendBytes(b, n.name)
	b = append(b, n.expelled[:]...)
	b = append(b, n.session[:]...)
	return appendBytes(b, n.record)
}

// appendAnswer begins a frame that is no refusal.
func appendAnswer(now time.Time) []byte {
	return appendTime([]byte{encodingVersion, byte(CodeOK)}, now)
}

// refuse tells the other side why not, unless it was the one to refuse or the
// connection is broken, and returns err.
func refuse(s io.Writer, now time.Time, err error) error {
	var refusal *Refusal
	if errors.As(err, &refusal) || errors.Is(err, errBroken) {
		return err
	}
	code, text := CodeOf(err), err.Error()
	if code == CodeOther {
		text = "" // what fails inside this node is nobody else's business
	}
	var out *expelledError
	if errors.As(err, &out) {
		text = out.sentence()
	}
	b := appendTime([]byte{encodingVersion, byte(code)}, now)
	b = append(b, plain(text, refusalTextMax)...)
	if out != nil {
		// Who is to believe this does not have to believe the one who says it.
		b = append(append(b, 0), out.proof...)
	}
	if failed := writeFrame(s, b); failed != nil {
		return errors.Join(err, failed)
	}
	return err
}

// errBroken is the cause when bytes do not come or do not go.
var errBroken = errors.New("connection broke")

// writeFrame writes the length, four bytes, and b in one piece.
func writeFrame(w io.Writer, b []byte) error {
	frame := binary.BigEndian.AppendUint32(make([]byte, 0, 4+len(b)), uint32(len(b)))
	if _, err := w.Write(append(frame, b...)); err != nil {
		return fmt.Errorf("%w: %w", errBroken, err)
	}
	return nil
}

// readFrame reads one frame and not a byte more: what follows is the multiplexer's.
func readFrame(r io.Reader) ([]byte, error) { return readBounded(r, helloBytesMax) }

// readBounded reads a frame of at most limit bytes.
func readBounded(r io.Reader, limit uint32) ([]byte, error) {
	var length [4]byte
	if _, err := io.ReadFull(r, length[:]); err != nil {
		return nil, fmt.Errorf("%w: %w", errBroken, err)
	}
	n := binary.BigEndian.Uint32(length[:])
	if n > limit {
		return nil, fmt.Errorf("%w: a frame of %d bytes, the limit is %d", ErrMalformed, n, limit)
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(r, b); err != nil {
		return nil, fmt.Errorf("%w: %w", errBroken, err)
	}
	return b, nil
}
