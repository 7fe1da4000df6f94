package task

import (
	"errors"
	"strings"
	"testing"
	"time"
)

func TestLimits(t *testing.T) {
	if err := Default().Validate(); err != nil {
		t.Errorf("default limits: %v", err)
	}
	if err := Max().Validate(); err != nil {
		t.Errorf("largest limits: %v", err)
	}
	if got := (Limits{}).WithDefaults(); got != Default() {
		t.Errorf("zero limits become %+v", got)
	}
	if got := (Limits{Fuel: 7, Timeout: 3}).WithDefaults(); got.Fuel != 7 || got.Timeout != 3 || got.MemoryBytes != Default().MemoryBytes {
		t.Errorf("set fields change: %+v", got)
	}
	for name, l := range map[string]Limits{
		"fuel":         {Fuel: Max().Fuel + 1},
		"memory":       {MemoryBytes: Max().MemoryBytes + 1},
		"output":       {OutputBytes: Max().OutputBytes + 1},
		"scratch ":     {ScratchBytes: Max().ScratchBytes + 1},
		"scratch-file": {ScratchFiles: Max().ScratchFiles + 1},
		"stack":        {StackBytes: Max().StackBytes + 1},
		"open-files":   {OpenFiles: Max().OpenFiles + 1},
		"timeout":      {Timeout: Max().Timeout + 1},
		"timeout is -": {Timeout: -time.Second},
	} {
		if err := l.Validate(); !errors.Is(err, ErrLimit) || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestSpec(t *testing.T) {
	good := Spec{Args: []string{"a", ""}, Env: []string{"K=", "L=a=b"}, Inputs: []Input{{Name: "x.txt", Path: "/x"}, {Name: "..y", Path: "y"}}}
	if err := good.Validate(); err != nil {
		t.Errorf("good spec: %v", err)
	}
	for words, s := range map[string]Spec{
		"zero byte":       {Args: []string{"a\x00b"}},
		"NAME=value":      {Env: []string{"novalue"}},
		"environment":     {Env: []string{"=v"}},
		"at most":         {Args: []string{strings.Repeat("a", SpecBytesMax)}},
		"path element":    {Inputs: []Input{{Name: "a/b"}}},
		"input name \"\"": {Inputs: []Input{{}}},
		"input name \"..": {Inputs: []Input{{Name: ".."}}},
		"given twice":     {Inputs: []Input{{Name: "a"}, {Name: "a"}}},
	} {
		if err := s.Validate(); !errors.Is(err, ErrSpec) || !strings.Contains(err.Error(), words) {
			t.Errorf("%s: %v", words, err)
		}
	}
	s := Spec{Limits: Limits{Fuel: 1 << 62}}
	if err := s.Validate(); !errors.Is(err, ErrLimit) {
		t.Errorf("limit in a spec: %v", err)
	}
}

func TestKindsAreDistinct(t *testing.T) {
	seen := map[Kind]bool{}
	for _, k := range Kinds() {
		if k == "" || seen[k] {
			t.Errorf("kind %q is empty or twice", k)
		}
		seen[k] = true
	}
}
