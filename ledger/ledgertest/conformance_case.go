package ledgertest

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/dugnad/dugnad/ledger"
)

func testOrder(t *testing.T, x Transactor) {
	must(t, x.Update, func(tx ledger.Tx) error {
		return put(tx, "b=2", "a=1", "\xff=5", "b\x00=3", "ba=4", "\x00=0")
	})
	must(t, x.View, func(tx ledger.Tx) error {
		return wantList(tx, "", "", "\x00=0", "a=1", "b=2", "b\x00=3", "ba=4", "\xff=5")
	})
}

func testPrefixAndFrom(t *testing.T, x Transactor) {
	pairs := []string{"a/1=x", "a/2=y", "a/\xff=z", "a/\xff\xff=v", "a0=u", "a=w", "b/1=t"}
	check := func(tx ledger.Tx) error {
		return errors.Join(
			wantList(tx, "a/", "", "a/1=x", "a/2=y", "a/\xff=z", "a/\xff\xff=v"),
			wantList(tx, "a/", "a/2", "a/2=y", "a/\xff=z", "a/\xff\xff=v"),
			wantList(tx, "a/", "a/11", "a/2=y", "a/\xff=z", "a/\xff\xff=v"),
			wantList(tx, "a/", "a", "a/1=x", "a/2=y", "a/\xff=z", "a/\xff\xff=v"),
			wantList(tx, "a/\xff", "", "a/\xff=z", "a/\xff\xff=v"),
			wantList(tx, "a/", "a0"),
			wantList(tx, "a/", "b"),
			wantList(tx, "c", ""),
			wantList(tx, "", "a0", "a0=u", "b/1=t"),
			wantList(tx, "", "c"),
		)
	}
	must(t, x.Update, func(tx ledger.Tx) error {
		if err := put(tx, pairs...); err != nil {
			return err
		}
		return check(tx)
	})
	must(t, x.View, check)
}

func testStop(t *testing.T, x Transactor) {
	must(t, x.Update, func(tx ledger.Tx) error { return put(tx, "a=1", "b=2", "c=3") })
	must(t, x.View, func(tx ledger.Tx) error {
		visits := 0
		err := tx.Scan(nil, nil, func(_, _ []byte) bool { visits++; return visits < 2 })
		if err == nil && visits != 2 {
			err = fmt.Errorf("%d visits after stopping at 2", visits)
		}
		return err
	})
}

func testOwnWrites(t *testing.T, x Transactor) {
	must(t, x.Update, func(tx ledger.Tx) error {
		if err := put(tx, "a=1", "b=2", "a=3", "b", "c", "c=4", "c=5"); err != nil {
			return err
		}
		return errors.Join(
			wantGet(tx, "a", []byte("3")), wantGet(tx, "b", nil), wantGet(tx, "c", []byte("5")),
			wantList(tx, "", "", "a=3", "c=5"),
		)
	})
	must(t, x.View, func(tx ledger.Tx) error { return wantList(tx, "", "", "a=3", "c=5") })
}

func testOwnWritesBetween(t *testing.T, x Transactor) {
	must(t, x.Update, func(tx ledger.Tx) error { return put(tx, "k1=s", "k3=s", "k5=s", "k7=s") })
	must(t, x.Update, func(tx ledger.Tx) error {
		if err := put(tx, "k0=o", "k2=o", "k3=o", "k5", "k7", "k8=o", "k8", "nobody"); err != nil {
			return err
		}
		return errors.Join(
			wantList(tx, "k", "", "k0=o", "k1=s", "k2=o", "k3=o"),
			wantList(tx, "k", "k2", "k2=o", "k3=o"),
			wantList(tx, "k", "k4"),
		)
	})
	must(t, x.View, func(tx ledger.Tx) error { return wantList(tx, "k", "", "k0=o", "k1=s", "k2=o", "k3=o") })
}

func testEmptyValues(t *testing.T, x Transactor) {
	check := func(tx ledger.Tx) error {
		return errors.Join(wantGet(tx, "empty", []byte{}), wantGet(tx, "nil", []byte{}), wantGet(tx, "none", nil),
			wantList(tx, "", "", "empty=", "nil="))
	}
	must(t, x.Update, func(tx ledger.Tx) error {
		if err := errors.Join(tx.Set([]byte("empty"), []byte{}), tx.Set([]byte("nil"), nil)); err != nil {
			return err
		}
		return check(tx)
	})
	must(t, x.View, check)
}

func testOddKeys(t *testing.T, x Transactor) {
	keys := []string{"\x00", "\x00\x00", "!badger!", "!badger!txn", "\xff\xff\xff", string(bytes.Repeat([]byte{'k'}, 4096))}
	check := func(tx ledger.Tx) error {
		for _, k := range keys {
			if err := wantGet(tx, k, []byte("v"+k)); err != nil {
				return err
			}
		}
		return nil
	}
	must(t, x.Update, func(tx ledger.Tx) error {
		for _, k := range keys {
			if err := tx.Set([]byte(k), []byte("v"+k)); err != nil {
				return err
			}
		}
		return check(tx)
	})
	must(t, x.View, check)
}

func testLargeValues(t *testing.T, x Transactor) {
	large := bytes.Repeat([]byte("0123456789abcdef"), 60<<10) // 960 KiB
	check := func(tx ledger.Tx) error {
		for i := range 12 {
			if err := wantGet(tx, fmt.Sprintf("large%02d", i), large[i:]); err != nil {
				return fmt.Errorf("large value %d differs", i)
			}
		}
		return nil
	}
	must(t, x.Update, func(tx ledger.Tx) error {
		for i := range 12 {
			if err := tx.Set(fmt.Appendf(nil, "large%02d", i), large[i:]); err != nil {
				return err
			}
		}
		return check(tx)
	})
	must(t, x.View, check)
}

func testCopies(t *testing.T, x Transactor) {
	must(t, x.Update, func(tx ledger.Tx) error {
		key, value := []byte("key"), []byte("value")
		if err := tx.Set(key, value); err != nil {
			return err
		}
		copy(key, "xxx")
		copy(value, "xxxxx")
		return errors.Join(wantGet(tx, "key", []byte("value")), wantGet(tx, "xxx", nil))
	})
	must(t, x.View, func(tx ledger.Tx) error { return wantList(tx, "", "", "key=value") })
}

func testValueLifetime(t *testing.T, x Transactor) {
	must(t, x.Update, func(tx ledger.Tx) error { return put(tx, "a=1", "b=2", "c=3") })
	must(t, x.Update, func(tx ledger.Tx) error {
		a, err := tx.Get([]byte("a"))
		if err != nil {
			return err
		}
		if err := put(tx, "a=9", "b=8", "c", "d=7"); err != nil {
			return err
		}
		if _, err := list(tx, "", ""); err != nil {
			return err
		}
		if string(a) != "1" {
			return fmt.Errorf("value of an earlier get became %q", a)
		}
		return nil
	})
}

func testRollback(t *testing.T, x Transactor) {
	must(t, x.Update, func(tx ledger.Tx) error { return put(tx, "a=1", "b=2") })
	boom := errors.New("boom")
	err := x.Update(func(tx ledger.Tx) error {
		return errors.Join(put(tx, "a=9", "b", "c=3"), boom)
	})
	if !errors.Is(err, boom) {
		t.Fatalf("update returned %v, want the function's error", err)
	}
	must(t, x.View, func(tx ledger.Tx) error { return wantList(tx, "", "", "a=1", "b=2") })
	must(t, x.Update, func(tx ledger.Tx) error { return wantList(tx, "", "", "a=1", "b=2") })
}

func testIsolation(t *testing.T, x Transactor) {
	must(t, x.Update, func(tx ledger.Tx) error { return put(tx, "a=1", "b=1") })
	must(t, x.View, func(old ledger.Tx) error {
		must(t, x.Update, func(tx ledger.Tx) error {
			if err := put(tx, "a=2", "b", "c=2"); err != nil {
				return err
			}
			return wantList(old, "", "", "a=1", "b=1")
		})
		must(t, x.View, func(tx ledger.Tx) error { return wantList(tx, "", "", "a=2", "c=2") })
		return errors.Join(wantGet(old, "a", []byte("1")), wantGet(old, "c", nil), wantList(old, "", "", "a=1", "b=1"))
	})
}

func testReadsInsideScan(t *testing.T, x Transactor) {
	must(t, x.Update, func(tx ledger.Tx) error { return put(tx, "a=1", "b=2") })
	must(t, x.Update, func(tx ledger.Tx) error {
		if err := put(tx, "c=3"); err != nil {
			return err
		}
		var inner error
		var keys []string
		err := tx.Scan(nil, nil, func(key, value []byte) bool {
			inner = errors.Join(inner, wantGet(tx, string(key), bytes.Clone(value)),
				wantList(tx, "", "", "a=1", "b=2", "c=3"))
			keys = append(keys, string(key))
			return true
		})
		if !slices.Equal(keys, []string{"a", "b", "c"}) {
			err = errors.Join(err, fmt.Errorf("visited %q", keys))
		}
		return errors.Join(err, inner)
	})
}

func testManyWrites(t *testing.T, x Transactor) {
	const n = 60_000
	key := func(i int) []byte { return fmt.Appendf(nil, "k%08d", i*7919%n) }
	value := bytes.Repeat([]byte("v"), 100)
	must(t, x.Update, func(tx ledger.Tx) error {
		for i := range n {
			if err := tx.Set(key(i), value); err != nil {
				return err
			}
		}
		return nil
	})
	must(t, x.Update, func(tx ledger.Tx) error {
		for i := range n {
			if i%3 == 0 {
				if err := tx.Delete(key(i)); err != nil {
					return err
				}
			}
		}
		return nil
	})
	must(t, x.View, func(tx ledger.Tx) error {
		count, last := 0, []byte(nil)
		err := tx.Scan([]byte("k"), nil, func(k, _ []byte) bool {
			if bytes.Compare(k, last) <= 0 {
				t.Errorf("%q after %q", k, last)
			}
			last = append(last[:0], k...)
			count++
			return true
		})
		if err == nil && count != n-n/3 {
			err = fmt.Errorf("%d keys, want %d", count, n-n/3)
		}
		return err
	})
}
