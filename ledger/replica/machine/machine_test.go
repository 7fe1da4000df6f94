package machine_test

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"github.com/dugnad/dugnad/ledger"
	"github.com/dugnad/dugnad/ledger/ledgertest"
	"github.com/dugnad/dugnad/ledger/replica/machine"
)

// command creates a tenant, at a time.
func command(at time.Time) []byte {
	return ledger.Encode(ledger.Envelope{Now: ledger.Time(at.UnixNano()), Body: &ledger.CreateTenant{Tenant: "t", Weight: 1}})
}

// TestApplyIsTheLedgers applies the same commands as ledger.Apply does, on a state
// of its own: results, errors and states are the same.
func TestApplyIsTheLedgers(t *testing.T) {
	ours, theirs := ledgertest.NewMemory(), ledgertest.NewMemory()
	for i, c := range [][]byte{command(time.Unix(1, 0)), command(time.Unix(2, 0)), command(time.Unix(3, 0))[:10], {1, 255, 0}, nil} {
		index := uint64(i + 1)
		got, err := machine.Ledger{}.Apply(ours, index, c)
		want, wantErr := ledger.Apply(theirs, index, c)
		if !bytes.Equal(got, want) {
			t.Errorf("command %d gives %x, want %x", index, got, want)
		}
		if (err == nil) != (wantErr == nil) || err != nil && err.Error() != wantErr.Error() {
			t.Errorf("command %d gives error %v, want %v", index, err, wantErr)
		}
	}
	if ours.Len() == 0 || ours.Len() != theirs.Len() {
		t.Errorf("state has %d keys, want %d and more than none", ours.Len(), theirs.Len())
	}
	if err := theirs.Scan(nil, nil, func(key, value []byte) bool {
		if got, err := ours.Get(key); err != nil || !bytes.Equal(got, value) {
			t.Errorf("key %q has %x, %v, want %x", key, got, err, value)
		}
		return true
	}); err != nil {
		t.Fatal(err)
	}
}

// TestAcceptLooksAtTheClock moves the clock under one command, which is only
// accepted while its time is near. Without a clock it is the system's.
func TestAcceptLooksAtTheClock(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	at := now
	book := machine.Ledger{Now: func() time.Time { return now }}
	for _, test := range []struct {
		moved time.Duration
		want  error
	}{
		{0, nil},
		{-24 * time.Hour, ledger.ErrClock},
		{24 * time.Hour, ledger.ErrClock},
		{0, nil},
	} {
		now = at.Add(test.moved)
		if err := book.Accept(command(at)); !errors.Is(err, test.want) {
			t.Errorf("clock moved by %v: %v, want %v", test.moved, err, test.want)
		}
	}
	if err := (machine.Ledger{}).Accept(command(time.Now())); err != nil {
		t.Errorf("now: %v", err)
	}
	if err := (machine.Ledger{}).Accept(command(time.Now().Add(-24 * time.Hour))); !errors.Is(err, ledger.ErrClock) {
		t.Errorf("yesterday: %v, want %v", err, ledger.ErrClock)
	}
}
