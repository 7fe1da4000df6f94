package ledger_test

import (
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dugnad/dugnad/ledger"
	"github.com/dugnad/dugnad/ledger/ledgertest"
)

// FuzzApply applies any bytes to a state: they are done, refused or unknown, and
// what is left is sound.
func FuzzApply(f *testing.F) {
	d := newDriver(f)
	d.keep = true
	rich(d)
	standing(d)
	for _, command := range d.log {
		f.Add(command)
	}
	f.Fuzz(func(t *testing.T, command []byte) {
		m := d.Clone()
		before := m.Sum()
		answer, err := ledger.Apply(m, 1, command)
		if err != nil {
			if !errors.Is(err, ledger.ErrUnknownCommand) || m.Sum() != before {
				t.Fatal(err)
			}
			return
		}
		if _, err := ledger.DecodeResult(answer); err != nil {
			t.Fatal(err)
		}
		if err := ledger.Check(m); err != nil {
			t.Fatal(err)
		}
	})
}

func TestUnknownCommandStops(t *testing.T) {
	sound := ledger.Encode(ledger.Envelope{Now: 1, Body: &ledger.Tick{}})
	for name, change := range map[string]func(b []byte){
		"number":  func(b []byte) { b[1] = 200 },
		"zero":    func(b []byte) { b[1] = 0 },
		"version": func(b []byte) { b[0] = 2 },
	} {
		m := ledgertest.NewMemory()
		command := append([]byte(nil), sound...)
		change(command)
		if _, err := ledger.Apply(m, 7, command); !errors.Is(err, ledger.ErrUnknownCommand) || !strings.Contains(err.Error(), "index 7") {
			t.Errorf("%s: %v", name, err)
		}
		if m.Len() != 0 {
			t.Errorf("%s: something was written", name)
		}
	}
}

func TestMalformedIsRefused(t *testing.T) {
	m := ledgertest.NewMemory()
	command := ledger.Encode(ledger.Envelope{Now: 1, Body: &ledger.Cancel{}})
	answer, err := ledger.Apply(m, 1, command[:len(command)-1])
	if err != nil {
		t.Fatal(err)
	}
	if r, err := ledger.DecodeResult(answer); err != nil || r.Code != ledger.CodeMalformed {
		t.Errorf("result is %+v, %v", r, err)
	}
}

// TestFaults fails each read and write of a state with many records: the error
// comes back, as it is.
func TestFaults(t *testing.T) {
	d := newDriver(t)
	d.keep = true
	rich(d)
	standing(d)
	m := ledgertest.NewMemory()
	for i, command := range d.log {
		for writes := 0; ; writes++ {
			tx := m.Begin()
			_, err := ledger.Apply(&ledgertest.Faulty{Tx: tx, Writes: writes}, uint64(i+1), command)
			if err == nil {
				_ = tx.Commit()
				break
			}
			if !errors.Is(err, ledgertest.ErrInjected) {
				t.Fatal(err)
			}
			tx.Discard()
			if err := ledger.Check(m); err != nil {
				t.Fatalf("after command %d failed at write %d: %v", i, writes, err)
			}
		}
	}
	if m.Sum() != d.Sum() {
		t.Error("a history of faults ends elsewhere")
	}
}

// TestOldLog replays a log that version 1 has written and compares what it led
// to. It stays as it is: later versions must read it and come to the same state.
func TestOldLog(t *testing.T) {
	file := filepath.Join("testdata", "golden", "log_v1.hex")
	d := newDriver(t)
	d.keep = true
	if *rewrite {
		if _, err := os.Stat(file); errors.Is(err, os.ErrNotExist) {
			rich(d)
			d.now += 300 * second
			d.ticks()
			d.do(&ledger.Cancel{Job: jobNumber(2)})
			var out strings.Builder
			for _, command := range d.log {
				out.WriteString(hex.EncodeToString(command) + "\n")
			}
			sum := d.Sum()
			out.WriteString("sum " + hex.EncodeToString(sum[:]) + "\n")
			if err := os.WriteFile(file, []byte(out.String()), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	m := ledgertest.NewMemory()
	for i, line := range strings.Fields(string(text)) {
		if line == "sum" {
			continue
		}
		b, err := hex.DecodeString(line)
		if err != nil {
			t.Fatal(err)
		}
		if i == len(strings.Fields(string(text)))-1 {
			if sum := m.Sum(); string(sum[:]) != string(b) {
				t.Errorf("the log leads to %x, led to %x", sum, b)
			}
			break
		}
		if _, err := ledger.Apply(m, uint64(i+1), b); err != nil {
			t.Fatalf("command %d: %v", i, err)
		}
	}
	if err := ledger.Check(m); err != nil {
		t.Error(err)
	}
}
