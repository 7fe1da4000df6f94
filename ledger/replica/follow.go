package replica

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"time"

	"github.com/hashicorp/raft"
)

// follow streams changes from another member whenever Raft does not bring them,
// until ctx ends.
func (r *Replica) follow(ctx context.Context) {
	var silent time.Time
	for attempt := 0; ctx.Err() == nil; {
		changed := r.changed.wait()
		r.refreshTree()
		wait := r.config.HeartbeatTimeout
		switch needed, voter := r.needsParent(); {
		case !needed:
			silent, attempt = time.Time{}, 0
		case voter && silent.IsZero():
			silent = time.Now()
			wait = 3 * r.config.HeartbeatTimeout
		case voter && time.Since(silent) < 3*r.config.HeartbeatTimeout:
			wait = 3*r.config.HeartbeatTimeout - time.Since(silent)
		default:
			streamed, err := r.search(ctx)
			if streamed {
				attempt = 0
				continue
			}
			r.lastFollowError.Store(&err)
			attempt++
			wait = backoff(attempt, r.config.HeartbeatTimeout)
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-changed:
			timer.Stop()
		case <-ctx.Done():
			timer.Stop()
		}
	}
}

// needsParent reports whether this member has to stream, and whether it is in
// Raft's configuration.
func (r *Replica) needsParent() (needed, voter bool) {
	if r.cause() != nil {
		return false, false
	}
	view := r.book.view()
	servers, _ := r.engine.configuration()
	for _, s := range servers {
		voter = voter || string(s.ID) == r.config.ID
	}
	if voter {
		id, _ := r.engine.leader()
		return id == "", true
	}
	return view.lineage != "" || len(r.seedList()) > 0, false
}

// refreshTree puts Raft's members at the root.
func (r *Replica) refreshTree() {
	needed, voter := r.needsParent()
	_, _, parent, attached := r.tree.place()
	switch {
	case r.cause() != nil:
		r.tree.detach()
		r.tree.disown()
	case voter && !needed:
		r.tree.attach(0, "")
	case parent == "" && attached:
		r.tree.detach()
	}
}

// search tries members, and those that they name, until one feeds this member;
// it returns when that one has stopped. streamed tells that one did.
func (r *Replica) search(ctx context.Context) (streamed bool, err error) {
	const attemptsMax = 64
	queue := r.candidates()
	seen := map[string]bool{r.config.Address: true}
	err = ErrNotMember
	for tried := 0; len(queue) > 0 && tried < attemptsMax && ctx.Err() == nil; {
		address := queue[0]
		queue = queue[1:]
		if seen[address] || address == "" {
			continue
		}
		seen[address] = true
		tried++
		streamed, others, e := r.streamFrom(ctx, address)
		if streamed {
			return true, e
		}
		if errors.Is(e, ErrTooOld) {
			if e = r.fetch(ctx, address); e == nil {
				streamed, others, e = r.streamFrom(ctx, address)
				if streamed {
					return true, e
				}
			}
		}
		r.log.Debug("member does not feed this one", "address", address, "err", e)
		err = fmt.Errorf("stream from %s: %w", address, e)
		rand.Shuffle(len(others), func(i, k int) { others[i], others[k] = others[k], others[i] })
		queue = append(others, queue...)
	}
	if r.tree.depthLimit() < depthMax {
		// Nobody above will have it: better alone than none.
		r.tree.disown()
	}
	return false, err
}

// candidates lists whom to try: voters but for the leader, the leader, some
// other members, and the addresses given to Join.
func (r *Replica) candidates() []string {
	const othersMax = 16
	view := r.book.view()
	leaderID, leader := r.leader()
	var voters, others []string
	for _, s := range view.servers {
		if id := string(s.ID); id != r.config.ID && id != leaderID {
			voters = append(voters, view.address(id))
		}
	}
	for id, m := range view.members {
		if id != r.config.ID && id != leaderID && !m.Voter {
			others = append(others, m.Address)
		}
	}
	rand.Shuffle(len(voters), func(i, k int) { voters[i], voters[k] = voters[k], voters[i] })
	rand.Shuffle(len(others), func(i, k int) { others[i], others[k] = others[k], others[i] })
	list := append(voters, leader)
	list = append(list, others[:min(len(others), othersMax)]...)
	return append(list, r.seedList()...)
}

// streamFrom attaches to the member at address and applies what it sends.
func (r *Replica) streamFrom(ctx context.Context, address string) (streamed bool, others []string, err error) {
	c, err := r.dial(ctx, address, protocolStream)
	if err != nil {
		return false, nil, err
	}
	defer func() { _ = c.Close() }()
	if err := r.comparable(c.peer.lineage); err != nil {
		return false, nil, err
	}
	c.SetDeadline(time.Now().Add(r.config.RPCTimeout))
	request := binary.AppendUvarint(nil, r.config.Store.Applied())
	request = binary.AppendUvarint(request, uint64(r.tree.depthLimit()))
	if err := writeFrame(c, request); err != nil {
		return false, nil, err
	}
	answer, err := readFrame(c.r, redirectsMax*addressBytesMax)
	if err != nil {
		return false, nil, err
	}
	d := decoder{rest: answer}
	result, text, depth := code(d.byte()), d.string(addressBytesMax), d.uvarint()
	for n := min(d.uvarint(), redirectsMax); n > 0 && d.err == nil; n-- {
		others = append(others, d.string(addressBytesMax))
	}
	if d.err != nil || depth > depthMax {
		return false, nil, errors.Join(d.err, ErrCorrupt)
	}
	if result != codeOK {
		return false, others, errorOf(result, text)
	}
	r.tree.attach(int(depth)+1, c.peer.id)
	defer r.tree.detach()
	r.log.Info("changes come from another member", "parent", c.peer.id, "depth", depth+1)
	r.changed.signal()
	err = r.consume(c)
	if ctx.Err() == nil && err != nil {
		r.log.Info("changes no longer come from this member", "parent", c.peer.id, "err", err)
	}
	return true, nil, err
}

// consume applies a stream until it ends, goes silent or stale, or Raft brings
// the changes.
func (r *Replica) consume(c *conn) error {
	fresh := time.Now()
	for {
		c.SetReadDeadline(time.Now().Add(r.config.HeartbeatTimeout))
		frame, err := readFrame(c.r, frameBytesMax)
		if err != nil {
			return err
		}
		d := decoder{rest: frame}
		switch kind := d.byte(); kind {
		case frameRecords:
			var records []record
			for len(d.rest) > 0 {
				rec, err := parseRecord(d.bytes(frameBytesMax))
				if err = errors.Join(d.err, err); err != nil {
					return err
				}
				records = append(records, rec)
			}
			if err := r.fsm.applyRecords(records); err != nil {
				return err
			}
			r.metrics.streamReceived.Add(float64(len(frame)))
		case frameBeat:
			attached := d.byte() == 1
			hint := hintError{d.string(idBytesMax), d.string(addressBytesMax)}
			index := d.uvarint()
			if err := d.end(); err != nil {
				return err
			}
			r.setHint(hint)
			r.metrics.lag.Set(float64(index - min(index, r.Applied())))
			if attached {
				fresh = time.Now()
			} else if time.Since(fresh) > r.config.HeartbeatTimeout {
				return errUnattached
			}
		default:
			return fmt.Errorf("stream frame of kind %d: %w", kind, ErrCorrupt)
		}
		if needed, _ := r.needsParent(); !needed {
			return nil
		}
	}
}

func (r *Replica) setHint(h hintError) {
	was := r.hint.Load()
	if was == nil || *was != h {
		r.hint.Store(&h)
		r.changed.signal()
	}
}

// fetch replaces this member's state by that of the member at address.
func (r *Replica) fetch(ctx context.Context, address string) error {
	c, err := r.dial(ctx, address, protocolSnapshot)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	c.SetDeadline(time.Now().Add(r.config.RPCTimeout))
	answer, err := readFrame(c.r, helloBytesMax)
	if err != nil {
		return err
	}
	d := decoder{rest: answer}
	if err := errorOf(code(d.byte()), d.string(helloBytesMax)); err != nil {
		return err
	}
	file, err := os.CreateTemp(r.config.Dir, "snapshot-part-*")
	if err != nil {
		return fmt.Errorf("make snapshot file: %w", err)
	}
	defer file.Close()
	if err := os.Remove(file.Name()); err != nil {
		return fmt.Errorf("unlink snapshot file: %w", err)
	}
	for {
		c.SetDeadline(time.Now().Add(r.config.RPCTimeout))
		piece, err := readFrame(c.r, streamFrameBytes)
		if err != nil {
			return fmt.Errorf("receive snapshot: %w", err)
		}
		if len(piece) == 0 {
			break
		}
		if _, err := file.Write(piece); err != nil {
			return fmt.Errorf("write snapshot: %w", err)
		}
	}
	if _, err := file.Seek(0, 0); err != nil {
		return fmt.Errorf("rewind snapshot: %w", err)
	}
	return r.adopt(file)
}

// adopt takes over a fetched snapshot.
func (r *Replica) adopt(file *os.File) error {
	h, err := readSnapshotHeader(file)
	if err != nil {
		return err
	}
	if err := r.comparable(h.lineage); err != nil {
		return err
	}
	mine := r.book.view().lineage
	if mine != "" && mine != h.lineage {
		r.log.Warn("the grid was recovered or restored: this member's own state is replaced", "index", h.index)
		if err := r.engine.reset(); err != nil {
			return err
		}
	}
	r.log.Info("state comes from a snapshot", "index", h.index)
	if err := r.fsm.replace(file, h.index, mine == h.lineage); err != nil {
		return err
	}
	r.changed.signal()
	return nil
}

// comparable refuses a history of the grid that is older than this member's, or
// another one of the same age.
func (r *Replica) comparable(lineage string) error {
	mine := r.book.view().lineage
	if mine == "" || lineage == mine || lineageAge(lineage) > lineageAge(mine) {
		return nil
	}
	return fmt.Errorf("member is of another history of the grid: %w", ErrNotMember)
}

// lineageAge is how often the history was begun anew.
func lineageAge(lineage string) uint64 {
	if len(lineage) < 8 {
		return 0
	}
	return binary.BigEndian.Uint64([]byte(lineage[:8]))
}

var _ raft.BatchingFSM = (*fsm)(nil)
