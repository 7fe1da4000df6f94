package content

import (
	"context"
	"fmt"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/dugnad/dugnad/p2p"
)

func BenchmarkPut(b *testing.B) {
	for _, size := range []int{4 << 10, 1 << 20, 100 << 20} {
		b.Run(fmt.Sprintf("%dKiB", size>>10), func(b *testing.B) {
			s := openStore(b, testConfig(b.TempDir()))
			object := noise(1, size)
			b.SetBytes(int64(size))
			for i := 0; b.Loop(); i++ {
				object[0], object[1] = byte(i), byte(i>>8)
				h := put(b, s, object, "")
				if _, err := s.Remove(h); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkFetch fetches an object from as many holders over TCP on the
// loopback, all in this process.
func BenchmarkFetch(b *testing.B) {
	const size = 100_000_000
	object := noise(1, size)
	h := Sum(object)
	for _, count := range []int{1, 3} {
		b.Run(fmt.Sprintf("%dholders", count), func(b *testing.B) {
			me := newWire(b, "me")
			wires := []*wire{me}
			var ids []p2p.NodeID
			for i := range count {
				wires = append(wires, newWire(b, p2p.NodeID(fmt.Sprintf("holder%d", i))))
				ids = append(ids, wires[i+1].id)
			}
			meet(wires...)
			for _, w := range wires[1:] {
				c := testConfig(b.TempDir())
				c.Network = w
				put(b, openStore(b, c), object, "")
			}
			c := testConfig(b.TempDir())
			c.Network = me
			s := openStore(b, c)
			b.SetBytes(size)
			before := cpuTime(b)
			for b.Loop() {
				fetchOnce(b, s, h, ids)
			}
			b.ReportMetric(float64((cpuTime(b)-before).Milliseconds())/float64(b.N), "cpu-ms/op")
		})
	}
}

func fetchOnce(b *testing.B, s *Store, h Hash, ids []p2p.NodeID) {
	o, err := s.Fetch(context.Background(), h, FetchOptions{Holders: ids})
	if err != nil {
		b.Fatal(err)
	}
	_ = o.Close()
	b.StopTimer()
	defer b.StartTimer()
	s.exchange.running.Wait()
	if removed, err := s.Remove(h); err != nil || !removed {
		b.Fatal(removed, err)
	}
}

// cpuTime is what this process has used, which a busy machine changes less than
// the time on the clock.
func cpuTime(b *testing.B) time.Duration {
	used, err := cpuUsed()
	if err != nil {
		b.Fatal(err)
	}
	return used
}

func cpuUsed() (time.Duration, error) {
	var u unix.Rusage
	err := unix.Getrusage(unix.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()), err
}
