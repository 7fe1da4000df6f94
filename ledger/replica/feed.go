package replica

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"
)

// The stream of changes: the follower sends one frame with uvarint index and
// uvarint depth that the parent must be above. The answer is one frame: code,
// text, uvarint depth, uvarint count and addresses of other members. After
// codeOK frames follow, each a kind and its payload.
const (
	// frameRecords: records, each with its length.
	frameRecords = 1
	// frameBeat: byte 1 when the sender's own source is fresh, the leader's id
	// and address, the sender's applied index.
	frameBeat = 2
)

const (
	redirectsMax = 1024
	// streamFrameBytes is about how much of the changes goes into one frame.
	streamFrameBytes = 256 << 10
)

// serveStream feeds one follower until the connection ends.
func (r *Replica) serveStream(c *conn) {
	c.SetReadDeadline(time.Now().Add(r.config.RPCTimeout))
	request, err := readFrame(c.r, helloBytesMax)
	if err != nil {
		return
	}
	d := decoder{rest: request}
	from, below := d.uvarint(), d.uvarint()
	if d.end() != nil {
		return
	}
	k := &child{c.peer.id, c.peer.address, c}
	at := r.history.cursor(from)
	if lineage := r.book.view().lineage; lineage == "" || c.peer.lineage != lineage {
		err = ErrTooOld
	} else if _, _, err = r.history.next(&cursor{at.index, at.generation}, 0); err != nil {
		r.metrics.limits.WithLabelValues("history").Inc()
	}
	depth, others := 0, []string(nil)
	r.refreshTree()
	if err == nil && r.stall.cause() != nil {
		err = errUnattached
	}
	if err == nil {
		if depth, others, err = r.tree.adopt(k, int(min(below, depthMax)), r.config.FanOut); err == nil {
			defer r.tree.release(k)
		} else if errors.Is(err, errFull) {
			r.metrics.limits.WithLabelValues("fan_out").Inc()
		}
	} else if _, _, _, attached := r.tree.place(); !attached {
		err = errUnattached
	}
	answer := appendCode(codeOf(err), err)
	answer = binary.AppendUvarint(answer, uint64(depth))
	answer = binary.AppendUvarint(answer, uint64(len(others)))
	for _, a := range others {
		answer = appendBytes(answer, a)
	}
	c.SetWriteDeadline(time.Now().Add(r.config.RPCTimeout))
	if writeFrame(c, answer) != nil || err != nil {
		return
	}
	r.metrics.followers.Inc()
	defer r.metrics.followers.Dec()
	if err := r.feed(c, at); err != nil {
		r.log.Debug("follower is no longer fed", "id", k.id, "err", err)
	}
}

// feed sends records and beats until the connection or the replica ends, or the
// follower is too slow.
func (r *Replica) feed(c *conn, at cursor) error {
	beat := time.NewTicker(r.beatInterval())
	defer beat.Stop()
	send := func(frame []byte) error {
		c.SetWriteDeadline(time.Now().Add(r.config.RPCTimeout))
		frame = endFrame(frame, 0)
		n, err := c.Write(frame)
		r.metrics.streamBytes.Add(float64(n))
		return err
	}
	if err := send(r.beatFrame()); err != nil {
		return err
	}
	for {
		records, more, err := r.history.next(&at, streamFrameBytes)
		if err != nil {
			return err
		}
		if len(records) > 0 {
			frame := append(beginFrame(nil), frameRecords)
			for _, rec := range records {
				frame = appendBytes(frame, rec.data)
			}
			if err := send(frame); err != nil {
				return err
			}
			r.metrics.streamFrames.Inc()
			continue
		}
		select {
		case <-more:
		case <-beat.C:
			if err := send(r.beatFrame()); err != nil {
				return err
			}
		case <-r.ctx.Done():
			return ErrClosed
		}
	}
}

// beatInterval is a quarter of how long a follower waits for its parent.
func (r *Replica) beatInterval() time.Duration {
	return max(r.config.HeartbeatTimeout/4, time.Millisecond)
}

func (r *Replica) beatFrame() []byte {
	r.refreshTree()
	fresh := byte(0)
	if _, _, _, attached := r.tree.place(); attached && r.stall.cause() == nil {
		fresh = 1
	}
	id, address := r.leader()
	frame := append(beginFrame(nil), frameBeat, fresh)
	frame = appendBytes(appendBytes(frame, id), address)
	return binary.AppendUvarint(frame, r.Applied())
}

// serveSnapshot sends the present state: one frame with code and text, then
// pieces, then an empty frame.
func (r *Replica) serveSnapshot(c *conn) {
	var err error
	select {
	case r.sending <- struct{}{}:
		defer func() { <-r.sending }()
	default:
		r.metrics.limits.WithLabelValues("snapshots").Inc()
		err = fmt.Errorf("%w: it sends %d snapshots", errBusy, r.config.SnapshotsMax)
	}
	if _, _, _, attached := r.tree.place(); err == nil && !attached {
		err = errUnattached
	}
	c.SetWriteDeadline(time.Now().Add(r.config.RPCTimeout))
	if writeFrame(c, appendCode(codeOf(err), err)) != nil || err != nil {
		return
	}
	file, _, err := spool(r.config.Dir, r.config.Store, r.book.view().lineage)
	if err != nil {
		r.log.Warn("snapshot for a follower did not work", "err", err)
		return
	}
	defer file.Close()
	r.metrics.snapshots.WithLabelValues("sent").Inc()
	piece := make([]byte, streamFrameBytes)
	for {
		n, err := io.ReadFull(file, piece)
		c.SetWriteDeadline(time.Now().Add(r.config.RPCTimeout))
		if n > 0 && writeFrame(c, piece[:n]) != nil {
			return
		}
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			_ = writeFrame(c, nil)
			return
		}
		if err != nil {
			return
		}
	}
}
