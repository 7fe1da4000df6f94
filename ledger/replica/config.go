package replica

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"time"

	"github.com/dugnad/dugnad/ledger"
	"github.com/hashicorp/raft"
	"github.com/prometheus/client_golang/prometheus"
)

// Machine is the state machine: a pure function of its commands. An error is a
// fault, such as ledger.ErrUnknownCommand, and stops the replica; a refusal is
// part of the result.
type Machine interface {
	Apply(tx ledger.Tx, index uint64, command []byte) (result []byte, err error)
}

// Store keeps one member's state. A replica has it to itself. An error that wraps
// ErrNoRoom says that nothing was written and that the same may work later; after
// any other error of Update the replica stops.
type Store interface {
	// Update runs f in one transaction and commits its writes together with
	// index as the new applied index. When f fails nothing has happened.
	// index is above the applied index.
	Update(index uint64, f func(tx ledger.Tx) error) error
	// ViewAt runs f on a consistent state and returns its index.
	ViewAt(f func(tx ledger.Tx) error) (index uint64, err error)
	// Applied returns the applied index.
	Applied() uint64
	// Sync makes everything applied survive a loss of power.
	Sync() error
	// Snapshot writes a consistent state with its applied index and a
	// checksum, while the store serves.
	Snapshot(w io.Writer) (index uint64, err error)
	// Restore replaces the whole state, and the applied index, by what
	// Snapshot wrote.
	Restore(r io.Reader) (index uint64, err error)
}

// RaftLog keeps Raft's log and small values. What it has stored survives a loss
// of power. ErrNoRoom means what it means for a Store.
type RaftLog interface {
	raft.LogStore
	raft.StableStore
}

// Config says who a member is and what it may use. Durations that relate to
// one another are checked by Validate.
type Config struct {
	// ID names the member for ever, 1 to 128 bytes.
	ID string
	// Address is where others reach it: whatever Dial of another member
	// understands, 1 to 1024 bytes.
	Address string
	// Listener accepts the connections of other members. The replica closes it.
	Listener net.Listener
	// Dial connects to a member's Address.
	Dial func(ctx context.Context, address string) (net.Conn, error)
	// Admit is asked for each incoming connection, with the identity that the
	// other side claims; an error refuses it. nil admits everybody. The
	// transport authenticates, Admit authorises.
	Admit func(conn net.Conn, id string) error
	// Store is the member's book. The replica does not close it.
	Store Store
	// RaftLog is Raft's part of it.
	RaftLog RaftLog
	// Machine is the state machine.
	Machine Machine
	// Accept is asked at the leader for each command before it enters the log;
	// an error refuses it, as ErrRefused. It is the place to keep out what not
	// every member could apply, and to look at a clock. nil accepts everything.
	Accept func(command []byte) error
	// Dir is a folder for files that are on their way: snapshots, and between
	// Close and Open the recent changes.
	Dir string
	// NeverVote keeps the member out of the quorum.
	NeverVote bool

	// VotersMax bounds the voters: 1, 3, 5 or 7.
	VotersMax int
	// FanOut bounds the followers that stream from this member.
	FanOut int

	// HeartbeatTimeout is how long a voter does without its leader, and a
	// follower without its parent, before it looks for another.
	HeartbeatTimeout time.Duration
	// LeaseTimeout is how long a leader stays one without a majority.
	LeaseTimeout time.Duration
	// CommitTimeout is the pause after which an idle leader repeats itself. A voter
	// that missed the notices of the last commit hears of it no sooner than that, or
	// with the next entry. Each repetition wakes all voters: at 50 ms that was half
	// of what an idle node cost, at 500 ms a third of what Raft says at rest.
	CommitTimeout time.Duration
	// RPCTimeout bounds one exchange with another member.
	RPCTimeout time.Duration
	// HealInterval is the pause between two looks of the leader at the voters.
	HealInterval time.Duration
	// StableAfter is how long a member is watched before it may vote.
	StableAfter time.Duration
	// DeadAfter is how long a voter is silent before it is replaced.
	DeadAfter time.Duration

	// AppendEntriesMax bounds the log entries of one Raft message.
	AppendEntriesMax int
	// BatchCommandsMax and BatchBytesMax bound one log entry. A single
	// command may take CommandBytesMax.
	BatchCommandsMax, BatchBytesMax int
	// CommandBytesMax bounds a command.
	CommandBytesMax int
	// PipelineMax bounds the log entries that are under way at a leader.
	PipelineMax int
	// QueueMax bounds the commands that wait at a leader, and those that one
	// member has forwarded.
	QueueMax int
	// HistoryBytesMax bounds the recent changes in memory, from which
	// followers and watches resume.
	HistoryBytesMax int
	// SnapshotsMax bounds the snapshots that are sent at the same time.
	SnapshotsMax int
	// ConnectionsMax bounds the accepted connections.
	ConnectionsMax int
	// SnapshotInterval, SnapshotEntries and TrailingEntries say how often
	// Raft's log is cut: looked at in this interval, when it holds more than so
	// many entries, leaving so many.
	SnapshotInterval                 time.Duration
	SnapshotEntries, TrailingEntries uint64

	// Log receives transitions; nil means nothing is logged.
	Log *slog.Logger
	// Registerer receives the metrics; nil means that nobody sees them.
	Registerer prometheus.Registerer
}

// Default returns the configuration for production. Identity, transport, store
// and machine remain to be set.
func Default() Config {
	return Config{
		VotersMax: 5, FanOut: 8,
		HeartbeatTimeout: 3 * time.Second, LeaseTimeout: 1500 * time.Millisecond, CommitTimeout: 2 * time.Second,
		RPCTimeout: 10 * time.Second, HealInterval: 2 * time.Second, StableAfter: 10 * time.Second, DeadAfter: 20 * time.Second,
		AppendEntriesMax: 512, BatchCommandsMax: 256, BatchBytesMax: 256 << 10, CommandBytesMax: 1 << 20,
		PipelineMax: 2, QueueMax: 4096, HistoryBytesMax: 8 << 20, SnapshotsMax: 2, ConnectionsMax: 4096,
		SnapshotInterval: time.Minute, SnapshotEntries: 16384, TrailingEntries: 8192,
	}
}

// Validate reports the first field that cannot be used.
func (c *Config) Validate() error {
	switch {
	case len(c.ID) < 1 || len(c.ID) > idBytesMax:
		return fmt.Errorf("id has %d bytes, from 1 to %d", len(c.ID), idBytesMax)
	case len(c.Address) < 1 || len(c.Address) > addressBytesMax:
		return fmt.Errorf("address has %d bytes, from 1 to %d", len(c.Address), addressBytesMax)
	case c.Listener == nil:
		return errors.New("there is no listener")
	case c.Dial == nil:
		return errors.New("there is no dial function")
	}
	return c.validateLocal()
}

// validateLocal is the part of Validate that needs no network.
func (c *Config) validateLocal() error {
	switch {
	case c.Store == nil:
		return errors.New("there is no store")
	case c.RaftLog == nil:
		return errors.New("there is no Raft log")
	case c.Machine == nil:
		return errors.New("there is no machine")
	case c.Dir == "":
		return errors.New("there is no folder")
	case c.VotersMax < 1 || c.VotersMax > 7 || c.VotersMax%2 == 0:
		return fmt.Errorf("voters are %d, 1, 3, 5 or 7", c.VotersMax)
	case c.FanOut < 1 || c.FanOut > 1024:
		return fmt.Errorf("fan-out is %d, from 1 to 1024", c.FanOut)
	case c.HeartbeatTimeout < 10*time.Millisecond || c.LeaseTimeout < 5*time.Millisecond || c.LeaseTimeout > c.HeartbeatTimeout:
		return fmt.Errorf("heartbeat is %v and lease is %v, the lease is the shorter one", c.HeartbeatTimeout, c.LeaseTimeout)
	case c.CommitTimeout < time.Millisecond || c.RPCTimeout < 10*time.Millisecond:
		return fmt.Errorf("commit timeout is %v and RPC timeout is %v", c.CommitTimeout, c.RPCTimeout)
	case c.HealInterval <= 0 || c.StableAfter < 0 || c.DeadAfter <= 0:
		return fmt.Errorf("heal interval is %v, stable after %v, dead after %v", c.HealInterval, c.StableAfter, c.DeadAfter)
	case c.AppendEntriesMax < 1 || c.AppendEntriesMax > 1024:
		return fmt.Errorf("append entries are %d, from 1 to 1024", c.AppendEntriesMax)
	case c.BatchCommandsMax < 1 || c.BatchCommandsMax > batchCommandsLimit:
		return fmt.Errorf("batch commands are %d, from 1 to %d", c.BatchCommandsMax, batchCommandsLimit)
	case c.CommandBytesMax < 1 || c.CommandBytesMax > frameBytesMax/2 || c.BatchBytesMax < 1 || c.BatchBytesMax > frameBytesMax/2:
		return fmt.Errorf("command bytes are %d and batch bytes are %d, from 1 to %d", c.CommandBytesMax, c.BatchBytesMax, frameBytesMax/2)
	case c.PipelineMax < 1 || c.QueueMax < 1 || c.HistoryBytesMax < 1 || c.SnapshotsMax < 1 || c.ConnectionsMax < 1:
		return errors.New("a limit is not positive")
	case c.SnapshotInterval < 5*time.Millisecond || c.SnapshotEntries < 1:
		return fmt.Errorf("snapshot interval is %v, entries are %d", c.SnapshotInterval, c.SnapshotEntries)
	}
	return nil
}
