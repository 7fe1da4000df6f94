package measure

// kernelArgs give each kernel some 10 to 50 ms of work.
var kernelArgs = []struct {
	folder, name string
	n            uint64
}{
	{meterKernels, "bulk", 4000},
	{meterKernels, "byteloop", 30},
	{meterKernels, "compress", 20},
	{meterKernels, "fib", 31},
	{meterKernels, "indirect", 2_000_000},
	{meterKernels, "interp", 400_000},
	{meterKernels, "mandelbrot", 400},
	{meterKernels, "matrix", 20},
	{meterKernels, "nbody", 100_000},
	{meterKernels, "nqueens", 13},
	{meterKernels, "quicksort", 200_000},
	{meterKernels, "sha256", 12_000},
	{meterKernels, "sieve", 2_000_000},
	{meterKernels, "tree", 60_000},
	{benchKernels, "ackermann", 800},
	{benchKernels, "base64", 40},
	{benchKernels, "bigmul", 3_000},
	{benchKernels, "copy", 4},
	{benchKernels, "dot", 2_000},
	{benchKernels, "fft", 100},
	{benchKernels, "json", 60},
	{benchKernels, "levenshtein", 8},
	{benchKernels, "life", 50},
	{benchKernels, "mix64", 4_000_000},
	{benchKernels, "words", 10},
}

// Folders of kernels, from the top of the repository.
const (
	meterKernels = "runtime/meter/testdata/kernels"
	benchKernels = "runtime/meter/bench/kernels"
	benchGuests  = "runtime/meter/bench/guest"
)

// emptyRounds is the length of the empty loop, some 10 ms.
const emptyRounds = 10_000_000

// goRounds gives the kernel that Go compiles some 20 ms.
const goRounds = 20

// Kernels lists the small programs: C compiled by clang, and one by Go.
func Kernels() []Workload {
	var out []Workload
	for _, k := range kernelArgs {
		out = append(out, Workload{
			Name: k.name, Kind: Kernel, Begin: runKernel(k.n),
			Source: Source{File: k.folder + "/" + k.name + ".wasm"},
		})
	}
	out = append(out, Workload{
		Name: "go", Kind: Kernel, Begin: runKernel(goRounds),
		Source: Source{Name: "sorted.wasm", Build: &Build{Folder: benchGuests + "/sorted", Reactor: true}},
	})
	return append(out, Workload{
		Name: "empty loop", Kind: Empty, Begin: runKernel(emptyRounds),
		Source: Source{File: benchKernels + "/empty.wasm"},
	})
}
