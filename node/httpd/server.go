package httpd

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/dugnad/dugnad/node/api"
	"github.com/dugnad/dugnad/node/audit"
	"github.com/dugnad/dugnad/node/turnstile"
	"github.com/dugnad/dugnad/p2p/bandwidth"
)

const (
	// headerTimeout bounds how long a client may take to say what it wants, and the
	// handshake before.
	headerTimeout = 10 * time.Second
	// headerBytesMax bounds a request's header. The libraries below refuse one of twice
	// that, without an explanation.
	headerBytesMax = 64 << 10
	// idleTimeout is how long a connection without requests is kept.
	idleTimeout = 2 * time.Minute
	// streamsMax bounds the requests that are open in a connection of HTTP/2 or HTTP/3;
	// the protocol has the client wait with the next.
	streamsMax = 100
	// frameBytesMax bounds a frame of HTTP/2: the least that the protocol allows.
	frameBytesMax = 16 << 10
	// closeTimeout bounds how long requests that are being answered may take when the
	// node stops.
	closeTimeout = 2 * time.Second
)

// ErrCleartext is returned by Open for an address that is not on loopback, without a
// certificate.
var ErrCleartext = errors.New("only loopback is listened on without TLS")

// ErrOrigin is returned by Open for what is not the origin of a web page.
var ErrOrigin = errors.New("is not an origin such as https://example.org")

// Certificate returns the certificate for a connection, as tls.Config.GetCertificate.
type Certificate func(*tls.ClientHelloInfo) (*tls.Certificate, error)

// ServerConfig says where requests come in, and which of them.
type ServerConfig struct {
	// Listen is HOST:PORT for TCP and, with a certificate, for UDP. Port 0 is any one
	// that is free for both.
	Listen string
	// Handler answers the requests that are let in.
	Handler http.Handler
	// Certificate, if set, has TLS spoken, and HTTP/3 besides HTTP/1.1 and HTTP/2.
	// Without it only loopback is listened on.
	Certificate Certificate
	// Gated says that Handler demands tokens where they are needed. Otherwise all that
	// does not come to loopback is refused.
	Gated bool
	// Origins are those of web pages, such as https://example.org, whose scripts may
	// ask and read.
	Origins []string
	// RequestsPerSecond bounds the requests of each address, and those of each token with
	// all that were made of it; 0 is RequestsPerSecondDefault, on loopback
	// RequestsPerSecondLocal for a token, and no bound for an address.
	RequestsPerSecond float64
	// ObjectBytesMax bounds an object; 0 leaves it to the store.
	ObjectBytesMax int64
	// Down and Up bound the requests of other machines and their answers; nil does not.
	Down, Up *bandwidth.Flow
	// Audit, if set, notes the pages of other origins that were refused; Handler notes all
	// else.
	Audit *audit.Log
	// Log receives what somebody would want to know; nil discards it.
	Log *slog.Logger
	// Registerer receives the metrics; nil keeps none.
	Registerer prometheus.Registerer

	// pace, if set, is how fast clients have to be, places how many connections may be
	// open, and perOwner how many of one token. Tests set them.
	pace             *pace
	places, perOwner int
}

// Server answers on a port.
type Server struct {
	config ServerConfig
	log    *slog.Logger
	http   http.Server
	quic   *quicServer
	local  net.Addr
	// ended gets one error for each of HTTP and HTTP/3.
	ended  chan error
	ctx    context.Context
	cancel context.CancelFunc
	once   sync.Once
	err    error
}

// Loopback says whether an address to listen on, HOST:PORT, is this machine's own.
func Loopback(address string) (bool, error) {
	a, err := net.ResolveTCPAddr("tcp", address)
	if err != nil {
		return false, fmt.Errorf("read address to listen on: %w", err)
	}
	return a.IP.IsLoopback(), nil
}

// Open answers requests on a port. At most turnstile.ConnectionsMax connections are
// open over TCP, and as many over QUIC. The errors are ErrCleartext, ErrOrigin, and
// those of the network.
func Open(ctx context.Context, config ServerConfig) (*Server, error) {
	s := &Server{config: config, log: config.Log, ended: make(chan error, 2)}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	if err := s.open(ctx); err != nil {
		s.cancel()
		return nil, fmt.Errorf("serve the API at %s: %w", config.Listen, err)
	}
	return s, nil
}

func (s *Server) open(ctx context.Context) error {
	l, packets, err := listen(ctx, s.config.Listen, s.config.Certificate != nil)
	if err != nil {
		return err
	}
	s.local = l.Addr()
	surface, err := s.surface()
	if err != nil {
		return errors.Join(err, closeAll(l, packets))
	}
	places := turnstile.Config{
		Places: cmp.Or(s.config.places, turnstile.ConnectionsMax), PerOwner: s.config.perOwner, Name: turnstile.Port, Encrypted: s.config.Certificate != nil, Registerer: s.config.Registerer,
	}
	if !s.local.(*net.TCPAddr).IP.IsLoopback() {
		places.PerAddress = turnstile.PerAddressMax
	}
	bounded, err := turnstile.New(l, places)
	if err != nil {
		return errors.Join(err, closeAll(l, packets))
	}
	if packets != nil {
		if s.quic, err = openQUIC(packets, s.tls(), surface, s.log, surface.limits.quic); err != nil {
			return errors.Join(err, l.Close())
		}
		go func() { s.ended <- s.quic.serve() }()
	}
	s.http = http.Server{
		Handler: surface, ReadHeaderTimeout: headerTimeout, MaxHeaderBytes: 2 * headerBytesMax, IdleTimeout: idleTimeout,
		BaseContext: func(net.Listener) context.Context { return s.ctx }, ConnState: bounded.Note, ConnContext: bounded.Context, Protocols: &http.Protocols{},
		HTTP2:    &http.HTTP2Config{MaxConcurrentStreams: streamsMax, MaxReadFrameSize: frameBytesMax},
		ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
	s.http.Protocols.SetHTTP1(true)
	if s.config.Certificate == nil {
		s.http.Protocols.SetUnencryptedHTTP2(true)
		go func() { s.ended <- s.http.Serve(bounded) }()
		return nil
	}
	s.http.Protocols.SetHTTP2(true)
	s.http.TLSConfig = s.tls()
	go func() { s.ended <- s.http.ServeTLS(bounded, "", "") }()
	return nil
}

// surface makes what stands before the handler.
func (s *Server) surface() (*surface, error) {
	local := s.local.(*net.TCPAddr)
	loopback := local.IP.IsLoopback()
	if s.config.Certificate == nil && !loopback {
		return nil, ErrCleartext
	}
	limits, err := newLimits(s.config.Registerer)
	if err != nil {
		return nil, err
	}
	origins, err := newOrigins(s.config.Origins)
	if err != nil {
		return nil, err
	}
	refused, err := refusals(s.config.Registerer)
	if err != nil {
		return nil, err
	}
	f := &surface{next: s.config.Handler, limits: limits, origins: origins, pace: defaultPace(), ended: s.ctx, objectBytesMax: s.config.ObjectBytesMax, exposed: !loopback, audit: s.config.Audit, down: s.config.Down, up: s.config.Up, strangers: refused.WithLabelValues(string(api.CodeCrossOrigin))}
	if s.config.pace != nil {
		f.pace = *s.config.pace
	}
	if !loopback || s.config.RequestsPerSecond > 0 {
		f.rates = newRates(s.config.RequestsPerSecond)
	}
	perToken := s.config.RequestsPerSecond
	if loopback && perToken <= 0 {
		perToken = RequestsPerSecondLocal
	}
	f.holders = newHolders(perToken, f.pace, limits)
	if s.config.Certificate != nil {
		f.alternative = fmt.Sprintf(`h3=":%d"; ma=%d`, local.Port, int(alternativeAge.Seconds()))
	}
	if !loopback && !s.config.Gated {
		f.next = http.HandlerFunc(unauthorized)
	}
	return f, nil
}

func (s *Server) tls() *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS13, GetCertificate: s.config.Certificate}
}

// Addr returns where requests come in: HOST:PORT.
func (s *Server) Addr() string { return s.local.String() }

// Close tells clients that it goes, ends all requests and waits for them.
func (s *Server) Close() error {
	s.once.Do(func() {
		s.cancel()
		ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
		defer cancel()
		var over sync.WaitGroup
		if s.quic != nil {
			over.Go(func() { s.quic.close(ctx) })
		}
		if err := s.http.Shutdown(ctx); err != nil {
			s.err = s.http.Close()
		}
		over.Wait()
		s.hear()
		if s.quic != nil {
			s.hear()
		}
	})
	return s.err
}

// hear takes the end of a server.
func (s *Server) hear() {
	if ended := <-s.ended; !errors.Is(ended, http.ErrServerClosed) {
		s.err = errors.Join(s.err, fmt.Errorf("serve the API: %w", ended))
	}
}

// portTries is how often a port that is free for TCP is looked for that is free for
// UDP, too.
const portTries = 20

// listen opens a port for TCP and, if wanted, the same one for UDP.
func listen(ctx context.Context, address string, both bool) (net.Listener, net.PacketConn, error) {
	config := net.ListenConfig{}
	for try := 1; ; try++ {
		l, err := config.Listen(ctx, "tcp", address)
		if err != nil || !both {
			return l, nil, err
		}
		packets, err := config.ListenPacket(ctx, "udp", l.Addr().String())
		if err == nil {
			return l, packets, nil
		}
		_, port, wrong := net.SplitHostPort(address)
		if wrong != nil || port != "0" || try == portTries {
			return nil, nil, errors.Join(fmt.Errorf("HTTP/3: %w", err), l.Close())
		}
		if err := l.Close(); err != nil {
			return nil, nil, err
		}
	}
}

func closeAll(l net.Listener, packets net.PacketConn) error {
	if packets == nil {
		return l.Close()
	}
	return errors.Join(l.Close(), packets.Close())
}

// checkOrigin returns ErrOrigin for what no browser sends as one.
func checkOrigin(origin string) error {
	u, err := url.Parse(origin)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || origin != u.Scheme+"://"+u.Host {
		return fmt.Errorf("%.80q %w", origin, ErrOrigin)
	}
	return nil
}
