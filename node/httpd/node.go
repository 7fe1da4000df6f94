package httpd

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/dugnad/dugnad/ledger"
	"github.com/dugnad/dugnad/node/api"
)

func (s *server) nodes(a huma.API) {
	get(a, "list-nodes", "/nodes", "List nodes", "nodes", s.listNodes)
	get(a, "show-node", "/nodes/{node}", "Show a node", "nodes", s.showNode)
	get(a, "list-leases", "/nodes/{node}/leases", "List what a node was given and has not ended", "nodes", s.listLeases)
	operation := func(name, summary string) huma.Operation {
		return huma.Operation{
			OperationID: name + "-node", Method: http.MethodPost, Path: api.Prefix + "/nodes/{node}/" + name, Summary: summary, Tags: []string{"nodes"},
		}
	}
	huma.Register(a, operation("drain", "Place nothing more on a node; what runs there may end"),
		func(ctx context.Context, q *drainQuery) (*answer[api.Node], error) {
			within := time.Duration(q.Deadline) * time.Second
			return s.setNode(ctx, &nodePath{q.At, q.Node}, &ledger.SetNodeState{State: ledger.NodeDraining, WithinNanos: int64(within)})
		})
	huma.Register(a, operation("resume", "Place tasks on a node again"),
		func(ctx context.Context, q *nodePath) (*answer[api.Node], error) {
			return s.setNode(ctx, q, &ledger.SetNodeState{State: ledger.NodeUp})
		})
}

// drainQuery is a request to drain a node.
type drainQuery struct {
	At
	Node     string `path:"node"`
	Deadline int64  `query:"deadline" minimum:"0" maximum:"2592000" doc:"Seconds after which the node hands back what still runs, from 1; without it what runs may end. What has not begun is handed back at once, then."`
}

type nodeQuery struct {
	At
	After string `query:"after" doc:"Continue behind this node"`
	Limit int    `query:"limit" minimum:"0"`
}

func (s *server) listNodes(ctx context.Context, q *nodeQuery) (*answer[api.Nodes], error) {
	out := api.Nodes{Nodes: []api.Node{}}
	limit, standing := page(q.Limit), s.Grid.Standing()
	var err error
	out.Index, err = s.read(ctx, q.At, func(tx ledger.Tx) error {
		list, err := ledger.Nodes(tx, ledger.NodeID(q.After), limit)
		for i := range list {
			out.Nodes = append(out.Nodes, standing.node(&list[i]))
		}
		if len(list) == limit {
			out.Next = string(list[limit-1].ID)
		}
		return err
	})
	return &answer[api.Nodes]{out}, err
}

type nodePath struct {
	At
	Node string `path:"node"`
}

func (s *server) showNode(ctx context.Context, q *nodePath) (*answer[api.Node], error) {
	var out api.Node
	_, err := s.read(ctx, q.At, func(tx ledger.Tx) error {
		n, err := ledger.FindNode(tx, ledger.NodeID(q.Node))
		standing := s.Grid.Standing()
		out = standing.node(&n)
		return err
	})
	return &answer[api.Node]{out}, err
}

func (s *server) setNode(ctx context.Context, q *nodePath, c *ledger.SetNodeState) (*answer[api.Node], error) {
	c.Node = ledger.NodeID(q.Node)
	index, err := s.do(ctx, c)
	if err != nil {
		return nil, err
	}
	q.Index = max(q.Index, index)
	return s.showNode(ctx, q)
}

// node translates a node.
func (st *Standing) node(n *ledger.Node) api.Node {
	out := api.Node{
		ID: string(n.ID), Name: st.Names[n.ID], State: n.State.String(), Since: *when(max(n.Changed, 1)), Until: when(n.Until), Withheld: st.Withheld[n.ID],
		Self: n.ID == st.Self, Leader: n.ID == st.Leader, Voter: st.Voters[n.ID],
		Capacity: resources(n.Capacity), Reserved: resources(n.Reserved), Leases: n.Leases, Features: n.Features,
	}
	if out.Self {
		out.Download, out.Upload = &st.Download, &st.Upload
	}
	for _, l := range n.Labels {
		if out.Labels == nil {
			out.Labels = map[string]string{}
		}
		out.Labels[l.Name] = l.Value
	}
	return out
}
