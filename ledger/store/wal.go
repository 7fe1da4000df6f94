package store

import (
	"context"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
)

// verifyLogs reads the write-ahead logs of a Badger database whose writes are
// synced and that is not open. Badger takes the first damaged record for the end
// of a log, which it is when the machine stopped in the middle of a write; but
// damage in the middle of what was synced would then silently cut off entries
// that Raft has acknowledged. The difference: behind an interrupted write there
// is no later transaction, neither in the same log nor in the next.
func verifyLogs(ctx context.Context, dir string) error {
	names, err := filepath.Glob(filepath.Join(dir, "*.mem"))
	if err != nil {
		return err
	}
	slices.Sort(names)
	damaged := ""
	for _, name := range names {
		if err := ctx.Err(); err != nil {
			return err
		}
		b, err := os.ReadFile(name)
		if err != nil {
			return fmt.Errorf("read %s: %w", name, classify(err))
		}
		w := walReader{b: b, at: walHead}
		w.whole()
		if damaged != "" && w.last > 0 {
			return fmt.Errorf("%w: %s, and %s goes on behind it", ErrCorrupt, damaged, filepath.Base(name))
		}
		if !w.torn() {
			continue
		}
		damaged = fmt.Sprintf("%s at byte %d: damaged record", name, w.at)
		if version, at := w.later(); version > 0 {
			return fmt.Errorf("%w: %s, and transaction %d at byte %d was written after it", ErrCorrupt, damaged, version, at)
		}
	}
	return nil
}

// The layout of Badger's write-ahead log: a file header, then records of
//
//	meta, user meta, uvarint key length, uvarint value length,
//	uvarint expiry, key with the version's complement in the last 8 bytes,
//	value, CRC-32C of all that
//
// A transaction's records have walInTxn set; walEndTxn ends it, with the version
// in decimals as its value. Zeros follow the last record.
const (
	walHead   = 20
	walDelete = 1 << 0
	walInTxn  = 1 << 6
	walEndTxn = 1 << 7

	walKeyBytesMax = 1 << 16
)

// walEndKey is the key of a transaction's end.
var walEndKey = []byte("!badger!txn")

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// walReader reads the bytes of a log.
type walReader struct {
	b  []byte
	at int // behind the last whole transaction
	// last is that transaction's version, open the version of the one that
	// begins at at, zero when that cannot be read.
	last, open uint64
}

// record reads a record; size is zero when there is none.
func (w *walReader) record(at int) (version uint64, meta byte, size int) {
	if at+2 > len(w.b) || w.b[at] == 0 && w.b[at+1] == 0 {
		return 0, 0, 0
	}
	p := at + 2
	var n [3]uint64
	for i := range n {
		v, k := binary.Uvarint(w.b[min(p, len(w.b)):])
		if k <= 0 {
			return 0, 0, 0
		}
		n[i], p = v, p+k
	}
	if n[0] < 8 || n[0] > walKeyBytesMax || n[1] > uint64(len(w.b)) || p+int(n[0]+n[1])+4 > len(w.b) {
		return 0, 0, 0
	}
	end := p + int(n[0]+n[1])
	if crc32.Checksum(w.b[at:end], castagnoli) != binary.BigEndian.Uint32(w.b[end:]) {
		return 0, 0, 0
	}
	key := w.b[p : p+int(n[0])]
	return math.MaxUint64 - binary.BigEndian.Uint64(key[len(key)-8:]), w.b[at], end + 4 - at
}

// whole goes to the end of the last whole transaction.
func (w *walReader) whole() {
	for at := w.at; ; {
		version, meta, size := w.record(at)
		switch {
		case size == 0:
			return
		case meta&walEndTxn != 0:
			value := w.b[at+size-4-len(strconv.FormatUint(version, 10)) : at+size-4]
			if string(value) != strconv.FormatUint(version, 10) || (w.open != 0 && w.open != version) {
				return
			}
			w.last, w.open, w.at = version, 0, at+size
		case meta&walInTxn != 0:
			if w.open != 0 && w.open != version {
				return
			}
			w.open = version
		case w.open == 0: // moved by the value log's collection
			w.at = at + size
		default:
			return
		}
		at += size
	}
}

// torn reports whether anything follows the last whole transaction.
func (w *walReader) torn() bool {
	for _, c := range w.b[min(w.at, len(w.b)):] {
		if c != 0 {
			return true
		}
	}
	return false
}

// later looks behind the damage for a record of a transaction after the one that
// was damaged.
func (w *walReader) later() (version uint64, at int) {
	damaged := w.open
	if damaged == 0 && w.last != 0 {
		damaged = w.last + 1
	}
	for at := w.at; at < len(w.b); {
		version, meta, size := w.record(at)
		if size == 0 || meta&(walInTxn|walEndTxn) == 0 {
			at++
			continue
		}
		if damaged == 0 {
			damaged = version
		}
		if version > damaged {
			return version, at
		}
		at += size
	}
	return 0, 0
}
