package node

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/dugnad/dugnad/ledger"
	"github.com/dugnad/dugnad/node/sharing"
	"github.com/dugnad/dugnad/p2p/metric"
)

// openShares registers the metric of samples of tenants' shares.
func (n *Node) openShares(context.Context) (err error) {
	metric.Register(n.registry, &n.sharesLeftOut, prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "dugnad_shares_left_out", Help: "Tenants that the latest sample of shares does not tell apart, beyond the 256 with the largest.",
	}), &err)
	return err
}

// keepShares samples what tenants have, until ctx ends. A sample that cannot be taken is
// a gap: whoever looks sees that there was none.
func (n *Node) keepShares(ctx context.Context) {
	ticker := time.NewTicker(sharing.Every)
	defer ticker.Stop()
	for {
		n.sampleShares()
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

func (n *Node) sampleShares() {
	var sample sharing.Sample
	_, err := n.book.View(func(tx ledger.Tx) (err error) {
		sample, err = sharing.Read(tx, n.config.now())
		return err
	})
	if err != nil {
		n.log.Debug("shares of tenants cannot be sampled", "err", err)
		return
	}
	n.shares.Add(sample)
	n.sharesLeftOut.Set(float64(sample.LeftOut))
}
