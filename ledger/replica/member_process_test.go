//go:build linux

package replica_test

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/rpc"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"testing"
	"time"

	"github.com/dugnad/dugnad/ledger"
	"github.com/dugnad/dugnad/ledger/ledgertest"
	"github.com/dugnad/dugnad/ledger/replica"
	"github.com/dugnad/dugnad/ledger/replica/disk"
	"github.com/dugnad/dugnad/ledger/replica/machine"
	"github.com/dugnad/dugnad/ledger/store"
)

// processVariable holds, in a process that is a member, its processConfig.
const processVariable = "DUGNAD_REPLICA_PROCESS"

// processConfig says what member a process is.
type processConfig struct {
	ID, Address, Dir string
	VotersMax        int
	// Production keeps the timings of replica.Default.
	Production bool
	// Backup is a file to restore from before the member is opened.
	Backup string
}

// TestProcess is no test but a member, when a test has started it: it serves
// calls over its fourth file until the other end is closed.
func TestProcess(t *testing.T) {
	text := os.Getenv(processVariable)
	if text == "" {
		t.Skip("other tests start this as a process")
	}
	var c processConfig
	if err := json.Unmarshal([]byte(text), &c); err != nil {
		t.Fatal(err)
	}
	calls, err := net.FileConn(os.NewFile(3, "calls"))
	if err != nil {
		t.Fatal(err)
	}
	p := &memberProcess{}
	if err := p.open(c); err != nil {
		t.Fatal(err)
	}
	server := rpc.NewServer()
	if err := server.RegisterName("Member", &Member{p}); err != nil {
		t.Fatal(err)
	}
	server.ServeConn(calls)
	if err := errors.Join(p.replica.Close(), p.store.Close()); err != nil {
		t.Error(err)
	}
}

// memberProcess is a member on a store, at a TCP address.
type memberProcess struct {
	store   *store.Store
	replica *replica.Replica
}

// replicaConfig opens the store of c and configures a replica on it, which
// cannot be reached yet.
func (c processConfig) replicaConfig() (*store.Store, replica.Config, error) {
	storeConfig := store.Default(filepath.Join(c.Dir, "store"))
	storeConfig.DiskReserveBytes = 0
	s, err := store.Open(context.Background(), storeConfig)
	if err != nil {
		return nil, replica.Config{}, err
	}
	config := replica.Default()
	if !c.Production {
		ledgertest.Quick(&config)
		config.HeartbeatTimeout, config.LeaseTimeout = 500*time.Millisecond, 250*time.Millisecond
		config.SnapshotEntries, config.TrailingEntries, config.SnapshotInterval = 60, 30, 100*time.Millisecond
	}
	config.ID, config.Address, config.Dir, config.Machine = c.ID, c.Address, filepath.Join(c.Dir, "replica"), machine.Ledger{}
	d := disk.Store{Store: s}
	config.Store, config.RaftLog, config.VotersMax = d, d.Raft(), c.VotersMax
	config.Log = slog.New(slog.NewTextHandler(os.Stderr, nil))
	config.Dial = func(ctx context.Context, address string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "tcp", address)
	}
	return s, config, nil
}

func (p *memberProcess) open(c processConfig) error {
	s, config, err := c.replicaConfig()
	if err != nil {
		return err
	}
	p.store = s
	ctx, cancel := context.WithTimeout(context.Background(), ledgertest.Deadline)
	defer cancel()
	if c.Backup != "" {
		if err := restoreFile(ctx, config, c.Backup); err != nil {
			return err
		}
	}
	if config.Listener, err = net.Listen("tcp", c.Address); err != nil {
		return err
	}
	p.replica, err = replica.Open(ctx, config)
	return err
}

func restoreFile(ctx context.Context, config replica.Config, name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	return replica.Restore(ctx, config, f)
}

// Member is what a member's process can be asked for.
type Member struct{ p *memberProcess }

// Found founds a grid.
func (m *Member) Found(struct{}, *struct{}) error {
	ctx, cancel := context.WithTimeout(context.Background(), ledgertest.Deadline)
	defer cancel()
	return m.p.replica.Found(ctx)
}

// Join joins one.
func (m *Member) Join(addresses []string, _ *struct{}) error {
	ctx, cancel := context.WithTimeout(context.Background(), ledgertest.Deadline)
	defer cancel()
	return m.p.replica.Join(ctx, addresses)
}

// Proposal is a command and how long it may take.
type Proposal struct {
	Command []byte
	Within  time.Duration
}

// Propose returns the result of a command.
func (m *Member) Propose(c Proposal, result *[]byte) (err error) {
	ctx, cancel := context.WithTimeout(context.Background(), c.Within)
	defer cancel()
	*result, _, err = m.p.replica.Propose(ctx, c.Command)
	return err
}

// Read returns when the member can show everything that was acknowledged.
func (m *Member) Read(within time.Duration, index *uint64) (err error) {
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	*index, err = m.p.replica.Read(ctx, nothing)
	return err
}

// Place is where a member stands.
type Place struct {
	replica.Status
	// Voters is the number of voters that it knows.
	Voters int
}

// Status returns the member's place.
func (m *Member) Status(_ struct{}, place *Place) error {
	place.Status = m.p.replica.Status()
	for _, other := range m.p.replica.Members() {
		if other.Voter {
			place.Voters++
		}
	}
	return m.p.replica.Err()
}

// Digest is what a store holds.
type Digest struct {
	Index uint64
	Sum   [sha256.Size]byte
}

// Digest returns the digest of the whole store, after a check of the ledger.
func (m *Member) Digest(_ struct{}, d *Digest) error {
	if _, err := m.p.replica.View(ledger.Check); err != nil {
		return err
	}
	return digest(disk.Store{Store: m.p.store}, d)
}

func digest(s replica.Store, d *Digest) error {
	index, err := s.ViewAt(func(tx ledger.Tx) (err error) {
		d.Sum, err = sum(tx)
		return err
	})
	d.Index = index
	return err
}

// Backup writes a backup to a new file.
func (m *Member) Backup(name string, index *uint64) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	defer f.Close()
	ctx, cancel := context.WithTimeout(context.Background(), ledgertest.Deadline)
	defer cancel()
	*index, err = m.p.replica.Backup(ctx, f)
	return err
}

// Memory is what a process takes.
type Memory struct{ Resident, Heap, System uint64 }

// Memory measures it, after a collection when that is asked for.
func (m *Member) Memory(collect bool, memory *Memory) error {
	if collect {
		debug.FreeOSMemory()
	}
	var s runtime.MemStats
	runtime.ReadMemStats(&s)
	memory.Heap, memory.System = s.HeapAlloc, s.Sys
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return err
	}
	var size, resident uint64
	if _, err := fmt.Sscan(string(text), &size, &resident); err != nil {
		return err
	}
	memory.Resident = resident * uint64(os.Getpagesize())
	return nil
}
