package httpd

import (
	"bytes"
	"encoding/json"
	"flag"
	"net/http"
	"os"
	"testing"
)

var rewrite = flag.Bool("rewrite", false, "write openapi.json anew")

// TestOpenAPI compares the description that is checked in with what the handlers
// say.
func TestOpenAPI(t *testing.T) {
	got, err := json.MarshalIndent((&server{Config: Config{Version: "0"}}).register(http.NewServeMux()), "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	got = append(got, '\n')
	const file = "openapi.json"
	if *rewrite {
		if err := os.WriteFile(file, got, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s is not what the handlers say: look at the change and run this test with -rewrite", file)
	}
}
