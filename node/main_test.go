package node

import (
	"context"
	"os"
	"testing"

	"github.com/dugnad/dugnad/runtime/worker"
)

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == worker.ChildCommand {
		os.Exit(worker.Main(context.Background()))
	}
	os.Exit(m.Run())
}
