package node

import (
	"cmp"
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/dugnad/dugnad/ledger"
	"github.com/dugnad/dugnad/node/executor"
	"github.com/dugnad/dugnad/node/httpd"
	"github.com/dugnad/dugnad/node/keeper"
	"github.com/dugnad/dugnad/node/pool"
	"github.com/dugnad/dugnad/node/scheduler"
	"github.com/dugnad/dugnad/node/tail"
	"github.com/dugnad/dugnad/node/warrant"
	"github.com/dugnad/dugnad/node/web"
	"github.com/dugnad/dugnad/p2p"
	"github.com/dugnad/dugnad/p2p/content"
	"github.com/dugnad/dugnad/runtime/meter"
)

const (
	// DefaultTenant is whose jobs all are until there are others.
	DefaultTenant ledger.TenantID = "default"
	// enrolRetry is the wait before the ledger is told again what this node gives;
	// a quarter of it is left to chance.
	enrolRetry = time.Second
	// enrolTimeout bounds one try.
	enrolTimeout = 10 * time.Second
	// scratchPart is the part of a node's memory that its guests' files may take.
	scratchPart = 2
)

// features are what a job may ask of a node's runtime.
var features = []string{"simd", "wasi-preview1"}

// works reports whether this node runs tasks.
func (n *Node) works() bool {
	return n.host.Membership().Role >= p2p.RoleWorker && n.config.Offer.Slots > 0
}

func (n *Node) openPool(ctx context.Context) error {
	if !n.works() {
		return nil
	}
	c := pool.Default(filepath.Join(n.config.Dir, "pool"))
	c.Executable, c.Slots, c.Log, c.Registerer = n.config.Executable, int(n.config.Offer.Slots), n.log, n.registry
	c.MemoryBytes, c.OrphanMax = n.config.Offer.MemoryBytes, executor.Default().Lease
	n.config.alter(&c)
	p, err := pool.Open(ctx, c)
	n.pool = p
	return err
}

func (n *Node) openExecutor(ctx context.Context) error {
	if !n.works() {
		return nil
	}
	c := executor.Default()
	c.Node, c.Dir = n.self(), filepath.Join(n.config.Dir, "tasks")
	c.Ledger, c.Objects, c.Sandbox, c.Copies = n.book, n.store, n.pool, n.keeper.Load()
	c.Orphans, c.Spans, c.Outbound, c.Secrets = n.pool, n.spans, n.outboundFor, n.custodian.Load()
	c.Sign, c.Costs = n.host.Sign, meter.Version
	c.SmallBytesMax, c.Accept = keeper.SmallBytesMax, n.accept
	c.Holders, c.Slots, c.Log, c.Registerer = n.holders, n.config.Offer.Slots, n.log, n.registry
	n.config.alter(&c)
	e, err := executor.Open(ctx, c)
	n.executor = e
	n.runner.Store(e)
	return err
}

// runs returns whose tasks can be followed here; nil is nobody's, or not yet.
func (n *Node) runs() tail.Source {
	if e := n.runner.Load(); e != nil {
		return e
	}
	return nil
}

// holders names the nodes that the ledger knows to have a module, and those that
// probably have any other object.
func (n *Node) holders(h content.Hash) (out []p2p.NodeID) {
	_, err := n.book.View(func(tx ledger.Tx) error {
		m, err := ledger.FindModule(tx, ledger.ModuleID(h))
		for _, id := range m.Holders {
			out = append(out, p2p.NodeID(id))
		}
		return err
	})
	if err != nil && !errors.Is(err, ledger.ErrNotFound) {
		n.log.Warn("holders of a module cannot be looked up", "module", h, "err", err)
	}
	if keeper := n.keeper.Load(); len(out) == 0 && keeper != nil {
		return keeper.Holders(h)
	}
	return out
}

func (n *Node) openScheduler(ctx context.Context) error {
	c := scheduler.Default()
	c.Ledger, c.Board, c.Log, c.Registerer, c.Spans = n.book, n.publisher.Board(), n.log, n.registry, n.spans
	n.config.alter(&c)
	s, err := scheduler.Open(ctx, c)
	if err != nil {
		return err
	}
	n.scheduler.Store(s)
	return nil
}

// openAPI makes the API's handler, and answers on a port when there is one.
func (n *Node) openAPI(ctx context.Context) error {
	c := httpd.Config{
		Ledger: n.book, Objects: n.store, Copies: n.keeper.Load(), Grid: n, Self: n.self(), Tenant: DefaultTenant, Version: n.config.Version,
		Roots: warrant.Roots{Grid: n.host.Grid(), Admin: n.host.AdminKey}, Names: n.apiNames(), TokenAlways: n.config.APIToken, Page: n.page, MetricsKey: n.config.MetricsKey,
		Audit: n.audit, Spans: n.spans, Shares: &n.shares, Log: n.log, Registerer: n.registry,
		Tails: &tail.Asker{Self: n.self(), Source: n.runs, Peers: n.endpoint, Down: n.link.Down},
	}
	n.config.alter(&c)
	var err error
	if n.api, err = httpd.Handler(c); err != nil {
		return err
	}
	return n.openPort(ctx)
}

// apiNames are the names that the API goes by, with the machine's own.
func (n *Node) apiNames() []string {
	names := slices.Clone(n.config.APINames)
	if host, err := os.Hostname(); err == nil {
		names = append(names, host)
	}
	for i := range names {
		names[i] = strings.ToLower(names[i])
	}
	return names
}

// withUI answers with the user interface for browsers beside the API.
func withUI(api http.Handler) http.Handler {
	mux := http.NewServeMux()
	ui := web.Handler()
	mux.Handle("/", api)
	mux.Handle("GET /{$}", ui)
	mux.Handle("GET "+web.Path, ui)
	return mux
}

// page returns where this node shows its pages to browsers on its machine; empty
// when it has no port for them.
func (n *Node) page() string {
	text, _ := n.APIURL()
	at, err := url.Parse(text)
	if err != nil || at.Host == "" {
		return ""
	}
	return (&url.URL{Scheme: at.Scheme, Host: at.Host, Path: web.Path}).String()
}

// API returns the API's handler.
func (n *Node) API() http.Handler { return n.api }

func (n *Node) self() ledger.NodeID { return ledger.NodeID(n.host.Self()) }

// enrol tells the ledger what this node gives, again when that changes, until ctx
// ends, and makes the first tenant when there is none.
func (n *Node) enrol(ctx context.Context) {
	for {
		for !n.enrolOnce(ctx) {
			wait := enrolRetry*3/4 + rand.N(enrolRetry/2)
			select {
			case <-time.After(wait):
			case <-ctx.Done():
				return
			}
		}
		select {
		case <-n.rated:
		case <-ctx.Done():
			return
		}
	}
}

// enrolOnce tells the ledger once, and reports whether it listened.
func (n *Node) enrolOnce(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, enrolTimeout)
	defer cancel()
	var commands []ledger.Command
	back, read := n.departing(), n.book.View
	if back {
		// The last that its own copy knows may be from before it said that it goes.
		read = func(f func(tx ledger.Tx) error) (uint64, error) { return n.book.Read(ctx, f) }
	}
	_, err := read(func(tx ledger.Tx) error {
		commands = nil
		if _, err := ledger.FindTenant(tx, DefaultTenant); errors.Is(err, ledger.ErrNotFound) {
			commands = append(commands, &ledger.CreateTenant{Tenant: DefaultTenant, Weight: 1, BandMax: ledger.BandTop})
		}
		is := n.registration()
		was, err := ledger.FindNode(tx, n.self())
		if n.works() && (err != nil || !registered(&was, is)) {
			commands = append(commands, is)
		}
		if n.works() && back && err == nil && was.State == ledger.NodeDraining {
			commands = append(commands, &ledger.SetNodeState{Node: n.self(), State: ledger.NodeUp})
		}
		return nil
	})
	for _, c := range commands {
		var r ledger.Result
		var index uint64
		if r, index, err = n.book.Do(ctx, c); err == nil && r.Code != ledger.CodeOK && r.Code != ledger.CodeTenantExists {
			n.log.Error("the ledger does not accept this node", "code", r.Code, "what", r.What, "help", r.Help())
		}
		if err == nil {
			// The next look is at this replica, which may be behind.
			err = n.book.Wait(ctx, index)
		}
		if err != nil {
			break
		}
	}
	if err == nil && back {
		err = n.forgetDeparture()
	}
	return err == nil
}

// registered reports whether a node's record says what it gives.
func registered(was *ledger.Node, is *ledger.RegisterNode) bool {
	return (was.State == ledger.NodeUp || was.State == ledger.NodeDraining) && was.Capacity == is.Capacity &&
		slices.Equal(was.Labels, is.Labels) && slices.Equal(was.Features, is.Features) && was.Key == is.Key
}

// registration is what the ledger is told of this node.
func (n *Node) registration() *ledger.RegisterNode {
	o := &n.config.Offer
	labels := []ledger.Label{
		{Name: "arch", Value: runtime.GOARCH},
		{Name: "name", Value: n.config.Host.Name},
		{Name: ledger.LabelNode, Value: string(n.self())},
		{Name: "os", Value: runtime.GOOS},
	}
	for _, l := range o.Labels {
		if l.Key == ledger.LabelNode {
			continue // The ledger takes no other value than the node's own id.
		}
		labels = append(labels, ledger.Label{Name: l.Key, Value: l.Value})
	}
	slices.SortFunc(labels, func(a, b ledger.Label) int { return cmp.Compare(a.Name, b.Name) })
	return &ledger.RegisterNode{
		Node: n.self(),
		Capacity: ledger.Resources{
			MemoryBytes: o.MemoryBytes, FuelRate: n.rate.Load(), Slots: o.Slots, ScratchBytes: o.MemoryBytes / scratchPart,
		},
		Labels: labels, Features: n.features(), Key: n.host.PublicKey(),
	}
}
