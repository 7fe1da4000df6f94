package p2p

import (
	"strings"
	"sync"
	"sync/atomic"
	"time"

	bandwidth "github.com/libp2p/go-libp2p/core/metrics"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/prometheus/client_golang/prometheus"
)

// Traffic is what a host has exchanged with others on its streams, without what
// carries them: packets, acknowledgements and encryption.
type Traffic struct{ ReceivedBytes, SentBytes uint64 }

// Traffic returns what this host has exchanged since it was opened.
func (h *Host) Traffic() Traffic {
	return Traffic{ReceivedBytes: h.traffic.received.Load(), SentBytes: h.traffic.sent.Load()}
}

// traffic implements libp2p's bandwidth reporter with sums alone: libp2p's own keeps a
// meter for each peer and protocol, and a goroutine that nobody ends.
type traffic struct {
	received, sent atomic.Uint64
	// kinds are the metrics of a protocol: a protocolTraffic for each protocol.ID, of
	// which there are as many as this program speaks.
	kinds   sync.Map
	metrics *metrics
}

// protocolTraffic counts what one protocol moves.
type protocolTraffic struct{ received, sent prometheus.Counter }

// kindOther is what the network needs for itself: negotiation, discovery, relays.
const kindOther = "network"

// of returns the metrics of a protocol: that of "/dugnad/ledger/1" is the kind ledger.
func (t *traffic) of(p protocol.ID) protocolTraffic {
	if v, ok := t.kinds.Load(p); ok {
		return v.(protocolTraffic)
	}
	kind := kindOther
	if parts := strings.Split(string(p), "/"); len(parts) == 4 && parts[0] == "" && parts[1] == "dugnad" {
		kind = parts[2]
	}
	c := protocolTraffic{t.metrics.traffic.WithLabelValues("down", kind), t.metrics.traffic.WithLabelValues("up", kind)}
	t.kinds.Store(p, c)
	return c
}

var _ bandwidth.Reporter = (*traffic)(nil)

func (t *traffic) LogSentMessage(n int64) { t.sent.Add(uint64(max(n, 0))) }
func (t *traffic) LogRecvMessage(n int64) { t.received.Add(uint64(max(n, 0))) }

// What is counted by peer and protocol is in the sums already.
func (t *traffic) LogSentMessageStream(n int64, p protocol.ID, _ peer.ID) {
	t.of(p).sent.Add(float64(max(n, 0)))
}

func (t *traffic) LogRecvMessageStream(n int64, p protocol.ID, _ peer.ID) {
	t.of(p).received.Add(float64(max(n, 0)))
}

func (t *traffic) GetBandwidthTotals() bandwidth.Stats {
	return bandwidth.Stats{TotalIn: int64(t.received.Load()), TotalOut: int64(t.sent.Load())}
}

// Nobody asks for these: libp2p only reports.
func (*traffic) GetBandwidthForPeer(peer.ID) bandwidth.Stats { return bandwidth.Stats{} }

func (*traffic) GetBandwidthForProtocol(protocol.ID) bandwidth.Stats     { return bandwidth.Stats{} }
func (*traffic) GetBandwidthByPeer() map[peer.ID]bandwidth.Stats         { return nil }
func (*traffic) GetBandwidthByProtocol() map[protocol.ID]bandwidth.Stats { return nil }
func (*traffic) Reset()                                                  {}
func (*traffic) TrimIdle(time.Time)                                      {}
