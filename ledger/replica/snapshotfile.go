package replica

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/hashicorp/raft"
)

// snapshotHeader precedes what Store.Snapshot writes: 8 bytes of magic, u64
// index, u8 length of the lineage, 32 bytes of lineage.
type snapshotHeader struct {
	index   uint64
	lineage string
}

const (
	snapshotMagic       = "dugnads1"
	lineageBytesMax     = 32
	snapshotHeaderBytes = 8 + 8 + 1 + lineageBytesMax
)

func (h snapshotHeader) encode() []byte {
	b := make([]byte, snapshotHeaderBytes)
	copy(b, snapshotMagic)
	binary.LittleEndian.PutUint64(b[8:], h.index)
	b[16] = byte(len(h.lineage))
	copy(b[17:], h.lineage)
	return b
}

func readSnapshotHeader(r io.Reader) (h snapshotHeader, err error) {
	var b [snapshotHeaderBytes]byte
	if _, err := io.ReadFull(r, b[:]); err != nil {
		return h, fmt.Errorf("read snapshot header: %w", err)
	}
	if string(b[:8]) != snapshotMagic || b[16] > lineageBytesMax {
		return h, fmt.Errorf("read snapshot header: %w", ErrCorrupt)
	}
	return snapshotHeader{binary.LittleEndian.Uint64(b[8:]), string(b[17 : 17+int(b[16])])}, nil
}

// spool writes the present state to a file that has no name any more, so that
// a slow receiver holds up nobody. The caller closes it.
func spool(dir string, store Store, lineage string) (_ *os.File, size int64, err error) {
	f, err := os.CreateTemp(dir, "snapshot-out-*")
	if err != nil {
		return nil, 0, fmt.Errorf("make snapshot file: %w", err)
	}
	err = errors.Join(os.Remove(f.Name()), writeSnapshot(f, store, lineage))
	if err == nil {
		size, err = f.Seek(0, io.SeekEnd)
	}
	if err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil {
		return nil, 0, errors.Join(fmt.Errorf("spool snapshot: %w", err), f.Close())
	}
	return f, size, nil
}

// writeSnapshot writes header and state to an empty file.
func writeSnapshot(f *os.File, store Store, lineage string) error {
	w := bufio.NewWriterSize(f, 256<<10)
	if _, err := w.Write(make([]byte, snapshotHeaderBytes)); err != nil {
		return fmt.Errorf("write snapshot: %w", err)
	}
	index, err := store.Snapshot(w)
	if err != nil {
		return fmt.Errorf("write snapshot: %w", err)
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("write snapshot: %w", err)
	}
	if _, err := f.WriteAt(snapshotHeader{index, lineage}.encode(), 0); err != nil {
		return fmt.Errorf("write snapshot header: %w", err)
	}
	return nil
}

// meta describes the latest snapshot.
type meta struct {
	index, term, serversIndex uint64
	// applied is the least applied index of a state that is as new as the
	// snapshot: not every log entry moves it.
	applied uint64
	servers []raft.Server
	// pending tells that the received file has still to be restored.
	pending bool
}

func (m meta) encode() []byte {
	b := []byte{1, 0}
	if m.pending {
		b[1] = 1
	}
	b = binary.AppendUvarint(b, m.index)
	b = binary.AppendUvarint(b, m.term)
	b = binary.AppendUvarint(b, m.serversIndex)
	b = binary.AppendUvarint(b, m.applied)
	b = binary.AppendUvarint(b, uint64(len(m.servers)))
	for _, s := range m.servers {
		b = appendBytes(appendBytes(b, s.ID), s.Address)
		b = append(b, byte(s.Suffrage))
	}
	return b
}

func decodeMeta(b []byte) (m meta, err error) {
	d := decoder{rest: b}
	if d.byte() != 1 {
		d.fail("version")
	}
	m.pending = d.byte() == 1
	m.index, m.term, m.serversIndex, m.applied = d.uvarint(), d.uvarint(), d.uvarint(), d.uvarint()
	n := d.uvarint()
	if n > serversMax {
		d.fail("count of servers")
	}
	for i := uint64(0); i < n && d.err == nil; i++ {
		m.servers = append(m.servers, raft.Server{
			ID: raft.ServerID(d.string(idBytesMax)), Address: raft.ServerAddress(d.string(addressBytesMax)),
			Suffrage: raft.ServerSuffrage(d.byte()),
		})
	}
	if err := d.end(); err != nil {
		return m, fmt.Errorf("decode snapshot description: %w", err)
	}
	return m, nil
}

func (m meta) raft() *raft.SnapshotMeta {
	return &raft.SnapshotMeta{
		Version: raft.SnapshotVersionMax, ID: fmt.Sprintf("%d-%d", m.term, m.index), Index: m.index, Term: m.term,
		Configuration: raft.Configuration{Servers: m.servers}, ConfigurationIndex: m.serversIndex,
	}
}
