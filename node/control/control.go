// Package control is how an operator's commands reach the node that runs on the
// same machine: JSON over HTTP on a socket in the node's data folder, which only
// the folder's owner can open.
package control

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/dugnad/dugnad/node/audit"
	"github.com/dugnad/dugnad/node/turnstile"
	"github.com/dugnad/dugnad/p2p"
	"github.com/dugnad/dugnad/p2p/content"
)

const (
	// socketName is the socket's name in the data folder.
	socketName = "control.sock"
	// requestBytesMax bounds a request but for an object's bytes.
	requestBytesMax = 64 << 10
	// stallTimeout bounds how long a client may take no byte of a backup, which
	// keeps what the ledger overwrites meanwhile on disk.
	stallTimeout = 2 * time.Minute
	// problemTrailer tells at the end of a backup why it is not whole.
	problemTrailer = "Dugnad-Problem"
	// headerTimeout bounds how long a client may take to say what it wants, and
	// idleTimeout how long a connection without requests is kept.
	headerTimeout = 10 * time.Second
	idleTimeout   = 2 * time.Minute
)

// Status is what a node says of itself.
type Status struct {
	Version string   `json:"version"`
	Node    string   `json:"node"`
	Name    string   `json:"name,omitempty"`
	Grid    string   `json:"grid"`
	Role    string   `json:"role"`
	Address string   `json:"address"`
	Members []Member `json:"members"`
	Ledger  Ledger   `json:"ledger"`
	Reach   Reach    `json:"reach"`
	Offers  []Offer  `json:"offers"`
	Objects Objects  `json:"objects"`
	API     API      `json:"api"`
	// Withheld says why the node gives nothing now; empty is that it does.
	// Download and Upload are what users of the grid move over the network here.
	Download Bandwidth `json:"download"`
	Upload   Bandwidth `json:"upload"`
	// PreferencesProblem is what is wrong with the file of its preferences.
	Withheld           string `json:"withheld,omitempty"`
	PreferencesProblem string `json:"preferences_problem,omitempty"`
	// Expelled is when the grid put the node out, nil for a member.
	Expelled *time.Time `json:"expelled,omitempty"`
}

// Member is another member of the grid.
type Member struct {
	Node      string    `json:"node"`
	Name      string    `json:"name,omitempty"`
	Role      string    `json:"role"`
	Connected bool      `json:"connected"`
	Seen      time.Time `json:"seen"`
}

// Ledger is the state of the node's replica.
type Ledger struct {
	Leader  string `json:"leader"`
	Leads   bool   `json:"leads"`
	Voter   bool   `json:"voter"`
	Applied uint64 `json:"applied"`
	Problem string `json:"problem,omitempty"`
}

// Reach is what is known of how outsiders reach the node.
type Reach struct {
	Public      string   `json:"public"`
	Reachable   []string `json:"reachable,omitempty"`
	Unreachable []string `json:"unreachable,omitempty"`
	Relayed     []string `json:"relayed,omitempty"`
}

// Offer is what a node below this one in the ledger's tree gives now.
type Offer struct {
	Node        string  `json:"node"`
	Slots       uint32  `json:"slots"`
	MemoryBytes uint64  `json:"memory_bytes"`
	DiskBytes   uint64  `json:"disk_bytes"`
	FuelRate    uint64  `json:"fuel_rate"`
	AgeSeconds  float64 `json:"age_seconds"`
}

// Objects sums up what is held.
type Objects struct {
	Count int   `json:"count"`
	Bytes int64 `json:"bytes"`
}

// API is where the node's API is answered besides the socket.
type API struct {
	// URL is as --api takes it; empty is nowhere.
	URL string `json:"url,omitempty"`
	// PublicKey is the SHA-256 of the public key of the node's own certificate, as curl
	// takes it; empty with another certificate or none.
	PublicKey string `json:"public_key,omitempty"`
}

// Invitation asks for an invitation, and has its text in the answer.
type Invitation struct {
	Role    string `json:"role"`
	Seconds int64  `json:"seconds"`
	Uses    int    `json:"uses"`
	Text    string `json:"text,omitempty"`
}

// Founding asks for the first token of a tenant, and has its chain in the answer.
type Founding struct {
	Tenant string `json:"tenant"`
	// Key is the holder's public key: the private one stays where it was made.
	Key []byte `json:"key"`
	// Until is when the token ends; nil is never.
	Until *time.Time `json:"until,omitempty"`
	// Existing asks for another token of a tenant that there is.
	Existing bool `json:"existing,omitempty"`
	// Allow are the names of capabilities that a new tenant gets.
	Allow []string `json:"allow,omitempty"`
	// Chain is the answer: no secret.
	Chain []byte `json:"chain,omitempty"`
}

// Revocation names the delegation that is taken back.
type Revocation struct {
	// ID is its SHA-256.
	ID []byte `json:"id"`
	// Until is when it is over by itself; nil is never.
	Until *time.Time `json:"until,omitempty"`
	// Tenant is whose it is; empty is not known.
	Tenant string `json:"tenant,omitempty"`
}

// Expulsion names who is put out.
type Expulsion struct {
	Node string `json:"node"`
}

// DialBack is what another member sees of this node.
type DialBack struct {
	By       string            `json:"by"`
	Observed string            `json:"observed"`
	Attempts []DialBackAttempt `json:"attempts"`
}

// DialBackAttempt is one address; Problem is empty when it was reached.
type DialBackAttempt struct {
	Address string `json:"address"`
	Problem string `json:"problem,omitempty"`
}

// Object is an object that was put.
type Object struct {
	Hash  string `json:"hash"`
	Bytes int64  `json:"bytes"`
}

// problem is an error on the wire.
type problem struct {
	Detail string `json:"detail"`
	// Code and Status are those of the API, for what could have been meant for it.
	Code   string `json:"code,omitempty"`
	Status int    `json:"status,omitempty"`
}

// Node is what is controlled. Its errors go to the operator as they are.
type Node interface {
	Status() Status
	// Activity returns what the node does now.
	Activity() (Activity, error)
	// Invite returns the invitation's text.
	Invite(ctx context.Context, i Invitation) (text string, err error)
	// Checkup looks at the node, its ledger and its peers.
	Checkup(ctx context.Context) (Checkup, error)
	Expel(ctx context.Context, node p2p.NodeID) error
	// FoundToken makes a tenant, unless it is to exist, and returns its token's chain.
	FoundToken(ctx context.Context, f Founding) (chain []byte, err error)
	// Revoke takes back a delegation.
	Revoke(ctx context.Context, r Revocation) error
	// Preferences are what the node gives, and why not more.
	Preferences() Preferences
	// SetPreferences puts another file of them in the place of the one that there is.
	SetPreferences(text string) error
	// Tell lets the node give, pause or stop.
	Tell(will string) error
	// DialBack asks another member what it sees of this node.
	DialBack(ctx context.Context) (DialBack, error)
	PutObject(ctx context.Context, r io.Reader) (Object, error)
	// OpenObject opens an object, fetching it if need be.
	OpenObject(ctx context.Context, h content.Hash) (*content.Object, error)
	// Backup writes the ledger's state.
	Backup(ctx context.Context, w io.Writer) error
}

// Server answers an operator.
type Server struct {
	node   Node
	noted  *audit.Log
	log    *slog.Logger
	dir    string
	http   http.Server
	ended  chan error
	ctx    context.Context
	cancel context.CancelFunc
	// busy is held for reading by every request.
	busy sync.RWMutex
	once sync.Once
	err  error
}

var (
	// errClosing is the answer to what comes while the node stops.
	errClosing = errors.New("the node is stopping")
	// errRequestTooLarge is the answer to a request beyond requestBytesMax.
	errRequestTooLarge = fmt.Errorf("request is larger than %d bytes", requestBytesMax)
)

// apiPrefix is what the paths of the node's API begin with; metricsPath is its own.
const (
	apiPrefix   = "/v1/"
	metricsPath = "/metrics"
)

// Open answers on a socket in the folder dir, of which the caller is the only user.
// What is below apiPrefix, and metricsPath, goes to api, unless that is nil; what else
// the operator does is noted in noted, which may be nil. At most
// turnstile.ConnectionsMax connections are open; reg may be nil.
func Open(ctx context.Context, dir string, node Node, api http.Handler, noted *audit.Log, log *slog.Logger, reg prometheus.Registerer) (*Server, error) {
	l, err := listen(ctx, dir)
	if err != nil {
		return nil, fmt.Errorf("open control: %w", err)
	}
	bounded, err := turnstile.New(l, turnstile.Config{Places: turnstile.ConnectionsMax, Name: turnstile.Control, Registerer: reg})
	if err != nil {
		return nil, fmt.Errorf("open control: %w", errors.Join(err, l.Close(), remove(dir)))
	}
	s := &Server{node: node, noted: noted, log: log, dir: dir, ended: make(chan error, 1)}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	mux := http.NewServeMux()
	mux.HandleFunc("GET /status", s.status)
	mux.HandleFunc("GET /activity", s.activity)
	mux.HandleFunc("POST /invitations", s.invite)
	mux.HandleFunc("POST /expulsions", s.expel)
	mux.HandleFunc("POST /tokens", s.foundToken)
	mux.HandleFunc("POST /revocations", s.revoke)
	mux.HandleFunc("POST /checkups", s.checkup)
	mux.HandleFunc("POST /dialbacks", s.dialBack)
	mux.HandleFunc("GET /preferences", s.preferences)
	mux.HandleFunc("PUT /preferences", s.setPreferences)
	mux.HandleFunc("PUT /will", s.tell)
	mux.HandleFunc("POST /objects", s.putObject)
	mux.HandleFunc("GET /objects/{hash}", s.getObject)
	mux.HandleFunc("GET /ledger/backup", s.backup)
	// What the process spends its memory and time on, for go tool pprof.
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	if api != nil {
		mux.Handle(apiPrefix, api)
		mux.Handle("GET "+metricsPath, api)
	}
	s.http = http.Server{
		Handler: s.whileOpen(mux), ReadHeaderTimeout: headerTimeout, MaxHeaderBytes: requestBytesMax, IdleTimeout: idleTimeout,
		BaseContext: func(net.Listener) context.Context { return s.ctx },
		ErrorLog:    slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	go func() { s.ended <- s.http.Serve(bounded) }()
	return s, nil
}

// Close ends all requests, waits for them, and removes the socket.
func (s *Server) Close() error {
	s.once.Do(func() {
		s.cancel()
		s.err = s.http.Close()
		if ended := <-s.ended; !errors.Is(ended, http.ErrServerClosed) {
			s.err = errors.Join(s.err, ended)
		}
		s.busy.Lock()
		defer s.busy.Unlock()
		s.err = errors.Join(s.err, remove(s.dir))
	})
	return s.err
}

// whileOpen calls h for no request that comes after Close.
func (s *Server) whileOpen(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.busy.RLock()
		defer s.busy.RUnlock()
		if s.ctx.Err() != nil {
			s.answer(w, nil, errClosing)
			return
		}
		s.note(w, r, h)
	})
}

func (s *Server) status(w http.ResponseWriter, _ *http.Request) { s.answer(w, s.node.Status(), nil) }

func (s *Server) invite(w http.ResponseWriter, r *http.Request) {
	i, err := read[Invitation](w, r)
	if err == nil {
		i.Text, err = s.node.Invite(r.Context(), i)
		audit.Of(r.Context()).Detail = fmt.Sprintf("%s, %d times, for %s", i.Role, i.Uses, time.Duration(i.Seconds)*time.Second)
	}
	s.answer(w, i, err)
}

func (s *Server) expel(w http.ResponseWriter, r *http.Request) {
	e, err := read[Expulsion](w, r)
	if err == nil {
		audit.Of(r.Context()).Object = e.Node
		err = s.node.Expel(r.Context(), p2p.NodeID(e.Node))
	}
	s.answer(w, e, err)
}

func (s *Server) foundToken(w http.ResponseWriter, r *http.Request) {
	f, err := read[Founding](w, r)
	if err == nil {
		audit.Of(r.Context()).Object = f.Tenant
		f.Chain, err = s.node.FoundToken(r.Context(), f)
	}
	s.answer(w, f, err)
}

func (s *Server) revoke(w http.ResponseWriter, r *http.Request) {
	v, err := read[Revocation](w, r)
	if err == nil {
		audit.Of(r.Context()).Object = hex.EncodeToString(v.ID)
		err = s.node.Revoke(r.Context(), v)
	}
	s.answer(w, v, err)
}

func (s *Server) dialBack(w http.ResponseWriter, r *http.Request) {
	d, err := s.node.DialBack(r.Context())
	s.answer(w, d, err)
}

func (s *Server) putObject(w http.ResponseWriter, r *http.Request) {
	o, err := s.node.PutObject(r.Context(), r.Body)
	if err == nil {
		audit.Of(r.Context()).Object = o.Hash
		s.answer(w, o, nil)
		return
	}
	// The client is still sending, and reads no answer from a connection that is
	// closed before it has been heard out, or has gone.
	c := http.NewResponseController(w)
	err = errors.Join(err, c.EnableFullDuplex())
	s.answer(w, nil, err)
	if c.Flush() == nil {
		_, _ = io.Copy(io.Discard, r.Body)
	}
}

func (s *Server) getObject(w http.ResponseWriter, r *http.Request) {
	h, err := content.ParseHash(r.PathValue("hash"))
	if err != nil {
		s.answer(w, nil, err)
		return
	}
	o, err := s.node.OpenObject(r.Context(), h)
	if err != nil {
		s.answer(w, nil, err)
		return
	}
	defer func() { _ = o.Close() }()
	w.Header().Set("Content-Length", strconv.FormatInt(o.Size(), 10))
	w.Header().Set("Content-Type", "application/octet-stream")
	if _, err := io.Copy(w, o); err != nil {
		s.log.Info("object was not taken whole", "object", h, "err", err)
	}
}

func read[T any](w http.ResponseWriter, r *http.Request) (v T, err error) {
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, requestBytesMax))
	d.DisallowUnknownFields()
	err = d.Decode(&v)
	switch {
	case errors.As(err, new(*http.MaxBytesError)):
		return v, errRequestTooLarge
	case err != nil:
		return v, fmt.Errorf("read request: %w", err)
	}
	return v, nil
}

func (s *Server) answer(w http.ResponseWriter, v any, err error) {
	w.Header().Set("Content-Type", "application/json")
	switch {
	case errors.Is(err, errClosing):
		w.WriteHeader(http.StatusServiceUnavailable)
		v = problem{Detail: err.Error(), Code: "stopping", Status: http.StatusServiceUnavailable}
	case err != nil:
		w.WriteHeader(http.StatusUnprocessableEntity)
		v = problem{Detail: err.Error()}
	}
	if err := json.NewEncoder(w).Encode(v); err != nil && !errors.Is(err, os.ErrClosed) {
		s.log.Debug("answer was not taken", "err", err)
	}
}
