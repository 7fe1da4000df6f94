package quantity

import (
	"errors"
	"testing"
	"time"
)

func TestParse(t *testing.T) {
	tests := []struct {
		in    string
		units func() []unit
		want  uint64
		err   error
	}{
		{"1", fuelUnits, 1, nil},
		{"1e9", fuelUnits, 1e9, nil},
		{"500M", fuelUnits, 500e6, nil},
		{"2G", fuelUnits, 2e9, nil},
		{"1.5G", fuelUnits, 15e8, nil},
		{"1.1G", fuelUnits, 11e8, nil},
		{"1_000_000", fuelUnits, 1e6, nil},
		{" 7 k ", fuelUnits, 7000, nil},
		{"18446744073709551615", fuelUnits, 1<<64 - 1, nil},
		{"64MiB", byteUnits, 64 << 20, nil},
		{"64M", byteUnits, 64 << 20, nil},
		{"64MB", byteUnits, 64e6, nil},
		{"0.5KiB", byteUnits, 512, nil},
		{"12B", byteUnits, 12, nil},
		{"12", byteUnits, 12, nil},
		{"", fuelUnits, 0, ErrNotWhole},
		{"0", fuelUnits, 0, ErrNotWhole},
		{"-1", fuelUnits, 0, ErrNotWhole},
		{"M", fuelUnits, 0, ErrNotWhole},
		{"1.5", fuelUnits, 0, ErrNotWhole},
		{"0x10", fuelUnits, 0, ErrNotWhole},
		{"inf", fuelUnits, 0, ErrNotWhole},
		{"NaN", fuelUnits, 0, ErrNotWhole},
		{"1e", fuelUnits, 0, ErrNotWhole},
		{"1e-9", fuelUnits, 0, ErrNotWhole},
		{"1e19", fuelUnits, 0, ErrTooLarge},
		{"1e999999999", fuelUnits, 0, ErrTooLarge},
		{"99999999999999999999", fuelUnits, 0, ErrTooLarge},
		{"18446744073709551615k", fuelUnits, 0, ErrTooLarge},
	}
	for _, tt := range tests {
		got, err := parse(tt.in, tt.units())
		if got != tt.want || !errors.Is(err, tt.err) {
			t.Errorf("parse(%q) = %d, %v, want %d, %v", tt.in, got, err, tt.want, tt.err)
		}
	}
}

// FuzzParse: whatever is formatted is read back as the same.
func FuzzParse(f *testing.F) {
	f.Add("1e9", uint64(64<<20))
	f.Add("99T", uint64(1))
	f.Fuzz(func(t *testing.T, s string, n uint64) {
		for _, units := range [][]unit{fuelUnits(), byteUnits()} {
			if n, err := parse(s, units); err == nil && n == 0 {
				t.Errorf("parse(%q) is 0 without an error", s)
			}
		}
		if n == 0 {
			return
		}
		if got, err := parse(FormatFuel(n), fuelUnits()); got != n || err != nil {
			t.Errorf("%d became %q became %d, %v", n, FormatFuel(n), got, err)
		}
	})
}

func TestDuration(t *testing.T) {
	for in, want := range map[string]time.Duration{
		"30s": 30 * time.Second, "30": 30 * time.Second, "1.5": 1500 * time.Millisecond,
		"500ms": 500 * time.Millisecond, "2h": 2 * time.Hour,
		"": 0, "0": 0, "-1s": 0, "soon": 0, "30 parsecs": 0,
	} {
		if got, err := ParseDuration(in); got != want || (err == nil) != (want > 0) {
			t.Errorf("%q is %s, %v, want %s", in, got, err, want)
		}
	}
	for in, want := range map[time.Duration]string{
		time.Hour: "1h", 90 * time.Minute: "1h30m", 10 * time.Minute: "10m", 90 * time.Second: "1m30s", 30 * time.Second: "30s", 300 * time.Millisecond: "300ms",
	} {
		if got := FormatDuration(in); got != want {
			t.Errorf("FormatDuration(%d) = %q, want %q", in, got, want)
		}
	}
}
