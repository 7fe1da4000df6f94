package replica

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"

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

// keep makes the present state durable: by the store itself, or as a copy in
// the file from which open repairs it.
func (s *snapshots) keep() error {
	if store, ok := s.config.Store.(syncer); ok {
		if err := store.Sync(); err != nil {
			return fmt.Errorf("sync state: %w", err)
		}
		return nil
	}
	f, err := os.CreateTemp(s.config.Dir, "snapshot-part-*")
	if err != nil {
		return fmt.Errorf("make snapshot file: %w", err)
	}
	err = errors.Join(writeSnapshot(f, s.config.Store, s.book.view().lineage), f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), s.kept())
	}
	if err != nil {
		_ = os.Remove(f.Name())
		return fmt.Errorf("keep state: %w", err)
	}
	return nil
}

func (s *snapshots) kept() string { return filepath.Join(s.config.Dir, "snapshot-kept") }

// repair brings the store up to the latest snapshot, when a crash came between,
// or took away what the store had not synced.
func (s *snapshots) repair(f *fsm) error {
	for _, pattern := range []string{"snapshot-part-*", "snapshot-out-*"} {
		left, _ := filepath.Glob(filepath.Join(s.config.Dir, pattern))
		for _, name := range left {
			_ = os.Remove(name)
		}
	}
	m, ok, err := s.latest()
	if err != nil || !ok {
		return err
	}
	if !m.pending && s.config.Store.Applied() >= m.applied {
		return nil
	}
	name := s.kept()
	if m.pending {
		name = s.received()
	}
	file, err := os.Open(name)
	if err != nil {
		return fmt.Errorf("state is at %d, behind the log's start at %d: %w", s.config.Store.Applied(), m.index, err)
	}
	if err := f.Restore(file); err != nil {
		return fmt.Errorf("repair state from %s: %w", name, err)
	}
	return nil
}

// snapshots implements raft.SnapshotStore without a copy of the state: a
// snapshot of one's own is a promise that the store holds at least that much,
// durably. One that comes from the leader waits in a file until it is restored.
type snapshots struct {
	config *Config
	book   *book

	mu sync.Mutex
}

// snapshotKey holds the latest snapshot's description in Raft's stable store.
var snapshotKey = []byte("dugnad/snapshot")

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

// latest returns the latest snapshot; ok is false when there is none.
func (s *snapshots) latest() (m meta, ok bool, err error) {
	b, err := s.config.RaftLog.Get(snapshotKey)
	if err != nil && err.Error() != "not found" {
		return m, false, fmt.Errorf("read snapshot description: %w", err)
	}
	if len(b) == 0 {
		return m, false, nil
	}
	m, err = decodeMeta(b)
	return m, err == nil, err
}

func (s *snapshots) put(m meta) error {
	if err := s.config.RaftLog.Set(snapshotKey, m.encode()); err != nil {
		return fmt.Errorf("write snapshot description: %w", err)
	}
	return nil
}

// forget removes all snapshots.
func (s *snapshots) forget() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.config.RaftLog.Set(snapshotKey, nil); err != nil {
		return fmt.Errorf("remove snapshot description: %w", err)
	}
	_ = os.Remove(s.received())
	return nil
}

func (s *snapshots) received() string { return filepath.Join(s.config.Dir, "snapshot-in") }

// settle makes a received snapshot one of one's own, after it was restored.
func (s *snapshots) settle() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	m, ok, err := s.latest()
	if err != nil || !ok || !m.pending {
		return err
	}
	if err := s.keep(); err != nil {
		return err
	}
	m.pending, m.applied = false, s.config.Store.Applied()
	if err := s.put(m); err != nil {
		return err
	}
	_ = os.Remove(s.received())
	return nil
}

// List implements raft.SnapshotStore.
func (s *snapshots) List() ([]*raft.SnapshotMeta, error) {
	m, ok, err := s.latest()
	if err != nil || !ok {
		return nil, err
	}
	return []*raft.SnapshotMeta{m.raft()}, nil
}

func (m meta) raft() *raft.SnapshotMeta {
	return &raft.SnapshotMeta{
		Version: raft.SnapshotVersionMax, ID: fmt.Sprintf("%d-%d", m.term, m.index), Index: m.index, Term: m.term,
		Configuration: raft.Configuration{Servers: m.servers}, ConfigurationIndex: m.serversIndex,
	}
}

// Open implements raft.SnapshotStore. The state that it gives may be newer than
// the description; fsm skips what it has.
func (s *snapshots) Open(id string) (*raft.SnapshotMeta, io.ReadCloser, error) {
	s.mu.Lock()
	m, ok, err := s.latest()
	s.mu.Unlock()
	if err != nil {
		return nil, nil, err
	}
	described := m.raft()
	if !ok || described.ID != id {
		return nil, nil, fmt.Errorf("open snapshot %s: it was replaced", id)
	}
	var f *os.File
	if m.pending {
		if f, err = os.Open(s.received()); err == nil {
			described.Size, err = f.Seek(0, io.SeekEnd)
		}
		if err == nil {
			_, err = f.Seek(0, io.SeekStart)
		}
	} else {
		f, described.Size, err = spool(s.config.Dir, s.config.Store, s.book.view().lineage)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("open snapshot %s: %w", id, err)
	}
	return described, f, nil
}

// Create implements raft.SnapshotStore.
func (s *snapshots) Create(_ raft.SnapshotVersion, index, term uint64, c raft.Configuration, serversIndex uint64, _ raft.Transport) (raft.SnapshotSink, error) {
	return &sink{store: s, meta: meta{index: index, term: term, serversIndex: serversIndex, servers: c.Servers}}, nil
}

// sink is a snapshot in the making. Without a byte written to it, it stands for
// the store itself.
type sink struct {
	store *snapshots
	meta  meta
	file  *os.File
}

// ID implements raft.SnapshotSink.
func (k *sink) ID() string { return k.meta.raft().ID }

// Write implements raft.SnapshotSink.
func (k *sink) Write(b []byte) (int, error) {
	if k.file == nil {
		f, err := os.CreateTemp(k.store.config.Dir, "snapshot-part-*")
		if err != nil {
			return 0, fmt.Errorf("make snapshot file: %w", err)
		}
		k.file, k.meta.pending = f, true
	}
	return k.file.Write(b)
}

// Close implements raft.SnapshotSink.
func (k *sink) Close() error {
	k.store.mu.Lock()
	defer k.store.mu.Unlock()
	if f := k.file; f != nil {
		k.file = nil
		if err := errors.Join(f.Sync(), f.Close()); err != nil {
			return errors.Join(fmt.Errorf("sync snapshot: %w", err), os.Remove(f.Name()))
		}
		if err := os.Rename(f.Name(), k.store.received()); err != nil {
			return fmt.Errorf("keep snapshot: %w", err)
		}
	}
	return k.store.put(k.meta)
}

// Cancel implements raft.SnapshotSink.
func (k *sink) Cancel() error {
	f := k.file
	if f == nil {
		return nil
	}
	k.file = nil
	return errors.Join(f.Close(), os.Remove(f.Name()))
}
