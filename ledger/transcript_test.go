package ledger_test

import (
	"flag"
	"path/filepath"
	"testing"

	"github.com/dugnad/dugnad/ledger/ledgertest"
)

// rewrite accepts what the code does now as what it should do.
var rewrite = flag.Bool("rewrite", false, "write testdata anew instead of comparing with it")

func TestTranscripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no transcripts: %v", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) { ledgertest.Transcript(t, file, *rewrite) })
	}
}
