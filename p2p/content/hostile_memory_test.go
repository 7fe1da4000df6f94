package content

import (
	"io"
	"runtime"
	"sync"
	"testing"

	"github.com/dugnad/dugnad/p2p"
	"github.com/dugnad/dugnad/p2p/p2ptest"
)

// hostileOthersBytes bounds what a node under attack takes of memory apart from the
// buffers of chunks: lists, states of streams, and the other nodes of the test.
const hostileOthersBytes = 16 << 20

// hostileHolders are what holders do to fill a fetcher's memory. Those that wait do so
// until they are dropped, or until the test is over.
func hostileHolders(object []byte) []*liar {
	claim := chainOf(object)
	giant := []byte{255, 255, 255, 255}
	thenHang := func(b []byte) func(p2p.Stream) error {
		return func(stream p2p.Stream) error {
			if _, err := stream.Write(b); err != nil {
				return err
			}
			return hang(stream)
		}
	}
	chunk := func(f func(p2p.Stream) error) func(p2p.Stream, int) error {
		return func(stream p2p.Stream, _ int) error { return f(stream) }
	}
	huge := listing{size: ObjectBytesMax, chain: &chain{states: make([]midstate, chunksMax-1)}}
	wrong := &liar{object: object, claim: claim}
	wrong.chunk = func(stream p2p.Stream, k int) error { return wrong.send(stream, k, 1) }
	return []*liar{
		{list: hang},
		{list: thenHang(append(giant, answerList))},
		{list: thenHang(huge.frame())},
		{object: object, claim: claim, chunk: chunk(thenHang(append(giant, answerData)))},
		{object: object, claim: claim, chunk: chunk(thenHang(dataFrame(0, object[:ChunkBytes])[:ChunkBytes/2]))},
		wrong,
	}
}

// besiege opens streams from a hostile member to a victim, asks for all that it has of
// h on each, and reads nothing: it returns when the victim has begun to answer.
func besiege(t *testing.T, from p2p.Network, to p2p.NodeID, h Hash, streams int) {
	t.Helper()
	for range streams {
		s := openStream(t, from, to)
		if _, err := s.Write(request{kind: requestRange, hash: h, count: RangeChunksMax}.frame()); err != nil {
			continue // one too many
		}
		_, _ = io.ReadFull(s, make([]byte, frameHead))
	}
	_, _ = openStream(t, from, to).Write([]byte{255, 255, 255, 255, requestRange})
}

// heapBytes is what the process holds of memory after garbage was collected: twice,
// because a sync.Pool keeps what it has over one collection.
func heapBytes() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapInuse)
}

// TestHostileMemory: members that open streams and never read, ask for everything and
// stop, claim frames of 4 GiB and send wrong or half chunks take no more of a node's
// memory than its limits say, while it fetches from an honest member and serves one.
func TestHostileMemory(t *testing.T) {
	const streamsPerPeer, uploadsPerPeer = 16, 2
	wanted, held := noise(1, 12*ChunkBytes+5), noise(2, 20*ChunkBytes)
	holders := hostileHolders(wanted)
	nodes := p2ptest.New(t, p2ptest.Config{BufferBytes: 4 << 10}).AddMany(3 + len(holders))
	origin, bad := nodes[2], nodes[3:]
	uploads := uploadsPerPeer * (len(bad) + 1)
	victim := newPeer(t, nodes[0], func(c *Config) {
		c.StreamsPerPeer, c.UploadsPerPeer, c.UploadsMax = streamsPerPeer, uploadsPerPeer, uploads
		c.CopiesMax = len(nodes) // nobody is sent to hostile members
		c.StealAfter = 1         // what hostile holders sit on is asked of others
	})
	h := put(t, victim.Store, held, "")
	client := newPeer(t, nodes[1], nil)
	before := heapBytes()

	asked := make(chan int, 1000)
	for i, l := range holders {
		bad[i].Handle(Protocol, func(stream p2p.Stream) { asked <- i; l.serve(stream) })
		besiege(t, bad[i], victim.id, h, streamsPerPeer+4)
	}
	sessions := victim.config.HoldersMax * victim.config.StreamsPerHolder
	most := int64(uploads+sessions)*bufferBytes + hostileOthersBytes
	var measure sync.Once
	late := deadline(t)
	honest := &liar{object: wanted, claim: chainOf(wanted)}
	honest.chunk = func(stream p2p.Stream, k int) error {
		// All hostile holders have been asked, and the fetch goes on.
		measure.Do(func() {
			for seen := map[int]bool{}; len(seen) < len(bad); {
				select {
				case i := <-asked:
					seen[i] = true
				case <-late.Done():
					t.Errorf("%d of %d hostile holders were asked", len(seen), len(bad))
					return
				}
			}
			if taken := heapBytes() - before; taken > most {
				t.Errorf("%d bytes of memory are taken, the limits allow %d", taken, most)
			}
			n := int(victim.metric(t, "buffer_bytes")) / bufferBytes
			if n < uploadsPerPeer*len(bad) || n > uploads+sessions {
				t.Errorf("%d buffers are taken, want %d that hostile members hold, and at most %d", n, uploadsPerPeer*len(bad), uploads+sessions)
			}
		})
		return honest.honest(stream, k)
	}
	origin.Handle(Protocol, honest.serve)
	ids := []p2p.NodeID{origin.Self()}
	for _, b := range bad {
		ids = append(ids, b.Self())
	}
	var both sync.WaitGroup
	both.Go(func() { fetchWhole(t, victim, wanted, ids...) })
	both.Go(func() { fetchWhole(t, client, held, victim.id) })
	both.Wait()
	if taken := heapBytes() - before; taken > most {
		t.Errorf("%d bytes of memory are taken at the end, the limits allow %d", taken, most)
	}
	runtime.KeepAlive(wanted)
	runtime.KeepAlive(held)
}

// fetchWhole fetches an object without reading it into memory.
func fetchWhole(t *testing.T, p *peer, object []byte, holders ...p2p.NodeID) {
	o, err := p.Fetch(deadline(t), Sum(object), FetchOptions{Holders: holders})
	if err != nil {
		t.Error(err)
		return
	}
	if err := o.Verify(); err != nil {
		t.Error(err)
	}
	closeOf(t, o)
}
