package replica

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/raft"
)

// newTold returns an instance that can do nothing but tell, and the voter to be told.
func newTold(t *testing.T) (*instance, *raft.NetworkTransport, raft.Server) {
	t.Helper()
	near, far := newTCPTransport(t), newTCPTransport(t)
	i := &instance{trans: near, ending: make(chan struct{})}
	t.Cleanup(i.notices.end)
	return i, far, raft.Server{ID: "far", Address: far.LocalAddr()}
}

// TestNoticeIsRepeated has a voter that gets its entries later than the notice: it
// is told again, up to a bound, and what is newest.
func TestNoticeIsRepeated(t *testing.T) {
	i, far, voter := newTold(t)
	i.tell(voter, "near", notice{7, 2})
	var heard []notice
	for n := range len(noticePauses) + 1 {
		rpc := <-far.Consumer()
		request := rpc.Command.(*raft.AppendEntriesRequest)
		if string(request.ID) != "near" || request.PrevLogTerm != request.Term || request.LeaderCommitIndex != request.PrevLogEntry || len(request.Entries) > 0 {
			t.Errorf("notice is %+v", request)
		}
		heard = append(heard, notice{request.PrevLogEntry, request.Term})
		if n == 0 {
			i.tell(voter, "near", notice{8, 2})
			i.tell(voter, "near", notice{9, 3})
		}
		rpc.Respond(&raft.AppendEntriesResponse{Term: 2, Success: n == len(noticePauses)}, nil)
	}
	want := []notice{{7, 2}}
	for range noticePauses {
		want = append(want, notice{9, 3})
	}
	if diff := cmp.Diff(want, heard, cmp.AllowUnexported(notice{})); diff != "" {
		t.Error(diff)
	}
	i.notices.telling.Wait()
	if len(i.notices.news) != 0 {
		t.Errorf("still telling %v", i.notices.news)
	}
}

// TestNoticeIsGivenUp has a voter that refuses every notice, and one that fails.
func TestNoticeIsGivenUp(t *testing.T) {
	for _, test := range []struct {
		name string
		err  error
		want int
	}{
		{"refused", nil, len(noticePauses) + 1},
		{"failed", errors.New("no"), 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			i, far, voter := newTold(t)
			i.tell(voter, "near", notice{7, 2})
			for range test.want {
				rpc := <-far.Consumer()
				rpc.Respond(&raft.AppendEntriesResponse{Term: 3}, test.err)
			}
			i.notices.telling.Wait()
			select {
			case <-far.Consumer():
				t.Error("the voter is told once more")
			default:
			}
		})
	}
}

// TestNoticesEnd has the instance end while a voter is being told.
func TestNoticesEnd(t *testing.T) {
	i, far, voter := newTold(t)
	i.tell(voter, "near", notice{7, 2})
	rpc := <-far.Consumer()
	close(i.ending)
	rpc.Respond(&raft.AppendEntriesResponse{Term: 3}, nil)
	i.notices.end()
	i.tell(voter, "near", notice{8, 2})
	if len(i.notices.news) != 0 {
		t.Errorf("telling %v after the end", i.notices.news)
	}
}
