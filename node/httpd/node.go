package httpd

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/dugnad/dugnad/ledger"
	"github.com/dugnad/dugnad/node/api"
)

func (s *server) nodes(a huma.API) {
	get(a, "list-nodes", "/nodes", "List nodes", "nodes", s.listNodes)
	get(a, "show-node", "/nodes/{node}", "Show a node", "nodes", s.showNode)
	get(a, "list-leases", "/nodes/{node}/leases", "List what a node was given and has not ended", "nodes", s.listLeases)
	for _, o := range []struct {
		name, summary string
		state         ledger.NodeState
	}{
		{"drain", "Place nothing more on a node; what runs there may end", ledger.NodeDraining},
		{"resume", "Place tasks on a node again", ledger.NodeUp},
	} {
		huma.Register(a, huma.Operation{
			OperationID: o.name + "-node", Method: http.MethodPost, Path: api.Prefix + "/nodes/{node}/" + o.name, Summary: o.summary, Tags: []string{"nodes"},
		}, func(ctx context.Context, q *nodePath) (*answer[api.Node], error) { return s.setNode(ctx, q, o.state) })
	}
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

func (s *server) setNode(ctx context.Context, q *nodePath, state ledger.NodeState) (*answer[api.Node], error) {
	index, err := s.do(ctx, &ledger.SetNodeState{Node: ledger.NodeID(q.Node), State: state})
	if err != nil {
		return nil, err
	}
	q.Index = max(q.Index, index)
	return s.showNode(ctx, q)
}

// node translates a node.
func (st *Standing) node(n *ledger.Node) api.Node {
	out := api.Node{
		ID: string(n.ID), Name: st.Names[n.ID], State: n.State.String(), Since: *when(max(n.Changed, 1)),
		Self: n.ID == st.Self, Leader: n.ID == st.Leader, Voter: st.Voters[n.ID],
		Capacity: resources(n.Capacity), Reserved: resources(n.Reserved), Leases: n.Leases, Features: n.Features,
	}
	for _, l := range n.Labels {
		if out.Labels == nil {
			out.Labels = map[string]string{}
		}
		out.Labels[l.Name] = l.Value
	}
	return out
}
