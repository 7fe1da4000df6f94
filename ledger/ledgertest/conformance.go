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
