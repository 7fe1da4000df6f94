package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/dgraph-io/badger/v4"
)

// batch is a sequence of writes in as few transactions as they take, each synced
// before the next.
type batch struct {
	raft *RaftLog
	txn  *badger.Txn
	// then runs under mu when everything is written.
	then func()
	// floor is the new lower bound, when there is one.
	floor uint64
	// bytes is the size of what txn has.
	bytes int64
}

func (b *batch) put(w write) error {
	err := b.one(w)
	if !errors.Is(err, badger.ErrTxnTooBig) {
		return err
	}
	if err := b.send(); err != nil {
		return err
	}
	b.txn = b.raft.db.NewTransaction(true)
	return b.one(w)
}

func (b *batch) one(w write) error {
	b.bytes += w.size()
	if w.value == nil {
		return b.txn.Delete(w.key)
	}
	return b.txn.Set(w.key, w.value)
}

func (b *batch) send() error {
	b.raft.compactors.wrote(b.bytes)
	b.bytes = 0
	done := make(chan error, 1)
	b.txn.CommitWith(func(err error) { done <- err })
	select {
	case err := <-done:
		if err == nil {
			err = b.raft.syncNames()
		}
		if err != nil {
			return b.raft.store.fail(classify(err))
		}
		return nil
	case <-b.raft.store.failed:
		return b.raft.store.Fault()
	}
}

// write runs f with a batch and commits it.
func (r *RaftLog) write(what string, f func(b *batch) error) error {
	end, err := r.begin()
	if err != nil {
		return err
	}
	defer end()
	r.writing.Lock()
	defer r.writing.Unlock()
	if err := r.store.writable(); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	b := &batch{raft: r, txn: r.db.NewTransaction(true)}
	defer func() { b.txn.Discard() }()
	if err = f(b); err == nil {
		err = b.send()
	}
	if err != nil {
		return fmt.Errorf("%s: %w", what, classify(err))
	}
	if b.then != nil {
		r.mu.Lock()
		defer r.mu.Unlock()
		b.then()
	}
	return nil
}

// findMemFile finds the newest write-ahead log.
func (r *RaftLog) findMemFile() error {
	names, err := filepath.Glob(filepath.Join(r.dir, "*.mem"))
	if err != nil {
		return err
	}
	for _, name := range names {
		var n int
		if _, err := fmt.Sscanf(filepath.Base(name), "%d.mem", &n); err == nil {
			r.memFile = max(r.memFile, n)
		}
	}
	return r.store.syncFile(r.dir)
}

// syncNames syncs the directory when Badger has begun another write-ahead log,
// which it does not do itself: a log whose name is lost takes its entries along.
func (r *RaftLog) syncNames() error {
	if !r.store.config.SyncLog {
		return nil
	}
	begun := false
	for {
		_, err := os.Stat(filepath.Join(r.dir, fmt.Sprintf("%05d.mem", r.memFile+1)))
		if err != nil {
			break
		}
		r.memFile++
		begun = true
	}
	if !begun {
		return nil
	}
	return r.store.syncFile(r.dir)
}
