package book

import (
	"bytes"
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/dugnad/dugnad/ledger"
	"github.com/dugnad/dugnad/ledger/replica"
	"github.com/dugnad/dugnad/ledger/store"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 2 * time.Minute

// member opens the ledger of dir as member id, on a port of its own.
func member(t *testing.T, dir, id string) *Book {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := replica.Default()
	c.ID, c.Address, c.Listener = id, l.Addr().String(), l
	c.Dial = func(ctx context.Context, address string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "tcp", address)
	}
	c.HeartbeatTimeout, c.LeaseTimeout = 500*time.Millisecond, 400*time.Millisecond
	c.HealInterval, c.StableAfter = 50*time.Millisecond, 0
	b, err := Open(t.Context(), Config{Dir: dir, Replica: c})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closed(t, b) })
	return b
}

func closed(t *testing.T, books ...*Book) {
	t.Helper()
	for _, b := range books {
		if err := b.Close(); err != nil && !errors.Is(err, store.ErrClosed) {
			t.Error(err)
		}
	}
}

func do(t *testing.T, b *Book, bodies ...ledger.Command) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for _, body := range bodies {
		r, _, err := b.Do(ctx, body)
		if err != nil || r.Code != ledger.CodeOK {
			t.Fatalf("%T: %v %s, %v", body, r.Code, r.What, err)
		}
		for _, i := range r.Items {
			if i.Code != ledger.CodeOK {
				t.Fatalf("%T: item %v", body, i.Code)
			}
		}
	}
}

// work fills a ledger with one node that runs a job of three tasks.
func work(t *testing.T, b *Book) (job ledger.JobID) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := b.Found(ctx); err != nil {
		t.Fatal(err)
	}
	module := ledger.ModuleID{1}
	job = ledger.JobID{7}
	room := ledger.Resources{MemoryBytes: 1 << 30, FuelRate: 1e9, Slots: 8}
	do(
		t, b,
		&ledger.CreateTenant{Tenant: "t", Weight: 1, BandMax: 3, Quota: ledger.Quota{FuelTotal: 1e12, MemoryBytes: 1 << 32, QueuedTasks: 100, Jobs: 10}},
		&ledger.RegisterNode{Node: "n1", Capacity: room},
		&ledger.RegisterNode{Node: "n2", Capacity: room},
		&ledger.PutModule{Module: module, Bytes: 100, Holder: "n1"},
		&ledger.Submit{Job: job, Spec: ledger.JobSpec{
			Tenant: "t", Module: module, Count: 3, Task: ledger.Resources{MemoryBytes: 1 << 20, FuelRate: 1, Slots: 1},
			FuelMax: 1000, Retry: ledger.Retry{AttemptsMax: 3, LossesMax: 3},
		}},
		&ledger.Place{Placements: []ledger.Placement{{Job: job, Node: "n1", Count: 3, Slots: 3, Expiry: ledger.Time(time.Now().Add(time.Hour).UnixNano())}}},
	)
	return job
}

func standing(t *testing.T, b *Book, id ledger.JobID) (queued, nodes, leases int) {
	t.Helper()
	if _, err := b.View(func(tx ledger.Tx) error {
		list, err := ledger.Nodes(tx, "", 10)
		if err != nil {
			return err
		}
		nodes = len(list)
		held, err := ledger.JobLeases(tx, id, 0, 0, 10)
		if err != nil {
			return err
		}
		leases = len(held)
		ranges, err := ledger.TasksIn(tx, id, ledger.TaskQueued, 0, 10)
		if err != nil {
			return err
		}
		for _, r := range ranges {
			queued += int(r.End - r.First)
		}
		return ledger.Check(tx)
	}); err != nil {
		t.Fatal(err)
	}
	return queued, nodes, leases
}

// TestRestore: what ran in the old grid is queued in the new one.
func TestRestore(t *testing.T) {
	old := t.TempDir()
	b := member(t, old, "old")
	id := work(t, b)
	var backup bytes.Buffer
	if _, err := b.Backup(t.Context(), &backup); err != nil {
		t.Fatal(err)
	}
	if _, nodes, leases := standing(t, b, id); nodes != 2 || leases != 1 {
		t.Fatalf("%d nodes and %d leases before", nodes, leases)
	}
	closed(t, b)
	var stopped bytes.Buffer
	if _, err := Backup(t.Context(), old, &stopped, nil); err != nil || stopped.Len() == 0 {
		t.Fatal(stopped.Len(), err)
	}

	for name, content := range map[string][]byte{"of a running node": backup.Bytes(), "of a stopped node": stopped.Bytes()} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			damaged := bytes.Clone(content)
			damaged[len(damaged)/2] ^= 1
			self := Self{ID: "new", Address: "nowhere"}
			if _, err := Restore(t.Context(), dir, self, bytes.NewReader(damaged), nil); !errors.Is(err, store.ErrCorrupt) {
				t.Fatalf("a damaged backup: %v", err)
			}
			if _, err := Restore(t.Context(), dir, self, bytes.NewReader(content), nil); err != nil {
				t.Fatal(err)
			}
			if _, err := Restore(t.Context(), dir, self, bytes.NewReader(content), nil); !errors.Is(err, ErrExists) {
				t.Fatalf("restored over a ledger: %v", err)
			}
			b := member(t, dir, "new")
			queued, nodes, leases := standing(t, b, id)
			if nodes != 0 || leases != 0 || queued != 3 {
				t.Errorf("%d nodes, %d leases, %d tasks queued, want 0, 0 and 3", nodes, leases, queued)
			}
			do(t, b, &ledger.RegisterNode{Node: "n3", Capacity: ledger.Resources{Slots: 1}})
		})
	}
}

// TestRecover loses two of three voters for good.
func TestRecover(t *testing.T) {
	dirs := []string{t.TempDir(), t.TempDir(), t.TempDir()}
	first := member(t, dirs[0], "m0")
	id := work(t, first)
	books := []*Book{first}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for i, name := range []string{"m1", "m2"} {
		b := member(t, dirs[i+1], name)
		if err := b.Join(ctx, []string{first.Members()[0].Address}); err != nil {
			t.Fatal(err)
		}
		books = append(books, b)
	}
	for voters := 0; voters < 3; {
		voters = 0
		for _, m := range first.Members() {
			if m.Voter {
				voters++
			}
		}
		if ctx.Err() != nil {
			t.Fatal("three voters do not come about")
		}
		<-time.After(10 * time.Millisecond)
	}
	if err := books[2].Wait(ctx, first.Applied()); err != nil {
		t.Fatal(err)
	}
	if _, err := Recover(t.Context(), dirs[2], nil); !errors.Is(err, store.ErrLocked) {
		t.Fatalf("recovered under a running node: %v", err)
	}
	closed(t, books...)
	for range 2 {
		r, err := Recover(t.Context(), dirs[2], nil)
		if err != nil || r.ID != "m2" {
			t.Fatal(r, err)
		}
	}
	if _, err := Check(t.Context(), dirs[2], nil); err != nil {
		t.Fatal(err)
	}
	b := member(t, dirs[2], "m2")
	do(t, b, &ledger.Cancel{Job: id})
}

func TestFolders(t *testing.T) {
	dir := t.TempDir()
	for what, f := range map[string]func() error{
		"recover": func() error { _, err := Recover(t.Context(), dir, nil); return err },
		"check":   func() error { _, err := Check(t.Context(), dir, nil); return err },
		"back up": func() error { _, err := Backup(t.Context(), dir, &bytes.Buffer{}, nil); return err },
	} {
		if err := f(); !errors.Is(err, ErrNone) {
			t.Errorf("%s an empty folder: %v", what, err)
		}
	}
	closed(t, member(t, dir, "a"))
	c := replica.Default()
	c.ID, c.Address, c.Listener = "b", "nowhere", &deaf{closed: make(chan struct{})}
	if _, err := Open(t.Context(), Config{Dir: dir, Replica: c}); !errors.Is(err, ErrOtherMember) {
		t.Errorf("opened another member's ledger: %v", err)
	}
	name := filepath.Join(dir, folder, selfName)
	if err := os.WriteFile(name, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Recover(t.Context(), dir, nil); err == nil {
		t.Error("a damaged member file was read")
	}
}
