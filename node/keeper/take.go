package keeper

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/dugnad/dugnad/ledger"
	"github.com/dugnad/dugnad/p2p"
	"github.com/dugnad/dugnad/p2p/bandwidth"
	"github.com/dugnad/dugnad/p2p/content"
	"github.com/dugnad/dugnad/p2p/rpc"
)

// Methods are what workers may ask of this node. keeper is called for each request:
// it returns nil while there is none.
func Methods(keeper func() *Keeper) []rpc.Method {
	with := func(f func(k *Keeper, ctx context.Context, r rpc.Request) ([]byte, error)) func(ctx context.Context, r rpc.Request) ([]byte, error) {
		return func(ctx context.Context, r rpc.Request) ([]byte, error) {
			k := keeper()
			if k == nil {
				return nil, ErrClosing
			}
			return f(k, ctx, r)
		}
	}
	return []rpc.Method{{
		Name: keepMethod, Allow: p2p.RoleWorker, RequestBytesMax: headBytes + SmallBytesMax, ResponseBytesMax: 0,
		Handler: with((*Keeper).answerKeep),
	}, {
		Name: holdMethod, Allow: p2p.RoleWorker, RequestBytesMax: 1 + pageMax*questionBytes, ResponseBytesMax: pageMax,
		Handler: with((*Keeper).answerHold),
	}}
}

// answerKeep stores an object for another node. When it returns without an error the
// object is on disk, pinned, and was verified.
func (k *Keeper) answerKeep(ctx context.Context, r rpc.Request) ([]byte, error) {
	q, err := decodeRequest(r.Body)
	if err == nil {
		err = k.take(ctx, r.From, &q)
	}
	if err != nil {
		k.metrics.refused.WithLabelValues(refusal(err)).Inc()
		return nil, err
	}
	k.metrics.taken.Inc()
	return nil, nil
}

// refusal returns the code of an error, for a metric.
func refusal(err error) string {
	var f *rpc.Fault
	if errors.As(err, &f) {
		return f.Code
	}
	return rpc.CodeFailed
}

func (k *Keeper) take(ctx context.Context, from p2p.NodeID, q *request) error {
	if len(q.small) > 0 && content.Sum(q.small) != q.hash {
		return ErrWrongHash
	}
	if err := k.expected(ctx, q); err != nil {
		return err
	}
	if k.holds(q.hash, q.owner()) {
		return nil
	}
	defer k.unsettle(q.owner()) // a sweep must look at it
	if err := k.affordable(int64(q.bytes)); err != nil {
		return err
	}
	if len(q.small) == 0 {
		return k.takeLarge(ctx, from, q)
	}
	// It has come already, and counts; who sends more is to look elsewhere.
	k.config.Down.Book(bandwidth.KindCopies, len(q.small))
	if wait := k.config.Down.Delay(); wait > k.config.CopyTimeout {
		k.metrics.limit("bandwidth")
		return fmt.Errorf("%w: the bandwidth is used up for %s", ErrBusy, wait.Round(time.Second))
	}
	if err := k.token(ctx, k.taking); err != nil {
		return err
	}
	defer func() { <-k.taking }()
	_, _, err := k.config.Objects.Put(ctx, bytes.NewReader(q.small), q.owner())
	return faultOf(err)
}

// unsettle has the next sweep look at what is pinned for an owner.
func (k *Keeper) unsettle(owner string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.settled, owner)
}

// token waits for a place among those who do something.
func (k *Keeper) token(ctx context.Context, tokens chan struct{}) error {
	select {
	case tokens <- struct{}{}:
		return nil
	case <-ctx.Done():
		k.metrics.limit("takes")
		return context.Cause(ctx)
	}
}

// takeLarge fetches an object from the node that wants it kept.
func (k *Keeper) takeLarge(ctx context.Context, from p2p.NodeID, q *request) error {
	if !k.enter(from) {
		k.metrics.limit("fetches")
		return fmt.Errorf("%w: %d at a time", ErrBusy, fetchesPerNode)
	}
	defer k.exit(from)
	ctx, cancel := context.WithTimeout(ctx, k.config.FetchTimeout)
	defer cancel()
	if err := k.token(ctx, k.fetching); err != nil {
		return err
	}
	defer func() { <-k.fetching }()
	o, err := k.config.Objects.Fetch(ctx, q.hash, content.FetchOptions{
		Holders: []p2p.NodeID{from}, Owner: q.owner(), BytesMax: int64(q.bytes),
	})
	if err != nil {
		return faultOf(err)
	}
	return o.Close()
}

// enter counts a fetch for a node, and reports whether it may have one more.
func (k *Keeper) enter(from p2p.NodeID) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.fetches[from] >= fetchesPerNode {
		return false
	}
	k.fetches[from]++
	return true
}

func (k *Keeper) exit(from p2p.NodeID) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.fetches[from]--; k.fetches[from] == 0 {
		delete(k.fetches, from)
	}
}

// expected returns ErrUnknown when the ledger does not know what an object is for.
// This node's copy of it may be behind the caller's.
func (k *Keeper) expected(ctx context.Context, q *request) error {
	known := false
	look := func(tx ledger.Tx) error {
		var err error
		if q.kind == kindModule {
			var m ledger.Module
			m, err = ledger.FindModule(tx, ledger.ModuleID(q.hash))
			known = m.Bytes == q.bytes
		} else {
			var j ledger.Job
			j, err = ledger.FindJob(tx, q.job)
			known = !j.Pruning
		}
		known = known && err == nil
		if errors.Is(err, ledger.ErrNotFound) {
			return nil
		}
		return err
	}
	index, err := k.config.Ledger.View(look)
	if err == nil && !known && index < q.index {
		ctx, cancel := context.WithTimeout(ctx, k.config.CallTimeout)
		defer cancel()
		if err = k.config.Ledger.Wait(ctx, q.index); err == nil {
			_, err = k.config.Ledger.View(look)
		}
	}
	if err == nil && !known {
		err = ErrUnknown
	}
	return err
}

// affordable returns ErrFull when the store has no room to spare.
func (k *Keeper) affordable(bytes int64) error {
	room, err := k.config.Objects.Room()
	if err != nil {
		return err
	}
	if most := room - k.config.ReserveBytes; bytes > most {
		k.metrics.limit("reserve")
		return fmt.Errorf("%w: %d bytes, %d can be spared", ErrFull, bytes, max(most, 0))
	}
	return nil
}

// holds reports whether an object is held and pinned for an owner.
func (k *Keeper) holds(h content.Hash, owner string) bool {
	if _, err := k.config.Objects.Stat(h); err != nil {
		return false
	}
	return slices.Contains(k.config.Objects.OwnersOf(h), owner)
}

// answerHold says for each object whether it is kept here: a byte each, 1 or 0.
func (k *Keeper) answerHold(_ context.Context, r rpc.Request) ([]byte, error) {
	list, err := decodeQuestions(r.Body)
	if err != nil {
		return nil, err
	}
	out := make([]byte, len(list))
	for i := range list {
		if k.holds(list[i].hash, list[i].owner()) {
			out[i] = 1
		}
	}
	return out, nil
}
