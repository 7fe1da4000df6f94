package replica

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"
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
			began := time.Now()
			streamed, err := r.search(ctx)
			if streamed && time.Since(began) > r.config.HeartbeatTimeout {
				attempt = 0
				continue
			}
			if !streamed {
				r.lastFollowError.Store(&err)
			}
			attempt++ // also after a parent that has gone at once
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
	result, text, depth := code(d.byte()), d.string(errorTextMax), d.uvarint()
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
			if err := r.fsm.applyStream(records, r.ctx.Done()); err != nil {
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
		r.noteLeader()
		r.changed.signal()
	}
}
