package p2p

import (
	"encoding/binary"
	"fmt"
	"time"
	"unicode"
	"unicode/utf8"
)

// reader takes an encoding apart. After the first error it returns zeros; done
// returns that error. It allocates no more than its input is long.
type reader struct {
	b   []byte
	err error
}

func (r *reader) fail(what string) {
	if r.err == nil {
		r.err = fmt.Errorf("%w: %s", ErrMalformed, what)
	}
	r.b = nil
}

// encodingVersion is the first byte of every statement, file and frame of the hello.
const encodingVersion = 1

// version takes the first byte, which has to be that.
func (r *reader) version() {
	if got := r.u8(); r.err == nil && got != encodingVersion {
		r.b, r.err = nil, fmt.Errorf("%w: %d, this node knows %d", ErrVersion, got, encodingVersion)
	}
}

func (r *reader) u8() uint8 {
	if len(r.b) == 0 {
		r.fail("ends too early")
		return 0
	}
	v := r.b[0]
	r.b = r.b[1:]
	return v
}

func (r *reader) fixed(p []byte) {
	if len(r.b) < len(p) {
		r.fail("ends too early")
		return
	}
	r.b = r.b[copy(p, r.b):]
}

func (r *reader) uvarint(limit uint64) uint64 {
	v, n := binary.Uvarint(r.b)
	if n > 1 && r.b[n-1] == 0 {
		n = 0 // longer than it needs to be: what is signed has one form
	}
	if n <= 0 || v > limit {
		r.fail("number")
		return 0
	}
	r.b = r.b[n:]
	return v
}

// bytes takes a length-prefixed part, without copying it.
func (r *reader) bytes(limit int) []byte {
	n := int(r.uvarint(uint64(limit)))
	if n > len(r.b) {
		r.fail("length beyond the end")
		return nil
	}
	b := r.b[:n:n]
	r.b = r.b[n:]
	return b
}

func (r *reader) time() time.Time { return fromUnix(r.uvarint(timeMax)) }

func (r *reader) node() NodeID {
	var key [32]byte
	r.fixed(key[:])
	if r.err != nil {
		return ""
	}
	id, err := nodeOf(key)
	if err != nil {
		r.fail("node's key")
	}
	return id
}

// done returns the first error; bytes that are left over are one.
func (r *reader) done() error {
	if r.err == nil && len(r.b) != 0 {
		r.fail("trailing bytes")
	}
	return r.err
}

func appendBytes[B ~[]byte | ~string](to []byte, b B) []byte {
	to = binary.AppendUvarint(to, uint64(len(b)))
	return append(to, b...)
}

func appendTime(to []byte, t time.Time) []byte {
	return binary.AppendUvarint(to, toUnix(t))
}

// appendNode appends the node's key. An id that is none becomes a key that
// nobody has: nothing that is signed for it can be used.
func appendNode(to []byte, id NodeID) []byte {
	key, _ := id.key()
	return append(to, key[:]...)
}

// toUnix returns t in seconds, 0 for the zero time and for times before 1970.
func toUnix(t time.Time) uint64 {
	if t.IsZero() || t.Unix() < 0 {
		return 0
	}
	return uint64(min(t.Unix(), timeMax))
}

func fromUnix(seconds uint64) time.Time {
	if seconds == 0 {
		return time.Time{}
	}
	return time.Unix(int64(seconds), 0).UTC()
}

// plain returns text as it may be shown on a terminal, at most limit bytes long:
// what others write must not move a cursor.
func plain(text string, limit int) string {
	out := make([]byte, 0, min(len(text), limit))
	for _, c := range text {
		if c == utf8.RuneError || !unicode.IsPrint(c) {
			c = '?'
		}
		if len(out)+utf8.RuneLen(c) > limit {
			break
		}
		out = utf8.AppendRune(out, c)
	}
	return string(out)
}

// clock formats a time for an error message.
func clock(t time.Time) string { return t.UTC().Format(time.RFC3339) }
