package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/dgraph-io/badger/v4"
)

// generation is one state database. Restore makes a new one beside it; the old
// one is closed and removed when its last reader is done.
type generation struct {
	store  *Store
	number uint64
	dir    string
	db     *badger.DB
	// compactors are those of db.
	compactors *compactors
	// cache is what updates have read, under the store's writing.
	cache  *cache
	floors floors
	// readers counts the views at each index, under the store's mu.
	readers map[uint64]int
	// synced is the index up to which Sync was called, under the store's syncing.
	synced uint64
	// discard is the highest version given to Badger as no longer needed,
	// under the store's mu.
	discard uint64

	references atomic.Int64
	// obsolete is set before the last release when the directory is to go.
	obsolete atomic.Bool
	closeErr error
}

func (s *Store) stateDir() string { return filepath.Join(s.config.Dir, "state") }

func (s *Store) generationDir(number uint64) string {
	return filepath.Join(s.stateDir(), strconv.FormatUint(number, 10))
}

// openGeneration opens the state database of a generation. The caller holds its
// first reference.
func (s *Store) openGeneration(number uint64) (*generation, error) {
	dir := s.generationDir(number)
	if err := makeDir(dir); err != nil {
		return nil, fmt.Errorf("make state directory: %w", classify(err))
	}
	c := newCompactors(s.config.MemTableBytes)
	db, err := s.openBadger(s.badgerOptions(dir, c), true)
	if err != nil {
		return nil, err
	}
	c.db = db
	g := &generation{
		store: s, number: number, dir: dir, db: db, compactors: c,
		cache: newCache(s.config.RecordCacheBytes), readers: map[uint64]int{},
	}
	g.references.Store(1)
	s.generations.Add(1)
	return g, nil
}

func (g *generation) acquire() { g.references.Add(1) }

func (g *generation) release() {
	if g.references.Add(-1) > 0 {
		return
	}
	defer g.store.generations.Done()
	g.compactors.wake()
	if err := g.db.Close(); err != nil {
		g.closeErr = fmt.Errorf("close %s: %w", g.dir, classify(err))
	}
	if g.obsolete.Load() {
		if err := os.RemoveAll(g.dir); err != nil {
			g.store.log.Warn("old state is left behind", "dir", g.dir, "err", err)
		}
	}
}

// openState opens the generation that counts, removes others, and goes back to
// the last update that is whole.
func (s *Store) openState(ctx context.Context) (*generation, uint64, error) {
	if err := makeDir(s.stateDir()); err != nil {
		return nil, 0, fmt.Errorf("make state directory: %w", classify(err))
	}
	number, err := s.current()
	if err != nil {
		return nil, 0, err
	}
	if number == 0 {
		number = 1
		if err := s.setCurrent(number); err != nil {
			return nil, 0, err
		}
	}
	if err := s.removeOthers(number); err != nil {
		return nil, 0, err
	}
	durable, err := verifyTables(ctx, s.generationDir(number), !s.config.SkipVerify)
	if err != nil {
		return nil, 0, err
	}
	g, err := s.openGeneration(number)
	if err != nil {
		return nil, 0, err
	}
	applied, newest, err := g.lastWhole(durable)
	if err == nil && applied != newest {
		s.log.Warn("state lost updates when the machine stopped, going back", "newest", newest, "applied", applied)
		old := g
		if g, err = s.rebuild(ctx, old, applied); err == nil {
			old.obsolete.Store(true)
		}
		old.release()
		return g, applied, err
	}
	if err != nil {
		g.release()
		return nil, 0, err
	}
	return g, applied, nil
}

// rebuild makes a new generation out of old as it was at index, and switches.
func (s *Store) rebuild(ctx context.Context, old *generation, index uint64) (*generation, error) {
	b, err := s.newBuilder(old.number+1, index)
	if err != nil {
		return nil, err
	}
	read := old.db.NewTransactionAt(index, false)
	defer read.Discard()
	err = eachRecord(read, func(key, value []byte) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		return b.add(key, value)
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("rebuild state: %w", err), b.abandon())
	}
	return b.finish()
}

// The first line of state/CURRENT says how the store is laid out.
const (
	currentMagic   = "dugnad state "
	currentVersion = 1
)

var currentHeader = fmt.Sprintf("%s%d\n", currentMagic, currentVersion)

// current returns the number in state/CURRENT, 0 when there is none, and
// ErrVersion for a store that is laid out in another way.
func (s *Store) current() (uint64, error) {
	path := filepath.Join(s.stateDir(), "CURRENT")
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("read %s: %w", path, classify(err))
	}
	var version uint64
	if _, err := fmt.Sscanf(string(text), currentMagic+"%d\n", &version); err == nil && version != currentVersion {
		return 0, fmt.Errorf("%w: %s has version %d, this program reads %d", ErrVersion, path, version, currentVersion)
	}
	rest, ok := strings.CutPrefix(string(text), currentHeader)
	number, err := strconv.ParseUint(strings.TrimSuffix(rest, "\n"), 10, 64)
	if !ok || err != nil || number == 0 {
		return 0, fmt.Errorf("%w: %s does not name a generation", ErrCorrupt, path)
	}
	return number, nil
}

// setCurrent makes a generation the one that counts; all or nothing, and
// durable when it returns.
func (s *Store) setCurrent(number uint64) error {
	path := filepath.Join(s.stateDir(), "CURRENT")
	f, err := os.OpenFile(path+".new", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("write CURRENT: %w", classify(err))
	}
	_, err = fmt.Fprintf(f, "%s%d\n", currentHeader, number)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("write CURRENT: %w", classify(err))
	}
	if err := os.Rename(path+".new", path); err != nil {
		return fmt.Errorf("switch CURRENT: %w", classify(err))
	}
	return classify(s.syncFile(s.stateDir()))
}

// removeOthers deletes what an interrupted Restore left.
func (s *Store) removeOthers(number uint64) error {
	entries, err := os.ReadDir(s.stateDir())
	if err != nil {
		return fmt.Errorf("read state directory: %w", classify(err))
	}
	for _, e := range entries {
		n, err := strconv.ParseUint(e.Name(), 10, 64)
		if err != nil || n == number {
			continue
		}
		if err := os.RemoveAll(filepath.Join(s.stateDir(), e.Name())); err != nil {
			return fmt.Errorf("remove old state: %w", classify(err))
		}
	}
	return nil
}
