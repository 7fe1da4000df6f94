package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"go.uber.org/goleak"

	"github.com/dugnad/dugnad/ledger"
	"github.com/dugnad/dugnad/ledger/ledgertest"
)

// testConfig is the smallest store, with no demands on the disk's free space.
func testConfig(dir string) Config {
	c := Default(dir)
	c.MemTableBytes = 8 << 20
	c.DiskReserveBytes = 0
	return c
}

func openTest(t testing.TB, c Config) *Store {
	t.Helper()
	s, err := Open(context.Background(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// numbered gives every update the next index.
type numbered struct{ *Store }

func (n numbered) Update(f func(tx ledger.Tx) error) error { return n.Store.Update(n.Applied()+1, f) }

func TestTx(t *testing.T) {
	ledgertest.TestTx(t, func(t *testing.T) ledgertest.Transactor {
		return numbered{openTest(t, testConfig(t.TempDir()))}
	})
}

func set(key, value string) func(tx ledger.Tx) error {
	return func(tx ledger.Tx) error { return tx.Set([]byte(key), []byte(value)) }
}

// content returns everything in the state, and its index.
func content(t testing.TB, s *Store) (map[string]string, uint64) {
	t.Helper()
	got, index, err := contentOf(s)
	if err != nil {
		t.Fatal(err)
	}
	return got, index
}

func contentOf(s *Store) (map[string]string, uint64, error) {
	got := map[string]string{}
	index, err := s.ViewAt(func(tx ledger.Tx) error {
		return tx.Scan(nil, nil, func(k, v []byte) bool { got[string(k)] = string(v); return true })
	})
	return got, index, err
}

func TestOpen(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent(), goleak.IgnoreTopFunction("github.com/dgraph-io/badger/v4.(*DB).monitorCache"))
	dir := filepath.Join(t.TempDir(), "a", "b")
	c := testConfig(dir)
	s, err := Open(context.Background(), c)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(dir); err != nil || info.Mode() != fs.ModeDir|0o700 {
		t.Errorf("directory is %v, %v", info.Mode(), err)
	}
	if _, err := Open(context.Background(), c); !errors.Is(err, ErrLocked) {
		t.Errorf("second open: %v, want ErrLocked", err)
	}
	if err := s.Update(5, set("k", "v")); err != nil {
		t.Fatal(err)
	}
	for _, index := range []uint64{0, 4, 5} {
		if err := s.Update(index, set("k", "w")); !errors.Is(err, ErrStale) {
			t.Errorf("update %d: %v, want ErrStale", index, err)
		}
	}
	for range 2 {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Update(6, set("k", "w")); !errors.Is(err, ErrClosed) {
		t.Errorf("update after close: %v, want ErrClosed", err)
	}
	if err := s.View(func(ledger.Tx) error { return nil }); !errors.Is(err, ErrClosed) {
		t.Errorf("view after close: %v, want ErrClosed", err)
	}
	s, err = Open(context.Background(), c)
	if err != nil {
		t.Fatal(err)
	}
	if got, index := content(t, s); index != 5 || got["k"] != "v" || s.Applied() != 5 {
		t.Errorf("after opening again: %v at %d", got, index)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestLimits(t *testing.T) {
	s := openTest(t, testConfig(t.TempDir()))
	var kept ledger.Tx
	err := s.Update(1, func(tx ledger.Tx) error {
		kept = tx
		for _, err := range []error{
			tx.Set(make([]byte, KeyBytesMax+1), nil),
			tx.Delete(make([]byte, KeyBytesMax+1)),
			tx.Set(nil, make([]byte, ValueBytesMax+1)),
		} {
			if !errors.Is(err, ErrTooLarge) {
				return fmt.Errorf("%w, want ErrTooLarge", err)
			}
		}
		if err := tx.Set(make([]byte, KeyBytesMax), make([]byte, ValueBytesMax)); err != nil {
			return err
		}
		return tx.Scan(nil, nil, func(_, _ []byte) bool {
			if err := tx.Set(nil, nil); !errors.Is(err, ErrReadOnly) {
				t.Errorf("write in a scan: %v, want ErrReadOnly", err)
			}
			return true
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := kept.Set(nil, nil); !errors.Is(err, ErrEnded) {
		t.Errorf("write after the end: %v, want ErrEnded", err)
	}
	err = s.View(func(tx ledger.Tx) error { return tx.Set(nil, nil) })
	if !errors.Is(err, ErrReadOnly) {
		t.Errorf("write in a view: %v, want ErrReadOnly", err)
	}
}
