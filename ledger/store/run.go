package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/dgraph-io/badger/v4"
)

// Run looks after the store until ctx ends, and returns its error; or until the
// store is closed or has a Fault, and returns that. It lets Badger drop what is
// overwritten, collects the value log's garbage, compacts when nothing was
// written for a while, lets Badger's compactors rest then, and reads everything now and then to find damage.
func (s *Store) Run(ctx context.Context) error {
	tick := time.NewTicker(s.config.MaintainInterval)
	defer tick.Stop()
	verified := time.Now()
	var keeper keeper
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.failed:
			return s.Fault()
		case <-tick.C:
		}
		if err := s.maintain(&keeper); err != nil {
			return err
		}
		if s.config.VerifyInterval > 0 && time.Since(verified) >= s.config.VerifyInterval {
			verified = time.Now()
			if err := s.VerifyDisk(); err != nil {
				return s.fail(err)
			}
			keeper.out = [2]uint64{} // all of them were read
		}
	}
}

// keeper remembers what the last round of maintenance saw.
type keeper struct {
	applied, last uint64
	flat          bool
	full          bool
	// out is the newest table when tables were paged out last, of each database.
	out [2]uint64
}

// maintain is one round.
func (s *Store) maintain(k *keeper) error {
	v, err := s.acquireView() // keeps the generation open
	if err != nil {
		return err
	}
	defer v.release()
	end, err := s.raft.begin()
	if err != nil {
		return err
	}
	defer end()

	s.discard(v.generation)
	s.meter.sizes(v.generation.db, s.raft.db)
	if err := s.room(); err != nil {
		if !k.full {
			s.log.Error("disk is full, the store takes no writes", "err", err)
		}
		k.full = true
		return nil // compaction needs room first
	}
	if k.full {
		s.log.Info("disk has room again")
	}
	k.full = false
	for i := 0; i < valueLogFilesMax; i++ {
		if err := s.raft.db.RunValueLogGC(0.5); err != nil {
			if !errors.Is(err, badger.ErrNoRewrite) && !errors.Is(err, badger.ErrRejected) {
				s.log.Warn("value log is not collected", "err", err)
			}
			break
		}
	}
	s.flatten(k, v.generation)
	v.generation.compactors.look()
	s.raft.compactors.look()
	return nil
}

// valueLogFilesMax bounds the value log files collected in one round.
const valueLogFilesMax = 8

// discard lets Badger drop versions that no reader needs. What is not yet in a
// table is kept for lastWhole, which costs nothing: it is only dropped there.
func (s *Store) discard(g *generation) {
	var newest uint64
	for _, t := range g.db.Tables() {
		newest = max(newest, t.MaxVersion)
	}
	if newest == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	at := min(newest-1, s.applied)
	for index := range g.readers {
		at = min(at, index)
	}
	if at > g.discard {
		g.discard = at
		g.db.SetDiscardTs(at)
	}
}

// flatten compacts both databases once when a whole round passed without a
// write and there are stale bytes, and gives the system back the memory of tables
// that were made since it did so last.
func (s *Store) flatten(k *keeper, state *generation) {
	applied := s.Applied()
	last, _ := s.raft.LastIndex()
	if k.applied != applied || k.last != last {
		*k = keeper{applied: applied, last: last, out: k.out}
		return
	}
	if k.flat {
		return
	}
	k.flat = true
	for i, c := range []*compactors{state.compactors, s.raft.compactors} {
		s.flattenOne(c)
		if newest := newestTable(c.db); newest != k.out[i] {
			k.out[i] = newest
			if err := pageOut(c.db.Opts().Dir); err != nil {
				s.log.Debug("tables keep their pages", "err", err)
			}
		}
	}
}

// newestTable returns the number of the newest table, which a flush or a compaction
// has made.
func newestTable(db *badger.DB) (newest uint64) {
	for _, t := range db.Tables() {
		newest = max(newest, t.ID)
	}
	return newest
}

// flattenOne compacts a database if that is worth while.
func (s *Store) flattenOne(c *compactors) {
	levelZero, stale := 0, int64(0)
	for _, l := range c.db.Levels() {
		if l.Level == 0 {
			levelZero = l.NumTables
		}
		stale += l.StaleDatSize
	}
	if levelZero < 2 && stale < s.config.MemTableBytes {
		return
	}
	c.wake()
	if err := c.db.Flatten(1); err != nil {
		s.log.Warn("database is not compacted", "err", err)
	}
}

// VerifyDisk reads every table of both databases and returns ErrCorrupt when one
// is not what was written.
func (s *Store) VerifyDisk() error {
	v, err := s.acquireView()
	if err != nil {
		return err
	}
	defer v.release()
	end, err := s.raft.begin()
	if err != nil {
		return err
	}
	defer end()
	for _, db := range []*badger.DB{v.generation.db, s.raft.db} {
		if err := verifyOpen(db); err != nil {
			return fmt.Errorf("verify: %w", err)
		}
	}
	return nil
}
