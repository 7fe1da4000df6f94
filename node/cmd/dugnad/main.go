// Command dugnad runs WebAssembly modules within limits: see dugnad --help.
package main

import (
	"context"
	"os"

	"github.com/dugnad/dugnad/node/cli"
	"github.com/dugnad/dugnad/runtime/worker"
)

func main() {
	ctx := context.Background()
	if len(os.Args) > 1 && os.Args[1] == worker.ChildCommand {
		os.Exit(worker.Main(ctx))
	}
	os.Exit(cli.Main(ctx, os.Args, cli.Stdio{In: os.Stdin, Out: os.Stdout, Err: os.Stderr, Environ: os.Environ()}))
}
