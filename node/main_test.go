package node

import (
	"context"
	"flag"
	"os"
	"strconv"
	"testing"

	"github.com/dugnad/dugnad/runtime/worker"
)

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == worker.ChildCommand {
		os.Exit(worker.Main(context.Background()))
	}
	if settings := os.Getenv(childVariable); settings != "" {
		os.Exit(childMain(settings))
	}
	// Tests of grids wait most of the time: more of them than there are cores go on
	// side by side, unless somebody has said how many.
	flag.Parse()
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "test.parallel" })
	if !given {
		if err := flag.Set("test.parallel", strconv.Itoa(sideBySide)); err != nil {
			panic(err)
		}
	}
	os.Exit(m.Run())
}

// sideBySide is how many parallel tests go on at the same time.
const sideBySide = 8
