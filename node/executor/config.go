package executor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/dugnad/dugnad/ledger"
	"github.com/dugnad/dugnad/ledger/replica"
	"github.com/dugnad/dugnad/node/span"
	"github.com/dugnad/dugnad/p2p"
	"github.com/dugnad/dugnad/p2p/content"
	"github.com/dugnad/dugnad/runtime/task"
	"github.com/dugnad/dugnad/runtime/worker"
	"github.com/prometheus/client_golang/prometheus"
)

// Errors of the package. Those of limits give the number in their text.
var (
	// ErrClosed is returned by Drain after Close.
	ErrClosed = errors.New("executor is closed")
	// ErrLeases is logged when a lease is refused because Config.LeasesMax are
	// held.
	ErrLeases = errors.New("too many leases")
	// ErrSlots is logged when a lease is refused because one of its tasks takes
	// more than Config.Slots.
	ErrSlots = errors.New("task takes more slots than the node has")
	// ErrJournal is returned by Open for a journal that this version cannot read.
	ErrJournal = errors.New("journal is not readable")
	// ErrJournalFull is logged when Config.JournalBytesMax is reached: no task is
	// started until the ledger has taken reports.
	ErrJournalFull = errors.New("journal of outcomes is full")
	// ErrOutcomes is logged when Config.OutcomesMax is reached: no task is started
	// until outcomes have been written to the journal.
	ErrOutcomes = errors.New("too many outcomes wait for the journal")
	// ErrOutput is returned to a task that writes more than it may.
	ErrOutput = errors.New("output limit of the task is reached")
	// ErrInputBytes refuses a lease whose inputs do not fit into
	// Config.InputBytesMax beside those of others.
	ErrInputBytes = errors.New("inputs take too much room")
	// ErrInput refuses the tasks of a job whose inputs cannot be given to a guest
	// on any node.
	ErrInput = errors.New("input is not usable")
	// ErrJobInput refuses the tasks of a job that reads more of what another has put
	// out than Config.JobInputBytesMax.
	ErrJobInput = errors.New("job has put out too much for an input")
	// ErrUnread fails an attempt that reads what another job has put out, when a
	// part of that could not be had from any holder.
	ErrUnread = errors.New("what a job has put out cannot be read")
	// ErrUnfinished is returned by Close and Drain when leases could not be handed
	// back in time. They run out by themselves; what has ended is in the journal.
	ErrUnfinished = errors.New("leases could not be handed back in time")
)

// Ledger is this node's copy of the ledger, with a way to the leader.
type Ledger interface {
	View(f func(tx ledger.Tx) error) (uint64, error)
	Watch(ctx context.Context, prefix []byte, from uint64, visit func(index uint64, changes []replica.Change) error) error
	Do(ctx context.Context, c ledger.Command) (ledger.Result, uint64, error)
}

// Objects is the node's content store.
type Objects interface {
	Fetch(ctx context.Context, h content.Hash, o content.FetchOptions) (*content.Object, error)
	Open(h content.Hash, verify bool) (*content.Object, error)
	Put(ctx context.Context, r io.Reader, owner string) (content.Hash, int64, error)
	Unpin(h content.Hash, owner string) error
}

// Copies has other nodes keep results, too.
type Copies interface {
	// Result has another node keep an object with results of a job, of so many
	// bytes. small is the object when it has at most Config.SmallBytesMax, which is
	// perhaps not stored here yet; otherwise it is nil. It returns within a few
	// seconds, with or without a copy.
	Result(ctx context.Context, job ledger.JobID, h content.Hash, bytes int64, small []byte)
}

// Sandbox runs tasks, each tenant's apart from the others'.
type Sandbox interface {
	// Prepare makes a module ready to run. It is called once for each lease. open
	// gives its bytes, verified, and is called only when they are needed. An error
	// that has a method Refusal() string refuses the module itself, in that
	// sentence, and ends the tasks; any other hands the lease back.
	Prepare(ctx context.Context, tenant string, module [32]byte, open func() (io.ReadCloser, error)) (worker.Image, error)
	// RunSeries runs tasks one after the other until their outcomes are known, as
	// worker.RunSeries does: ended gets each, in order; back gets those that have
	// not begun and will not, as soon as that is known. It calls both itself, and
	// returns soon after ctx has ended. A single task always has an outcome.
	RunSeries(ctx context.Context, tenant string, image worker.Image, tasks []worker.Task, ended func(i int, o task.Outcome), back func(from, to int))
	// InputDir returns the folder of which the tenant's guests may be given files.
	// It exists. The executor alone writes to it.
	InputDir(tenant string) (string, error)
}

// Config says what an executor runs, where and how much of it.
type Config struct {
	// Node is this node's name in the ledger.
	Node ledger.NodeID
	// Dir holds the journal and the output of running tasks.
	Dir     string
	Ledger  Ledger
	Objects Objects
	Sandbox Sandbox
	// Orphans may be nil: tasks end with the process that has begun them, then.
	Orphans Orphans
	// Copies may be nil: results are on this node only, then.
	Copies Copies
	// Secrets may be nil: tasks that are to have secrets are left to other nodes, then.
	Secrets Secrets
	// Accept may refuse a lease: it returns CauseNone to take it, or one of the
	// causes of ledger.RefuseLease. It must not block. Nil takes all.
	Accept func(l ledger.Lease, spec ledger.JobSpec) ledger.Cause
	// Sign signs reports with the key that the node registers with; Costs is the version
	// of the table by which its sandbox counts fuel. Nil leaves reports unsigned.
	Sign  func(message []byte) ([]byte, error)
	Costs uint32
	// Outbound returns who makes the HTTP requests of an attempt whose job asks for
	// them; nil refuses them. May be nil.
	Outbound func(spec *ledger.JobSpec, job ledger.JobID, index uint32, asks task.HTTP) worker.Outbound
	// Holders may name members that have a module, an input or a result. May be nil.
	Holders func(h content.Hash) []p2p.NodeID
	// Now is this machine's clock, by which leases are renewed; nil is time.Now.
	Now func() time.Time
	// Log receives what somebody would want to know; nil discards it.
	Log *slog.Logger
	// Spans is told what becomes of leases; nil is nobody.
	Spans *span.Tracer
	// Registerer receives the metrics; nil keeps none.
	Registerer prometheus.Registerer

	// Slots bounds what runs at the same time, over all leases.
	Slots uint32
	// Lease is how long a lease is renewed for, RenewInterval how often.
	Lease, RenewInterval time.Duration
	// BeginAfter is how old a lease is, at least, when the ledger is told that its tasks
	// run: a shorter one costs no command but its report.
	BeginAfter time.Duration
	// CommandTimeout bounds one try of a command. BackoffMin and BackoffMax bound
	// the wait after one that did not get through.
	CommandTimeout, BackoffMin, BackoffMax time.Duration
	// GatherInterval is how long outcomes gather for one write to the journal
	// while a report is under way.
	GatherInterval time.Duration
	// CloseTimeout bounds how long Close and the end of Drain take to hand back
	// leases.
	CloseTimeout time.Duration
	// FetchTimeout bounds one try to fetch an object, FetchAttempts how often that
	// is tried before the lease is refused, PutAttempts how often storing a result
	// is tried before the task counts as failed.
	FetchTimeout               time.Duration
	FetchAttempts, PutAttempts int

	// LeasesMax bounds the leases that are held at once.
	LeasesMax int
	// JournalBytesMax bounds the outcomes that wait for the ledger, as they are in
	// the journal. The file is at most twice as large.
	JournalBytesMax int64
	// OutcomesMax bounds the outcomes in memory that wait for the journal, each
	// with up to 2 * SpoolMemoryBytes of output.
	OutcomesMax int
	// SpoolMemoryBytes is how much of each output stream of a task is kept in
	// memory; the rest is in a file in Dir.
	SpoolMemoryBytes int
	// OutputBytesMax lowers the output limit of every task to what the content
	// store can hold in one object.
	OutputBytesMax uint64
	// InputBytesMax bounds the inputs on disk, JobInputBytesMax one of them that is
	// what another job has put out, InputFilesMax the files and folders of one
	// archive.
	InputBytesMax    int64
	JobInputBytesMax int64
	InputFilesMax    int
	// SmallBytesMax bounds the result objects that are made in memory, and copied
	// while they are stored.
	SmallBytesMax int
	// FollowersMax bounds those who follow running tasks of this node at once.
	FollowersMax int
}

// Default returns the configuration of a node without its parts.
func Default() Config {
	return Config{
		Slots: 1, Lease: 10 * time.Second, RenewInterval: 3 * time.Second, BeginAfter: 200 * time.Millisecond,
		CommandTimeout: 3 * time.Second, BackoffMin: 20 * time.Millisecond, BackoffMax: time.Second,
		GatherInterval: 5 * time.Millisecond, CloseTimeout: 5 * time.Second,
		FetchTimeout: time.Minute, FetchAttempts: 3, PutAttempts: 5,
		LeasesMax: 4096, JournalBytesMax: 16 << 20, OutcomesMax: 8192, SpoolMemoryBytes: 4 << 10,
		OutputBytesMax: 2 << 30, InputBytesMax: 8 << 30, JobInputBytesMax: 2 << 30, InputFilesMax: 100_000, SmallBytesMax: 64 << 10,
		FollowersMax: 64,
	}
}

// Validate returns what is wrong with c, or nil.
func (c *Config) Validate() error {
	switch {
	case c.Node == "":
		return errors.New("the node's name, Node, is empty")
	case c.Dir == "":
		return errors.New("the folder, Dir, is empty")
	case c.Ledger == nil || c.Objects == nil || c.Sandbox == nil:
		return errors.New("one of Ledger, Objects and Sandbox is missing")
	case c.RenewInterval >= c.Lease:
		return fmt.Errorf("RenewInterval %s is not less than Lease %s", c.RenewInterval, c.Lease)
	case c.BackoffMin > c.BackoffMax:
		return fmt.Errorf("BackoffMin %s is more than BackoffMax %s", c.BackoffMin, c.BackoffMax)
	}
	for _, f := range []struct {
		name string
		n    int64
	}{
		{"Slots", int64(c.Slots)},
		{"Lease", int64(c.Lease)},
		{"RenewInterval", int64(c.RenewInterval)},
		{"BeginAfter", int64(c.BeginAfter)},
		{"CommandTimeout", int64(c.CommandTimeout)},
		{"BackoffMin", int64(c.BackoffMin)},
		{"GatherInterval", int64(c.GatherInterval)},
		{"CloseTimeout", int64(c.CloseTimeout)},
		{"FetchTimeout", int64(c.FetchTimeout)},
		{"FetchAttempts", int64(c.FetchAttempts)},
		{"PutAttempts", int64(c.PutAttempts)},
		{"LeasesMax", int64(c.LeasesMax)},
		{"JournalBytesMax", c.JournalBytesMax},
		{"OutcomesMax", int64(c.OutcomesMax)},
		{"SpoolMemoryBytes", int64(c.SpoolMemoryBytes)},
		{"OutputBytesMax", int64(c.OutputBytesMax)},
		{"InputBytesMax", c.InputBytesMax},
		{"JobInputBytesMax", c.JobInputBytesMax},
		{"InputFilesMax", int64(c.InputFilesMax)},
		{"SmallBytesMax", int64(c.SmallBytesMax)},
		{"FollowersMax", int64(c.FollowersMax)},
	} {
		if f.n <= 0 {
			return fmt.Errorf("%s %d is not positive", f.name, f.n)
		}
	}
	return nil
}
