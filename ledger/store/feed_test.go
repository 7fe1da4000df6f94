package store

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/dugnad/dugnad/ledger"
)

func TestChanges(t *testing.T) {
	s := openTest(t, testConfig(t.TempDir()))
	for i := uint64(2); i <= 8; i += 2 {
		err := s.Update(i, func(tx ledger.Tx) error {
			return errors.Join(tx.Set([]byte("z"), []byte{byte(i)}), tx.Set([]byte("a"), nil), tx.Delete([]byte("m")), tx.Set([]byte("z"), []byte("last")))
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	changes := []Change{{[]byte("a"), []byte{}}, {[]byte("m"), nil}, {[]byte("z"), []byte("last")}}
	for after, want := range map[uint64][]Batch{
		0: {{Index: 2, Changes: changes}, {Index: 4, Changes: changes}, {Index: 6, Changes: changes}, {Index: 8, Changes: changes}},
		5: {{Index: 6, Changes: changes}, {Index: 8, Changes: changes}},
		6: {{Index: 8, Changes: changes}},
		8: {}, 9: {},
	} {
		got, err := s.Changes(after)
		if diff := cmp.Diff(want, got, cmpopts.IgnoreUnexported(Batch{})); diff != "" || err != nil {
			t.Errorf("after %d: %v %s", after, err, diff)
		}
	}
}

func TestChangesBounds(t *testing.T) {
	for _, c := range []struct {
		name           string
		bytes, entries int
	}{{"bytes", 10_000, 1 << 20}, {"entries", 1 << 30, 10}, {"nothing fits", 1, 10}} {
		t.Run(c.name, func(t *testing.T) {
			var f feed
			f.reset(100)
			var held []Batch
			for i := uint64(101); i < 1000; i++ {
				o := &overlay{}
				o.put([]byte{spaceData, 'k'}, make([]byte, i))
				f.add(newBatch(i, o), c.bytes, c.entries)
				if f.bytes > c.bytes || len(f.batches) > c.entries {
					t.Fatalf("%d bytes in %d batches", f.bytes, len(f.batches))
				}
				if cap(f.batches) > 4*(c.entries+16) {
					t.Fatalf("room for %d batches", cap(f.batches))
				}
				if i == 105 {
					held, _ = f.after(f.floor)
				}
			}
			for i, b := range held {
				if b.Index != held[0].Index+uint64(i) || len(b.Changes[0].Value) != int(b.Index) {
					t.Fatalf("batch given to a reader changed: %d", b.Index)
				}
			}
			if _, err := f.after(f.floor - 1); !errors.Is(err, ErrTooOld) {
				t.Errorf("%v, want ErrTooOld", err)
			}
			got, err := f.after(f.floor)
			if err != nil || len(got) != len(f.batches) || (len(got) > 0 && got[len(got)-1].Index != 999) {
				t.Errorf("%d batches, %v", len(got), err)
			}
		})
	}
}

func TestWait(t *testing.T) {
	s := openTest(t, testConfig(t.TempDir()))
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	errs := make([]error, 8)
	for i := range errs {
		wg.Go(func() {
			switch {
			case i < 6:
				errs[i] = s.Wait(context.Background(), uint64(i))
			case i == 6:
				errs[i] = s.Wait(ctx, 100)
			default:
				errs[i] = s.Wait(context.Background(), 100)
			}
		})
	}
	for i := uint64(1); i <= 5; i++ {
		if err := s.Update(i, set("k", fmt.Sprint(i))); err != nil {
			t.Fatal(err)
		}
	}
	cancel()
	if err := s.Wait(context.Background(), 5); err != nil {
		t.Error(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	wg.Wait()
	if err := errors.Join(errs[:6]...); err != nil && !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
	if !errors.Is(errs[6], context.Canceled) && !errors.Is(errs[6], ErrClosed) {
		t.Errorf("cancelled wait: %v", errs[6])
	}
	if !errors.Is(errs[7], ErrClosed) {
		t.Errorf("wait on a closed store: %v", errs[7])
	}
}

// TestHammer writes, reads, follows, snapshots, compacts and restores at once.
func TestHammer(t *testing.T) {
	c := testConfig(t.TempDir())
	c.SyncLog = false
	c.MaintainInterval = 1 // as often as possible
	c.VerifyInterval = 1
	c.Registerer = prometheus.NewRegistry()
	s := openTest(t, c)
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	loop := func(f func() error) {
		wg.Go(func() {
			for ctx.Err() == nil {
				if err := f(); err != nil && !errors.Is(err, context.Canceled) {
					t.Error(err)
					return
				}
			}
		})
	}
	loop(func() error { return s.Run(ctx) })
	loop(func() error {
		var m model
		got, index, err := contentOf(s)
		if err == nil && !cmp.Equal(m.at(index), got) {
			err = fmt.Errorf("state at %d differs", index)
		}
		return err
	})
	loop(func() error {
		snapshot, err := s.Snapshot(Header{})
		if err != nil {
			return err
		}
		defer snapshot.Close()
		_, err = snapshot.WriteTo(&countWriter{})
		return err
	})
	at := uint64(0)
	loop(func() error {
		if err := s.Wait(ctx, at+1); err != nil {
			return err
		}
		batches, err := s.Changes(at)
		if errors.Is(err, ErrTooOld) {
			at, err = s.Applied(), nil
		}
		for _, b := range batches {
			if b.Index != at+1 {
				return fmt.Errorf("batch %d follows %d", b.Index, at)
			}
			at = b.Index
		}
		return err
	})
	for i := uint64(1); i <= 400; i++ {
		if err := errors.Join(s.Raft().StoreLog(entry(i, 1)), s.Update(i, apply(i))); err != nil {
			t.Fatal(err)
		}
		if i%50 == 0 {
			if err := s.Raft().DeleteRange(i-49, i-10); err != nil {
				t.Fatal(err)
			}
		}
		if i%100 == 0 {
			if _, err := s.Restore(newReader(take(t, s, Header{}))); err != nil {
				t.Fatal(err)
			}
		}
	}
	cancel()
	wg.Wait()
}

func TestMetrics(t *testing.T) {
	r := prometheus.NewRegistry()
	c := testConfig(t.TempDir())
	c.Registerer = r
	for range 2 { // Close takes them away again
		s := openTest(t, c)
		if err := s.maintain(&keeper{}); err != nil {
			t.Fatal(err)
		}
		families, err := r.Gather()
		if err != nil || len(families) != 8 {
			t.Errorf("%d families, %v", len(families), err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
