package steward

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/dugnad/dugnad/node/prefs"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds every wait for something that must happen.
const patience = 2 * time.Minute

// fake is a machine, its clock and a node's hands.
type fake struct {
	mu     sync.Mutex
	sensed prefs.Sensed
	failed error
	now    time.Time
	memory uint64
	done   []string
	// acted is closed, and replaced, when something was done or looked at.
	acted chan struct{}
}

func newFake() *fake {
	return &fake{now: time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC), acted: make(chan struct{})}
}

func (f *fake) note(format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.done = append(f.done, fmt.Sprintf(format, args...))
	f.signal()
}

func (f *fake) signal() {
	close(f.acted)
	f.acted = make(chan struct{})
}

// looks returns when something is so, which is looked at whenever the steward looks.
func (f *fake) looks(t *testing.T, so func() bool) {
	t.Helper()
	end := time.After(patience)
	for {
		f.mu.Lock()
		acted := f.acted
		f.mu.Unlock()
		if so() {
			return
		}
		select {
		case <-acted:
		case <-end:
			t.Fatal("it has not come to be so")
		}
	}
}

func (f *fake) set(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
}

func (f *fake) Sense(bool, bool) (prefs.Sensed, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.signal()
	return f.sensed, f.failed
}

func (f *fake) clock() time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.now
}

func (f *fake) SetShare(cores float64, frozen bool) { f.note("share %v frozen %v", cores, frozen) }
func (f *fake) HandBack()                           { f.note("hand back") }
func (f *fake) HandBackAll(context.Context) error   { f.note("hand back all"); return nil }
func (f *fake) Resume()                             { f.note("resume") }
func (f *fake) SetStore(disk uint64)                { f.note("store %d", disk) }
func (f *fake) SetBandwidth(down, up uint64)        { f.note("band %d %d", down, up) }
func (f *fake) Offer()                              { f.note("offer") }

func (f *fake) MemoryUsed() uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.memory
}

// await returns when the last things that were done are these.
func (f *fake) await(t *testing.T, want ...string) {
	t.Helper()
	end := time.After(patience)
	for {
		f.mu.Lock()
		done, acted := append([]string(nil), f.done...), f.acted
		f.mu.Unlock()
		if len(done) >= len(want) && strings.Join(done[len(done)-len(want):], "; ") == strings.Join(want, "; ") {
			return
		}
		select {
		case <-acted:
		case <-end:
			t.Fatalf("done %q, want last %q", done, want)
		}
	}
}

// serve runs a steward on a folder with preferences.
func serve(t *testing.T, f *fake, dir, text string) *Steward {
	t.Helper()
	if text != "" {
		put(t, dir, text)
	}
	s, err := Open(Config{Dir: dir, Sensor: f, Now: f.clock, Registerer: prometheus.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { s.Run(ctx, f) })
	t.Cleanup(func() {
		cancel()
		running.Wait()
	})
	return s
}

func put(t *testing.T, dir, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, prefs.FileName), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestIdle: guests are frozen when others use the machine, handed back after a while,
// and nothing is asked of the hands twice.
func TestIdle(t *testing.T) {
	t.Parallel()
	f := newFake()
	s := serve(t, f, t.TempDir(), "only_when_idle: true\nhand_back: 10s\ncores: 50%")
	f.await(t, "share 0.5 frozen false", "store 0", "band 0 0", "offer")
	if reason := s.Refuses("default", nil, func() time.Duration { return time.Hour }); reason != "" {
		t.Errorf("an idle machine refuses: %s", reason)
	}
	f.set(func() { f.sensed.OtherLoad = 0.83 })
	f.await(t, "share 0.5 frozen true", "hand back", "offer")
	if reason := s.Refuses("default", nil, nil); !strings.Contains(reason, "other programs use 83 %") {
		t.Errorf("a machine in use refuses with %q", reason)
	}
	f.set(func() { f.sensed.OtherLoad = 0.1 })
	f.await(t, "hand back", "offer", "share 0.5 frozen false", "resume", "offer")
	f.set(func() { f.sensed.OtherLoad = 0.5 })
	f.await(t, "share 0.5 frozen true", "hand back", "offer")
	f.set(func() { f.now = f.now.Add(10 * time.Second) })
	f.await(t, "offer", "hand back all")
	f.set(func() { f.sensed.OtherLoad = 0 })
	f.await(t, "hand back all", "share 0.5 frozen false", "resume", "offer")
	f.set(func() { f.failed = errNoSensor; f.sensed.LoadUnknown = true })
	f.await(t, "share 0.5 frozen true", "hand back", "offer")
	if got := s.State(); got.Sensors == "" || !strings.Contains(got.Withheld, "not known") {
		t.Errorf("without a sensor the state is %+v", got)
	}
}

// TestTell: the operator's word counts at once, over a restart, and before what the
// preferences say; stop hands back what runs.
func TestTell(t *testing.T) {
	t.Parallel()
	f, dir := newFake(), t.TempDir()
	s := serve(t, f, dir, "")
	f.await(t, "share -1 frozen false", "store 0", "band 0 0", "offer")
	if err := s.Tell(WillPause); err != nil || s.State().Withheld == "" {
		t.Fatal(err, s.State().Withheld)
	}
	f.await(t, "share -1 frozen true", "hand back", "offer")
	again, err := Open(Config{Dir: dir, Sensor: f, Now: f.clock})
	if err != nil || again.State().Will != WillPause || again.Refuses("default", nil, nil) == "" {
		t.Errorf("after a restart the node is told to %q, %v", again.State().Will, err)
	}
	if err := s.Tell(WillStop); err != nil {
		t.Fatal(err)
	}
	f.await(t, "offer", "hand back all")
	if err := s.Tell("go"); err == nil || s.State().Will != WillStop {
		t.Errorf("it was told to go: %v, %q", err, s.State().Will)
	}
	if err := s.Tell(WillGive); err != nil || s.State().Withheld != "" {
		t.Fatal(err, s.State().Withheld)
	}
	f.await(t, "share -1 frozen false", "resume", "offer")
	if again, err = Open(Config{Dir: dir, Sensor: f}); err != nil || again.State().Will != WillGive {
		t.Errorf("after another restart the node is told to %q, %v", again.State().Will, err)
	}
}

// TestReload: a changed file counts, one with mistakes does not and its place is told,
// one that is gone is the default. A file that is broken from the first gives nothing.
func TestReload(t *testing.T) {
	t.Parallel()
	f, dir := newFake(), t.TempDir()
	s := serve(t, f, dir, "cores: 50%")
	f.await(t, "share 0.5 frozen false", "store 0", "band 0 0", "offer")
	put(t, dir, "cores: 25%\ndisk: 1GiB\ndownload: 2MiB\nupload: 1MiB")
	f.await(t, "share 0.25 frozen false", "store 1073741824", "band 2097152 1048576", "offer")
	put(t, dir, "cores: 10%\nfule: 3")
	f.looks(t, func() bool { return s.State().Problem != "" })
	if got := s.State(); got.Problem != "line 2, column 1: fule: is not known: did you mean fuel?" || got.Preferences.Cores != 0.25 {
		t.Errorf("with mistakes: %q, %v cores", got.Problem, got.Preferences.Cores)
	}
	if err := s.Set([]byte("fule: 3")); err == nil {
		t.Error("mistakes were put in force")
	}
	if err := s.Set([]byte("fuel: 1G")); err != nil || s.State().Problem != "" {
		t.Errorf("%v, %q", err, s.State().Problem)
	}
	// A quarter of the fuel of a core of which nothing is known.
	f.await(t, "store 1073741824", "band 2097152 1048576", "offer", "store 0", "band 0 0", "offer")
	s.SetRate(2e9)
	f.await(t, "share 0.5 frozen false", "offer")
	if err := os.Remove(s.Path()); err != nil {
		t.Fatal(err)
	}
	f.await(t, "share -1 frozen false", "offer")

	broken := newFake()
	s = serve(t, broken, t.TempDir(), "fule: 3")
	broken.await(t, "share -1 frozen true", "store 0", "band 0 0", "hand back", "offer")
	if got := s.State(); !strings.Contains(got.Withheld, "have mistakes") {
		t.Errorf("a file that is broken from the first: %+v", got)
	}
}

// TestReloadNow: what Reload finds is on the log, whatever the file looks like from
// outside, and a file with mistakes is told each time.
func TestReloadNow(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	put(t, dir, "cores: 50%\ndisk: 1GiB")
	var log bytes.Buffer
	s, err := Open(Config{Dir: dir, Sensor: newFake(), Log: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(s.Path())
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct{ text, want string }{
		{"cores: 50%\ndisk: 1GiB", `"preferences are as they were"`},
		{"cores: 25%\ndisk: 1GiB", `"preferences are in force" file=` + s.Path() + ` changed="cores: 25% instead of 50%"`},
		{"upload: 2MiB", `changed="cores: not set any more, was 25%; disk: not set any more, was 1GiB; upload: 2MiB"`},
		{"upload: 2MiB\nfule: 3", `"preferences have mistakes, those before stay in force" file=` + s.Path() + ` err="line 2, column 1: fule: is not known`},
		{"upload: 2MiB\nfule: 3", `"preferences have mistakes still, those before stay in force" file=` + s.Path() + ` err="line 2, column 1`},
		{"upload: 2MiB\n", `"preferences are in force" file=` + s.Path() + ` changed=nothing`},
	} {
		log.Reset()
		put(t, dir, step.text)
		// As one that was put back with the time that it had.
		if err := os.Chtimes(s.Path(), info.ModTime(), info.ModTime().Add(-time.Hour)); err != nil {
			t.Fatal(err)
		}
		err := s.Reload()
		if broken := strings.Contains(step.text, "fule"); errors.Is(err, ErrMistakes) != broken || broken != strings.Contains(fmt.Sprint(err), "line 2, column 1") {
			t.Errorf("%q: %v", step.text, err)
		}
		if !strings.Contains(log.String(), step.want) || strings.Count(log.String(), "\n") != 1 {
			t.Errorf("%q: the log says\n%swant %s", step.text, log.String(), step.want)
		}
	}
	if rate := s.State().Preferences.UploadRate; rate != 2<<20 {
		t.Errorf("%d bytes a second", rate)
	}
}

// TestTimes: what could last into power-off hours is refused, and when they come what
// runs is handed back at once.
func TestTimes(t *testing.T) {
	t.Parallel()
	f := newFake()
	s := serve(t, f, t.TempDir(), "timezone: UTC\npower_off: {every_day: 13:00-14:00}\ntenants: {deny: [bad]}\nlabels: {deny: [team=b]}")
	f.await(t, "store 0", "band 0 0", "offer")
	for longest, refused := range map[time.Duration]bool{time.Hour: false, time.Hour + 1: true} {
		if reason := s.Refuses("default", nil, func() time.Duration { return longest }); (reason != "") != refused {
			t.Errorf("a task of %s: %q", longest, reason)
		}
	}
	if reason := s.Refuses("bad", nil, func() time.Duration { return 0 }); reason != "tenant bad is denied" {
		t.Errorf("a tenant that is denied: %q", reason)
	}
	short := func() time.Duration { return 0 }
	if reason := s.Refuses("default", []string{"team=b"}, short); reason != "jobs with the label team=b are denied" || s.Refuses("default", []string{"team=a"}, short) != "" {
		t.Errorf("a label that is denied: %q", reason)
	}
	wanted := s.State().Wanted
	f.set(func() { f.now = f.now.Add(time.Hour) })
	f.await(t, "share -1 frozen true", "hand back", "offer", "hand back all")
	if now := s.State().Wanted; !now.After(wanted) {
		t.Errorf("what is wanted is as it was at %v", now)
	}
	f.set(func() { f.now = f.now.Add(time.Hour) })
	f.await(t, "share -1 frozen false", "resume", "offer")
}

// TestMemory: guests that have more than they may are handed back, and others taken.
func TestMemory(t *testing.T) {
	t.Parallel()
	f := newFake()
	f.memory = 3 << 30
	s := serve(t, f, t.TempDir(), "memory: 4GiB\nmemory_in_use: 2GiB")
	f.await(t, "store 0", "band 0 0", "offer")
	f.set(func() { f.sensed.OtherLoad = 0.5 })
	f.await(t, "hand back all", "resume")
	f.set(func() { f.memory = 1 << 30 })
	if got := s.State().Grant.MemoryBytes; got != 2<<30 {
		t.Errorf("%d bytes while in use", got)
	}
}

// TestOnBattery: what Linux tells of power supplies.
func TestOnBattery(t *testing.T) {
	for name, tt := range map[string]struct {
		files map[string]string
		want  bool
	}{
		"none":      {nil, false},
		"battery":   {map[string]string{"BAT0/type": "Battery\n", "BAT0/status": "Discharging\n"}, true},
		"charging":  {map[string]string{"BAT0/type": "Battery", "BAT0/status": "Charging"}, false},
		"plugged":   {map[string]string{"AC/type": "Mains", "AC/online": "1", "BAT0/type": "Battery", "BAT0/status": "Discharging"}, false},
		"unplugged": {map[string]string{"AC/type": "Mains", "AC/online": "0", "BAT0/type": "Battery", "BAT0/status": "Discharging"}, true},
		"two":       {map[string]string{"BAT0/type": "Battery", "BAT0/status": "Full", "BAT1/type": "Battery", "BAT1/status": "Discharging"}, true},
		"mouse":     {map[string]string{"hid/type": "Battery", "hid/scope": "Device", "hid/status": "Discharging"}, false},
	} {
		dir := t.TempDir()
		write(t, dir, tt.files)
		m := &Machine{Power: dir}
		if s, err := m.Sense(false, true); err != nil || s.OnBattery != tt.want {
			t.Errorf("%s: %v, %v", name, s.OnBattery, err)
		}
	}
	if s, err := (&Machine{Power: "/does/not/exist"}).Sense(false, true); err != nil || s.OnBattery {
		t.Errorf("a machine without power supplies: %v, %v", s, err)
	}
}

func write(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// TestLoad: the load of others is what all have used less what this process's children
// have, and a file that says something else is an error.
func TestLoad(t *testing.T) {
	dir := t.TempDir()
	workers := time.Duration(0)
	m := &Machine{Proc: dir, Workers: func() time.Duration { return workers }}
	write(t, dir, map[string]string{"stat": "cpu  0 0 0 0 0 0 0 0 0 0\n"})
	if s, err := m.Sense(true, false); err != nil || s.OtherLoad != 0 || s.LoadUnknown {
		t.Fatalf("%+v, %v", s, err)
	}
	// Of 10,000 s the guests have used 2,000 and others 3,000; that this test itself
	// has used a minute meanwhile can be left out of account.
	workers = 2000 * time.Second
	write(t, dir, map[string]string{"stat": "cpu  100000 200000 100000 400000 100000 50000 50000 0 0 0\n"})
	if s, err := m.Sense(true, false); err != nil || s.OtherLoad < 0.29 || s.OtherLoad > 0.31 {
		t.Fatalf("%+v, %v", s, err)
	}
	for _, text := range []string{"", "intr 1 2 3", "cpu 1 2 3", "cpu  a b c d e f g h"} {
		write(t, dir, map[string]string{"stat": text})
		if s, err := m.Sense(true, false); err == nil || !s.LoadUnknown {
			t.Errorf("%q: %+v, %v", text, s, err)
		}
	}
	if _, err := NewMachine(nil).Sense(true, true); err != nil {
		t.Errorf("this machine: %v", err)
	}
}
