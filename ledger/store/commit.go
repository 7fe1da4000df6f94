package store

import (
	"strconv"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/pb"
)

// commit writes the overlay at the version of its index, in as many Badger
// transactions as it takes, the mark in the last. A failure in the middle leaves
// versions that nobody reads, and that the same update writes again.
func (s *Store) commit(g *generation, m mark, o *overlay) error {
	g.compactors.wrote(o.bytes)
	if small(g.db, o) {
		return s.commitSmall(g, m, o)
	}
	p := newPart(g.db, m.index)
	put := func(w write) error {
		if !p.fits(w) {
			if err := p.add(write{partKey(m.parts), []byte{1}}); err != nil {
				return err
			}
			if err := s.send(p); err != nil {
				return err
			}
			m.parts++
			p = newPart(g.db, m.index)
		}
		return p.add(w)
	}
	err := o.each(put)
	if err == nil {
		err = p.add(m.write())
	}
	if err != nil {
		return classify(err)
	}
	return s.send(p)
}

// small reports whether an overlay is committed by Badger's own transaction,
// which is one for all of it. It inserts in the order of a map, which takes longer
// than an ascending one, whose places in the table are close to each other. A
// loader keeps the order, but makes two lists of MaxBatchCount first.
func small(db *badger.DB, o *overlay) bool {
	return int64(o.count) < db.MaxBatchCount()/100 && o.bytes < db.MaxBatchSize()/2
}

func (s *Store) commitSmall(g *generation, m mark, o *overlay) error {
	txn := g.db.NewTransactionAt(m.previous, true)
	defer txn.Discard()
	put := func(w write) error {
		if w.value == nil {
			return txn.Delete(w.key)
		}
		return txn.Set(w.key, w.value)
	}
	err := o.each(put)
	if err == nil {
		err = put(m.write())
	}
	if err != nil {
		return classify(err)
	}
	done := make(chan error, 1)
	if err := txn.CommitAt(m.index, func(err error) { done <- err }); err != nil {
		return classify(err)
	}
	return s.await(done)
}

// part is a Badger transaction whose writes keep their order.
type part struct {
	loader      *badger.KVLoader
	kv          pb.KV
	count, size int64
	// countMax and sizeMax leave room for the key of the part, or the mark, and
	// the end of the transaction.
	countMax, sizeMax int64
}

// writeOverhead is more than what Badger adds to the bytes of a write.
const writeOverhead = 32

func newPart(db *badger.DB, version uint64) *part {
	return &part{
		loader: db.NewKVLoader(1), kv: pb.KV{Version: version, Meta: []byte{0}},
		countMax: db.MaxBatchCount() - 3, sizeMax: db.MaxBatchSize() - 1024,
	}
}

func (w write) size() int64 { return int64(len(w.key)+len(w.value)) + writeOverhead }

// fits reports whether w can be added; to an empty part every write can.
func (p *part) fits(w write) bool { return p.count < p.countMax && p.size+w.size() < p.sizeMax }

func (p *part) add(w write) error {
	meta := byte(walInTxn)
	if w.value == nil {
		meta |= walDelete
	}
	return p.put(w, meta)
}

// put hands a write to the loader, which keeps the slices and copies the rest.
func (p *part) put(w write, meta byte) error {
	p.count++
	p.size += w.size()
	p.kv.Key, p.kv.Value, p.kv.Meta[0] = w.key, w.value, meta
	return p.loader.Set(&p.kv)
}

// send commits a part. Its records in the write-ahead log are those of any
// transaction of Badger's.
func (s *Store) send(p *part) error {
	end := write{walEndKey, strconv.AppendUint(nil, p.kv.Version, 10)}
	if err := p.put(end, walEndTxn); err != nil {
		return classify(err)
	}
	done := make(chan error, 1)
	go func() { done <- p.loader.Finish() }()
	return s.await(done)
}

// await waits for a commit. Should Badger never answer, because it cannot flush,
// the store's fault is the answer. After an error nobody knows what is on disk:
// the store takes no more writes.
func (s *Store) await(done <-chan error) error {
	select {
	case err := <-done:
		if err != nil {
			return s.fail(classify(err))
		}
		return nil
	case <-s.failed:
		return s.Fault()
	}
}
