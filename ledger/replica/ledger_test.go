package replica_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dugnad/dugnad/ledger"
	"github.com/dugnad/dugnad/ledger/ledgertest"
	"github.com/dugnad/dugnad/ledger/replica"
	"github.com/dugnad/dugnad/ledger/replica/disk"
	"github.com/dugnad/dugnad/ledger/replica/machine"
	"github.com/dugnad/dugnad/ledger/store"
)

// openStore opens a store in dir, which it does not sync.
func openStore(t testing.TB, dir string) *store.Store {
	t.Helper()
	config := store.Default(dir)
	config.SyncLog, config.DiskReserveBytes = false, 0
	s, err := store.Open(context.Background(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// TestTranscriptsOnDisk runs the core's transcripts on Badger: the output is the
// same, to the letter.
func TestTranscriptsOnDisk(t *testing.T) {
	files, err := filepath.Glob("../testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no transcripts: %v", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			ledgertest.TranscriptOn(t, file, false, disk.Store{Store: openStore(t, t.TempDir())})
		})
	}
}

// TestRandomCommandsOnDisk applies random commands to a map in memory and to
// Badger, which is closed and opened again now and then: the results and the
// states are the same bytes.
func TestRandomCommandsOnDisk(t *testing.T) {
	const steps = 600
	seed := orSeed(5)
	t.Logf("seed %d", seed)
	memory, dir := ledgertest.NewMemory(), t.TempDir()
	s := openStore(t, dir)
	c := &chaos{
		random: rand.New(rand.NewPCG(seed, 1)), now: bookStart,
		view: func(f func(tx ledger.Tx) error) error { return f(memory) },
	}
	queue := c.founding()
	for index := uint64(1); index <= steps; index++ {
		if len(queue) == 0 {
			next, err := c.command()
			if err != nil {
				t.Fatal(err)
			}
			queue = append(queue, next)
		}
		command := ledger.Encode(ledger.Envelope{Now: c.now, Body: queue[0]})
		want, err := ledger.Apply(memory, index, command)
		if err != nil {
			t.Fatal(err)
		}
		var got []byte
		if err := s.Update(index, func(tx ledger.Tx) error {
			got, err = ledger.Apply(tx, index, command)
			return err
		}); err != nil || !bytes.Equal(got, want) {
			t.Fatalf("command %d, %T: %x, %v on disk, %x in memory", index, queue[0], got, err, want)
		}
		queue = queue[1:]
		if index%50 == 0 {
			sameState(t, s, memory)
		}
		if c.random.IntN(100) == 0 {
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			s = openStore(t, dir)
		}
	}
	sameState(t, s, memory)
}

// orSeed returns the seed that the command line gives, or the one for every day.
func orSeed(everyday uint64) uint64 {
	if *seedFlag != 0 {
		return *seedFlag
	}
	return everyday
}

func sameState(t *testing.T, s *store.Store, want ledger.Tx) {
	t.Helper()
	wanted, err := sum(want)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.View(func(tx ledger.Tx) error {
		got, err := sum(tx)
		if err == nil && got != wanted {
			t.Fatalf("state at %d is %x, in memory %x", s.Applied(), got, wanted)
		}
		return errors.Join(err, ledger.Check(tx))
	}); err != nil {
		t.Fatal(err)
	}
}

// TestLedgerCluster has workers and chaos use the ledger through any member of a
// cluster on disk whose leader stops again and again.
func TestLedgerCluster(t *testing.T) {
	const members, voters, workers, chaotic, stops, acksPerStop = 5, 3, 4, 2, 3, 150
	seed := orSeed(11)
	t.Logf("seed %d", seed)
	stores := &openStores{open: onDisk(t, true), byID: map[string]replica.Store{}}
	c := ledgertest.NewCluster(t, ledgertest.ClusterConfig{Seed: seed, Machine: machine.Ledger{}, Open: stores.Open, Configure: func(c *replica.Config) {
		c.VotersMax = voters
		c.SnapshotEntries, c.TrailingEntries, c.SnapshotInterval = 60, 30, 50*time.Millisecond
	}})
	c.Found(members, voters)
	var acked atomic.Int64
	stop := make(chan struct{})
	var running sync.WaitGroup
	var list []*worker
	for i := range uint64(workers) {
		w := newWorker(seed, i+1, anyMember(c, members, rand.New(rand.NewPCG(seed, 100+i)), &acked))
		list = append(list, w)
		running.Go(func() { work(t, w, stop) })
	}
	for i := range uint64(chaotic) {
		random := rand.New(rand.NewPCG(seed, 200+i))
		running.Go(func() { rage(t, c, members, random, &acked, stop) })
	}
	for i := range stops {
		c.Until("commands are acknowledged", func() bool { return acked.Load() > int64((i+1)*acksPerStop) })
		leader := c.Leader(members)
		c.Stop(leader)
		at := acked.Load()
		c.Until("commands are acknowledged without it", func() bool { return acked.Load() > at+acksPerStop/2 })
		c.Open(leader)
	}
	close(stop)
	running.Wait()
	if _, err := c.Running(0).Read(within(t), func(tx ledger.Tx) error {
		for _, w := range list {
			if err := w.verify(tx); err != nil {
				t.Error(err)
			}
		}
		return ledger.Check(tx)
	}); err != nil {
		t.Error(err)
	}
	stores.same(t, c, members)
	t.Logf("%d commands were acknowledged", acked.Load())
}

// work founds a worker and has it go from job to job until stop.
func work(t testing.TB, w *worker, stop <-chan struct{}) {
	if err := w.found(); err != nil {
		t.Error(err)
		return
	}
	for {
		select {
		case <-stop:
			return
		default:
		}
		if err := w.round(); err != nil {
			t.Error(err)
			return
		}
	}
}

// anyMember proposes at random members until the outcome is known.
func anyMember(c *ledgertest.Cluster, members int, random *rand.Rand, acked *atomic.Int64) func(command []byte) ([]byte, error) {
	return func(command []byte) ([]byte, error) {
		for late := time.Now().Add(ledgertest.Deadline); ; {
			r := c.Running(random.IntN(members))
			if r == nil {
				continue
			}
			ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
			result, _, err := r.Propose(ctx, command)
			cancel()
			if err == nil {
				acked.Add(1)
				return result, nil
			}
			if time.Now().After(late) {
				return nil, err
			}
		}
	}
}

// rage proposes what chaos draws until stop.
func rage(t testing.TB, c *ledgertest.Cluster, members int, random *rand.Rand, acked *atomic.Int64, stop <-chan struct{}) {
	propose := anyMember(c, members, random, acked)
	draw := &chaos{random: random, now: bookStart, view: func(f func(tx ledger.Tx) error) error {
		if r := c.Running(random.IntN(members)); r != nil {
			if _, err := r.View(f); err != nil && !errors.Is(err, replica.ErrClosed) && !errors.Is(err, store.ErrClosed) {
				return err
			}
		}
		return nil
	}}
	queue := draw.founding()
	for {
		select {
		case <-stop:
			return
		default:
		}
		if len(queue) == 0 {
			next, err := draw.command()
			if err != nil {
				t.Error(err)
				return
			}
			queue = append(queue, next)
		}
		answer, err := propose(ledger.Encode(ledger.Envelope{Now: draw.now, Body: queue[0]}))
		if err == nil {
			_, err = ledger.DecodeResult(answer)
		}
		if err != nil {
			t.Errorf("%T: %v", queue[0], err)
			return
		}
		queue = queue[1:]
	}
}

// openStores remembers the stores of a cluster's members.
type openStores struct {
	open func(id string) (replica.Store, replica.RaftLog, func() error, error)

	mu   sync.Mutex
	byID map[string]replica.Store
}

// Open is for ledgertest.ClusterConfig.
func (o *openStores) Open(id string) (replica.Store, replica.RaftLog, func() error, error) {
	s, l, closeStore, err := o.open(id)
	o.mu.Lock()
	defer o.mu.Unlock()
	o.byID[id] = s
	return s, l, closeStore, err
}

// same waits until all members are at the same index, and compares their whole
// states, the replica's own keys with them.
func (o *openStores) same(t *testing.T, c *ledgertest.Cluster, members int) {
	t.Helper()
	c.Until("all members are at the same index", func() bool {
		var first [sha256.Size]byte
		var at uint64
		for i := range members {
			o.mu.Lock()
			s := o.byID[ledgertest.Name(i)]
			o.mu.Unlock()
			var own [sha256.Size]byte
			index, err := s.ViewAt(func(tx ledger.Tx) (err error) {
				own, err = sum(tx)
				return err
			})
			switch {
			case err != nil:
				t.Fatal(err)
			case i == 0:
				first, at = own, index
			case index != at:
				return false
			case own != first:
				t.Fatalf("%s differs at index %d", ledgertest.Name(i), at)
			}
		}
		return true
	})
}
