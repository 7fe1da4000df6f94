package replica

import "github.com/hashicorp/raft"

// voteTransport asks for a vote again when the connection was of a process that
// is gone: the transport keeps connections and looks at them only when it uses
// them, and Raft itself asks again after the election timeout.
type voteTransport struct{ *raft.NetworkTransport }

// RequestVote implements raft.Transport.
func (t voteTransport) RequestVote(id raft.ServerID, target raft.ServerAddress, args *raft.RequestVoteRequest, resp *raft.RequestVoteResponse) error {
	return again(func() error { return t.NetworkTransport.RequestVote(id, target, args, resp) })
}

// RequestPreVote implements raft.WithPreVote.
func (t voteTransport) RequestPreVote(id raft.ServerID, target raft.ServerAddress, args *raft.RequestPreVoteRequest, resp *raft.RequestPreVoteResponse) error {
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
