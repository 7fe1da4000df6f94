package replica

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"

	"github.com/hashicorp/raft"
)

// keep makes the present state durable.
func (s *snapshots) keep() error {
	if err := s.config.Store.Sync(); err != nil {
		return fmt.Errorf("sync state: %w", err)
	}
	return nil
}

// repair restores a received snapshot when a crash came between, and refuses a
// store that has less than its log says.
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
	if !m.pending {
		if applied := s.config.Store.Applied(); applied < m.applied {
			return fmt.Errorf("state is at %d, the log begins behind %d: %w", applied, m.applied, ErrCorrupt)
		}
		return nil
	}
	file, err := os.Open(s.received())
	if err != nil {
		return fmt.Errorf("open received snapshot: %w", err)
	}
	if err := f.Restore(file); err != nil {
		return fmt.Errorf("repair state from %s: %w", s.received(), err)
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

// last returns the last entry of the latest snapshot, zeros when there is none or
// it is not restored yet.
func (s *snapshots) last() (index, term uint64) {
	m, ok, err := s.latest()
	if err != nil || !ok || m.pending {
		return 0, 0
	}
	return m.index, m.term
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

// Create implements raft.SnapshotStore. It refuses a snapshot that is older than
// the latest: Raft would go back to it, want entries that were cut off since, and
// end the process because they are not there.
func (s *snapshots) Create(_ raft.SnapshotVersion, index, term uint64, c raft.Configuration, serversIndex uint64, _ raft.Transport) (raft.SnapshotSink, error) {
	if last, _ := s.last(); index < last {
		return nil, fmt.Errorf("create snapshot up to %d, there is one up to %d: %w", index, last, ErrTooOld)
	}
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
