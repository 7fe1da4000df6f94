// Package book keeps a node's part of the ledger in its data folder: the store,
// the replica on it, and what is done to both while no node runs: backup,
// restore, recovery, verification.
package book

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/dugnad/dugnad/ledger/replica"
	"github.com/dugnad/dugnad/ledger/replica/disk"
	"github.com/dugnad/dugnad/ledger/replica/machine"
	"github.com/dugnad/dugnad/ledger/store"
	"github.com/prometheus/client_golang/prometheus"
)

// The parts of a data folder that belong to the ledger.
const (
	folder = "ledger"
	// selfName says which member the folder is.
	selfName = "member.json"
	// partSuffix marks a folder that is not complete yet.
	partSuffix = ".part"
)

// ErrNone is returned when the data folder holds no ledger.
var ErrNone = errors.New("there is no ledger in this folder")

// ErrExists is returned by Restore when the data folder holds a ledger.
var ErrExists = errors.New("there is a ledger in this folder already")

// ErrOtherMember is returned by Open when the folder is another member's: two
// members with one history would vote twice.
var ErrOtherMember = errors.New("the ledger in this folder belongs to another member")

// errNameless is the fault of a member's file that names nobody.
var errNameless = errors.New("it has no id")

// Self says which member a folder is.
type Self struct {
	ID      string `json:"id"`
	Address string `json:"address"`
}

// Config says where the ledger is and how its member reaches the others.
type Config struct {
	// Dir is the node's data folder.
	Dir string
	// Replica is the member's configuration. Open sets its Store, RaftLog,
	// Machine, Accept, Dir, Log and Registerer.
	Replica replica.Config
	// Now is this machine's clock, which gives commands their time; nil is time.Now.
	Now func() time.Time
	// Log receives what somebody would want to know; nil discards it.
	Log *slog.Logger
	// Registerer receives the metrics; nil keeps none.
	Registerer prometheus.Registerer
}

// Book is an open ledger: a replica with the store below it.
type Book struct {
	*replica.Replica
	store *store.Store
	now   func() time.Time
	// lanes has an entry for each command that Do has under way.
	lanes chan struct{}
	mu    sync.Mutex
	// resting are the clients that have none.
	resting []*proposer
	stop    context.CancelFunc
	ended   chan struct{}
}

// Open opens the ledger of a data folder, or makes an empty one there. It
// returns store.ErrLocked while another process has it open.
func Open(ctx context.Context, config Config) (*Book, error) {
	b, err := open(ctx, config, filepath.Join(config.Dir, folder))
	if err != nil {
		return nil, fmt.Errorf("open ledger: %w", err)
	}
	return b, nil
}

func open(ctx context.Context, config Config, dir string) (*Book, error) {
	c := config.Replica
	s, err := openStore(ctx, dir, config.Log, config.Registerer)
	if err == nil {
		err = claim(dir, Self{ID: c.ID, Address: c.Address})
		if err != nil {
			err = errors.Join(err, s.Close())
		}
	}
	if err != nil {
		if c.Listener != nil {
			err = errors.Join(err, c.Listener.Close())
		}
		return nil, err
	}
	c.Log, c.Registerer = config.Log, config.Registerer
	if config.Now == nil {
		config.Now = time.Now
	}
	c = local(c, dir, s)
	c.Accept = machine.Ledger{Now: config.Now}.Accept
	r, err := replica.Open(ctx, c)
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	b := &Book{Replica: r, store: s, now: config.Now, stop: stop, ended: make(chan struct{}), lanes: make(chan struct{}, lanesMax)}
	go func() {
		defer close(b.ended)
		if err := s.Run(running); err != nil && running.Err() == nil {
			config.logger().Error("the ledger's store is no longer looked after", "err", err)
		}
	}()
	return b, nil
}

// Close stops the replica, then its store.
func (b *Book) Close() error {
	err := b.Replica.Close()
	b.stop()
	<-b.ended
	return errors.Join(err, b.store.Close())
}

func (c *Config) logger() *slog.Logger {
	if c.Log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return c.Log
}

func openStore(ctx context.Context, dir string, log *slog.Logger, registerer prometheus.Registerer) (*store.Store, error) {
	c := store.Default(filepath.Join(dir, "store"))
	c.Log, c.Registerer = log, registerer
	return store.Open(ctx, c)
}

// local fills in what a replica needs of this machine.
func local(c replica.Config, dir string, s *store.Store) replica.Config {
	d := disk.Store{Store: s}
	m := machine.Ledger{}
	c.Store, c.RaftLog, c.Machine, c.Accept = d, d.Raft(), m, m.Accept
	c.Dir = filepath.Join(dir, "replica")
	return c
}

// claim notes that the folder is this member's. Its address may change, its id
// may not.
func claim(dir string, self Self) error {
	had, err := readSelf(dir)
	switch {
	case errors.Is(err, ErrNone):
	case err != nil:
		return err
	case had.ID != self.ID:
		return fmt.Errorf("%w: it is %q, this node is %q", ErrOtherMember, had.ID, self.ID)
	case had == self:
		return nil
	}
	b, err := json.Marshal(self)
	if err != nil {
		return fmt.Errorf("encode member: %w", err)
	}
	return writeFile(filepath.Join(dir, selfName), append(b, '\n'))
}

// readSelf returns ErrNone when there is no ledger in dir.
func readSelf(dir string) (Self, error) {
	var self Self
	name := filepath.Join(dir, selfName)
	b, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return self, fmt.Errorf("%w: %s is missing", ErrNone, name)
	}
	if err != nil {
		return self, err
	}
	if err = json.Unmarshal(b, &self); err == nil && self.ID == "" {
		err = errNameless
	}
	if err != nil {
		return self, fmt.Errorf("%w: %s does not say which member this is: %w", ErrNone, name, err)
	}
	return self, nil
}

// writeFile replaces a file in one step that survives a loss of power.
func writeFile(name string, content []byte) error {
	part := name + partSuffix
	f, err := os.OpenFile(part, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(part, name); err != nil {
		return err
	}
	return syncDir(filepath.Dir(name))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
