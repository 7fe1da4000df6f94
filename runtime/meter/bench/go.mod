// Module bench measures runtime/meter beside other engines. It is a module of
// its own so that Dugnad does not depend on what only a benchmark needs.
module github.com/dugnad/dugnad/runtime/meter/bench

go 1.26.0

require (
	github.com/bytecodealliance/wasmtime-go/v39 v39.0.1
	github.com/dugnad/dugnad v0.0.0
	github.com/tetratelabs/wazero v1.12.0
)

require golang.org/x/sys v0.48.0

replace github.com/dugnad/dugnad => ../../..
