package p2p

import (
	"context"
	"net"
)

// Stream is one ordered byte stream in each direction between two members. It
// is safe for one reader and one writer at the same time.
type Stream interface {
	net.Conn
	// CloseWrite ends this side's direction: the other reads io.EOF after all
	// that was written.
	CloseWrite() error
	// Reset ends both directions at once: the other side's calls fail.
	Reset() error
	// Remote is the member at the other end.
	Remote() NodeID
}

// Network is what the packages below p2p need of a host: this one, or one in
// memory.
type Network interface {
	// Self is this node.
	Self() NodeID
	// Open opens a stream to a member, dialling first when there is no
	// connection. It waits while limits are reached, until ctx ends.
	Open(ctx context.Context, to NodeID, protocol string) (Stream, error)
	// Handle has handler called, in a goroutine of its own, for each stream
	// that a member opens for protocol. The stream is reset when handler
	// returns, unless it was closed. A nil handler removes the one before, and
	// returns when its calls have.
	//
	// Streams to a member may share a window: what none of them has read yet is
	// bounded for all together, over QUIC by 768 KiB at first. So handlers at both
	// ends that stop reading until what they write is read can wait for one another
	// for ever. A handler that answers while it reads keeps its answers small, or
	// goes on reading meanwhile.
	Handle(protocol string, handler func(Stream))
	// RoleOf returns the role of a member that is or was connected.
	RoleOf(id NodeID) (Role, bool)
	// Connected returns the members with an open connection, sorted.
	Connected() []NodeID
	// Notify has f called after a member's connection came (up) or the last
	// one to it went. Calls come one after another. cancel returns when the
	// last call has.
	Notify(f func(id NodeID, up bool)) (cancel func())
}
