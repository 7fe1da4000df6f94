package replica

import (
	"errors"
	"log/slog"
	"net"
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

// tcpLayer is a raft.StreamLayer of the loopback network.
type tcpLayer struct{ net.Listener }

// Dial implements raft.StreamLayer.
func (tcpLayer) Dial(address raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	return net.DialTimeout("tcp", string(address), timeout)
}

func newTCPTransport(t *testing.T) *raft.NetworkTransport {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	trans := raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{
		Stream: tcpLayer{l}, MaxPool: poolMax, Timeout: time.Minute, Logger: newRaftLog(slog.New(slog.DiscardHandler)),
	})
	t.Cleanup(func() {
		trans.CloseStreams()
		if err := trans.Close(); err != nil {
			t.Error(err)
		}
	})
	return trans
}

// TestPipelineEndsWhenAVoterRefuses has a voter refuse entries, as one with a
// full log does. Raft reads one answer then, and may send once more and again:
// that ends in an error and not never.
func TestPipelineEndsWhenAVoterRefuses(t *testing.T) {
	near, far := newTCPTransport(t), newTCPTransport(t)
	stop := make(chan struct{})
	defer close(stop)
	go func() {
		for {
			select {
			case rpc := <-far.Consumer():
				rpc.Respond(&raft.AppendEntriesResponse{Term: 1}, nil)
			case <-stop:
				return
			}
		}
	}()
	p, err := raftTransport{near}.AppendEntriesPipeline("far", far.LocalAddr())
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	send := func() error {
		_, err := p.AppendEntries(&raft.AppendEntriesRequest{Term: 1}, &raft.AppendEntriesResponse{})
		return err
	}
	if err := send(); err != nil {
		t.Fatal(err)
	}
	if f := <-p.Consumer(); f.Response().Success {
		t.Error("entries were not refused")
	}
	ended := make(chan error, 1)
	go func() {
		err := send()
		for err == nil {
			err = send()
		}
		ended <- err
	}()
	select {
	case err := <-ended:
		t.Logf("sending ended: %v", err)
		if errors.Is(err, raft.ErrTransportShutdown) {
			t.Error(err)
		}
	case <-time.After(time.Minute):
		t.Fatal("sending does not end")
	}
}
