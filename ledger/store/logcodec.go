package store

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/hashicorp/raft"
)

// logVersion begins every stored entry of the Raft log:
//
//	version, type, uvarint term, varint nanoseconds since 1970 or 0,
//	uvarint length of the extensions, extensions, data
const logVersion = 1

func encodeLog(l *raft.Log) []byte {
	b := make([]byte, 0, 2+3*binary.MaxVarintLen64+len(l.Extensions)+len(l.Data))
	b = append(b, logVersion, byte(l.Type))
	b = binary.AppendUvarint(b, l.Term)
	var nanos int64
	if !l.AppendedAt.IsZero() {
		nanos = l.AppendedAt.UnixNano()
	}
	b = binary.AppendVarint(b, nanos)
	b = binary.AppendUvarint(b, uint64(len(l.Extensions)))
	b = append(b, l.Extensions...)
	return append(b, l.Data...)
}

// decodeLog fills l from what encodeLog made. It keeps nothing of b.
func decodeLog(index uint64, b []byte, l *raft.Log) error {
	bad := func(what string) error {
		return fmt.Errorf("%w: raft log %d: %s", ErrCorrupt, index, what)
	}
	if len(b) < 2 || b[0] != logVersion {
		return bad("unknown version")
	}
	*l = raft.Log{Index: index, Type: raft.LogType(b[1])}
	b = b[2:]
	var n int
	if l.Term, n = binary.Uvarint(b); n <= 0 {
		return bad("term")
	}
	b = b[n:]
	nanos, n := binary.Varint(b)
	if n <= 0 {
		return bad("time")
	}
	if nanos != 0 {
		l.AppendedAt = time.Unix(0, nanos)
	}
	b = b[n:]
	size, n := binary.Uvarint(b)
	if n <= 0 || size > uint64(len(b)-n) {
		return bad("extensions")
	}
	b = b[n:]
	if size > 0 {
		l.Extensions = append([]byte(nil), b[:size]...)
	}
	if size < uint64(len(b)) {
		l.Data = append([]byte(nil), b[size:]...)
	}
	return nil
}
