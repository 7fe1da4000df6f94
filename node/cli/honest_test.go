package cli

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// modulesVariable names the folder with the large modules of TestHonest.
const modulesVariable = "TEST_MODULES"

const pythonScript = `
import hashlib, json, math, re, zlib, collections, decimal, datetime, os
text = open("/input/text").read()
decimal.getcontext().prec = 40
open("/tmp/x", "w").write("scratch")
print(json.dumps({
    "sha256": hashlib.sha256(text.encode()).hexdigest(),
    "words": len(re.findall(r"[a-z]+", text.lower())),
    "fact": str(math.factorial(30)),
    "sorted": sorted(collections.Counter("dugnad").items())[:2],
    "root": str(decimal.Decimal(2).sqrt()),
    "date": datetime.date(2026, 11, 23).strftime("%A"),
    "scratch": [open("/tmp/x").read(), os.listdir("/tmp")],
}))
`

const typeScript = `enum Colour { Red, Green }
const norm = ({ x, y = 0 }: { x: number; y?: number }): number => Math.hypot(x, y);
console.log(norm({ x: 3, y: 4 }), Colour.Green);
`

// honest is a large program that does work whose result is known.
type honest struct {
	// file is the module in the folder of modulesVariable.
	file  string
	flags []string
	args  []string
	stdin string
	check func(stdout string) error
}

func exactly(want string) func(string) error {
	return func(got string) error {
		if got != want {
			return fmt.Errorf("got %q, want %q", got, want)
		}
		return nil
	}
}

func honestPrograms(text string) []honest {
	return []honest{
		{
			file: "cpython.wasm", flags: []string{"--input", "text=text", "--input", "work.py=work.py"}, args: []string{"/input/work.py"},
			check: exactly(fmt.Sprintf(`{"sha256": "%x", "words": 9, "fact": "265252859812191058636308480000000", `+
				`"sorted": [["a", 1], ["d", 2]], "root": "1.414213562373095048801688724209698078570", `+
				`"date": "Monday", "scratch": ["scratch", ["x"]]}`+"\n", sha256.Sum256([]byte(text)))),
		},
		{file: "cpython.wasm", args: []string{"-c", "print(sum(i * i for i in range(100000)))"}, check: exactly("333328333350000\n")},
		{
			file: "go-esbuild.wasm", args: []string{"--loader=ts", "--minify"}, stdin: typeScript,
			check: func(out string) error {
				if strings.Contains(out, ": number") || !strings.Contains(out, "Math.hypot(") || len(out) >= len(typeScript) {
					return fmt.Errorf("not minified JavaScript: %s", out)
				}
				return nil
			},
		},
		{file: "go-gofmt.wasm", stdin: "package   a\nfunc  f( ) {  _=1 }\n", check: exactly("package a\n\nfunc f() { _ = 1 }\n")},
		{file: "flite.wasm", args: []string{"-t", "neighbours do a common job together", "-o", "/dev/stdout"}, check: checkSpeech},
	}
}

// checkSpeech wants a RIFF file with more than a second of sound that is not
// silence.
func checkSpeech(wave string) error {
	if len(wave) < 44 || wave[:4] != "RIFF" || wave[8:16] != "WAVEfmt " {
		return fmt.Errorf("%d bytes without a RIFF header: %q", len(wave), wave[:min(len(wave), 60)])
	}
	perSecond := binary.LittleEndian.Uint32([]byte(wave[28:32]))
	silent := strings.Count(wave, "\x00")
	if sound := len(wave) - 44; sound < int(perSecond) || silent > sound/2 {
		return fmt.Errorf("%d bytes of sound at %d a second, %d of them 0", sound, perSecond, silent)
	}
	return nil
}

// TestHonest runs large programs of others, which lint must let pass, and
// checks their results.
func TestHonest(t *testing.T) {
	folder := os.Getenv(modulesVariable)
	if folder == "" {
		t.Skipf("%s does not name a folder with large modules: CONTRIBUTING.md says which and how to get them", modulesVariable)
	}
	p := newProgram(t)
	const text = "neighbours do a common job together, with their tools"
	p.file(t, "text", []byte(text))
	p.file(t, "work.py", []byte(pythonScript))
	for _, h := range honestPrograms(text) {
		t.Run(h.file, func(t *testing.T) {
			module := filepath.Join(folder, h.file)
			if _, err := os.Stat(module); err != nil {
				t.Skipf("%v: CONTRIBUTING.md says how to get it", err)
			}
			var outputs []string
			for range 2 {
				args := append(append([]string{"run"}, h.flags...), "--output", "result", module, "--")
				cmd, _ := p.command(t, append(args, h.args...)...)
				cmd.Stdin = strings.NewReader(h.stdin)
				var errOut bytes.Buffer
				cmd.Stderr = &errOut
				if err := cmd.Run(); err != nil {
					t.Fatalf("%v: %s", err, tail(errOut.String()))
				}
				result, err := os.ReadFile(filepath.Join(filepath.Dir(p.path), "result"))
				if err != nil {
					t.Fatal(err)
				}
				if err := h.check(string(result)); err != nil {
					t.Fatal(err)
				}
				outputs = append(outputs, string(result))
			}
			if outputs[0] != outputs[1] {
				t.Error("two runs gave different results")
			}
		})
	}
}
