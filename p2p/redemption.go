package p2p

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// redemption is one node's use of one invitation.
type redemption struct {
	invitation InvitationID
	node       [32]byte
	until      time.Time // the invitation's end: then the entry can be forgotten
}

// A record of the file: invitation, node, end, CRC-32C of these.
const redemptionBytes = 8 + 32 + 8 + 4

// redemptionGrace is how long after an invitation's end its uses are kept,
// against clocks that are set back.
const redemptionGrace = 30 * 24 * time.Hour

// redemptions counts the uses of invitations in a file to which records are
// only added. A record is on disk before its use is granted; one that a crash cut
// off was never granted and is dropped when the file is opened.
type redemptions struct {
	mu   sync.Mutex
	file *os.File
	size int64
	uses map[InvitationID]map[[32]byte]bool
	n    int
	// broken is set when the file's end is not known any more.
	broken error
}

// openRedemptions reads the file, and rewrites it when it holds records that can
// be forgotten. Damage before the last record is an error, not a loss of count.
func openRedemptions(path string, now time.Time) (*redemptions, error) {
	b, err := readFile(path, RedemptionsMax*redemptionBytes+redemptionBytes)
	if err != nil {
		return nil, err
	}
	l := &redemptions{uses: map[InvitationID]map[[32]byte]bool{}}
	var kept []byte
	for at := 0; at+redemptionBytes <= len(b); at += redemptionBytes {
		record := b[at : at+redemptionBytes]
		r, ok := decodeRedemption(record)
		if !ok {
			if at+redemptionBytes == len(b) {
				break // cut off by a crash: its blocks were written, not all of its bytes
			}
			return nil, fmt.Errorf("read %s: %w: record %d", filepath.Base(path), ErrMalformed, at/redemptionBytes)
		}
		if now.After(r.until.Add(redemptionGrace)) {
			continue
		}
		l.note(r)
		kept = append(kept, record...)
	}
	if len(kept) != len(b) || b == nil {
		if err := replaceFile(path, kept); err != nil {
			return nil, err
		}
	}
	l.size = int64(len(kept))
	if l.file, err = os.OpenFile(path, os.O_WRONLY, 0o600); err != nil {
		return nil, fmt.Errorf("open redemptions: %w", err)
	}
	return l, nil
}

func (l *redemptions) close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file == nil {
		return nil
	}
	err := l.file.Close()
	l.file = nil
	return err
}

// add counts one use, unless the invitation was redeemed by limit others.
func (l *redemptions) add(r redemption, limit uint32) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	nodes := l.uses[r.invitation]
	switch {
	case l.file == nil:
		return ErrClosed
	case l.broken != nil:
		return l.broken
	case nodes[r.node]:
		return nil
	case len(nodes) >= int(limit):
		return fmt.Errorf("%w: %d of %d", ErrInvitationUsedUp, len(nodes), limit)
	case l.n >= RedemptionsMax:
		return fmt.Errorf("%w: %d redemptions", ErrFull, l.n)
	}
	if err := l.write(r); err != nil {
		return err
	}
	l.note(r)
	return nil
}

// write appends the record. When that fails the file is cut back, so that the
// next record does not follow half a one.
func (l *redemptions) write(r redemption) error {
	_, err := l.file.WriteAt(encodeRedemption(r), l.size)
	if err == nil {
		err = l.file.Sync()
	}
	if err == nil {
		l.size += redemptionBytes
		return nil
	}
	if cut := l.file.Truncate(l.size); cut != nil {
		l.broken = fmt.Errorf("count redemption: %w", errors.Join(err, cut))
	}
	return fmt.Errorf("count redemption: %w", err)
}

func (l *redemptions) note(r redemption) {
	nodes := l.uses[r.invitation]
	if nodes == nil {
		nodes = map[[32]byte]bool{}
		l.uses[r.invitation] = nodes
	}
	if !nodes[r.node] {
		nodes[r.node] = true
		l.n++
	}
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func encodeRedemption(r redemption) []byte {
	b := append(make([]byte, 0, redemptionBytes), r.invitation[:]...)
	b = append(b, r.node[:]...)
	b = binary.BigEndian.AppendUint64(b, toUnix(r.until))
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

func decodeRedemption(b []byte) (redemption, bool) {
	var r redemption
	end := redemptionBytes - 4
	if len(b) != redemptionBytes || crc32.Checksum(b[:end], castagnoli) != binary.BigEndian.Uint32(b[end:]) {
		return r, false
	}
	copy(r.invitation[:], b)
	copy(r.node[:], b[8:])
	seconds := binary.BigEndian.Uint64(b[40:])
	if seconds > timeMax {
		return r, false
	}
	r.until = fromUnix(seconds)
	return r, true
}
