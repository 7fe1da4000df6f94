package keeper

import (
	"context"
	"errors"
	"fmt"

	"github.com/dugnad/dugnad/ledger"
	"github.com/dugnad/dugnad/p2p"
	"github.com/dugnad/dugnad/p2p/bandwidth"
	"github.com/dugnad/dugnad/p2p/content"
)

// errNobody is returned when no other node can be asked to keep an object.
var errNobody = errors.New("there is no other node that has room")

// Result has another node keep an object with results of a job, of so many bytes.
// small is the object itself, when it has at most SmallBytesMax: it need not be
// stored here yet. Otherwise it is nil, and the object is held here. Result takes
// Config.CopyTimeout at most: what was not copied by then is copied later, if it
// is pinned here.
func (k *Keeper) Result(ctx context.Context, job ledger.JobID, h content.Hash, bytes int64, small []byte) {
	ctx, cancel := context.WithTimeout(ctx, k.config.CopyTimeout)
	defer cancel()
	q := request{kind: kindResult, job: job, hash: h, bytes: uint64(bytes), small: small}
	if _, err := k.give(ctx, &q); err != nil {
		k.log.Debug("result is kept here only for now", "job", job, "object", h, "err", err)
		k.doubt(h)
	}
}

// Module has another node keep a module that is held here and known to the ledger,
// and returns which one. It takes Config.CopyTimeout at most; with an error the
// module is copied later.
func (k *Keeper) Module(ctx context.Context, h content.Hash, bytes int64) (ledger.NodeID, error) {
	ctx, cancel := context.WithTimeout(ctx, k.config.CopyTimeout)
	defer cancel()
	node, err := k.give(ctx, &request{kind: kindModule, hash: h, bytes: uint64(bytes)})
	if err != nil {
		k.doubt(h)
	}
	return node, err
}

// give asks one node after the other to keep an object, until one does.
func (k *Keeper) give(ctx context.Context, q *request) (ledger.NodeID, error) {
	err := errNobody
	if len(q.small) > SmallBytesMax {
		q.small = nil
	}
	for _, node := range k.targets(q.hash, int64(q.bytes)) {
		if err = k.ask(ctx, node, q); err == nil {
			k.metrics.made.Inc()
			k.trust(node)
			return node, nil
		}
		k.metrics.failed.WithLabelValues(refusal(err)).Inc()
		if !errors.Is(err, ErrUnknown) && !errors.Is(ctx.Err(), context.Canceled) {
			k.avoid(node)
		}
		if ctx.Err() != nil {
			break
		}
	}
	return "", fmt.Errorf("have object %s kept: %w", q.hash, err)
}

// ask asks one node to keep an object. One that fetches it may take as long as ctx
// lasts, when it has shown that it answers.
func (k *Keeper) ask(ctx context.Context, node ledger.NodeID, q *request) error {
	index, err := k.config.Ledger.View(func(ledger.Tx) error { return nil })
	if err != nil {
		return err
	}
	q.index = index
	if len(q.small) == 0 {
		if err := k.token(ctx, k.giving); err != nil {
			return err
		}
		defer func() { <-k.giving }()
		p := []patient{{question: question{q.kind, q.job, q.hash}}}
		if held, err := k.question(ctx, node, p); err != nil || held[q.hash] {
			return err
		}
	} else {
		if err := k.config.Up.Wait(ctx, bandwidth.KindCopies, len(q.small)); err != nil {
			return err
		}
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, k.config.CallTimeout)
		defer cancel()
	}
	_, err = k.config.Peers.Call(ctx, p2p.NodeID(node), keepMethod, q.encode())
	return err
}

// doubt notes that an object may lack a copy.
func (k *Keeper) doubt(list ...content.Hash) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, h := range list {
		k.alone[h] = struct{}{}
	}
	k.metrics.missing.Set(float64(len(k.alone)))
	notify(k.changed)
}
