package replica

import (
	"bytes"
	"errors"
	"io"
	"os"
	"testing"

	"github.com/dugnad/dugnad/ledger"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestHistoryResumesOrSaysTooOld(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := newHistory(0, 500)
		var all []uint64
		for index := uint64(0); len(all) < rapid.IntRange(1, 40).Draw(t, "records"); {
			index += uint64(rapid.IntRange(1, 3).Draw(t, "gap"))
			h.append([]record{{index, make([]byte, rapid.IntRange(1, 60).Draw(t, "size"))}})
			all = append(all, index)
		}
		from := uint64(rapid.IntRange(0, int(all[len(all)-1])).Draw(t, "from"))
		at := h.cursor(from)
		var got, want []uint64
		for {
			records, _, err := h.next(&at, 100)
			if errors.Is(err, ErrTooOld) {
				if from >= h.floor {
					t.Fatalf("too old from %d, kept from %d", from, h.floor)
				}
				return
			}
			if len(records) == 0 {
				break
			}
			for _, r := range records {
				got = append(got, r.index)
			}
		}
		for _, index := range all {
			if index > from {
				want = append(want, index)
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("from %d (-want +got):\n%s", from, diff)
		}
	})
}

// TestHistorySurvivesARestart saves a history and loads it, whole and damaged at
// every byte.
func TestHistorySurvivesARestart(t *testing.T) {
	config := &Config{Dir: t.TempDir(), Store: appliedStore{9}}
	h := newHistory(3, 1000)
	var records []record
	for _, index := range []uint64{4, 7, 9} {
		rec := &recorder{Tx: nowrite{}}
		rec.begin(index)
		if err := rec.Set([]byte("k"), []byte{byte(index)}); err != nil {
			t.Fatal(err)
		}
		records = append(records, rec.record(index))
	}
	h.append(records)
	save := func() {
		if err := h.save(config, "lineage"); err != nil {
			t.Fatal(err)
		}
	}
	save()
	file, err := os.ReadFile(historyPath(config))
	if err != nil {
		t.Fatal(err)
	}
	again := newHistory(9, 1000)
	if err := again.load(config, "lineage"); err != nil {
		t.Fatal(err)
	}
	if got, _, err := again.next(&cursor{index: 4}, 1000); err != nil || !cmp.Equal(got, records[1:], cmp.AllowUnexported(record{})) {
		t.Errorf("resumed behind 4: %v, %v", got, err)
	}
	if _, _, err := again.next(&cursor{index: 2}, 1000); !errors.Is(err, ErrTooOld) {
		t.Errorf("resumed behind 2: %v", err)
	}
	fresh := newHistory(9, 1000)
	if err := fresh.load(config, "lineage"); err != nil || len(fresh.records) != 0 {
		t.Errorf("it was used twice: %v, %d records", err, len(fresh.records))
	}
	save()
	if err := fresh.load(config, "other"); !errors.Is(err, ErrTooOld) {
		t.Errorf("of another lineage: %v", err)
	}
	save()
	if err := fresh.load(&Config{Dir: config.Dir, Store: appliedStore{8}}, "lineage"); !errors.Is(err, ErrTooOld) {
		t.Errorf("for a state that is older: %v", err)
	}
	for i := range file {
		damaged := bytes.Clone(file)
		damaged[i] ^= 1
		if _, _, err := decodeHistory(damaged, "lineage", 9); err == nil {
			t.Errorf("damage at byte %d was not found", i)
		}
		if _, _, err := decodeHistory(file[:i], "lineage", 9); err == nil {
			t.Errorf("a file of %d bytes was used", i)
		}
	}
}

// TestHistoryKeepsWhatFramesHold drops a change that could not be sent, and all
// before it.
func TestHistoryKeepsWhatFramesHold(t *testing.T) {
	h := newHistory(0, 10*frameBytesMax)
	h.append([]record{{1, make([]byte, 10)}, {2, make([]byte, recordBytesMax+1)}, {3, make([]byte, recordBytesMax)}})
	if _, _, err := h.next(&cursor{index: 1}, 1); !errors.Is(err, ErrTooOld) {
		t.Errorf("resumed behind 1: %v", err)
	}
	if got, _, err := h.next(&cursor{index: 2}, 1); err != nil || len(got) != 1 {
		t.Errorf("resumed behind 2: %d records, %v", len(got), err)
	}
}

// appliedStore is a Store that knows nothing but its index.
type appliedStore struct{ index uint64 }

func (s appliedStore) Applied() uint64                          { return s.index }
func (appliedStore) Update(uint64, func(ledger.Tx) error) error { return errors.ErrUnsupported }

func (appliedStore) ViewAt(func(ledger.Tx) error) (uint64, error) { return 0, errors.ErrUnsupported }

func (appliedStore) Snapshot(io.Writer) (uint64, error) { return 0, errors.ErrUnsupported }

func (appliedStore) Restore(io.Reader) (uint64, error) { return 0, errors.ErrUnsupported }
func (appliedStore) Sync() error                       { return nil }

// nowrite takes writes and forgets them.
type nowrite struct{ ledger.Tx }

func (nowrite) Set(_, _ []byte) error { return nil }
