package measure

import "fmt"

// coreMarkTimes are what CoreMark reads off its clock, in milliseconds, one
// after the other. It tries 10, 100 and 1,000 iterations until they take a
// second, and then takes as many as fill ten; so the clock decides how much it
// does, and one that tells always the same makes the work fixed.
var coreMarkTimes = []uint64{0, 100, 200, 300, 400, 4_000, 5_000, 16_000}

// coreMark is a library that asks for the time.
func coreMark() Workload {
	asked := 0
	return Workload{
		Name: "CoreMark", Kind: Program, Licence: "Apache-2.0", What: "CoreMark 1.0 by EEMBC, in C",
		Source: Source{
			Name:   "coremark-minimal.wasm",
			URL:    "https://raw.githubusercontent.com/wasm3/wasm-coremark/5ee3ca1f10a7d25067b3bef6fae4df9fa8c3d512/coremark-minimal.wasm",
			SHA256: "77da1d88a16d432a6c74d3e60d1e239003f2adc1e50b31125507bb8e175af05a",
		},
		Host: map[string]HostFunc{"env.clock_ms": func(Guest, []uint64) uint64 {
			t := coreMarkTimes[min(asked, len(coreMarkTimes)-1)]
			asked++
			return t
		}},
		Begin: func(g Guest) (Step, error) {
			return func() (string, error) {
				asked = 0
				score, err := g.Call("run")
				if err == nil && asked != len(coreMarkTimes) {
					err = fmt.Errorf("asked for the time %d times, not %d", asked, len(coreMarkTimes))
				}
				return fmt.Sprintf("%x", uint32(score)), err
			}, nil
		},
	}
}
