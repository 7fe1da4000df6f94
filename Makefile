# Dugnad is built with GNU make and Go, nothing else. `make` lists the targets.

GO        ?= go
VERSION   ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
FUZZTIME  ?= 30s
BENCH     ?= .
BENCHTIME ?= 1s

BIN      := bin/dugnad
LDFLAGS  := -s -w -X github.com/dugnad/dugnad/node/cli.version=$(VERSION)
TOOL     := $(GO) tool -modfile=.ci/tools/go.mod
SOURCES  := node runtime p2p ledger loadtest examples
EXAMPLES := hello wordcount reduce primes spin fetch
# A module of its own, with Wasmtime in it, for make bench-meter. Only some of
# its packages can be built without a C compiler.
METERBENCH       := runtime/meter/bench
METERBENCH_PLAIN := ./measure ./report
# Packages with goroutines or shared state; the rest is plain computation.
RACE     := ./node/... ./runtime/jail/... ./runtime/sandbox/... ./runtime/scratch/... ./runtime/worker/... ./ledger/... ./p2p/...

.DEFAULT_GOAL := help
.PHONY: help build test race lint fmt check fuzz suite h2spec bench bench-meter burn calibrate examples demo tools clean FORCE

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: $(BIN) ## build bin/dugnad, static

$(BIN): FORCE
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o $@ ./node/cmd/dugnad

test: ## run all tests
	$(GO) vet ./...
	CGO_ENABLED=0 $(GO) test -timeout 20m ./...
	cd $(METERBENCH) && CGO_ENABLED=0 $(GO) vet $(METERBENCH_PLAIN) && CGO_ENABLED=0 $(GO) test $(METERBENCH_PLAIN)

race: ## run the tests of the concurrent packages under the race detector (needs a C compiler)
	@command -v "$$($(GO) env CC | cut -d' ' -f1)" >/dev/null || { echo "make race needs a C compiler, such as gcc, for Go's race detector"; exit 1; }
	CGO_ENABLED=1 $(GO) test -race -short -timeout 20m $(RACE)

lint: ## check format (gofumpt) and code (go vet, golangci-lint)
	@unformatted=$$($(TOOL) gofumpt -l $(SOURCES)); \
	if [ -n "$$unformatted" ]; then echo "not formatted as gofumpt has it, run make fmt:"; echo "$$unformatted"; exit 1; fi
	$(GO) vet ./...
	$(TOOL) golangci-lint run --allow-parallel-runners ./...
	cd $(METERBENCH) && CGO_ENABLED=0 $(GO) tool -modfile=$(CURDIR)/.ci/tools/go.mod golangci-lint run --allow-parallel-runners $(METERBENCH_PLAIN)

fmt: ## format the code with gofumpt
	$(TOOL) gofumpt -w $(SOURCES)

check: lint test race ## everything that must hold before a commit

fuzz: ## run every fuzz target for FUZZTIME (30s) each
	@grep -rEHo --include='*_test.go' '^func Fuzz[A-Za-z0-9_]+' $(SOURCES) | sort | while IFS=: read -r file func; do \
		name=$${func#func }; folder=$$(dirname "$$file"); \
		echo "fuzz $$folder $$name for $(FUZZTIME)"; \
		(cd "$$folder" && $(GO) test -run '^$$' -fuzz "^$$name\$$" -fuzztime $(FUZZTIME) . </dev/null) || exit 1; \
	done

suite: ## run the WebAssembly core test suite plain and metered, and count what holds
	@mkdir -p bin; DUGNAD_SUITE=whole $(GO) test -count=1 -timeout 20m -run TestCoreSuite -v ./runtime/meter >bin/suite.log 2>&1; code=$$?; \
	grep -v -E '=== |--- PASS|does not hold plain' bin/suite.log; exit $$code

h2spec: ## run the conformance suite for HTTP/2 against the API's port
	$(GO) build -modfile=.ci/tools/go.mod -o bin/h2spec github.com/summerwind/h2spec/cmd/h2spec
	DUGNAD_H2SPEC=$(CURDIR)/bin/h2spec CGO_ENABLED=0 $(GO) test -count=1 -run TestH2Spec -v ./node/httpd

bench: ## run the benchmarks that match BENCH for BENCHTIME each
	$(GO) test -run '^$$' -bench '$(BENCH)' -benchtime $(BENCHTIME) -benchmem -timeout 2h ./...

burn: ## measure what a hostile guest gets for its fuel, as a table
	@mkdir -p bin; $(GO) test -run '^$$' -bench Burn -benchtime 2x -timeout 2h ./runtime/sandbox >bin/burn.log 2>&1; code=$$?; \
	grep -E '^\||FAIL|programs above' bin/burn.log; exit $$code

calibrate: ## measure every instruction against its fuel, in a minute, and write the table to BENCHMARKS.md
	@mkdir -p bin; $(GO) test -run '^$$' -bench '^BenchmarkCostTable$$' -benchtime 1x -timeout 1h ./runtime/meter -rewrite >bin/calibrate.log 2>&1; code=$$?; \
	grep -E '^\||^$$|FAIL|_test.go|Commit|Plain|panic' bin/calibrate.log; exit $$code

bench-meter: ## measure metering beside other engines, in 15 minutes, and write BENCHMARKS.md (QUICK=1: a look; needs a C compiler and npm)
	@command -v "$$($(GO) env CC | cut -d' ' -f1)" >/dev/null || { echo "make bench-meter needs a C compiler, such as gcc, for Wasmtime"; exit 1; }
	cd $(METERBENCH) && CGO_ENABLED=1 $(GO) build -o $(CURDIR)/bin/meterbench .
	bin/meterbench $(if $(QUICK),-quick) $(if $(ONLY),-only '$(ONLY)')

examples: $(EXAMPLES:%=bin/examples/%.wasm) ## build the example guests to bin/examples

bin/examples/%.wasm: FORCE
	GOOS=wasip1 GOARCH=wasm $(GO) build -trimpath -ldflags '-s -w' -o $@ ./examples/$*

demo: build examples ## run the examples, then a grid of three nodes of which one is killed, and check the results
	$(GO) build -o bin/demo ./examples/demo
	bin/demo -dugnad $(BIN) -guests bin/examples

tools: ## build the tools of make lint to bin/tools
	$(GO) build -modfile=.ci/tools/go.mod -o bin/tools/ tool

clean: ## remove what was built
	rm -rf bin

FORCE:
