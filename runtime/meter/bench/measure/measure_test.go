package measure

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dugnad/dugnad/runtime/internal/wasmtest"
	"github.com/dugnad/dugnad/runtime/meter/bench/report"
)

// repository is its folder as the tests see it.
const repository = "../../../.."

func pair() []Engine {
	return []Engine{
		&Sandboxed{Bare{Column: report.Plain}},
		&Sandboxed{Bare{Column: report.Metered, Metered: true}},
		&Bare{Column: report.Bare},
		&Bare{Column: report.Interruptible, Interruptible: true},
	}
}

// briefRounds keeps the kernels of a test short.
const briefRounds = 10

// guests are the workloads whose modules are checked in, and a command that
// writes a line.
func guests(t *testing.T) []*Ready {
	t.Helper()
	out := []*Ready{{Workload: Workload{Name: "command", Kind: Program, Args: []string{"command"}}, Module: wasmtest.Assemble(writer)}}
	for _, w := range Kernels() {
		if w.Source.File == "" {
			continue
		}
		r, err := Prepare(t.Context(), w, repository, t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		r.Begin = runKernel(briefRounds)
		out = append(out, r)
	}
	return out
}

const writer = `import "wasi_snapshot_preview1" "fd_write" (i32 i32 i32 i32) -> (i32)
	memory 1
	data 0 "\x08\x00\x00\x00\x03\x00\x00\x00"
	data 8 "hi\n"
	func "_start" () -> ()
	i32.const 1
	i32.const 0
	i32.const 1
	i32.const 16
	call 0
	drop
	end`

// TestWorkloadsAgree: each workload that can be made here gives the same result
// on every engine, burns fuel when it is metered, and the same each time.
func TestWorkloadsAgree(t *testing.T) {
	workloads := guests(t)
	fuel, runs := map[string]uint64{}, map[string]int{}
	plan := Plan{Rounds: 2, OthersRounds: 1, Engines: pair()}
	sample := func(s report.Sample) error {
		runs[s.Subject+" "+s.Variant]++
		if s.Nanos < 1 {
			t.Errorf("%s took %d ns", s.Subject, s.Nanos)
		}
		if s.Variant != report.Metered {
			return nil
		}
		if before, ok := fuel[s.Subject]; s.Burnt == 0 || ok && before != s.Burnt {
			t.Errorf("%s burnt %d fuel, before %d", s.Subject, s.Burnt, before)
		}
		fuel[s.Subject] = s.Burnt
		return nil
	}
	note := func(text string) error { return errors.New(text) }
	if err := plan.Run(workloads, sample, note); err != nil {
		t.Fatal(err)
	}
	for _, w := range workloads {
		if p, m, i := runs[w.Name+" plain"], runs[w.Name+" metered"], runs[w.Name+" interruptible"]; p != 2 || m != 2 || i != 1 {
			t.Errorf("%s ran %d times plain, %d metered, %d interruptible; want 2, 2, 1", w.Name, p, m, i)
		}
	}
}

func TestStatic(t *testing.T) {
	for _, w := range guests(t)[:2] {
		m, err := Static(w, time.Nanosecond)
		if err != nil {
			t.Fatal(err)
		}
		if m.Subject != w.Name || m.FileBytes != len(w.Module) || m.Bytes > m.FileBytes || m.MeteredBytes <= m.Bytes || m.Rewrite < 1 || m.Compile < 1 || m.MeteredCompile < 1 {
			t.Errorf("%+v", m)
		}
	}
}

// FuzzSize: no module is larger without its custom sections, and one more of
// them changes nothing.
func FuzzSize(f *testing.F) {
	f.Add(wasmtest.Assemble(writer))
	f.Add([]byte("\x00asm\x01\x00\x00\x00\x00\x02\x01x"))
	f.Fuzz(func(t *testing.T, module []byte) {
		got, err := size(module)
		if err != nil {
			return
		}
		more, err := size(append(module[:len(module):len(module)], 0, 2, 1, 'x'))
		if err != nil || more != got || got > len(module) {
			t.Errorf("%d of %d bytes, with one more custom section %d, %v", got, len(module), more, err)
		}
	})
}

// TestNumbersAreEnough: the goal is about this many.
func TestNumbersAreEnough(t *testing.T) {
	seen := map[string]bool{}
	kernels, programs := 0, 0
	for _, w := range append(Kernels(), Programs()...) {
		if seen[w.Name] {
			t.Errorf("%s is there twice", w.Name)
		}
		seen[w.Name] = true
		switch w.Kind {
		case Kernel:
			kernels++
		case Program:
			programs++
			if w.Licence == "" || w.What == "" {
				t.Errorf("%s has no licence, or nobody knows what it is", w.Name)
			}
		}
		if s := w.Source; s.File == "" && s.Build == nil && len(s.SHA256) != 64 {
			t.Errorf("%s is fetched, but not pinned by a hash", w.Name)
		}
	}
	if kernels < 20 || programs < 8 {
		t.Errorf("%d kernels and %d programs, want 20 and 8", kernels, programs)
	}
}

// TestEngineIsDugnads: figures of another version of wazero would be of no use.
func TestEngineIsDugnads(t *testing.T) {
	var versions []string
	for _, name := range []string{"../go.mod", repository + "/go.mod"} {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		_, rest, _ := strings.Cut(string(b), "github.com/tetratelabs/wazero ")
		version, _, _ := strings.Cut(rest, "\n")
		versions = append(versions, version)
	}
	if versions[0] == "" || versions[0] != versions[1] {
		t.Errorf("the benchmark requires wazero %q, Dugnad %q", versions[0], versions[1])
	}
}

// fake is an engine whose jobs give one result, or an error.
type fake struct {
	variant, result string
	err             error
	closed          *int
}

func (f fake) Variant() string               { return f.variant }
func (f fake) Open(*Ready) (Job, error)      { return f, nil }
func (f fake) Do() (string, uint64, error)   { return f.result, 1, f.err }
func (f fake) Close() error                  { *f.closed++; return nil }
func (f fake) with(variant, r string) Engine { f.variant, f.result = variant, r; return f }

func TestRunRefusesOtherResults(t *testing.T) {
	closed := 0
	f := fake{closed: &closed}
	broken := fake{variant: report.Fuel, err: errors.New("no such instruction"), closed: &closed}
	w := []*Ready{{Workload: Workload{Name: "x"}}}
	for name, c := range map[string]struct {
		engines []Engine
		err     error
		notes   int
	}{
		"all agree":         {[]Engine{f.with(report.Plain, "1"), f.with(report.Metered, "1"), f.with(report.Fuel, "1")}, nil, 0},
		"metered differs":   {[]Engine{f.with(report.Plain, "1"), f.with(report.Metered, "2")}, ErrDiffers, 0},
		"another differs":   {[]Engine{f.with(report.Plain, "1"), f.with(report.Metered, "1"), f.with(report.Fuel, "2")}, ErrDiffers, 0},
		"another is broken": {[]Engine{f.with(report.Plain, "1"), f.with(report.Metered, "1"), broken, f.with(report.Epochs, "1")}, nil, 1},
		"metered is broken": {[]Engine{f.with(report.Plain, "1"), broken}, broken.err, 0},
	} {
		closed = 0
		var samples []report.Sample
		notes := 0
		plan := Plan{Rounds: 3, OthersRounds: 1, Engines: c.engines}
		err := plan.Run(w, func(s report.Sample) error { samples = append(samples, s); return nil }, func(string) error { notes++; return nil })
		if !errors.Is(err, c.err) || notes != c.notes || closed != len(c.engines) && c.err == nil {
			t.Errorf("%s: %v, %d notes, %d of %d closed", name, err, notes, closed, len(c.engines))
		}
		if c.err == nil && (samples[0].Variant != report.Plain || samples[3].Round == 0 && len(c.engines) == 3) {
			t.Errorf("%s: wrong order: %+v", name, samples)
		}
	}
}

func TestFetchKeepsWhatIsPinned(t *testing.T) {
	asked := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked++
		fmt.Fprint(w, "module")
	}))
	defer server.Close()
	dir := t.TempDir()
	s := Source{Name: "x.wasm", URL: server.URL, SHA256: fmt.Sprintf("%x", sha256.Sum256([]byte("module")))}
	for range 2 {
		if b, err := Fetch(t.Context(), s, repository, dir); err != nil || string(b) != "module" {
			t.Fatalf("%q, %v", b, err)
		}
	}
	if asked != 1 {
		t.Errorf("asked %d times, want once", asked)
	}
	if err := os.WriteFile(filepath.Join(dir, "x.wasm"), []byte("changed"), 0o644); err != nil {
		t.Fatal(err)
	}
	if b, err := Fetch(t.Context(), s, repository, dir); err != nil || string(b) != "module" || asked != 2 {
		t.Errorf("a damaged file: %q, %v, asked %d times", b, err, asked)
	}
	s.SHA256 = strings.Repeat("0", 64)
	if b, err := Fetch(t.Context(), s, repository, t.TempDir()); !errors.Is(err, ErrChanged) || b != nil {
		t.Errorf("another module: %q, %v", b, err)
	}
	server.Close()
	if _, err := Fetch(context.Background(), s, repository, t.TempDir()); !errors.Is(err, ErrAbsent) {
		t.Errorf("no server: %v", err)
	}
}

func TestUnpack(t *testing.T) {
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	archive := tar.NewWriter(z)
	for name, text := range map[string]string{"package/a.wasm": "aaa", "package/b.wasm": "bb"} {
		if err := archive.WriteHeader(&tar.Header{Name: name, Size: int64(len(text)), Mode: 0o644}); err != nil {
			t.Fatal(err)
		}
		if _, err := archive.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(archive.Close(), z.Close()); err != nil {
		t.Fatal(err)
	}
	if b, err := unpack(bytes.NewReader(packed.Bytes()), "package/b.wasm"); err != nil || string(b) != "bb" {
		t.Errorf("%q, %v", b, err)
	}
	for name, r := range map[string]*bytes.Reader{
		"absent": bytes.NewReader(packed.Bytes()), "cut off": bytes.NewReader(packed.Bytes()[:packed.Len()/2]), "no archive": bytes.NewReader([]byte("x")),
	} {
		if b, err := unpack(r, "package/c.wasm"); err == nil {
			t.Errorf("%s: %q", name, b)
		}
	}
}
