package scheduler

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/dugnad/dugnad/ledger"
	"github.com/dugnad/dugnad/ledger/placement"
	"github.com/dugnad/dugnad/ledger/replica"
	"github.com/dugnad/dugnad/node/span"
	"github.com/dugnad/dugnad/p2p/capacity"
)

// Ledger is this node's replica of the book; *book.Book is one.
type Ledger interface {
	View(f func(tx ledger.Tx) error) (index uint64, err error)
	Read(ctx context.Context, f func(tx ledger.Tx) error) (index uint64, err error)
	Watch(ctx context.Context, prefix []byte, from uint64, visit func(index uint64, changes []replica.Change) error) error
	Do(ctx context.Context, c ledger.Command) (result ledger.Result, index uint64, err error)
	Status() replica.Status
	// Changed returns a channel that is closed when Status may have changed.
	Changed() <-chan struct{}
}

// Board is what nodes offer; *capacity.Board is one.
type Board interface {
	// List returns the offers that are still good.
	List() []capacity.Entry
}

// Config says what a scheduler works on and how. Default fills in what is the
// same everywhere.
type Config struct {
	Ledger Ledger
	Board  Board
	// Spans is told what is placed; nil is nobody.
	Spans *span.Tracer

	// Params are the planner's. Its bounds of leases say how long work may be, not
	// how long a lease is: that is Lease.
	Params placement.Params
	// Queue bounds what a pass looks at.
	Queue ledger.QueueLimit
	// Lease is how long a lease lasts: several times the interval at which nodes
	// renew theirs.
	Lease time.Duration
	// SettleWait is how long a new leader waits before its first Tick, and before
	// it takes a node without an offer for silent: more than that interval.
	SettleWait time.Duration
	// TickInterval is the least time between two Ticks, unless one has left
	// something due.
	TickInterval time.Duration
	// BoardInterval is the time between two looks at the board.
	BoardInterval time.Duration
	// SilenceMax is how long a node may be without an offer that the planner
	// believes (Params.OfferAgeNanosMax) before it is unreachable.
	SilenceMax time.Duration

	// VanishedPercent and VanishedMin are the brake's: when more than this part of
	// the nodes, and at least so many, have vanished within VanishedWindow, no more
	// than ReplacePerSecond lost tasks are placed again in a second.
	VanishedPercent, VanishedMin int
	VanishedWindow               time.Duration
	ReplacePerSecond             int
	// StopWindow is how long a node that has vanished counts towards the half of
	// all nodes beyond which nothing lost is placed: by then it is rather they who
	// are gone than this leader who is cut off. It is at most VanishedWindow.
	StopWindow time.Duration

	// SpareFactor and SpareAfter say when a second attempt is placed beside the
	// first, of jobs that may have some: when its lease has taken longer than
	// SpareFactor times what the job's tasks take on the average, and SpareAfter
	// beyond that.
	SpareFactor int
	SpareAfter  time.Duration

	// RetryMin and RetryMax bound the wait after a pass of which the ledger has
	// accepted nothing; it doubles from one to the next.
	RetryMin, RetryMax time.Duration
	// NoteInterval is the time between two commands that note reasons, of at most
	// NotesMax jobs, and NoteAgainAfter that between two notes about one job.
	NoteInterval, NoteAgainAfter time.Duration
	NotesMax                     int
	// LateMax is how late a run of a standing order may be before its time counts as
	// missed: longer than the ledger is without a leader now and then.
	LateMax time.Duration
	// ProposeTimeout bounds the wait for a command's result.
	ProposeTimeout time.Duration

	// Now is this machine's clock, with which the ledger's times are compared; nil is
	// time.Now. Whatever it does, intervals are as long as they are.
	Now func() time.Time
	// Log receives transitions; nil discards them.
	Log *slog.Logger
	// Registerer receives the metrics; nil means that nobody sees them.
	Registerer prometheus.Registerer
}

// Default returns the configuration for production. Ledger and Board remain to
// be set.
func Default() Config {
	params := placement.Default()
	// Tasks of microseconds come in shares that a command is worth.
	params.TasksMax = ledger.LeaseTasksMax
	params.WorkNanosMin = int64(200 * time.Millisecond)
	// A pass is committed before the next one begins: it must not take long.
	params.PlacementsMax = 1024
	return Config{
		Params: params,
		Queue:  ledger.QueueLimit{Jobs: 10_000, TenantJobs: 2_000, Ranges: 256},
		Lease:  10 * time.Second, SettleWait: 4 * time.Second, TickInterval: 50 * time.Millisecond,
		BoardInterval: time.Second, SilenceMax: 10 * time.Second,
		VanishedPercent: 25, VanishedMin: 3, VanishedWindow: 10 * time.Minute, ReplacePerSecond: 100, StopWindow: 2 * time.Minute,
		SpareFactor: 2, SpareAfter: 5 * time.Second,
		RetryMin: 10 * time.Millisecond, RetryMax: time.Second,
		NoteInterval: time.Second, NoteAgainAfter: 10 * time.Second, NotesMax: 256,
		LateMax: time.Minute, ProposeTimeout: 10 * time.Second,
	}
}

// Validate reports the first field that cannot be used.
func (c *Config) Validate() error {
	switch {
	case c.Ledger == nil || c.Board == nil:
		return errors.New("there is no ledger or no board")
	case c.Queue.Jobs < 0 || c.Queue.TenantJobs < 0 || c.Queue.Ranges < 0:
		return errors.New("a bound of the queue is negative")
	case c.Lease < time.Millisecond || c.Lease > time.Duration(ledger.SpanMax):
		return fmt.Errorf("lease is %v, from 1ms", c.Lease)
	case c.SettleWait < 0 || c.SilenceMax < 0:
		return fmt.Errorf("settle wait is %v and silence %v, from 0", c.SettleWait, c.SilenceMax)
	case c.TickInterval < time.Millisecond || c.BoardInterval < 10*time.Millisecond:
		return fmt.Errorf("tick interval is %v, from 1ms, and board interval %v, from 10ms", c.TickInterval, c.BoardInterval)
	case c.VanishedPercent < 0 || c.VanishedPercent > 100 || c.VanishedMin < 1 || c.ReplacePerSecond < 1:
		return fmt.Errorf("brake is %d%%, %d nodes, %d tasks per second: a percentage and two numbers from 1", c.VanishedPercent, c.VanishedMin, c.ReplacePerSecond)
	case c.StopWindow < 0 || c.VanishedWindow < c.StopWindow:
		return fmt.Errorf("windows of the brake are %v and %v, the stop's is the shorter one", c.VanishedWindow, c.StopWindow)
	case c.SpareFactor < 1 || c.SpareFactor > 1000 || c.SpareAfter < 0:
		return fmt.Errorf("second attempts come after %d times the average and %v: from 1 to 1000, and from 0", c.SpareFactor, c.SpareAfter)
	case c.RetryMin < time.Millisecond || c.RetryMax < c.RetryMin:
		return fmt.Errorf("retry is from %v to %v, from 1ms up", c.RetryMin, c.RetryMax)
	case c.NoteInterval < time.Millisecond || c.NoteAgainAfter < 0 || c.NotesMax < 1 || c.NotesMax > ledger.ItemsMax:
		return fmt.Errorf("notes come every %v, %d at a time: from 1ms, 1 to %d", c.NoteInterval, c.NotesMax, ledger.ItemsMax)
	case c.LateMax < time.Second:
		return fmt.Errorf("late runs are missed after %v, from 1s", c.LateMax)
	case c.ProposeTimeout < time.Millisecond:
		return fmt.Errorf("propose timeout is %v, from 1ms", c.ProposeTimeout)
	}
	return c.Params.Validate()
}
