// Package keeper sees to it that results and modules are held by two nodes, and
// that they are given up when the ledger has forgotten what they belong to.
//
// Before a result is reported, another worker has stored it: which one follows from
// the object's name and the nodes that the ledger lists (Keeper.Holders), so that
// whoever reads it finds it without a directory. Work never stops for a copy: one
// that could not be made in time is made later. What may lack one is not written
// down anywhere: after a start everything that is pinned here is checked anew.
package keeper

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/dugnad/dugnad/ledger"
	"github.com/dugnad/dugnad/ledger/replica"
	"github.com/dugnad/dugnad/p2p"
	"github.com/dugnad/dugnad/p2p/bandwidth"
	"github.com/dugnad/dugnad/p2p/content"
)

// ModuleOwner pins modules that the ledger knows.
const ModuleOwner = "modules"

const (
	// SmallBytesMax bounds an object that travels inside the request for its copy;
	// a larger one is fetched by who is asked.
	SmallBytesMax = 64 << 10
	// takesMax bounds the small objects that are stored for others at once, each
	// with a buffer of a chunk, fetchesMax the large ones; the rest wait. A node has
	// fetchesPerNode large ones at most, here as at all others together.
	takesMax       = 16
	fetchesMax     = 8
	fetchesPerNode = 4
	// triesMax bounds the nodes that are asked, one after another, to keep an
	// object, and holdersMax those that are named as its probable holders.
	triesMax   = 4
	holdersMax = 3
	// pageMax bounds the objects of which a node is asked at once whether it holds
	// them.
	pageMax = 256
)

// Ledger is this node's copy of the ledger.
type Ledger interface {
	View(f func(tx ledger.Tx) error) (uint64, error)
	Read(ctx context.Context, f func(tx ledger.Tx) error) (uint64, error)
	Wait(ctx context.Context, index uint64) error
	Watch(ctx context.Context, prefix []byte, from uint64, visit func(index uint64, changes []replica.Change) error) error
	Do(ctx context.Context, c ledger.Command) (ledger.Result, uint64, error)
}

// Objects is the node's content store.
type Objects interface {
	Put(ctx context.Context, r io.Reader, owner string) (content.Hash, int64, error)
	Fetch(ctx context.Context, h content.Hash, o content.FetchOptions) (*content.Object, error)
	Stat(h content.Hash) (content.Info, error)
	Owners(prefix string) []string
	OwnersOf(h content.Hash) []string
	Owned(owner string) []content.Hash
	Disown(owner string, list []content.Hash) (int, error)
	Room() (int64, error)
}

// Peers calls methods of other members.
type Peers interface {
	Call(ctx context.Context, to p2p.NodeID, method string, request []byte) ([]byte, error)
}

// Config says what a keeper works with. Default fills in the rest.
type Config struct {
	// Self is this node.
	Self    ledger.NodeID
	Ledger  Ledger
	Objects Objects
	Peers   Peers
	// Usable reports whether a node may be asked to keep an object of so many
	// bytes: it is a member, and is not known to lack the room. Nil is any.
	Usable func(node ledger.NodeID, bytes int64) bool
	// Down and Up bound the small objects that come and go inside of requests; nil does
	// not.
	Down, Up *bandwidth.Flow
	// Log receives what somebody would want to know; nil discards it.
	Log *slog.Logger
	// Registerer receives the metrics; nil keeps none.
	Registerer prometheus.Registerer

	// CopyTimeout bounds how long whoever stores an object waits for its copy,
	// CallTimeout how long one node may take for a small one, FetchTimeout for a
	// large one when nobody waits.
	CopyTimeout, CallTimeout, FetchTimeout time.Duration
	// NodesAge is how old what is known of the grid's nodes may be.
	NodesAge time.Duration
	// AvoidFor is how long a node that did not take an object is asked last, and
	// AvoidMax how long when that happens again and again.
	AvoidFor, AvoidMax time.Duration
	// LookInterval is how often it is looked whether a node is lost, and LostAfter
	// how long one must be unreachable for that.
	LookInterval, LostAfter time.Duration
	// PageInterval is the least time between two questions of pageMax objects to
	// other nodes, and BackoffMin and BackoffMax bound the wait after one that
	// left something undone.
	PageInterval, BackoffMin, BackoffMax time.Duration
	// SweepInterval is how often all pins are compared with the ledger.
	SweepInterval time.Duration
	// ModuleIdle is how long a module that no job names is kept after its last use,
	// ModuleGrace how long one that the ledger does not know: it may be on its way.
	ModuleIdle, ModuleGrace time.Duration
	// ReserveBytes is the room that copies for others leave.
	ReserveBytes int64
}

// Default returns the configuration of a node, but for what it works with.
func Default() Config {
	return Config{
		CopyTimeout: 3 * time.Second, CallTimeout: time.Second, FetchTimeout: 10 * time.Minute,
		NodesAge: time.Second, AvoidFor: 10 * time.Second, AvoidMax: 2 * time.Minute, LookInterval: 10 * time.Second, LostAfter: 10 * time.Minute,
		PageInterval: 2 * time.Second, BackoffMin: time.Second, BackoffMax: time.Minute,
		SweepInterval: time.Hour, ModuleIdle: 7 * 24 * time.Hour, ModuleGrace: 10 * time.Minute,
		ReserveBytes: 64 << 20,
	}
}

// Validate returns what is wrong with c, or nil.
func (c *Config) Validate() error {
	switch {
	case c.Self == "":
		return errors.New("the node's name, Self, is empty")
	case c.Ledger == nil || c.Objects == nil || c.Peers == nil:
		return errors.New("one of Ledger, Objects and Peers is missing")
	case c.BackoffMin > c.BackoffMax:
		return fmt.Errorf("BackoffMin %s is more than BackoffMax %s", c.BackoffMin, c.BackoffMax)
	case c.ReserveBytes < 0:
		return fmt.Errorf("ReserveBytes %d is negative", c.ReserveBytes)
	}
	for _, f := range []struct {
		name string
		d    time.Duration
	}{
		{"CopyTimeout", c.CopyTimeout},
		{"CallTimeout", c.CallTimeout},
		{"FetchTimeout", c.FetchTimeout},
		{"NodesAge", c.NodesAge},
		{"AvoidFor", c.AvoidFor},
		{"AvoidMax", c.AvoidMax},
		{"LookInterval", c.LookInterval},
		{"LostAfter", c.LostAfter},
		{"PageInterval", c.PageInterval},
		{"BackoffMin", c.BackoffMin},
		{"SweepInterval", c.SweepInterval},
		{"ModuleIdle", c.ModuleIdle},
		{"ModuleGrace", c.ModuleGrace},
	} {
		if f.d <= 0 {
			return fmt.Errorf("%s %s is not positive", f.name, f.d)
		}
	}
	return nil
}

// Keeper keeps the objects of one node. Its methods may be called from any
// goroutine.
type Keeper struct {
	config  Config
	log     *slog.Logger
	metrics *metrics
	circle  circle
	// taking and fetching hold a token for each object that is stored for another
	// node, giving one for each large object that another node fetches.
	taking, fetching, giving chan struct{}
	// changed says that something may lack a copy.
	changed chan struct{}
	// swept asks for a sweep.
	swept chan struct{}

	ctx   context.Context
	stop  context.CancelFunc
	loops sync.WaitGroup

	mu sync.Mutex
	// alone has the objects of which it is not known that another node holds them:
	// each is pinned here, so the store bounds them.
	alone map[content.Hash]struct{}
	// fetches counts the objects that are fetched from each node.
	fetches map[p2p.NodeID]int
	// settled has the owners whose jobs have ended and of which only what the
	// ledger names is pinned.
	settled map[string]struct{}
}

// Open starts a keeper. All that is pinned for jobs and modules counts as without
// a copy until another node has said that it holds it.
func Open(ctx context.Context, config Config) (*Keeper, error) {
	if err := config.Validate(); err != nil {
		return nil, fmt.Errorf("open keeper: %w", err)
	}
	k := newKeeper(config)
	var err error
	if k.metrics, err = newMetrics(config.Registerer); err != nil {
		return nil, fmt.Errorf("open keeper: %w", err)
	}
	index, err := config.Ledger.View(func(ledger.Tx) error { return nil })
	if err != nil {
		return nil, fmt.Errorf("open keeper: %w", err)
	}
	k.ctx, k.stop = context.WithCancel(context.WithoutCancel(ctx))
	k.doubtAll()
	notify(k.swept)
	k.loops.Go(func() { k.watch(index) })
	k.loops.Go(k.sweepAlways)
	k.loops.Go(k.heal)
	k.loops.Go(k.look)
	return k, nil
}

func newKeeper(config Config) *Keeper {
	k := &Keeper{
		config: config, log: config.Log,
		taking: make(chan struct{}, takesMax), fetching: make(chan struct{}, fetchesMax), giving: make(chan struct{}, fetchesPerNode),
		changed: make(chan struct{}, 1), swept: make(chan struct{}, 1),
		alone: map[content.Hash]struct{}{}, settled: map[string]struct{}{},
		fetches: map[p2p.NodeID]int{},
	}
	if k.log == nil {
		k.log = slog.New(slog.DiscardHandler)
	}
	if k.config.Usable == nil {
		k.config.Usable = func(ledger.NodeID, int64) bool { return true }
	}
	k.circle.avoided = map[ledger.NodeID]avoidance{}
	return k
}

// Close ends the keeper's loops and waits for them.
func (k *Keeper) Close() error {
	k.stop()
	k.loops.Wait()
	return nil
}

// pause waits, and reports whether the keeper goes on.
func (k *Keeper) pause(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-k.ctx.Done():
		return false
	}
}

// backoff returns the wait after so many failures in a row, from 1.
func (k *Keeper) backoff(failures int) time.Duration {
	wait := k.config.BackoffMin
	for ; failures > 1 && wait < k.config.BackoffMax; failures-- {
		wait *= 2
	}
	return min(wait, k.config.BackoffMax)
}

// notify leaves one element in the channel.
func notify(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
