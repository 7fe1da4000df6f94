package calibration

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/dugnad/dugnad/runtime/worker"
)

// TestMain makes the test binary the worker process too.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == worker.ChildCommand {
		os.Exit(worker.Main(context.Background()))
	}
	os.Exit(m.Run())
}

// fuelRateMin and fuelRateMax are what no machine is beyond, not even a busy one.
const (
	fuelRateMin = 1e6
	fuelRateMax = 1e12
)

// TestRate measures, remembers, and measures anew when what it remembers is no good.
func TestRate(t *testing.T) {
	c := Config{Dir: t.TempDir(), Engine: "engine 1"}
	path := filepath.Join(c.Dir, fileName)
	start := time.Now()
	rate, err := Rate(t.Context(), c)
	if err != nil || rate < fuelRateMin || rate > fuelRateMax {
		t.Fatal(rate, err)
	}
	t.Logf("%d fuel per second, %.3f ns per fuel, measured in %v", rate, 1e9/float64(rate), time.Since(start))
	left, err := os.ReadDir(c.Dir)
	if err != nil || len(left) != 1 || left[0].Name() != fileName {
		t.Errorf("left behind: %v, %v", left, err)
	}
	const remembered = 12345
	now := time.Now()
	good := measurement{kernelVersion, c.Engine, now, remembered}
	for _, tt := range []struct {
		name  string
		kept  measurement
		fresh bool
	}{
		{"good", good, true},
		{"nearly too old", measurement{kernelVersion, c.Engine, now.Add(-AgeMax + time.Hour), remembered}, true},
		{"too old", measurement{kernelVersion, c.Engine, now.Add(-AgeMax - time.Hour), remembered}, false},
		{"another engine", measurement{kernelVersion, "engine 2", now, remembered}, false},
		{"another kernel", measurement{kernelVersion + 1, c.Engine, now, remembered}, false},
		{"from the future", measurement{kernelVersion, c.Engine, now.Add(time.Hour), remembered}, false},
		{"nothing", measurement{kernelVersion, c.Engine, now, 0}, false},
	} {
		if err := store(path, tt.kept); err != nil {
			t.Fatal(err)
		}
		rate, err := Rate(t.Context(), c)
		if err != nil || (rate == remembered) != tt.fresh {
			t.Errorf("%s: %d, %v", tt.name, rate, err)
		}
	}
	if err := os.WriteFile(path, []byte("{damaged"), 0o600); err != nil {
		t.Fatal(err)
	}
	if rate, err := Rate(t.Context(), c); err != nil || rate < fuelRateMin {
		t.Errorf("after damage: %d, %v", rate, err)
	}
	if m, err := load(path); err != nil || m.Engine != c.Engine || m.FuelRate == 0 {
		t.Errorf("kept %+v, %v", m, err)
	}
}

// TestRateEnds: it can be cut short, and leaves nothing behind.
func TestRateEnds(t *testing.T) {
	c := Config{Dir: t.TempDir()}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if rate, err := Rate(ctx, c); !errors.Is(err, context.Canceled) {
		t.Errorf("cut short: %d, %v", rate, err)
	}
	if left, err := os.ReadDir(c.Dir); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	c.Executable = filepath.Join(c.Dir, "missing")
	if rate, err := Rate(t.Context(), c); err == nil {
		t.Errorf("without a program: %d", rate)
	}
}
