package p2p

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// expelledError is the refusal of a node that is out. It unwraps to ErrExpelled.
type expelledError struct {
	since time.Time
	// proof is the signed expulsion, as a list of one.
	proof []byte
}

func (e *expelledError) Error() string {
	return fmt.Sprintf("%s: since %s", ErrExpelled, clock(e.since))
}

func (e *expelledError) Unwrap() error { return ErrExpelled }

// sentence is what the node that is out is told.
func (e *expelledError) sentence() string {
	return "this node was expelled from the grid at " + clock(e.since)
}

// check returns an *expelledError for a node that is out, nil for another.
func (e *Expulsions) check(node NodeID) error {
	since, out := e.Out(node)
	if !out {
		return nil
	}
	e.mu.RLock()
	defer e.mu.RUnlock()
	wrong := &expelledError{since: since}
	for _, x := range e.entries {
		if x.Node != node || x.Since.After(since) {
			continue
		}
		if x.Admin != nil {
			if until, gone := e.out[x.Admin.Node]; gone && !x.Since.Before(until) {
				continue // it counts for nothing
			}
		}
		wrong.proof = encodeExpulsions(e.grid, []Expulsion{x})
		if x.Admin == nil {
			break // nothing voids what the grid's key has signed
		}
	}
	return wrong
}

// hearProof takes over what came with the refusal of another node, if it is an
// expulsion of this one that the grid's key or an admin has signed. Whoever
// refuses without one has convinced nobody.
func (h *Host) hearProof(refusal *Refusal) {
	select {
	case <-h.listening:
	default:
		return // Open goes on; it will be said again
	}
	if refusal.Code != CodeExpelled || len(refusal.proof) == 0 {
		return
	}
	list, err := DecodeExpulsions(refusal.proof, h.grid)
	if err == nil && (len(list) != 1 || list[0].Node != h.Self()) {
		err = fmt.Errorf("%w: it is about others", ErrMalformed)
	}
	if err == nil {
		err = h.addExpulsions(list)
	}
	if err != nil {
		h.log.Debug("a refusal comes without proof", "error", err)
	}
}

// Out returns a channel that is closed when this node knows by a valid signature
// that it was expelled: no member speaks with it any more.
func (h *Host) Out() <-chan struct{} { return h.out }

// IsOut says whether a node was expelled, as far as this one knows.
func (h *Host) IsOut(node NodeID) bool {
	_, out := h.expelled.Out(node)
	return out
}

// ExpelledAt says when this node was expelled, the zero time when it was not.
func (h *Host) ExpelledAt() time.Time {
	since, _ := h.expelled.Out(h.Self())
	return since
}

// noteOut acts on this node's own expulsion, once. h.expelMu is held.
func (h *Host) noteOut() {
	select {
	case <-h.out:
	default:
		h.log.Error("this node was expelled from the grid", "grid", h.grid, "since", h.ExpelledAt())
		close(h.out)
	}
}

// Outcast is a node that knows that it was expelled.
type Outcast struct {
	Grid  GridID
	Node  NodeID
	Since time.Time
}

// OutcastIn returns the node whose key is in the data directory, if the list of
// expulsions there has it, and nil if not.
func OutcastIn(dir string) (*Outcast, error) {
	b, err := readFile(filepath.Join(dir, expulsionsFile), expulsionsBytesMax)
	if err != nil || b == nil {
		return nil, err
	}
	key, err := loadKey(filepath.Join(dir, nodeKeyFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	out := Outcast{Node: key.NodeID()}
	if out.Grid, err = expulsionsGrid(b); err != nil {
		return nil, err
	}
	list, err := DecodeExpulsions(b, out.Grid)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", expulsionsFile, err)
	}
	expelled := NewExpulsions(out.Grid)
	// What cannot be added is no news for this node.
	_, _ = expelled.Add(list, time.Now())
	var is bool
	if out.Since, is = expelled.Out(out.Node); !is {
		return nil, nil
	}
	return &out, nil
}

// expulsionsGrid returns the grid whose expulsions a file holds.
func expulsionsGrid(b []byte) (grid GridID, err error) {
	r := reader{b: b}
	r.version()
	r.fixed(grid[:])
	if r.err != nil {
		return grid, fmt.Errorf("read %s: %w", expulsionsFile, r.err)
	}
	return grid, nil
}

// LeftGrid returns the grid that a data directory without a membership has been in,
// and nil when there is no sign of one.
func LeftGrid(dir string) (*GridID, error) {
	b, err := readFile(filepath.Join(dir, expulsionsFile), expulsionsBytesMax)
	if err != nil || b == nil {
		return nil, err
	}
	grid, err := expulsionsGrid(b)
	return &grid, err
}

// Readmits says whether the invitation lets the outcast return, as a new node: it is
// of the same grid and was made in a later second than the expulsion. An earlier one, with which the
// node may have been started, must not undo what an admin has done.
func (v *Invitation) Readmits(o *Outcast) bool {
	return v != nil && o != nil && v.Grid == o.Grid && v.Since.After(o.Since)
}

// Suffix is what the names of the outcast's files end with once they are put
// aside.
func (o *Outcast) Suffix() string { return ".expelled-" + string(o.Node[max(len(o.Node)-8, 0):]) }

// Retire puts the outcast's membership and key aside, under names that end with its
// suffix: whoever opens the directory next is a new node, which may join the grid
// with an invitation. The key goes last: it can be called again after a crash.
func (o *Outcast) Retire(dir string) error {
	for _, name := range []string{membershipFile, nodeKeyFile} {
		path := filepath.Join(dir, name)
		if err := os.Rename(path, path+o.Suffix()); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("put %s aside: %w", name, err)
		}
	}
	return syncDir(dir)
}

// cutProof takes a refusal's sentence and what proves it apart.
func cutProof(b []byte) (text string, proof []byte) {
	sentence, proof, _ := bytes.Cut(b, []byte{0})
	return plain(string(sentence), refusalTextMax), proof
}
