package ledgertest

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/dugnad/dugnad/ledger"
)

// Transactor is a place that transactions run on, one writer at a time.
type Transactor interface {
	// Update calls f with a transaction, and keeps what it wrote when f returns
	// nil, and nothing otherwise. It returns f's error.
	Update(f func(tx ledger.Tx) error) error
	// View calls f with a transaction that reads what was there when View was
	// called.
	View(f func(tx ledger.Tx) error) error
}

// TestTx checks an implementation of ledger.Tx against its contract. open
// returns an empty place and sees to its end.
func TestTx(t *testing.T, open func(t *testing.T) Transactor) {
	cases := []struct {
		name string
		run  func(t *testing.T, x Transactor)
	}{
		{"order", testOrder},
		{"prefix and from", testPrefixAndFrom},
		{"stop", testStop},
		{"own writes", testOwnWrites},
		{"own writes between stored keys", testOwnWritesBetween},
		{"empty values", testEmptyValues},
		{"odd keys", testOddKeys},
		{"large values", testLargeValues},
		{"copies", testCopies},
		{"value lifetime", testValueLifetime},
		{"rollback", testRollback},
		{"isolation", testIsolation},
		{"reads inside a scan", testReadsInsideScan},
		{"many writes", testManyWrites},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) { c.run(t, open(t)) })
	}
	t.Run("model", func(t *testing.T) {
		x := open(t)
		rapid.Check(t, func(t *rapid.T) { testModel(t, x) })
	})
}

// must runs an update or a view in a test that expects no error.
func must(t interface {
	Helper()
	Fatal(...any)
}, run func(func(ledger.Tx) error) error, f func(tx ledger.Tx) error,
) {
	t.Helper()
	if err := run(f); err != nil {
		t.Fatal(err)
	}
}

// put sets key=value pairs given as "key=value"; "key" alone deletes.
func put(tx ledger.Tx, pairs ...string) error {
	for _, p := range pairs {
		key, value, set := bytes.Cut([]byte(p), []byte("="))
		var err error
		if set {
			err = tx.Set(key, value)
		} else {
			err = tx.Delete(key)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// list returns a scan as "key=value".
func list(tx ledger.Tx, prefix, from string) ([]string, error) {
	got := []string{}
	err := tx.Scan([]byte(prefix), []byte(from), func(key, value []byte) bool {
		got = append(got, string(key)+"="+string(value))
		return true
	})
	return got, err
}

func wantList(tx ledger.Tx, prefix, from string, want ...string) error {
	got, err := list(tx, prefix, from)
	if err != nil {
		return err
	}
	if diff := cmp.Diff(append([]string{}, want...), got); diff != "" {
		return fmt.Errorf("scan of %q from %q (-want +got):\n%s", prefix, from, diff)
	}
	return nil
}

func wantGet(tx ledger.Tx, key string, want []byte) error {
	got, err := tx.Get([]byte(key))
	if err != nil {
		return err
	}
	if (got == nil) != (want == nil) || !bytes.Equal(got, want) {
		return fmt.Errorf("get %q = %#v, want %#v", key, got, want)
	}
	return nil
}

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

// testModel runs random transactions beside a map. The place keeps what earlier
// rounds left, so the first step empties it.
func testModel(t *rapid.T, x Transactor) {
	model := map[string]string{}
	must(t, x.Update, func(tx ledger.Tx) error {
		all, err := list(tx, "", "")
		for _, p := range all {
			key, _, _ := bytes.Cut([]byte(p), []byte("="))
			err = errors.Join(err, tx.Delete(key))
		}
		return err
	})
	key := rapid.StringMatching(`[ab]{0,2}[a-c]`)
	for range rapid.IntRange(1, 6).Draw(t, "transactions") {
		pending := map[string]string{}
		for k, v := range model {
			pending[k] = v
		}
		abort := errors.New("abort")
		aborts := rapid.IntRange(0, 3).Draw(t, "abort") == 0
		err := x.Update(func(tx ledger.Tx) error {
			for range rapid.IntRange(0, 10).Draw(t, "steps") {
				k := key.Draw(t, "key")
				switch rapid.IntRange(0, 4).Draw(t, "step") {
				case 0, 1:
					v := rapid.StringMatching(`[x-z]{0,3}`).Draw(t, "value")
					pending[k] = v
					if err := tx.Set([]byte(k), []byte(v)); err != nil {
						return err
					}
				case 2:
					delete(pending, k)
					if err := tx.Delete([]byte(k)); err != nil {
						return err
					}
				case 3:
					var want []byte
					if v, ok := pending[k]; ok {
						want = []byte(v)
					}
					if err := wantGet(tx, k, want); err != nil {
						return err
					}
				case 4:
					from := key.Draw(t, "from")
					if err := wantList(tx, k[:len(k)-1], from, expect(pending, k[:len(k)-1], from)...); err != nil {
						return err
					}
				}
			}
			if aborts {
				return abort
			}
			return nil
		})
		switch {
		case aborts && errors.Is(err, abort):
		case err != nil:
			t.Fatal(err)
		default:
			model = pending
		}
		must(t, x.View, func(tx ledger.Tx) error { return wantList(tx, "", "", expect(model, "", "")...) })
	}
}

// expect returns what a scan of the model gives.
func expect(model map[string]string, prefix, from string) []string {
	var want []string
	for k := range model {
		if bytes.HasPrefix([]byte(k), []byte(prefix)) && k >= from {
			want = append(want, k)
		}
	}
	slices.Sort(want)
	for i, k := range want {
		want[i] = k + "=" + model[k]
	}
	return want
}
