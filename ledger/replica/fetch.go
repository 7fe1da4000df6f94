package replica

import (
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"time"
)

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
		if err := r.engine.reset(func() bool { return true }); err != nil {
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
