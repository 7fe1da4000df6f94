package node

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/dugnad/dugnad/node/book"
	"github.com/dugnad/dugnad/p2p"
)

// Out returns a channel that is closed when the grid has put this node out, by a
// signature that it has verified: all that is left to do is Close.
func (n *Node) Out() <-chan struct{} { return n.host.Out() }

// retire makes the folder of a node that was expelled that of a new node, when
// an invitation readmits it: what belongs to the old key is put aside. Objects
// stay.
func (n *Node) retire() error {
	out, err := p2p.OutcastIn(n.config.Dir)
	if err != nil || !n.config.Invitation.Readmits(out) {
		return err
	}
	if err := book.SetAside(n.config.Dir, out.Suffix()); err != nil {
		return err
	}
	mark := filepath.Join(n.config.Dir, foundedName)
	if err := os.Remove(mark); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := out.Retire(n.config.Dir); err != nil {
		return err
	}
	n.log.Warn("the node that was expelled is put aside, a new one with another key joins",
		"expelled", out.Node, "since", out.Since, "files", "*"+out.Suffix())
	return nil
}

// whileMember returns a context that ends when the grid has put this node out, and
// stop, which turns the error of what was done meanwhile into p2p.ErrExpelled when
// that is the cause.
func (n *Node) whileMember(ctx context.Context) (member context.Context, stop func(err error) error) {
	member, cancel := context.WithCancelCause(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		select {
		case <-n.host.Out():
			cancel(fmt.Errorf("%w: at %s", p2p.ErrExpelled, n.host.ExpelledAt().Format("2006-01-02 15:04:05 MST")))
		case <-member.Done():
		}
	}()
	return member, func(err error) error {
		cause := context.Cause(member)
		cancel(nil)
		<-ended
		if err != nil && errors.Is(cause, p2p.ErrExpelled) {
			return cause
		}
		return err
	}
}
