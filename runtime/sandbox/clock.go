package sandbox

import (
	crand "crypto/rand"
	"encoding/binary"
	"io"
	"math/rand/v2"
	"time"

	"github.com/dugnad/dugnad/runtime/task"
)

// FuelPerNano is the fuel for which a deterministic clock advances by one
// nanosecond: about what a server of 2025 burns in that time.
const FuelPerNano = 4

// clock is what a guest reads as time. A deterministic clock starts at
// task.Epoch and advances with fuel and with the time that the guest asked to
// sleep.
type clock struct {
	real  bool
	begin time.Time
	slept uint64
}

// WASI's clocks.
const (
	clockRealtime = iota
	clockMonotonic
	clockProcess
	clockThread
	clockCount
)

// read returns a clock in nanoseconds.
func (r *run) read(id uint32) uint64 {
	switch {
	case id >= clockProcess && r.clock.real:
		return uint64(r.cpu.now())
	case id >= clockProcess:
		return r.book.used() / FuelPerNano
	case id == clockRealtime && r.clock.real:
		return uint64(time.Now().UnixNano())
	case id == clockRealtime:
		return uint64(task.Epoch.UnixNano()) + r.book.used()/FuelPerNano + r.clock.slept
	case r.clock.real:
		return uint64(time.Since(r.clock.begin))
	}
	return r.book.used()/FuelPerNano + r.clock.slept
}

// now is the guest's wall clock, for the times of files.
func (r *run) now() time.Time { return time.Unix(0, int64(r.read(clockRealtime))).UTC() }

// newRandom returns the guest's source of random bytes.
func newRandom(spec *task.Spec) io.Reader {
	if spec.RealRandom {
		return crand.Reader
	}
	// The stream is ChaCha8 with the seed in the first eight bytes of its key.
	var key [32]byte
	binary.LittleEndian.PutUint64(key[:], spec.Seed)
	copy(key[8:], "dugnad deterministic 1")
	return rand.NewChaCha8(key)
}
