package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime"
	"strconv"
	"testing"

	"github.com/hashicorp/raft"

	"github.com/dugnad/dugnad/ledger"
)

// BenchmarkStoreLogs writes 300-byte entries, synced. Give TMPDIR a real disk.
func BenchmarkStoreLogs(b *testing.B) {
	for _, batch := range []int{1, 16, 256} {
		b.Run(strconv.Itoa(batch), func(b *testing.B) {
			s := openTest(b, Default(b.TempDir()))
			data := bytes.Repeat([]byte("d"), 300)
			next := uint64(1)
			for b.Loop() {
				logs := make([]*raft.Log, batch)
				for i := range logs {
					logs[i] = &raft.Log{Index: next, Term: 1, Data: data}
					next++
				}
				if err := s.Raft().StoreLogs(logs); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.N*batch)/b.Elapsed().Seconds(), "entries/s")
		})
	}
}

// BenchmarkUpdate makes what a command does: two reads, a scan over a handful of
// keys, three writes of 150 bytes and a deletion.
func BenchmarkUpdate(b *testing.B) {
	for _, commands := range []int{1, 256} {
		b.Run(strconv.Itoa(commands), func(b *testing.B) {
			s := openTest(b, Default(b.TempDir()))
			value := bytes.Repeat([]byte("v"), 150)
			index, n := uint64(0), 0
			for b.Loop() {
				index++
				err := s.Update(index, func(tx ledger.Tx) error {
					for range commands {
						n++
						if err := command(tx, n, value); err != nil {
							return err
						}
					}
					return nil
				})
				if err != nil {
					b.Fatal(err)
				}
				if index%1024 == 0 {
					_ = s.maintain(&keeper{})
				}
			}
			b.ReportMetric(float64(b.N*commands)/b.Elapsed().Seconds(), "commands/s")
			runtime.GC()
			reportResident(b, "")
		})
	}
}

func command(tx ledger.Tx, n int, value []byte) error {
	client := fmt.Appendf(nil, "client/%04d", n%1000)
	job := fmt.Appendf(nil, "job/%08d", n)
	for _, k := range [][]byte{client, job} {
		if _, err := tx.Get(k); err != nil {
			return err
		}
	}
	visits := 0
	err := tx.Scan([]byte("job/"), fmt.Appendf(nil, "job/%08d", max(n-20, 0)), func(_, _ []byte) bool { visits++; return visits < 5 })
	if err != nil {
		return err
	}
	for _, k := range [][]byte{client, job, fmt.Appendf(nil, "queue/%08d", n)} {
		if err := tx.Set(k, value); err != nil {
			return err
		}
	}
	return tx.Delete(fmt.Appendf(nil, "queue/%08d", n-1000))
}

// fillState puts n records of about 200 bytes into the state.
func fillState(b *testing.B, s *Store, n int) {
	b.Helper()
	value := bytes.Repeat([]byte("0123456789"), 18)
	for i := 0; i < n; i += 10_000 {
		err := s.Update(uint64(i/10_000+1), func(tx ledger.Tx) error {
			for j := i; j < i+10_000; j++ {
				if err := tx.Set(fmt.Appendf(nil, "key/%012d", j), value); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkFirst reads the first key of a table from which 16,000 before it were
// deleted, as a Tick does, and deletes it.
func BenchmarkFirst(b *testing.B) {
	s := openTest(b, Default(b.TempDir()))
	key := func(i int) []byte { return fmt.Appendf(nil, "T%012d", i) }
	index, next := uint64(0), 0
	update := func(f func(tx ledger.Tx) error) {
		index++
		if err := s.Update(index, f); err != nil {
			b.Fatal(err)
		}
	}
	for ; next < 16000; next++ {
		update(func(tx ledger.Tx) error { return errors.Join(tx.Delete(key(next-1)), tx.Set(key(next), nil)) })
	}
	for b.Loop() {
		update(func(tx ledger.Tx) error {
			var first []byte
			err := tx.Scan([]byte("T"), nil, func(key, _ []byte) bool {
				first = bytes.Clone(key)
				return false
			})
			next++
			return errors.Join(err, tx.Delete(first), tx.Set(key(next), nil))
		})
	}
}

func BenchmarkSnapshot(b *testing.B) {
	s := openTest(b, Default(b.TempDir()))
	fillState(b, s, 1_000_000)
	snapshot, err := s.Snapshot(Header{})
	if err != nil {
		b.Fatal(err)
	}
	defer snapshot.Close()
	for b.Loop() {
		n, err := snapshot.WriteTo(&countWriter{})
		if err != nil {
			b.Fatal(err)
		}
		b.SetBytes(n)
	}
	runtime.GC()
	reportResident(b, "")
}

func BenchmarkRestore(b *testing.B) {
	s := openTest(b, Default(b.TempDir()))
	fillState(b, s, 1_000_000)
	data := take(b, s, Header{})
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		if _, err := s.Restore(bytes.NewReader(data)); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkOpen opens a store of 1,000,000 log entries and as many records.
func BenchmarkOpen(b *testing.B) {
	c := Default(b.TempDir())
	c.SyncLog = false
	s := openTest(b, c)
	data := bytes.Repeat([]byte("d"), 300)
	for at := uint64(1); at < 1_000_000; at += 1000 {
		logs := make([]*raft.Log, 1000)
		for i := range logs {
			logs[i] = &raft.Log{Index: at + uint64(i), Term: 1, Data: data}
		}
		if err := s.Raft().StoreLogs(logs); err != nil {
			b.Fatal(err)
		}
	}
	fillState(b, s, 1_000_000)
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
	c.SyncLog = true
	for b.Loop() {
		s, err := Open(context.Background(), c)
		if err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
	b.ReportMetric(float64(used(b, c.Dir))/1e6, "MB-disk")
}
