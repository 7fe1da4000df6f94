package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
)

// TestHammer writes, syncs, reads, snapshots, compacts and restores at once.
func TestHammer(t *testing.T) {
	t.Parallel()
	c := testConfig(tempDir(t))
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
	loop(s.Sync)
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
			if _, err := s.Restore(bytes.NewReader(take(t, s, Header{}))); err != nil {
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
		if err != nil || len(families) != 10 {
			t.Errorf("%d families, %v", len(families), err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
