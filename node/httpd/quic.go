package httpd

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"github.com/dugnad/dugnad/node/turnstile"
)

const (
	// quicIdleTimeout is after how long a client that is not heard is given up, and
	// quicPing how often one is asked whether it is there.
	quicIdleTimeout = time.Minute
	quicPing        = 20 * time.Second
	// quicPerAddressMax bounds the connections from one address: a request whose header
	// does not end holds a stream, and no timeout ends that.
	quicPerAddressMax = 64
	// quicUnverified is how many connections there are when a new client has to show
	// first that it is at the address that its packets come from.
	quicUnverified = turnstile.ConnectionsMax / 4
	// quicStreamBytesMax and quicBytesMax bound what of a stream, and of a connection,
	// waits for the handlers.
	quicStreamBytesMax = 1 << 20
	quicBytesMax       = 2 << 20
	// unidirectionalMax bounds the streams on which a client only speaks: HTTP/3 has
	// three.
	unidirectionalMax = 8
)

// errCrowded is the refusal of a connection that is too many.
var errCrowded = errors.New("too many connections")

// quicServer answers HTTP/3.
type quicServer struct {
	http      http3.Server
	transport *quic.Transport
	listener  *quic.EarlyListener
	packets   net.PacketConn
	limit     prometheus.Counter

	mu sync.Mutex
	// open is how many connections there are, from how many from each address.
	open int
	from map[string]int
}

// openQUIC listens on a socket, which it closes in the end, also when it fails.
func openQUIC(packets net.PacketConn, config *tls.Config, handler http.Handler, log *slog.Logger, limit prometheus.Counter) (*quicServer, error) {
	q := &quicServer{packets: packets, limit: limit, from: map[string]int{}}
	q.http = http3.Server{
		Handler: handler, MaxHeaderBytes: 2 * headerBytesMax, IdleTimeout: idleTimeout, Logger: slog.New(quiet{log.Handler()}),
	}
	q.transport = &quic.Transport{
		Conn: packets, ConnContext: q.admit, StatelessResetKey: &quic.StatelessResetKey{},
		VerifySourceAddress: func(net.Addr) bool { return q.crowded() },
	}
	if _, err := rand.Read(q.transport.StatelessResetKey[:]); err != nil {
		return nil, errors.Join(err, packets.Close())
	}
	var err error
	q.listener, err = q.transport.ListenEarly(http3.ConfigureTLSConfig(config), &quic.Config{
		HandshakeIdleTimeout: headerTimeout / 2, MaxIdleTimeout: quicIdleTimeout, KeepAlivePeriod: quicPing,
		MaxIncomingStreams: streamsMax, MaxIncomingUniStreams: unidirectionalMax,
		MaxStreamReceiveWindow: quicStreamBytesMax, MaxConnectionReceiveWindow: quicBytesMax,
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("HTTP/3: %w", err), q.transport.Close(), packets.Close())
	}
	return q, nil
}

// admit takes a place for a connection, which lasts as long as its context.
func (q *quicServer) admit(ctx context.Context, client *quic.ClientInfo) (context.Context, error) {
	who := addressKey(client.RemoteAddr.String())
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.open >= turnstile.ConnectionsMax || q.from[who] >= quicPerAddressMax {
		q.limit.Inc()
		return nil, errCrowded
	}
	q.open++
	q.from[who]++
	context.AfterFunc(ctx, func() {
		q.mu.Lock()
		defer q.mu.Unlock()
		q.open--
		if q.from[who]--; q.from[who] == 0 {
			delete(q.from, who)
		}
	})
	return ctx, nil
}

// crowded says that new clients have to show where they are.
func (q *quicServer) crowded() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.open >= quicUnverified
}

// serve answers until close.
func (q *quicServer) serve() error { return q.http.ServeListener(q.listener) }

// close says GOAWAY, gives what is being answered until ctx ends, and closes the
// socket.
func (q *quicServer) close(ctx context.Context) {
	// What is still open when ctx ends is cut: there is nothing to report.
	_ = q.http.Shutdown(ctx)
	_ = q.listener.Close()
	_ = q.transport.Close()
	_ = q.packets.Close()
}

// quiet makes debug messages of whatever is logged: clients cause it.
type quiet struct{ slog.Handler }

// Enabled implements slog.Handler.
func (h quiet) Enabled(ctx context.Context, _ slog.Level) bool {
	return h.Handler.Enabled(ctx, slog.LevelDebug)
}
