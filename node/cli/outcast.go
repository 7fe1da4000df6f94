package cli

import (
	"errors"
	"fmt"
	"time"

	"github.com/dugnad/dugnad/node"
	"github.com/dugnad/dugnad/p2p"
)

// errOut is the end of a node that was expelled.
var errOut = errors.New("this node was expelled")

// explainOut says that the node in the folder was expelled, if it was, and what to do.
func explainOut(dir string) error {
	out, err := p2p.OutcastIn(dir)
	if err != nil || out == nil {
		return err
	}
	return fmt.Errorf("%w from grid %s at %s: to return as a new node, get an invitation that an admin has made after that and "+
		"run dugnad up --join INVITATION: it gets a new key, and the old one is kept beside it", errOut, out.Grid, clock(out.Since))
}

// readmits says whether the node in the folder was expelled, and the invitation, which
// may be nil, lets it return.
func readmits(v *p2p.Invitation, dir string) bool {
	out, err := p2p.OutcastIn(dir)
	return err == nil && v.Readmits(out)
}

// explainNotRunning says why no node runs on the folder, if that is known, and what to do.
func explainNotRunning(err error, dir string) error {
	if why := explainOut(dir); errors.Is(why, errOut) {
		return fmt.Errorf("%w: %w", err, why)
	}
	return fmt.Errorf("%w: start one with dugnad up, or name another folder with --node-dir", err)
}

// clock formats a time for people.
func clock(t time.Time) string { return t.Format("2006-01-02 15:04:05 MST") }

// explainUp adds what to do to the errors that an operator can do something about.
func explainUp(err error, dir string) error {
	if errors.Is(err, p2p.ErrExpelled) {
		if why := explainOut(dir); errors.Is(why, errOut) {
			return why
		}
	}
	if errors.Is(err, node.ErrInUse) {
		return fmt.Errorf("%w: dugnad status shows it; for another node name another folder with --node-dir", err)
	}
	if errors.Is(err, node.ErrNeverJoined) {
		return fmt.Errorf("%w: join it again with dugnad up --join INVITATION, or name another folder with --node-dir", err)
	}
	if errors.Is(err, p2p.ErrWrongGrid) && !errors.As(err, new(*p2p.Refusal)) {
		return fmt.Errorf("%w: name another folder with --node-dir, or join its own grid", err)
	}
	code := p2p.CodeOf(err)
	if code == p2p.CodeOther || code.Help() == "" {
		return err
	}
	return fmt.Errorf("%w: %s", err, code.Help())
}
