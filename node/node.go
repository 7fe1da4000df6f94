// Package node assembles Dugnad's parts into one node: its presence among its
// peers, its replica of the ledger, its objects and its offers.
package node

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/dugnad/dugnad/ledger/replica"
	"github.com/dugnad/dugnad/node/audit"
	"github.com/dugnad/dugnad/node/book"
	"github.com/dugnad/dugnad/node/control"
	"github.com/dugnad/dugnad/node/custodian"
	"github.com/dugnad/dugnad/node/executor"
	"github.com/dugnad/dugnad/node/httpd"
	"github.com/dugnad/dugnad/node/keeper"
	"github.com/dugnad/dugnad/node/outbound"
	"github.com/dugnad/dugnad/node/pool"
	"github.com/dugnad/dugnad/node/scheduler"
	"github.com/dugnad/dugnad/node/sharing"
	"github.com/dugnad/dugnad/node/span"
	"github.com/dugnad/dugnad/node/steward"
	"github.com/dugnad/dugnad/p2p"
	"github.com/dugnad/dugnad/p2p/bandwidth"
	"github.com/dugnad/dugnad/p2p/capacity"
	"github.com/dugnad/dugnad/p2p/content"
	"github.com/dugnad/dugnad/p2p/rpc"
)

const (
	// ledgerProtocol carries the ledger's own connections between members.
	ledgerProtocol = "/dugnad/ledger/1"
	// ledgerBacklog bounds the connections that wait to be accepted.
	ledgerBacklog = 64
	// foundedName marks a data folder whose ledger has been founded or joined.
	foundedName = "founded"
)

// ErrNeverJoined is returned for a data folder that is in no grid, when there is
// no invitation either.
var ErrNeverJoined = errors.New("this folder is in no grid")

// Config says what a node is. Default fills in what is the same everywhere.
type Config struct {
	// Dir is the data folder: one node at a time uses it.
	Dir string
	// Invitation is what Join was given; nil for the founder, and for a node
	// that has joined before.
	Invitation *p2p.Invitation
	// Found makes a new grid when the folder is in none.
	Found bool
	// Host is the presence on the network. Open sets its Dir, Invitation, Log
	// and Registerer.
	Host p2p.Config
	// NeverVote keeps the node out of the ledger's quorum.
	NeverVote bool
	// Offer is what the node gives. The node itself fills in FuelRate and DiskBytes.
	Offer capacity.Offer
	// DiskBytes bounds the objects that are kept; 0 means the store's default.
	DiskBytes int64
	// Calibrate measures the fuel per second that a task burns on one core of this
	// machine; nil leaves the fuel rate out of the offer. It is called beside
	// everything else, and again now and then.
	Calibrate func(ctx context.Context) (fuelRate uint64, err error)
	// Version is what the node says of itself.
	Version string
	// APIListen is the address at which the API is answered besides the operator's
	// socket, such as 127.0.0.1:4611; empty is none. Beyond loopback it is answered over
	// TLS, with HTTP/3 on the UDP port of the same number, and only with a token.
	APIListen string
	// APINames are hosts by which the API is asked beside the addresses that it listens
	// at and the name of this machine; one with a port is for that port only.
	APINames []string
	// APIToken wants a token at loopback addresses, too.
	APIToken bool
	// MetricsKey lets whoever shows it read the API's metrics, and nothing else; empty is
	// nobody.
	MetricsKey string
	// APITLS has TLS spoken on loopback, too.
	APITLS bool
	// APICert and APIKey are files with a certificate and its key, in PEM, that are read
	// again when they change; empty has the node make its own. They turn TLS on.
	APICert, APIKey string
	// APIOrigins are those of web pages, such as https://example.org, whose scripts may
	// ask; empty is none.
	APIOrigins []string
	// APIRate bounds the requests per second of each client; 0 is what
	// httpd.ServerConfig says.
	APIRate float64
	// Executable is this program's file, which worker processes run; empty is found
	// out.
	Executable string

	// TraceEndpoint is the URL to which what becomes of jobs is posted, as OTLP; empty
	// is nowhere.
	TraceEndpoint string
	// AllowHTTP lets guests of tenants that may make HTTP requests do so, as far as
	// Outbound says. Of Outbound the node itself fills in Avoid, Consent, Note and
	// Registerer.
	AllowHTTP bool
	Outbound  outbound.Config

	// Log receives what somebody would want to know; nil discards it.
	Log *slog.Logger

	// alter changes the configuration of a part just before the part is opened.
	// Tests of this package set it, to stand between the parts; nil changes nothing.
	alter func(part any)
	// now is this machine's clock; nil is time.Now. Tests set it wrong.
	now func() time.Time
}

// Default returns the configuration of a node on dir.
func Default(dir string) Config {
	return Config{Dir: dir, Host: p2p.Default(), Outbound: outbound.Default()}
}

// Node is a running node.
type Node struct {
	config    Config
	log       *slog.Logger
	registry  *prometheus.Registry
	unlock    func() error
	audit     *audit.Log
	spans     *span.Tracer
	host      *p2p.Host
	endpoint  *rpc.Endpoint
	store     *content.Store
	book      *book.Book
	publisher *capacity.Publisher
	pool      *pool.Pool
	// outbound makes the requests of guests.
	outbound *outbound.Gate
	// apiPort is where the API is answered, once it is, besides the operator's socket.
	apiPort atomic.Pointer[netip.AddrPort]
	// keeper is nil until it is there: other members may ask before.
	keeper   atomic.Pointer[keeper.Keeper]
	executor *executor.Executor
	// runner is executor, nil until it is there: other members may ask before.
	runner atomic.Pointer[executor.Executor]
	// custodian is nil until it is there, too.
	custodian atomic.Pointer[custodian.Custodian]
	api       http.Handler
	httpd     *httpd.Server
	control   *control.Server
	steward   *steward.Steward
	// link bounds what users of the grid move over the network here.
	link *bandwidth.Link
	// shares are what tenants had of late, sharesLeftOut counts whom they do not tell
	// apart.
	shares        sharing.Series
	sharesLeftOut prometheus.Gauge
	// storeBytes bounds the objects where the operator does not, coreRate is the fuel
	// per second of one core once it was measured.
	storeBytes int64
	coreRate   atomic.Uint64
	// reoffer has an element when the operator gives more or less.
	reoffer chan struct{}
	// apiScheme, apiPin and apiFingerprint are how clients know httpd: see APIURL.
	apiScheme, apiPin, apiFingerprint string
	// scheduler is nil until it is there: other members may ask before.
	scheduler atomic.Pointer[scheduler.Scheduler]
	// rate is the fuel rate of all slots, once it was measured; rated says that it
	// has changed.
	rate  atomic.Uint64
	rated chan struct{}

	// watching and keeping are taken from by the loops of the offer: see Answer.
	// keeping is nil where there is none.
	watching, keeping chan struct{}

	// stopEnrolling ends the loop that says what the node gives, enrolled is closed
	// when it has ended.
	stopEnrolling context.CancelFunc
	enrolled      chan struct{}

	// checking is held by a checkup.
	checking sync.Mutex

	cancel  context.CancelFunc
	running sync.WaitGroup
	once    sync.Once
	closed  error
}

// Open starts a node: it is a member of its grid, with a replica of the ledger,
// when Open returns. ctx bounds that.
func Open(ctx context.Context, config Config) (*Node, error) {
	if config.Log == nil {
		config.Log = slog.New(slog.DiscardHandler)
	}
	if config.now == nil {
		config.now = time.Now
	}
	if config.alter == nil {
		config.alter = func(any) {}
	}
	n := &Node{config: config, log: config.Log, registry: prometheus.NewRegistry(), rated: make(chan struct{}, 1), reoffer: make(chan struct{}, 1)}
	n.watching, n.enrolled = make(chan struct{}), make(chan struct{})
	running, cancel := context.WithCancel(context.WithoutCancel(ctx))
	n.cancel = cancel
	if err := observed(n.registry, config.Version); err != nil {
		return nil, errors.Join(err, n.Close())
	}
	for _, open := range []func(ctx context.Context) error{
		n.lock, n.openSteward, n.openLink, n.openAudit, n.openHost, n.openSpans, n.openEndpoint, n.openStore, n.openBook, n.openPublisher,
		n.openShares, n.openKeeper, n.openCustodian, n.openPool, n.openOutbound, n.openExecutor, n.openScheduler, n.openAPI, n.openControl,
	} {
		if err := open(ctx); err != nil {
			return nil, errors.Join(err, n.Close())
		}
	}
	if n.host.Membership().Role >= p2p.RoleWorker {
		n.keeping = make(chan struct{})
		n.running.Go(func() { n.keepOffer(running) })
	}
	n.running.Go(func() { n.watchOffers(running) })
	n.running.Go(func() { n.keepShares(running) })
	enrolling, stop := context.WithCancel(running)
	if n.executor != nil {
		n.running.Go(func() { n.keepDrain(enrolling) })
		n.running.Go(func() { n.steward.Run(enrolling, hands{n}) })
	}
	n.stopEnrolling = stop
	n.running.Go(func() {
		defer close(n.enrolled)
		n.enrol(enrolling)
	})
	n.noteSelf("start")
	return n, nil
}

// Close ends the node's parts in reverse order, and waits for each.
func (n *Node) Close() error {
	n.once.Do(func() {
		n.cancel()
		n.running.Wait()
		var errs []error
		if n.control != nil {
			errs = append(errs, n.control.Close())
		}
		if n.httpd != nil {
			errs = append(errs, n.httpd.Close())
		}
		if s := n.scheduler.Load(); s != nil {
			errs = append(errs, s.Close())
		}
		// What could not be handed back runs out; its outcomes are in the journal.
		if n.executor != nil {
			errs = append(errs, n.executor.Close())
		}
		if n.pool != nil {
			errs = append(errs, n.pool.Close())
		}
		errs = append(errs, n.outbound.Close())
		if c := n.custodian.Load(); c != nil {
			errs = append(errs, c.Close())
		}
		if k := n.keeper.Load(); k != nil {
			errs = append(errs, k.Close())
		}
		if n.publisher != nil {
			errs = append(errs, n.publisher.Close())
		}
		if n.book != nil {
			errs = append(errs, n.book.Close())
		}
		if n.store != nil {
			errs = append(errs, n.store.Close())
		}
		if n.endpoint != nil {
			errs = append(errs, n.endpoint.Close())
		}
		if n.host != nil {
			n.noteSelf("stop")
			errs = append(errs, n.host.Close())
		}
		errs = append(errs, n.spans.Close(), n.audit.Close())
		if n.unlock != nil {
			errs = append(errs, n.unlock())
		}
		n.closed = errors.Join(errs...)
	})
	return n.closed
}

func (n *Node) openHost(ctx context.Context) error {
	c := n.config.Host
	c.Dir, c.Invitation, c.Log, c.Registerer = n.config.Dir, n.config.Invitation, n.log, n.registry
	c.Noted = n.admitted
	if err := n.retire(); err != nil {
		return err
	}
	if c.Invitation == nil {
		if err := n.found(); err != nil {
			return err
		}
	}
	host, err := p2p.Open(ctx, c)
	if err != nil {
		return fmt.Errorf("join the network: %w", err)
	}
	n.host = host
	return nil
}

// found makes the grid's key when the folder is in no grid and may found one.
func (n *Node) found() error {
	if p2p.Joined(n.config.Dir) {
		return nil
	}
	if !n.config.Found {
		return fmt.Errorf("%w: %s", ErrNeverJoined, n.config.Dir)
	}
	left, err := p2p.LeftGrid(n.config.Dir)
	if err != nil {
		return err
	}
	if left != nil {
		return fmt.Errorf("%w: %s has left grid %s", ErrNeverJoined, n.config.Dir, left)
	}
	_, err = p2p.FoundGrid(n.config.Dir)
	return err
}

// openSpans makes what tells of jobs, when somebody is to be told.
func (n *Node) openSpans(ctx context.Context) (err error) {
	n.spans, err = span.Open(ctx, span.Config{
		Endpoint: n.config.TraceEndpoint, Node: string(n.self()), Name: n.config.Host.Name, Version: n.config.Version,
		Log: n.log, Registerer: n.registry,
	})
	return err
}

func (n *Node) openEndpoint(ctx context.Context) error {
	c := rpc.Default()
	c.Network, c.Logger, c.Registerer = n.host, n.log, n.registry
	c.Methods = n.methods()
	n.config.alter(&c)
	endpoint, err := rpc.Open(ctx, c)
	n.endpoint = endpoint
	return err
}

func (n *Node) openStore(ctx context.Context) error {
	c := content.Default(filepath.Join(n.config.Dir, "content"))
	c.Network, c.Log, c.Registerer = n.host, n.log, n.registry
	c.Finder, c.Down, c.Up = n.probable, n.link.Down, n.link.Up
	if n.config.DiskBytes > 0 {
		c.BytesMax, c.ObjectBytesMax = n.config.DiskBytes, min(c.ObjectBytesMax, n.config.DiskBytes)
	}
	n.config.alter(&c)
	n.storeBytes = c.BytesMax
	store, err := content.Open(ctx, c)
	n.store = store
	return err
}

// openBook opens the node's replica. The founder of a grid founds its ledger,
// everybody else joins it, once.
func (n *Node) openBook(ctx context.Context) error {
	c := replica.Default()
	c.ID, c.Address = string(n.host.Self()), n.host.Address()
	// A client comes and goes: the quorum is not to wait for it.
	c.NeverVote = n.config.NeverVote || n.host.Membership().Role == p2p.RoleClient
	c.Listener = n.host.Listen(ledgerProtocol, ledgerBacklog)
	c.Dial = func(ctx context.Context, address string) (net.Conn, error) {
		return n.host.Dial(ctx, address, ledgerProtocol)
	}
	c.Admit = admit
	config := book.Config{Dir: n.config.Dir, Replica: c, Log: n.log, Registerer: n.registry}
	n.config.alter(&config)
	b, err := book.Open(ctx, config)
	if err != nil {
		return err
	}
	n.book = b
	mark := filepath.Join(n.config.Dir, foundedName)
	if _, err := os.Stat(mark); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	ctx, stop := n.whileMember(ctx)
	err = stop(n.foundOrJoin(ctx))
	if err != nil && !errors.Is(err, replica.ErrMember) {
		return fmt.Errorf("join the ledger: %w", err)
	}
	return os.WriteFile(mark, nil, 0o600)
}

// foundOrJoin founds the ledger where the grid's key is, and joins it elsewhere.
func (n *Node) foundOrJoin(ctx context.Context) error {
	if _, noKey := p2p.LoadGridKey(n.config.Dir); noKey == nil {
		return n.book.Found(ctx)
	}
	return n.joinBook(ctx)
}

// admit refuses a member that claims to be another one.
func admit(conn net.Conn, id string) error {
	s, ok := conn.(p2p.Stream)
	if !ok || string(s.Remote()) != id {
		return fmt.Errorf("connection is not from member %q", id)
	}
	return nil
}

// joinBook joins the ledger through the members that are connected. A node that
// ended between joining the network and joining the ledger has none yet.
func (n *Node) joinBook(ctx context.Context) error {
	met := make(chan struct{}, 1)
	defer n.host.Notify(func(p2p.NodeID, bool) {
		select {
		case met <- struct{}{}:
		default:
		}
	})()
	for {
		var contacts []string
		for _, id := range n.host.Connected() {
			contacts = append(contacts, string(id))
		}
		if len(contacts) > 0 {
			return n.book.Join(ctx, contacts)
		}
		select {
		case <-met:
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", errAlone, ctx.Err())
		}
	}
}
