package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/dugnad/dugnad/ledger"
	"github.com/dugnad/dugnad/ledger/placement"
	"github.com/dugnad/dugnad/ledger/replica"
	"github.com/dugnad/dugnad/node/api"
	"github.com/dugnad/dugnad/node/httpd"
	"github.com/dugnad/dugnad/node/scheduler"
	"github.com/dugnad/dugnad/p2p"
	"github.com/dugnad/dugnad/p2p/rpc"
)

const (
	// explainMethod plans a job that is not submitted: at the leader.
	explainMethod = "scheduler.explain"
	// specBytesMax bounds a job's specification on its way to the leader, planBytesMax
	// the answer.
	specBytesMax = 256 << 10
	planBytesMax = 1 << 20
	// planNodesMax bounds the nodes that an answer lists.
	planNodesMax = 1000
)

// explainHere is the method's definition.
func (n *Node) explainHere() rpc.Method {
	return rpc.Method{
		Name: explainMethod, Allow: p2p.RoleClient, RequestBytesMax: specBytesMax, ResponseBytesMax: planBytesMax,
		Handler: func(ctx context.Context, r rpc.Request) ([]byte, error) {
			e, err := ledger.Decode(r.Body)
			if err != nil {
				return nil, err
			}
			s, ok := e.Body.(*ledger.Submit)
			if !ok {
				return nil, fmt.Errorf("explain: %w", ledger.ErrMalformed)
			}
			plan, err := n.explain(ctx, s.Spec)
			if err != nil {
				return nil, err
			}
			return json.Marshal(plan)
		},
	}
}

// Explain implements httpd.Grid: it asks the leader.
func (n *Node) Explain(ctx context.Context, spec ledger.JobSpec) (api.Plan, error) {
	plan, err := n.explain(ctx, spec)
	if !errors.Is(err, scheduler.ErrNotLeader) {
		return plan, err
	}
	leader := n.book.Status().Leader
	if leader == "" || leader == string(n.self()) {
		return plan, replica.ErrNoLeader
	}
	request := ledger.Encode(ledger.Envelope{Now: ledger.Time(time.Now().UnixNano()), Body: &ledger.Submit{Spec: spec}})
	answer, err := n.endpoint.Call(ctx, p2p.NodeID(leader), explainMethod, request)
	if err != nil {
		return plan, fmt.Errorf("ask the leader: %w", err)
	}
	return plan, json.Unmarshal(answer, &plan)
}

// explain plans here.
func (n *Node) explain(ctx context.Context, spec ledger.JobSpec) (api.Plan, error) {
	s := n.scheduler.Load()
	if s == nil {
		return api.Plan{}, scheduler.ErrNotLeader
	}
	e, err := s.Explain(ctx, spec)
	if err != nil {
		return api.Plan{}, err
	}
	out := api.Plan{Starts: e.Started, Waits: e.Tasks - e.Started, Nodes: map[string]int{}, Job: api.Why{State: api.JobActive}}
	for _, share := range e.Nodes[:min(len(e.Nodes), planNodesMax)] {
		out.Nodes[string(share.Node)] += int(share.Tasks)
	}
	out.Job.Text = fmt.Sprintf("tasks that would start at once: %d of %d, on nodes: %d", e.Started, e.Tasks, len(e.Nodes))
	if e.Ahead > 0 {
		out.Job.Text += fmt.Sprintf("; jobs that go first: %d", e.Ahead)
	}
	if e.Reasons != nil {
		explainReasons(e.Reasons, &out.Job)
	}
	return out, nil
}

// explainReasons translates the planner's reasons.
func explainReasons(r *placement.Reasons, out *api.Why) {
	note := r.Note(ledger.JobID{})
	out.Nodes, out.Sampled = note.Nodes, note.Sampled
	for _, reason := range note.Reasons {
		out.Reasons = append(out.Reasons, httpd.Reason(reason))
	}
	if note.FreeAt > 0 {
		at := time.Unix(0, int64(note.FreeAt)).UTC()
		out.FreeAt = &at
	}
}

// Standing implements httpd.Grid.
func (n *Node) Standing() httpd.Standing {
	s := httpd.Standing{
		Self: n.self(), Leader: ledger.NodeID(n.book.Status().Leader),
		Voters: map[ledger.NodeID]bool{}, Names: map[ledger.NodeID]string{n.self(): n.config.Host.Name}, Withheld: n.withheld(),
		Admin: n.host.Authority() != nil,
	}
	s.Download, s.Upload = api.Bandwidth(bandwidthOf(n.link.Down)), api.Bandwidth(bandwidthOf(n.link.Up))
	for _, m := range n.book.Members() {
		s.Voters[ledger.NodeID(m.ID)] = m.Voter
	}
	for _, m := range n.host.Members() {
		s.Names[ledger.NodeID(m.ID)] = m.Name
	}
	return s
}
