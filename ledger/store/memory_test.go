package store

import (
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/dugnad/dugnad/ledger"
)

// fillLedger puts 1,000,000 queued tasks into a store, in 10,000 jobs of 1,000
// tenants, with 1,000 nodes: the log has every command, as a replica writes it.
func fillLedger(b *testing.B, s *Store) {
	b.Helper()
	var commands [][]byte
	index := s.Applied()
	flush := func() {
		logs := make([]*raft.Log, len(commands))
		for i, c := range commands {
			logs[i] = &raft.Log{Index: index + uint64(i) + 1, Term: 1, Data: c}
		}
		if err := s.Raft().StoreLogs(logs); err != nil {
			b.Fatal(err)
		}
		index += uint64(len(commands))
		err := s.Update(index, func(tx ledger.Tx) error {
			for _, c := range commands {
				answer, err := ledger.Apply(tx, index, c)
				if err != nil {
					return err
				}
				r, err := ledger.DecodeResult(answer)
				if err != nil {
					return err
				}
				if r.Code != ledger.CodeOK {
					return fmt.Errorf("refused: %v, %s", r.Code, r.What)
				}
			}
			return nil
		})
		if err != nil {
			b.Fatal(err)
		}
		commands = commands[:0]
	}
	do := func(c ledger.Command) {
		commands = append(commands, ledger.Encode(ledger.Envelope{Now: 1e18, Body: c}))
		if len(commands) == 16 {
			flush()
		}
	}
	do(&ledger.PutModule{Module: ledger.ModuleID{1}, Bytes: 1})
	for i := range 1000 {
		do(&ledger.RegisterNode{Node: ledger.NodeID(fmt.Sprintf("12D3KooW%044d", i)), Capacity: ledger.Resources{MemoryBytes: 8 << 30, FuelRate: 1e9, Slots: 8}})
		do(&ledger.CreateTenant{Tenant: ledger.TenantID(fmt.Sprintf("tenant-%d", i)), Weight: 1, BandMax: 7})
	}
	for i := range 10_000 {
		var id ledger.JobID
		binary.BigEndian.PutUint64(id[8:], uint64(i))
		do(&ledger.Submit{Job: id, Spec: ledger.JobSpec{
			Tenant: ledger.TenantID(fmt.Sprintf("tenant-%d", i%1000)), Module: ledger.ModuleID{1}, Count: 100,
			Task: ledger.Resources{MemoryBytes: 1 << 20, FuelRate: 1000, Slots: 1}, FuelMax: 1000,
			Retry: ledger.Retry{AttemptsMax: 3, LossesMax: 3, BackoffNanos: 1e9, BackoffMaxNanos: 60e9}, LossGraceNanos: 30e9,
		}})
	}
	if len(commands) > 0 {
		flush()
	}
}

// BenchmarkMemory loads the store and reports what the process takes then, and
// when the collector has given back what it could.
func BenchmarkMemory(b *testing.B) {
	for b.Loop() {
		debug.FreeOSMemory()
		c := Default(b.TempDir())
		c.SyncLog = false
		s := openTest(b, c)
		fillLedger(b, s)
		reportResident(b, "-loaded")
		debug.FreeOSMemory()
		reportResident(b, "-collected")
		b.StopTimer()
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(used(b, c.Dir))/1e6, "MB-disk")
		b.StartTimer()
	}
}

// BenchmarkReopen opens the loaded store, with its tables verified, and reads the
// whole queue.
func BenchmarkReopen(b *testing.B) {
	c := Default(b.TempDir())
	c.SyncLog = false
	s := openTest(b, c)
	fillLedger(b, s)
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
	c.SyncLog = true
	var first, queue time.Duration
	for b.Loop() {
		start := time.Now()
		s, err := Open(context.Background(), c)
		if err != nil {
			b.Fatal(err)
		}
		err = s.View(func(tx ledger.Tx) error {
			first += time.Since(start)
			_, err := ledger.Queue(tx, ledger.QueueLimit{})
			return err
		})
		if err != nil {
			b.Fatal(err)
		}
		queue += time.Since(start)
		b.StopTimer()
		reportResident(b, "-reopened")
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
	b.ReportMetric(first.Seconds()/float64(b.N), "s-to-view")
	b.ReportMetric(queue.Seconds()/float64(b.N), "s-to-queue")
}

// reportResident reports the process's own memory and the pages of mapped files
// that it has touched.
func reportResident(b *testing.B, when string) {
	b.Helper()
	text, err := os.ReadFile("/proc/self/smaps_rollup")
	if err != nil {
		return
	}
	kb := map[string]float64{}
	for line := range strings.Lines(string(text)) {
		var n float64
		name, rest, _ := strings.Cut(line, ":")
		if _, err := fmt.Sscan(rest, &n); err == nil {
			kb[name] = n
		}
	}
	b.ReportMetric(kb["Anonymous"]/1e3, "MB-anon"+when)
	b.ReportMetric((kb["Rss"]-kb["Anonymous"])/1e3, "MB-mapped"+when)
}
