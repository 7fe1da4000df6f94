// Package httpd answers the node's HTTP interface: it translates between JSON and
// the ledger, and between requests and objects. It decides nothing.
package httpd

import (
	"context"
	"io"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/dugnad/dugnad/ledger"
	"github.com/dugnad/dugnad/ledger/replica"
	"github.com/dugnad/dugnad/node/api"
	"github.com/dugnad/dugnad/node/audit"
	"github.com/dugnad/dugnad/node/sharing"
	"github.com/dugnad/dugnad/node/span"
	"github.com/dugnad/dugnad/node/tail"
	"github.com/dugnad/dugnad/node/warrant"
	"github.com/dugnad/dugnad/p2p"
	"github.com/dugnad/dugnad/p2p/content"
)

const (
	// commandTimeout bounds how long the ledger may take to accept a command.
	commandTimeout = 30 * time.Second
	// settleTimeout bounds the wait for this node's own replica after a write.
	settleTimeout = time.Second
	// fetchTimeout bounds the fetch of an object.
	fetchTimeout = 10 * time.Minute
)

// Ledger is the node's replica.
type Ledger interface {
	View(f func(tx ledger.Tx) error) (uint64, error)
	Read(ctx context.Context, f func(tx ledger.Tx) error) (uint64, error)
	Wait(ctx context.Context, index uint64) error
	Watch(ctx context.Context, prefix []byte, from uint64, visit func(index uint64, changes []replica.Change) error) error
	Do(ctx context.Context, c ledger.Command) (ledger.Result, uint64, error)
}

// Objects is the node's store of objects.
type Objects interface {
	Put(ctx context.Context, r io.Reader, owner string) (content.Hash, int64, error)
	Fetch(ctx context.Context, h content.Hash, options content.FetchOptions) (*content.Object, error)
	// Open opens an object that is here, or returns content.ErrNotHeld.
	Open(h content.Hash, verify bool) (*content.Object, error)
	Unpin(h content.Hash, owner string) error
}

// Grid is what the handlers ask about beside the ledger.
type Grid interface {
	// Explain plans a job that is not submitted, at the leader.
	Explain(ctx context.Context, spec ledger.JobSpec) (api.Plan, error)
	// GridKey is the public key of the grid, and ReadCard says whether a card is that of
	// a custodian of it.
	GridKey() [32]byte
	ReadCard(card []byte) error
	// Standing returns the leader, the voters and the names of nodes.
	Standing() Standing
}

// Standing is who is who.
type Standing struct {
	Self, Leader ledger.NodeID
	Voters       map[ledger.NodeID]bool
	Names        map[ledger.NodeID]string
	// Admin says that this node is of an admin of the grid.
	Admin bool
	// Withheld says why nodes give nothing.
	Withheld map[ledger.NodeID]string
	// Download and Upload are of this node.
	Download, Upload api.Bandwidth
}

// Copies knows the nodes that keep copies of objects.
type Copies interface {
	// Holders returns the nodes that probably hold an object beside the one that
	// has reported it.
	Holders(h content.Hash) []p2p.NodeID
	// Module has another node keep a module that is held here and known to the
	// ledger, and returns which one. It takes a few seconds at most.
	Module(ctx context.Context, h content.Hash, bytes int64) (ledger.NodeID, error)
}

// Shares are what tenants had of the grid of late.
type Shares interface {
	// Of returns the samples of the last hour, or of the last day, the earlier ones
	// first, and since when there are any.
	Of(day bool) (list []sharing.Sample, since time.Time)
}

// Tails follows what tasks put out while they run.
type Tails interface {
	// Follow is tail.Source.Follow at a node.
	Follow(ctx context.Context, node ledger.NodeID, q tail.Query, visit func(p tail.Piece) error) error
}

// Config says what is answered from.
type Config struct {
	Ledger  Ledger
	Objects Objects
	Copies  Copies
	Grid    Grid
	Tails   Tails
	// Self is this node: the holder of what is put here.
	Self ledger.NodeID
	// Tenant is whose jobs those of askers without a token are.
	Tenant ledger.TenantID
	// Roots says whose tokens are good.
	Roots warrant.Roots
	// Names are hosts, in small letters, by which this node is asked beside the addresses
	// that it listens at; one with a port is for that port only.
	Names []string
	// Page returns where this node shows its pages to browsers, empty when nowhere; nil is
	// not known.
	Page func() string
	// TokenAlways wants a token at loopback addresses, too.
	TokenAlways bool
	// Shares are this node's samples; nil has none.
	Shares Shares
	// MetricsKey is what lets read the metrics, and nothing else, wherever it is shown as
	// a bearer's token: Prometheus cannot make proofs. Empty is nobody's.
	MetricsKey string
	// Spans is told of jobs that were accepted; nil is nobody.
	Spans *span.Tracer
	// Audit is where what was done is noted; nil is nowhere.
	Audit *audit.Log
	// Version is the program's.
	Version string
	// Log receives what somebody would want to know; nil discards it.
	Log *slog.Logger
	// Registerer receives the metrics; nil keeps none. What it has gathered is
	// shown at /metrics when it is a Gatherer, too.
	Registerer prometheus.Registerer
}
