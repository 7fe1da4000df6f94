package cli

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dugnad/dugnad/runtime/task"
)

// patience bounds the run of one process; it is no measure of speed.
const patience = 2 * time.Minute

// scratchDir is removed after the last test.
var scratchDir = sync.OnceValues(func() (string, error) { return os.MkdirTemp("", "dugnad-cli-*") })

func TestMain(m *testing.M) {
	if lies := os.Getenv(gatewayVariable); lies != "" {
		fmt.Fprintln(os.Stderr, runGateway(lies))
		os.Exit(1)
	}
	code := m.Run()
	if dir, err := scratchDir(); err == nil {
		_ = os.RemoveAll(dir)
	}
	os.Exit(code)
}

// buildDugnad builds the real program, once.
var buildDugnad = sync.OnceValues(func() (string, error) {
	dir, err := scratchDir()
	if err != nil {
		return "", err
	}
	binary := filepath.Join(dir, "dugnad")
	cmd := exec.Command("go", "build", "-o", binary, "../cmd/dugnad")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building dugnad: %w\n%s", err, out)
	}
	return binary, nil
})

// program is dugnad under a path of its own, by which its processes are found.
type program struct {
	path string
	env  []string
}

func newProgram(t *testing.T) *program {
	t.Helper()
	if testing.Short() {
		t.Skip("runs the real program, which the race detector does not see into")
	}
	built, err := buildDugnad()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	p := &program{path: filepath.Join(dir, "dugnad"), env: []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "DUGNAD_DATA_DIR=" + filepath.Join(dir, "data"),
	}}
	if err := os.Link(built, p.path); err != nil {
		b, err := os.ReadFile(built)
		if err == nil {
			err = os.WriteFile(p.path, b, 0o700)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return p
}

// running lists the processes of p that are there.
func (p *program) running(t *testing.T) []string {
	t.Helper()
	links, err := filepath.Glob("/proc/[0-9]*/exe")
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, l := range links {
		if target, err := os.Readlink(l); err == nil && target == p.path {
			out = append(out, l)
		}
	}
	return out
}

// ended is what is left of a process.
type ended struct {
	stdout, stderr string
	code           int
}

func (p *program) command(t *testing.T, args ...string) (*exec.Cmd, context.Context) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, p.path, args...)
	cmd.Env, cmd.Dir = p.env, filepath.Dir(p.path)
	return cmd, ctx
}

// run runs dugnad to its end and checks that nothing of it is left.
func (p *program) run(t *testing.T, args ...string) ended {
	t.Helper()
	cmd, ctx := p.command(t, args...)
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	start := time.Now()
	err := cmd.Run()
	t.Logf("%s after %s", cmd.ProcessState, time.Since(start).Round(time.Millisecond))
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	if ctx.Err() != nil {
		t.Fatalf("did not end within %s", patience)
	}
	if left := p.running(t); len(left) > 0 {
		t.Errorf("processes left behind: %s", strings.Join(left, " "))
	}
	e := ended{out.String(), errOut.String(), cmd.ProcessState.ExitCode()}
	for _, word := range []string{"panic:", "fatal error:", "goroutine ", "runtime error"} {
		if strings.Contains(e.stderr, word) {
			t.Errorf("stderr shows a crash:\n%s", e.stderr)
		}
	}
	return e
}

// serves checks that p, with the cache that it has by now, runs a good module.
func (p *program) serves(t *testing.T, good string) {
	t.Helper()
	if e := p.run(t, "run", good); e.code != 0 || e.stdout != "ok\n" || e.stderr != "" {
		t.Errorf("a good module afterwards: exit code %d, stdout %q, stderr %q", e.code, e.stdout, e.stderr)
	}
}

// badInput is one row of the table.
type badInput struct {
	name   string
	module []byte
	flags  []string
	code   int
	// words must stand in stderr, whatever their case.
	words []string
}

// refusedModules never run.
func refusedModules() []badInput {
	const most = 1<<32 - 1
	plain := hello()
	text := []byte("package main\n\nfunc main() {}\n")
	rows := []badInput{
		{name: "empty file", module: nil, words: []string{"empty"}},
		{name: "text file", module: text, words: []string{"text"}},
		{name: "ELF", module: []byte("\x7fELF\x02\x01\x01" + strings.Repeat("\x00", 57)), words: []string{"ELF"}},
		{name: "gzip", module: zipped(plain), words: []string{"gzip"}},
		{name: "component", module: []byte("\x00asm\x0d\x00\x01\x00"), words: []string{"component"}},
		{name: "unknown version", module: []byte("\x00asm\x02\x00\x00\x00"), words: []string{"version"}},
		{name: "header alone", module: []byte(wasmHeader)},
		{name: "random", module: random(4096)},
		{name: "random after the header", module: join([]byte(wasmHeader), random(4096))},
		{name: "truncated in the middle", module: plain[:len(plain)/2]},
		{name: "truncated by a byte", module: plain[:len(plain)-1]},
		{name: "bytes after the end", module: join(plain, []byte{0xff})},
		{name: "sections out of order", module: module(section(secFunction, vector()), section(secType, vector())), words: []string{"order"}},
		{name: "section twice", module: module(section(secType, vector()), section(secType, vector()))},
		{name: "section longer than the file", module: join([]byte(wasmHeader), []byte{secType}, leb(1<<20), []byte{0})},
		{name: "section longer than its content", module: module(section(secType, join(vector(), make([]byte, 9))))},
		{name: "section shorter than its content", module: module(section(secType, leb(3)))},
		{name: "unknown section", module: module(section(200, nil))},
		{name: "unknown import", module: module(
			section(secType, vector([]byte{0x60, 0, 0})),
			section(secImport, vector(join(name("env"), name("launch_rockets"), []byte{0, 0}))),
			section(secFunction, vector(leb(0))),
			section(secExport, vector(join(name("_start"), []byte{0, 1}))),
			section(secCode, vector(sized([]byte{0, 0x0b})))), words: []string{"env", "launch_rockets"}},
		{name: "nothing to start", module: module(section(secType, vector([]byte{0x60, 0, 0}))), words: []string{"_start"}},
		{name: "invalid code", module: guest{bodies: [][]byte{opDrop}}.bytes()},
		{name: "huge memory", module: guest{memoryPages: 65537, bodies: [][]byte{{}}}.bytes()},
		{name: "memory beyond the limit", module: guest{memoryPages: 32768, bodies: [][]byte{{}}}.bytes(), flags: []string{"--memory", "1GiB"}, words: []string{"memory"}},
		{name: "huge table", module: guest{tableEntries: most, bodies: [][]byte{{}}}.bytes(), words: []string{"table"}},
		{name: "deep nesting", module: guest{bodies: [][]byte{nested([]byte{0x02, 0x40}, 200_000)}}.bytes(), words: []string{"nest"}},
		{name: "deep nesting of ifs", module: guest{bodies: [][]byte{nested([]byte{0x41, 0x00, 0x04, 0x40}, 100_000)}}.bytes(), words: []string{"nest"}},
		{name: "wide br_table", module: guest{bodies: [][]byte{join(i32(0), []byte{0x0e}, leb(500_000), make([]byte, 500_001))}}.bytes(), words: []string{"br_table"}},
		{name: "2^32-1 locals", module: guest{locals: vector(join(leb(most), []byte{0x7f})), bodies: [][]byte{{}}}.bytes(), words: []string{"locals"}},
		{name: "2^32-1 locals in many groups", module: guest{locals: vector(
			join(leb(most), []byte{0x7f}), join(leb(most), []byte{0x7e}), join(leb(2), []byte{0x7d})), bodies: [][]byte{{}}}.bytes(), words: []string{"locals"}},
		{name: "many locals in many functions", module: guest{
			locals: vector(join(leb(19_000), []byte{0x7f})), bodies: many(5000, []byte{}),
		}.bytes(), words: []string{"locals"}},
		{name: "meter's own name", module: module(
			section(secType, vector([]byte{0x60, 0, 0})),
			section(secImport, vector(join(name("dugnad_meter"), name("refill"), []byte{0, 0}))),
			section(secFunction, vector(leb(0))),
			section(secExport, vector(join(name("_start"), []byte{0, 1}))),
			section(secCode, vector(sized([]byte{0, 0x0b})))), words: []string{"dugnad_meter"}},
	}
	for id, what := range map[byte]string{
		secType: "types", secImport: "imports", secFunction: "functions", secTable: "tables", secMemory: "memories",
		secGlobal: "globals", secExport: "exports", secElement: "element segments", secCode: "bodies", secData: "data segments",
	} {
		rows = append(rows, badInput{name: "claims 2^32-1 " + what, module: module(section(id, leb(most)))})
	}
	return rows
}

// spoilt are modules that run, and how each ends.
func spoilt() []badInput {
	fuel := []string{"--fuel", "50M"}
	recursion := guest{bodies: [][]byte{call(3), call(3)}, names: []string{"begin", "descend"}}
	tree := guest{}
	for i := range 60 {
		next := uint64(firstFunction + i + 1)
		tree.bodies = append(tree.bodies, join(call(next), call(next)))
	}
	tree.bodies = append(tree.bodies, []byte{})
	return []badInput{
		{name: "unreachable", module: guest{bodies: [][]byte{call(3), opUnreachable}, names: []string{"begin", "give_up"}}.bytes(), code: exitTrap, words: []string{"unreachable", "at give_up", "at begin"}},
		{name: "unreachable without names", module: guest{bodies: [][]byte{call(3), opUnreachable}}.bytes(), code: exitTrap, words: []string{"unreachable", "at $3", "at $2"}},
		{name: "division by zero", module: guest{bodies: [][]byte{join(i32(1), i32(0), opDivide, opDrop)}}.bytes(), code: exitTrap, words: []string{"divi"}},
		{name: "load out of bounds", module: guest{bodies: [][]byte{join(i32(-1), opLoad, opDrop)}}.bytes(), code: exitTrap, words: []string{"memory"}},
		{name: "call of nothing", module: guest{tableEntries: 1, bodies: [][]byte{join(i32(0), opIndirect)}}.bytes(), code: exitTrap},
		{name: "recursion without end", module: recursion.bytes(), code: exitTrap, words: []string{"stack", "at descend"}},
		{name: "loop without end", module: guest{bodies: [][]byte{loop()}}.bytes(), flags: fuel, code: exitFuel, words: []string{"fuel", "50M"}},
		{name: "loop until the deadline", module: guest{bodies: [][]byte{loop()}}.bytes(), flags: []string{"--timeout", "300ms"}, code: exitDeadline, words: []string{"300ms", "--timeout"}},
		{name: "exponential calls without a loop", module: tree.bytes(), flags: fuel, code: exitFuel, words: []string{"fuel"}},
		{name: "exponential calls until the deadline", module: tree.bytes(), flags: []string{"--timeout", "300ms"}, code: exitDeadline, words: []string{"300ms"}},
		{name: "memory.fill of gigabytes", module: guest{memoryPages: 16384, bodies: [][]byte{loop(i32(0), i32(1), i32(1<<30), opMemoryFill)}}.bytes(), flags: append(fuel, "--memory", "2GiB"), code: exitFuel},
		{name: "memory.grow in a loop", module: guest{bodies: [][]byte{loop(i32(1), opMemoryGrow, opDrop)}}.bytes(), flags: append(fuel, "--memory", "8MiB"), code: exitFuel, words: []string{"memory", "8MiB"}},
		{name: "table.grow in a loop", module: guest{bodies: [][]byte{loop(opRefNull, i32(1000), opTableGrow, opDrop)}}.bytes(), flags: []string{"--fuel", "1G", "--memory", "8MiB"}, code: exitFuel, words: []string{"memory", "8MiB"}},
		{name: "table.grow by everything", module: guest{bodies: [][]byte{loop(opRefNull, i32(-1), opTableGrow, opDrop)}}.bytes(), flags: fuel, code: exitFuel},
		{name: "output without end", module: guest{bodies: [][]byte{loop(write())}, data: iovec("again and again\n")}.bytes(), flags: []string{"--max-output", "100KiB", "--output", os.DevNull}, code: exitOutput, words: []string{"100KiB", "--max-output"}},
		{name: "sleeping for ever", module: guest{bodies: [][]byte{join(i32(0), i32(64), i32(1), i32(128), call(1), opDrop)}, data: sleep()}.bytes(), flags: []string{"--timeout", "300ms", "--real-clock"}, code: exitDeadline},
	}
}

func zipped(b []byte) []byte {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	_, _ = w.Write(b)
	_ = w.Close()
	return out.Bytes()
}

func random(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{'d', 'u', 'g', 'n', 'a', 'd'}).Read(b)
	return b
}

func many(n int, body []byte) [][]byte {
	out := make([][]byte, n)
	for i := range out {
		out[i] = body
	}
	return out
}

// file writes content into the program's folder and returns its path.
func (p *program) file(t *testing.T, name string, content []byte) string {
	t.Helper()
	path := filepath.Join(filepath.Dir(p.path), name)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestHostile(t *testing.T) {
	p := newProgram(t)
	good := p.file(t, "good.wasm", hello())
	rows := append(spoilt(), hoarders()...)
	for _, r := range append(refusedModules(), claims()...) {
		r.code = exitRefused
		rows = append(rows, r)
	}
	var messages []string
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			p.file(t, "bad.wasm", r.module)
			e := p.run(t, append(append([]string{"run"}, r.flags...), "bad.wasm")...)
			checkEnd(t, e, r.code, r.words)
			if r.code != exitRefused {
				p.serves(t, good)
			}
			messages = append(messages, fmt.Sprintf("%s: exit code %d\n%s", r.name, e.code, indent(e.stderr)))
		})
	}
	p.serves(t, good)
	if len(messages) == len(rows) {
		slices.Sort(messages)
		compareGolden(t, "testdata/hostile.golden", strings.Join(messages, "\n"))
	}
}

// rewrite makes the golden file what dugnad says now, to be read in the change.
var rewrite = flag.Bool("rewrite", false, "rewrite the golden files")

func compareGolden(t *testing.T, path, got string) {
	t.Helper()
	if *rewrite {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("messages differ from %s; go test ./node/cli -run TestHostile -rewrite accepts them (-want +got):\n%s", path, diff)
	}
}

func indent(s string) string {
	var b strings.Builder
	for line := range strings.Lines(s) {
		b.WriteString("  " + line)
	}
	return b.String()
}

// checkEnd compares a process's end with what a row wants; a failure is told
// in lines that begin with "dugnad: ".
func checkEnd(t *testing.T, e ended, code int, words []string) {
	t.Helper()
	t.Log(strings.TrimSpace(e.stderr))
	if e.code != code {
		t.Errorf("exit code %d, want %d; stderr:\n%s", e.code, code, e.stderr)
	}
	if !strings.HasPrefix(e.stderr, "dugnad: ") {
		t.Errorf("stderr does not begin with %q:\n%s", "dugnad: ", e.stderr)
	}
	for _, w := range words {
		if !strings.Contains(strings.ToLower(e.stderr), strings.ToLower(w)) {
			t.Errorf("%q is not in stderr:\n%s", w, e.stderr)
		}
	}
}

func TestHostilePaths(t *testing.T) {
	p := newProgram(t)
	folder := t.TempDir()
	huge := p.file(t, "huge.wasm", []byte(wasmHeader))
	if err := os.Truncate(huge, 1<<40); err != nil {
		t.Fatal(err)
	}
	for _, r := range []struct {
		name, path string
		code       int
		words      []string
	}{
		{"missing file", filepath.Join(folder, "none.wasm"), exitNotFound, []string{"not found", "none.wasm"}},
		{"file as a folder", filepath.Join(p.path, "x.wasm"), exitNotFound, []string{"not found"}},
		{"folder", folder, exitRefused, []string{"folder"}},
		{"endless device", "/dev/zero", exitRefused, []string{"device"}},
		{"huge file", huge, exitRefused, []string{"larger than 128MiB"}},
	} {
		t.Run(r.name, func(t *testing.T) { checkEnd(t, p.run(t, "run", r.path), r.code, r.words) })
	}
}

// TestHostileBitFlips flips single bits over the whole of a good module: any
// outcome of the guest's will do, a failure of dugnad's will not.
func TestHostileBitFlips(t *testing.T) {
	p := newProgram(t)
	good := p.file(t, "good.wasm", hello())
	for bit := 0; bit < len(hello())*8; bit += 13 {
		flipped := hello()
		flipped[bit/8] ^= 1 << (bit % 8)
		bad := p.file(t, "bad.wasm", flipped)
		e := p.run(t, "run", "--fuel", "1M", "--timeout", "10s", "--max-output", "1KiB", bad)
		if e.code == exitFailure || e.code >= exitSignal {
			t.Errorf("bit %d: exit code %d:\n%s", bit, e.code, e.stderr)
		}
	}
	p.serves(t, good)
}

// TestHostileCount: one bad task of many costs the others nothing, and what
// they print stands in their order.
func TestHostileCount(t *testing.T) {
	p := newProgram(t)
	bad := p.file(t, "bad.wasm", guest{bodies: [][]byte{join(write(), loop())}, data: iovec("tick\n")}.bytes())
	e := p.run(t, "run", "--count", "8", "--parallel", "4", "--fuel", "1M", bad)
	checkEnd(t, e, exitFuel, []string{"task 0", "task 7", "8 of 8 tasks"})
	if want := strings.Repeat("tick\n", 8); e.stdout != want {
		t.Errorf("stdout %q, want %q", e.stdout, want)
	}
}

func TestHostileJSON(t *testing.T) {
	p := newProgram(t)
	text := p.file(t, "text.wasm", []byte("hello"))
	spin := p.file(t, "spin.wasm", guest{bodies: [][]byte{join(write(), loop())}, data: iovec("\xffx")}.bytes())
	for _, r := range []struct {
		args   []string
		code   int
		kind   task.Kind
		base64 string
	}{
		{[]string{text}, exitRefused, task.Refused, ""},
		{[]string{"--fuel", "1M", spin}, exitFuel, task.OutOfFuel, "/3g="},
	} {
		e := p.run(t, append([]string{"run", "--json"}, r.args...)...)
		var got record
		if err := json.Unmarshal([]byte(e.stdout), &got); err != nil {
			t.Fatalf("%v: stdout %q, stderr %q", err, e.stdout, e.stderr)
		}
		if e.code != r.code || got.ExitCode != r.code || got.Outcome.Kind != r.kind {
			t.Errorf("exit code %d, object %+v", e.code, got)
		}
		if r.base64 != "" && (got.StdoutBase64 == nil || *got.StdoutBase64 != r.base64) {
			t.Errorf("stdout_base64 is %v, want %q", got.StdoutBase64, r.base64)
		}
		if (r.kind == task.Refused) != (got.Refusal != nil) {
			t.Errorf("refusal is %v", got.Refusal)
		}
	}
}

// TestSignals: a signal ends the attempt, the child and dugnad, in this order.
func TestSignals(t *testing.T) {
	p := newProgram(t)
	spin := p.file(t, "spin.wasm", guest{bodies: [][]byte{join(write(), loop())}, data: iovec("x")}.bytes())
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
		t.Run(sig.String(), func(t *testing.T) {
			if signal.Ignored(sig) && sig == syscall.SIGHUP {
				t.Skip("the tests run under nohup, and dugnad heeds it")
			}
			cmd, _ := p.command(t, "run", spin)
			var errOut bytes.Buffer
			cmd.Stderr = &errOut
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			if n, err := out.Read(make([]byte, 1)); n != 1 {
				t.Fatalf("the guest did not begin: %v: %s", err, errOut.String())
			}
			if err := cmd.Process.Signal(sig); err != nil {
				t.Fatal(err)
			}
			_ = cmd.Wait()
			if code := cmd.ProcessState.ExitCode(); code != exitSignal+int(sig) {
				t.Errorf("exit code %d (%s), want %d; stderr:\n%s", code, cmd.ProcessState, exitSignal+int(sig), errOut.String())
			}
			if left := p.running(t); len(left) > 0 {
				t.Errorf("processes left behind: %s", strings.Join(left, " "))
			}
		})
	}
}
