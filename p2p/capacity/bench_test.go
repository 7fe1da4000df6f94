package capacity

import (
	"bytes"
	"crypto/ed25519"
	"encoding/binary"
	"testing"

	"github.com/dugnad/dugnad/p2p"
)

// benchRecords returns the offers of so many nodes, beats each, as they come over
// the wire: beat by beat, the nodes in order.
func benchRecords(b *testing.B, nodes, beats int) [][]byte {
	b.Helper()
	offer := fullOffer()
	body := offer.encode()
	var all [][]byte
	for beat := range beats {
		for n := range nodes {
			seed := make([]byte, ed25519.SeedSize)
			binary.BigEndian.PutUint32(seed, uint32(n))
			k, err := p2p.NewKey(bytes.NewReader(seed))
			if err != nil {
				b.Fatal(err)
			}
			private := ed25519.NewKeyFromSeed(seed)
			s := stamp{kind: kindOffer, node: k.NodeID(), sequence: uint64(beat + 1), at: start, ttl: TTLMax}
			raw, err := seal(testGrid, s, body, func(m []byte) ([]byte, error) { return ed25519.Sign(private, m), nil })
			if err != nil {
				b.Fatal(err)
			}
			all = append(all, raw)
		}
	}
	return all
}

func benchBoard() *Board {
	board, _ := testBoard(Default().NodesMax)
	board.verify = p2p.VerifyBy
	return board
}

// BenchmarkBoard puts offers on a board that are newer than those there, as every
// beat of every node below does.
func BenchmarkBoard(b *testing.B) {
	records := benchRecords(b, 1000, 8)
	board := benchBoard()
	at := 0
	b.ReportAllocs()
	for b.Loop() {
		if at == len(records) {
			board, at = benchBoard(), 0
		}
		if _, err := board.put(records[at]); err != nil {
			b.Fatal(err)
		}
		at++
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "records/s")
	b.ReportMetric(float64(len(records[0])), "bytes/record")
}

// BenchmarkBoardReplayed puts what is there already, as somebody in a flood would
// most of the time.
func BenchmarkBoardReplayed(b *testing.B) {
	records := benchRecords(b, 1000, 1)
	board := benchBoard()
	for _, raw := range records {
		if _, err := board.put(raw); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if _, err := board.put(records[i%len(records)]); err == nil {
			b.Fatal("a replay was taken")
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "records/s")
}

// BenchmarkList is what whoever places pays for a snapshot of a thousand nodes.
func BenchmarkList(b *testing.B) {
	board := benchBoard()
	for _, raw := range benchRecords(b, 1000, 1) {
		if _, err := board.put(raw); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	for b.Loop() {
		if got := len(board.List()); got != 1000 {
			b.Fatalf("%d nodes", got)
		}
	}
}
