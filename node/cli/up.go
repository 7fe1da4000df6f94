package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/dugnad/dugnad/node"
	"github.com/dugnad/dugnad/node/calibration"
	"github.com/dugnad/dugnad/p2p"
	"github.com/dugnad/dugnad/p2p/capacity"
)

const (
	// joinTimeout bounds how long a node looks for members before it gives up.
	joinTimeout = 2 * time.Minute
	// offerDisk is the disk that a node gives when nothing else is said.
	offerDisk = 10 << 30
)

// Who may ask at a loopback address.
const (
	apiAuthLocal = "local"
	apiAuthToken = "token"
)

// upFlags are the flags of dugnad up.
type upFlags struct {
	dir, join, name string
	listen          []string
	announce        []string
	loopback        bool
	slots           uint32
	memory, disk    uint64
	neverVote       bool
	apiListen       string
	apiNames        []string
	apiAuth         string
	apiTLS          bool
	apiCert, apiKey string
	apiCORS         []string
	apiRate         float64
	metricsKeyFile  string
	outbound        outboundFlags
	stopTimeout     time.Duration
	trace           bool
	traceEndpoint   string
	// emptyJoin says that there is an invitation without any text, as a variable of a
	// script has that was never set.
	emptyJoin bool
}

// errEmptyJoin is returned by up for such an invitation and a folder that is in no grid:
// it does not found one, as it does without --join.
var errEmptyJoin = errors.New("--join is empty, and this folder is in no grid: give an invitation, or leave out --join (and DUGNAD_JOIN) to found a grid")

func (a *app) upCommand() *cobra.Command {
	f := upFlags{memory: machineMemory() / 2, disk: offerDisk, stopTimeout: stopTimeout}
	cmd := &cobra.Command{
		Use:   "up",
		Short: "Run a node: found a grid, or join one",
		Long: "Runs a node until it is told to stop. The first one founds a grid. Another one joins\n" +
			"it with an invitation, which `dugnad invite` makes on the founder's node:\n\n" +
			"  dugnad up --join INVITATION\n\n" +
			"A node that has joined once needs no invitation any more. One that was expelled ends\n" +
			"with exit code 125; with a new invitation it returns as a new node, with a new key.\n\n" +
			"SIGTERM and Ctrl-C stop it in good order: it takes no more tasks, hands those that\n" +
			"have not begun to other nodes, gives what runs --stop-timeout to end, hands over the\n" +
			"rest, and leaves. A second signal ends it at once, and costs nothing but time: the\n" +
			"grid misses the node a few seconds later. SIGHUP has it read its preferences at once,\n" +
			"and say on the log what has changed: see dugnad node prefs. As a service: see\n" +
			"dugnad.service in the source. It tells systemd that it is ready, how it is, and that\n" +
			"it is alive.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			f.emptyJoin = f.join == "" && (cmd.Flags().Changed("join") || slices.Contains(a.Environ, environName("join")+"="))
			return a.up(cmd.Context(), f)
		},
	}
	fs := cmd.Flags()
	fs.StringVar(&f.dir, "node-dir", "", nodeDirHelp)
	fs.StringVar(&f.join, "join", "", "* `invitation` to join a grid with")
	fs.StringVar(&f.name, "name", "", "* what to call this node (default the host's name)")
	fs.StringSliceVar(&f.listen, "listen", nil, "* `multiaddr` to listen on, can be repeated (default every address, port 4610)")
	fs.StringSliceVar(&f.announce, "announce", nil, "* further `multiaddr` at which this node is reached, such as a forwarded port")
	fs.BoolVar(&f.loopback, "loopback", false, "* announce addresses of this machine, for several nodes on one")
	fs.Uint32Var(&f.slots, "slots", uint32(runtime.NumCPU()), "* tasks to offer room for at the same time")
	fs.Var(bytesValue(&f.memory), "offer-memory", "* memory to offer to tasks (default half of this machine's)")
	fs.Lookup("offer-memory").DefValue = ""
	fs.Var(bytesValue(&f.disk), "offer-disk", "* disk to offer to objects of the grid")
	fs.StringVar(&f.apiListen, "api-listen", "", "* `address` to answer the HTTP API at, such as 127.0.0.1:4611 (default only the socket in the node's folder)")
	fs.StringSliceVar(&f.apiNames, "api-name", nil, "* further `host` by which the API is asked, besides its addresses and this machine's name; can be repeated")
	fs.StringVar(&f.apiAuth, "api-auth", apiAuthLocal, "* who may ask at a loopback address of --api-listen: whoever is on this machine (`local`), or who has a token (token)")
	fs.BoolVar(&f.apiTLS, "api-tls", false, "* answer the HTTP API over TLS also on this machine; elsewhere it always is")
	fs.StringVar(&f.apiCert, "api-cert", "", "* `file` with the API's certificate, PEM, read again when it changes (default the node makes its own)")
	fs.StringVar(&f.apiKey, "api-key", "", "* `file` with the key of --api-cert")
	fs.StringSliceVar(&f.apiCORS, "api-cors", nil, "* `origin` of web pages that may use the API, such as https://example.org, can be repeated")
	fs.Float64Var(&f.apiRate, "api-rate", 0, "* requests per second that an address, and a token, may make of the API (default 200; on loopback 1000 by a token, and no bound without one)")
	fs.Lookup("api-rate").DefValue = ""
	fs.StringVar(&f.metricsKeyFile, "metrics-key-file", "", "* `file` with a key that lets Prometheus read /metrics, and nothing else, from anywhere; see dugnad observe scrape")
	f.outbound.register(fs, allowNodesHelp)
	fs.BoolVar(&f.neverVote, "never-vote", false, "* stay out of the ledger's quorum")
	fs.Var(patienceValue{&f.stopTimeout}, "stop-timeout", "* how long tasks that run may go on when the node is told to stop; 0 is not at all")
	fs.BoolVar(&f.trace, "trace", false, "* send what becomes of jobs to an OpenTelemetry collector: that of OTEL_EXPORTER_OTLP_ENDPOINT, or "+traceEndpoint)
	fs.StringVar(&f.traceEndpoint, "trace-endpoint", "", "* `URL` of the collector to send it to, with OTLP over HTTP; implies --trace")
	setting(fs, "node-dir", "join", "name", "listen", "announce", "loopback", "slots", "offer-memory", "offer-disk", "never-vote", "api-listen",
		"api-name", "api-auth", "api-tls", "api-cert", "api-key", "api-cors", "api-rate", "metrics-key-file", "stop-timeout", "trace", "trace-endpoint")
	return cmd
}

func (a *app) up(ctx context.Context, f upFlags) error {
	config, err := a.nodeConfig(f)
	if err != nil {
		return &exitError{code: exitFailure, err: err}
	}
	service, err := newNotifier(a.Environ)
	if err != nil {
		return &exitError{code: exitFailure, err: err}
	}
	limitMemory(a.Environ)
	p2p.LogLibraries(config.Log.Handler())
	resting, wake := context.WithCancel(ctx)
	var loop sync.WaitGroup
	loop.Go(func() { rest(resting) })
	defer loop.Wait()
	defer wake()
	err = a.runNode(ctx, config, f.stopTimeout, service)
	if err != nil && ctx.Err() == nil && readmits(config.Invitation, config.Dir) {
		// It has learned only now that it was expelled: the invitation is for this.
		err = a.runNode(ctx, config, f.stopTimeout, service)
	}
	if f.emptyJoin && errors.Is(err, node.ErrNeverJoined) {
		err = fmt.Errorf("%w: %s", errEmptyJoin, config.Dir)
	}
	if err != nil {
		return &exitError{code: exitFailure, err: err}
	}
	return nil
}

// nodeConfig turns flags into what a node is.
func (a *app) nodeConfig(f upFlags) (node.Config, error) {
	dir, err := nodeDir(f.dir, a.Environ)
	if err != nil {
		return node.Config{}, err
	}
	config := node.Default(dir)
	config.Log = slog.New(slog.NewTextHandler(a.Err, nil))
	config.Version, config.NeverVote, config.Found = version, f.neverVote, f.join == "" && !f.emptyJoin
	config.Offer, config.DiskBytes = capacity.Offer{Slots: f.slots, MemoryBytes: f.memory}, int64(min(f.disk, 1<<62))
	config.Calibrate = func(ctx context.Context) (uint64, error) {
		return calibration.Rate(ctx, calibration.Config{Dir: dir, Engine: readVersions().engine()})
	}
	if err := f.checkAPI(); err != nil {
		return node.Config{}, err
	}
	if config.Outbound, err = f.outbound.config(); err != nil {
		return node.Config{}, err
	}
	config.AllowHTTP = f.outbound.allow
	config.APIListen, config.APINames, config.APIToken = f.apiListen, f.apiNames, f.apiAuth == apiAuthToken
	config.APITLS, config.APICert, config.APIKey = f.apiTLS, f.apiCert, f.apiKey
	config.APIOrigins, config.APIRate = f.apiCORS, f.apiRate
	if config.MetricsKey, err = readMetricsKey(f.metricsKeyFile); err != nil {
		return node.Config{}, err
	}
	if config.TraceEndpoint, err = f.collector(a.Environ); err != nil {
		return node.Config{}, err
	}
	config.Host.Name, config.Host.Announce, config.Host.AllowLoopback = f.name, f.announce, f.loopback
	if f.name == "" {
		config.Host.Name, _ = os.Hostname()
	}
	if len(f.listen) > 0 {
		config.Host.Listen = f.listen
	}
	if f.join != "" {
		if config.Invitation, err = p2p.ParseInvitation(f.join); err != nil {
			return node.Config{}, fmt.Errorf("--join: %w", err)
		}
	}
	return config, nil
}

// checkAPI finds settings of the API that do not fit together.
func (f upFlags) checkAPI() error {
	switch {
	case f.apiAuth != apiAuthLocal && f.apiAuth != apiAuthToken:
		return usageError("--api-auth: %q is neither %s nor %s", f.apiAuth, apiAuthLocal, apiAuthToken)
	case (f.apiCert == "") != (f.apiKey == ""):
		return errors.New("--api-cert and --api-key come together")
	case f.apiRate < 0 || math.IsNaN(f.apiRate) || math.IsInf(f.apiRate, 0):
		return fmt.Errorf("--api-rate is %g, want a number of requests per second", f.apiRate)
	case f.apiListen == "" && (f.apiTLS || f.apiAuth == apiAuthToken || f.apiCert != "" || len(f.apiNames) > 0 || len(f.apiCORS) > 0 || f.apiRate > 0 || f.metricsKeyFile != ""):
		return errors.New("settings of the API need --api-listen, an address such as 127.0.0.1:4611")
	}
	return nil
}

// printAPI says where the API is answered, and how to know that it is this node.
func printAPI(out io.Writer, n *node.Node) {
	url, fingerprint := n.APIURL()
	switch {
	case fingerprint != "":
		fmt.Fprintf(out, "API at %s, with curl: -k --pinnedpubkey %s\n", url, fingerprint)
	case url != "":
		fmt.Fprintf(out, "API at %s\n", url)
	}
}

// runNode runs a node until ctx ends, which is no error, or it is expelled, which
// is one.
func (a *app) runNode(ctx context.Context, config node.Config, patience time.Duration, service *notifier) error {
	opening, stop := context.WithTimeout(ctx, joinTimeout)
	n, err := node.Open(opening, config)
	stop()
	if err != nil {
		return explainUp(err, config.Dir)
	}
	s := n.Status()
	printAPI(a.Out, n)
	fmt.Fprintf(a.Out, "node %s is up in grid %s as %s\n", s.Node, s.Grid, s.Role)
	warn := func(err error) { config.Log.Warn("service manager", "err", err) }
	if err := service.ready(serviceStatus(n)); err != nil {
		warn(err)
	}
	watching, unwatch := context.WithCancel(ctx)
	var watch sync.WaitGroup
	watch.Go(func() { service.watch(watching, n, func() string { return serviceStatus(n) }, warn) })
	unheed := a.heedHangups(watching, &watch, n)
	expelled := false
	select {
	case <-ctx.Done():
	case <-n.Out():
		expelled = true
	}
	unheed()
	unwatch()
	watch.Wait()
	if err := service.stopping(); err != nil {
		warn(err)
	}
	if expelled {
		return errors.Join(explainOut(config.Dir), n.Close())
	}
	return stopNode(n, patience, config.Log)
}

// heedHangups has the node read its preferences when somebody sends SIGHUP, until ctx
// ends, which loop waits for.
func (a *app) heedHangups(ctx context.Context, loop *sync.WaitGroup, n *node.Node) (stop func()) {
	if a.hangups == nil {
		return func() {}
	}
	hungUp := make(chan struct{}, 1)
	loop.Go(func() {
		for {
			select {
			case <-hungUp:
				_ = n.ReloadPreferences() // it is on the log
			case <-ctx.Done():
				return
			}
		}
	})
	return a.hangups.heed(func() {
		select {
		case hungUp <- struct{}{}:
		default:
		}
	})
}

const nodeDirHelp = "* the node's data `folder` (default ~/.local/share/dugnad)"

// nodeDir is where a node keeps its key, its ledger and its objects.
func nodeDir(flag string, environ []string) (string, error) {
	if flag != "" {
		return filepath.Abs(flag)
	}
	if data := lookup(environ, "XDG_DATA_HOME"); filepath.IsAbs(data) {
		return filepath.Join(data, "dugnad"), nil
	}
	if home := lookup(environ, "HOME"); home != "" {
		return filepath.Join(home, ".local", "share", "dugnad"), nil
	}
	return "", errors.New("there is no place for the node: neither HOME nor XDG_DATA_HOME is set: name a folder with --node-dir")
}
