package p2p

import (
	"sync/atomic"
	"time"

	bandwidth "github.com/libp2p/go-libp2p/core/metrics"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
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
type traffic struct{ received, sent atomic.Uint64 }

var _ bandwidth.Reporter = (*traffic)(nil)

func (t *traffic) LogSentMessage(n int64) { t.sent.Add(uint64(max(n, 0))) }
func (t *traffic) LogRecvMessage(n int64) { t.received.Add(uint64(max(n, 0))) }

// What is counted by peer and protocol is in the sums already.
func (*traffic) LogSentMessageStream(int64, protocol.ID, peer.ID) {}
func (*traffic) LogRecvMessageStream(int64, protocol.ID, peer.ID) {}

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
