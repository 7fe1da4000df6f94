package replica

import (
	"sync"

	"github.com/hashicorp/raft"
)

// raftTransport is Raft's transport without two of its weaknesses.
//
// It asks for a vote again when the connection was of a process that is gone: the
// transport keeps connections and looks at them only when it uses them, and Raft
// itself asks again after the election timeout. And it ends a pipeline that Raft
// no longer reads from.
type raftTransport struct{ *raft.NetworkTransport }

// RequestVote implements raft.Transport.
func (t raftTransport) RequestVote(id raft.ServerID, target raft.ServerAddress, args *raft.RequestVoteRequest, resp *raft.RequestVoteResponse) error {
	return again(func() error { return t.NetworkTransport.RequestVote(id, target, args, resp) })
}

// RequestPreVote implements raft.WithPreVote.
func (t raftTransport) RequestPreVote(id raft.ServerID, target raft.ServerAddress, args *raft.RequestPreVoteRequest, resp *raft.RequestPreVoteResponse) error {
	return again(func() error { return t.NetworkTransport.RequestPreVote(id, target, args, resp) })
}

// again asks until it is not for a connection that has ended, at most once more
// than there are connections in the pool.
func again(ask func() error) error {
	err := ask()
	for n := 0; n < poolMax && err != nil && connectionEnded(err); n++ {
		err = ask()
	}
	return err
}

// AppendEntriesPipeline implements raft.Transport.
func (t raftTransport) AppendEntriesPipeline(id raft.ServerID, target raft.ServerAddress) (raft.AppendPipeline, error) {
	p, err := t.NetworkTransport.AppendEntriesPipeline(id, target)
	if err != nil {
		return nil, err
	}
	return newAppendPipeline(p), nil
}

// appendPipeline closes the pipeline below with the first answer that is not a
// success. Raft stops reading answers then, and may still be sending: with nobody
// to take the answer to what it has sent, it would wait for ever, and neither
// replicate to that voter nor shut down (hashicorp/raft issue 612).
type appendPipeline struct {
	raft.AppendPipeline
	answers chan raft.AppendFuture
	closed  chan struct{}
	once    sync.Once
	passing sync.WaitGroup
}

func newAppendPipeline(p raft.AppendPipeline) *appendPipeline {
	a := &appendPipeline{AppendPipeline: p, answers: make(chan raft.AppendFuture), closed: make(chan struct{})}
	a.passing.Go(a.pass)
	return a
}

// pass hands answers on until one is not a success, or Close.
func (a *appendPipeline) pass() {
	for success := true; success; {
		select {
		case f := <-a.AppendPipeline.Consumer():
			success = f.Response().Success && f.Response().Term <= f.Request().Term
			if !success {
				_ = a.AppendPipeline.Close()
			}
			select {
			case a.answers <- f:
			case <-a.closed:
				return
			}
		case <-a.closed:
			return
		}
	}
}

// Consumer implements raft.AppendPipeline.
func (a *appendPipeline) Consumer() <-chan raft.AppendFuture { return a.answers }

// Close implements raft.AppendPipeline.
func (a *appendPipeline) Close() error {
	a.once.Do(func() { close(a.closed) })
	err := a.AppendPipeline.Close()
	a.passing.Wait()
	return err
}
