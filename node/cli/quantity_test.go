package cli

import (
	"testing"
	"time"
)

func TestQuantityValue(t *testing.T) {
	var n uint64
	for in, want := range map[string]string{
		"64MiB": "", "1.5B": "is not a whole number of at least 1, such as 64MiB", "1e30": "is too large: more than 64 bits hold",
	} {
		got := ""
		if err := bytesValue(&n).Set(in); err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
	if got := bytesValue(&n).String(); got != "64MiB" {
		t.Errorf("the value is %s, want 64MiB", got)
	}
}

func TestDurationValue(t *testing.T) {
	var got time.Duration
	if err := (durationValue{&got}).Set("90"); err != nil || (durationValue{&got}).String() != "1m30s" {
		t.Errorf("90 is %s, %v", durationValue{&got}, err)
	}
	if err := (durationValue{&got}).Set("soon"); err == nil {
		t.Error("soon is a time")
	}
}
