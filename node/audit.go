package node

import (
	"context"
	"log/slog"

	"github.com/dugnad/dugnad/node/audit"
	"github.com/dugnad/dugnad/node/book"
	"github.com/dugnad/dugnad/p2p"
)

func (n *Node) openAudit(ctx context.Context) error {
	c := audit.Default(n.config.Dir)
	c.Log, c.Registerer = n.log, n.registry
	n.config.alter(&c)
	l, err := audit.Open(ctx, c)
	n.audit = l
	return err
}

// admitted notes that another node was let in or refused.
func (n *Node) admitted(a p2p.Admission) {
	r := audit.Record{Who: audit.Node(string(a.Node)), Operation: "join", Code: p2p.CodeOf(a.Err).String()}
	if a.Address != nil {
		r.From = a.Address.String()
	}
	if a.Err == nil {
		r.Object, r.Detail = "invitation:"+a.Invitation.String(), a.Role.String()
	}
	n.audit.Note(r)
}

// noteSelf notes what is done with the node as a whole.
func (n *Node) noteSelf(operation string) {
	n.audit.Note(audit.Record{
		Who: audit.Operator, Operation: operation, Object: string(n.self()), Detail: n.config.Version, Code: audit.CodeOK,
	})
}

// noteOffline notes what was done with a folder on which no node runs.
func noteOffline(ctx context.Context, dir, operation, object string) error {
	l, err := audit.Open(ctx, audit.Default(dir))
	if err != nil {
		return err
	}
	l.Note(audit.Record{Who: audit.Operator, Operation: operation, Object: object, Code: audit.CodeOK})
	return l.Close()
}

// Recover is book.Recover, which the folder's audit log then knows of.
func Recover(ctx context.Context, dir string, log *slog.Logger) (book.Report, error) {
	r, err := book.Recover(ctx, dir, log)
	if err != nil {
		return r, err
	}
	return r, noteOffline(ctx, dir, "recover", r.ID)
}
