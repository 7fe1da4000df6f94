package jobspec

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"

	"github.com/dugnad/dugnad/ledger"
)

var rewrite = flag.Bool("rewrite", false, "rewrite the golden files and the schema")

// golden compares what a test says with a file, or makes the file say it.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	if *rewrite {
		if err := os.WriteFile(name, got, 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("differs from %s; go test ./node/jobspec -rewrite accepts it (-want +got):\n%s", name, diff)
	}
}

func files(t testing.TB, folder string) map[string][]byte {
	t.Helper()
	names, err := filepath.Glob(filepath.Join("testdata", folder, "*.yaml"))
	if err != nil || len(names) == 0 {
		t.Fatalf("no files in %s, %v", folder, err)
	}
	all := map[string][]byte{}
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		all[name] = b
	}
	return all
}

// TestBad: every mistake of a file is told at once, with place and remedy.
func TestBad(t *testing.T) {
	for name, data := range files(t, "bad") {
		t.Run(filepath.Base(name), func(t *testing.T) {
			_, err := Parse(data)
			var all Errors
			if !errors.As(err, &all) || len(all) == 0 {
				t.Fatalf("it is accepted: %v", err)
			}
			for _, e := range all {
				if e.Help == "" || e.Message == "" || len(e.Error()) > 600 {
					t.Errorf("not much of a help: %s", e)
				}
			}
			var one *Error
			if !errors.As(err, &one) || one != all[0] {
				t.Errorf("errors.As finds %v", one)
			}
			golden(t, strings.TrimSuffix(name, ".yaml")+".txt", []byte(err.Error()+"\n"))
		})
	}
}

// TestGood: a file says the same in its JSON form, which has the defaults too.
func TestGood(t *testing.T) {
	for name, data := range files(t, "good") {
		t.Run(filepath.Base(name), func(t *testing.T) {
			job, err := Parse(data)
			if err != nil {
				t.Fatal(err)
			}
			text, err := json.MarshalIndent(job, "", "\t")
			if err != nil {
				t.Fatal(err)
			}
			golden(t, strings.TrimSuffix(name, ".yaml")+".json", append(text, '\n'))
			again, err := Parse(text)
			if diff := cmp.Diff(job, again); diff != "" || err != nil {
				t.Errorf("read again: %v (-want +got):\n%s", err, diff)
			}
		})
	}
}

// TestHostile: a file of the largest size with as many mistakes as it can hold
// is answered with few words.
func TestHostile(t *testing.T) {
	fill := func(head, each string) []byte {
		b := []byte(head)
		for i := 0; len(b)+len(each)+8 < FileBytesMax; i++ {
			b = fmt.Appendf(b, each, i)
		}
		return b
	}
	for name, data := range map[string][]byte{
		"unknown fields": fill("module: a.wasm\n", "f%d:\n"),
		"long field":     append(bytes.Repeat([]byte("k"), 1000), ": 1\n"...),
		"empty names":    fill("module: a.wasm\ninputs:\n", "- {name: '', path: %d}\n"),
		"labels":         fill("module: a.wasm\nconstraints:\n  labels:\n", "  - z=%d\n"),
		"both":           fill("module: a.wasm\nargs: [\"\\0\", []", ", [], \"\\0%d\""),
		"nested":         bytes.Repeat([]byte("["), FileBytesMax),
		"outcomes":       fill("module: a.wasm\nretry:\n  on:\n", "  - x%d\n"),
	} {
		if name == "both" {
			data = append(data, ']')
		}
		_, err := Parse(data)
		var all Errors
		if !errors.As(err, &all) || len(all) > ErrorsMax+1 || len(err.Error()) > 100<<10 {
			t.Errorf("%s: %d mistakes in %d bytes", name, len(all), len(fmt.Sprint(err)))
		}
	}
}

// upload makes every local file an object.
func upload(job *Job) {
	for i, f := range job.Paths() {
		f.Replace([32]byte{byte(i + 1)})
	}
}

func TestSpec(t *testing.T) {
	job, err := Parse(files(t, "good")["testdata/good/array.yaml"])
	if err != nil {
		t.Fatal(err)
	}
	var all Errors
	if _, err := job.Spec("Not a tenant"); !errors.As(err, &all) || len(all) != 2 {
		t.Errorf("a path and a bad tenant: %v", err)
	}
	upload(job)
	spec, err := job.Spec("default")
	if err != nil {
		t.Fatal(err)
	}
	program, err := DecodeProgram(spec.Payload)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(job.program(), program); diff != "" {
		t.Errorf("the payload (-want +got):\n%s", diff)
	}
	hash, err := ParseHash("sha256:" + strings.Repeat("ab", 32))
	if err != nil {
		t.Fatal(err)
	}
	id, err := ledger.ParseJobID("0123456789abcdef0123456789abcdef")
	if err != nil {
		t.Fatal(err)
	}
	spec.Payload = nil
	want := ledger.JobSpec{
		Tenant: "default", Module: ledger.ModuleID(hash), Count: 100,
		Task: ledger.Resources{MemoryBytes: 64 << 20, ScratchBytes: 64 << 20, Slots: 1}, FuelMax: 15e8,
		Retry:      ledger.Retry{AttemptsMax: 5, BackoffMaxNanos: int64(time.Minute)},
		QueueNanos: int64(10 * time.Minute), TotalNanos: int64(24 * time.Hour), LossGraceNanos: int64(time.Second / 2),
		Constraints: []ledger.Constraint{
			{Label: "zone", Value: "oslo", Not: true},
			{Label: "rack", Value: "a", Not: true},
			{Label: "rack", Value: "b", Not: true},
			{Label: "battery", Not: true},
			{Label: "arch", Value: "amd64"},
		},
		Features: []string{"simd"}, SpreadLabel: "operator", After: []ledger.JobID{id}, AfterAny: true, SparesMax: 10,
		TimeoutNanos: 90e9,
	}
	if diff := cmp.Diff(want, spec); diff != "" {
		t.Errorf("the specification (-want +got):\n%s", diff)
	}
}

// TestSpecLabels: the ledger is told labels in order, and no timeout that the job does not
// ask for.
func TestSpecLabels(t *testing.T) {
	job, err := Parse(files(t, "good")["testdata/good/job_labels.yaml"])
	if err != nil {
		t.Fatal(err)
	}
	order, err := job.Order("default")
	if err != nil {
		t.Fatal(err)
	}
	want := []ledger.Label{{Name: "example.org/team", Value: "A-7"}, {Name: "purpose", Value: "research"}, {Name: "year", Value: "2026"}}
	if diff := cmp.Diff(want, order.Spec.Labels); diff != "" || order.Spec.TimeoutNanos != 0 {
		t.Errorf("the labels (-want +got):\n%s\nthe timeout: %d", diff, order.Spec.TimeoutNanos)
	}
}

// TestDependencies: a job comes after those whose outputs it reads, each once, and
// the client has nothing to upload for them.
func TestDependencies(t *testing.T) {
	job, err := Parse(files(t, "good")["testdata/good/reduce.yaml"])
	if err != nil {
		t.Fatal(err)
	}
	if paths := job.Paths(); len(paths) > 0 {
		t.Errorf("to upload: %v", paths)
	}
	spec, err := job.Spec("default")
	if err != nil {
		t.Fatal(err)
	}
	var after []string
	for _, id := range spec.After {
		after = append(after, id.String())
	}
	want := []string{"a0000000000000000000000000000001", "fedcba9876543210fedcba9876543210", "0123456789abcdef0123456789abcdef"}
	if diff := cmp.Diff(want, after); diff != "" || spec.AfterAny {
		t.Errorf("it comes after (AfterAny is %t; -want +got):\n%s", spec.AfterAny, diff)
	}
	program, err := DecodeProgram(spec.Payload)
	if err != nil {
		t.Fatal(err)
	}
	array := spec.After[2]
	if diff := cmp.Diff(&Source{Job: array, Stream: Stderr, Lines: true}, program.Stdin); diff != "" {
		t.Errorf("stdin (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(Source{Job: array, Stream: Stdout}, program.Inputs[0].Source); diff != "" {
		t.Errorf("the first input (-want +got):\n%s", diff)
	}
}

// TestSpecWords: what some words of a job file say to the ledger.
func TestSpecWords(t *testing.T) {
	const after = "after: {jobs: [0123456789abcdef0123456789abcdef], condition: %s}\n"
	for file, want := range map[string][]any{
		fmt.Sprintf(after, Any):                         {false, true, int64(0), uint32(0)},
		fmt.Sprintf(after, Finished):                    {true, false, int64(0), uint32(0)},
		"retention: 168h\ncount: 3\n":                   {false, false, int64(0), uint32(0)},
		"retention: 1m\ncount: 4\n":                     {false, false, int64(time.Minute), uint32(1)},
		"count: 10000000\n":                             {false, false, int64(0), uint32(ledger.SparesLimit)},
		"count: 10000000\nretry: {spare: false}\n":      {false, false, int64(0), uint32(0)},
		"count: 59\nretention: 9600h\nreal_clock: true": {false, false, int64(9600 * time.Hour), uint32(5)},
	} {
		job, err := Parse([]byte("module: a.wasm\nlimits: {fuel: 1M}\n" + file))
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		upload(job)
		spec, err := job.Spec("default")
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, []any{spec.AfterAny, spec.AfterOne, spec.RetentionNanos, spec.SparesMax}); diff != "" {
			t.Errorf("%s (-want +got):\n%s", file, diff)
		}
	}
}

func TestPaths(t *testing.T) {
	job, err := Parse([]byte("module: a.wasm\nstdin: {path: in.txt}\ninputs: [{name: f, path: folder, folder: true}]\n"))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range job.Paths() {
		got = append(got, f.Field+" "+f.Path)
		if f.Folder != (f.Path == "folder") {
			t.Errorf("%s: Folder is %t", f.Path, f.Folder)
		}
	}
	if diff := cmp.Diff([]string{"module a.wasm", "stdin in.txt", "inputs[0] folder"}, got); diff != "" {
		t.Error(diff)
	}
	upload(job)
	if left := job.Paths(); len(left) > 0 || job.Stdin.Object[0] != 2 || job.Module.Object[0] != 1 || job.Inputs[0].Object[0] != 3 {
		t.Errorf("after the upload %v is left of %+v", left, job)
	}
}

// FuzzParse: whatever the file, reading it ends, its mistakes have help, and a
// job that is accepted reads the same from its JSON form and is one that the
// ledger does not call invalid.
func FuzzParse(f *testing.F) {
	for _, folder := range []string{"good", "bad"} {
		for _, data := range files(f, folder) {
			if len(data) < 4<<10 {
				f.Add(data)
			}
		}
	}
	book := newBook(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		job, err := Parse(data)
		if err != nil {
			var all Errors
			if !errors.As(err, &all) || len(all) == 0 || len(all) > ErrorsMax+1 {
				t.Fatalf("%T with %d mistakes", err, len(all))
			}
			for _, e := range all {
				if e.Message == "" || e.Help == "" {
					t.Fatalf("no help: %+v", e)
				}
			}
			return
		}
		text, err := json.Marshal(job)
		if err != nil {
			t.Fatal(err)
		}
		if len(text) <= FileBytesMax {
			again, err := Parse(text)
			if diff := cmp.Diff(job, again); diff != "" || err != nil {
				t.Fatalf("read again from %s: %v (-want +got):\n%s", text, err, diff)
			}
		}
		upload(job)
		spec, err := job.Spec("default")
		if err != nil {
			t.Fatal(err)
		}
		book.submit(t, spec)
		if _, err := DecodeProgram(spec.Payload); err != nil {
			t.Fatal(err)
		}
	})
}

// FuzzJSONText: JSON says to YAML what it says to a JSON reader.
func FuzzJSONText(f *testing.F) {
	f.Add([]byte("{\t\"a\\u0041\": \"\\ud83d\\ude00\\ud800\\/\\\\u0041\u0085\u2028\x7f\"}"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if !json.Valid([]byte(`{"k":` + string(data) + `}`)) {
			return
		}
		// An object of one text is what jobs are made of.
		var want map[string]string
		if json.Unmarshal(data, &want) != nil || len(want) != 1 {
			return
		}
		for k := range want {
			if len(k) > 40 { // YAML bounds the length of a key in one line.
				return
			}
		}
		var node yaml.Node
		if err := yaml.Unmarshal(yamlOf(data), &node); err != nil {
			t.Fatalf("%s became %s: %v", data, yamlOf(data), err)
		}
		pairs := node.Content[0].Content
		last := len(pairs) - 1
		if got := pairs[last].Value; got != want[pairs[last-1].Value] && pairs[last].ShortTag() != "!!null" {
			t.Fatalf("%s became %s: %q, want %q", data, yamlOf(data), got, want)
		}
	})
}
