package warrant

import (
	"fmt"
	"syscall"
	"testing"
	"time"
)

// BenchmarkVerify: what a request costs beside what it asks for: with a proof that was
// shown before, with a new proof by a token that was, and with a new token.
func BenchmarkVerify(b *testing.B) {
	r := newRoot(b)
	whole := issue(b, r, "acme")
	for _, c := range []struct {
		links int
		token Token
	}{{1, whole}, {3, narrow(b, narrow(b, whole, Limits{Command: Run}), Limits{Modules: []string{module("a")}})}} {
		proof := mint(b, c.token, Call{Host: host})
		v := verifier(r)
		check := func() {
			if _, err := v.Verify(proof, reading, time.Now()); err != nil {
				b.Fatal(err)
			}
		}
		run := func(name string, f func()) {
			b.Run(fmt.Sprintf("links=%d/%s", c.links, name), func(b *testing.B) {
				began := processorTime(b)
				for b.Loop() {
					f()
				}
				b.ReportMetric(float64(processorTime(b)-began)/float64(b.N), "cpu-ns/op")
			})
		}
		run("shown", check)
		run("proof", func() {
			v.reads = recent[*seen]{limit: ReadsMax}
			check()
		})
		run("token", func() {
			v = verifier(r)
			check()
		})
		run("mint", func() { mint(b, c.token, writing) })
	}
}

// processorTime is what this process has used: beside others it is steadier than the
// time that has passed.
func processorTime(tb testing.TB) time.Duration {
	tb.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		tb.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
