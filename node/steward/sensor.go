package steward

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/dugnad/dugnad/node/prefs"
)

// errNoSensor is returned on machines that do not tell.
var errNoSensor = errors.New("this machine does not tell")

// clockTicks is what Linux counts in a second in /proc/stat.
const clockTicks = 100

// loadSpan is the time that the load is the mean of.
const loadSpan = time.Second

// calmTime is how long others have to use little before the machine counts as idle
// again.
const calmTime = 10 * time.Second

// Machine reads what Linux tells of this machine.
type Machine struct {
	// Proc and Power are where Linux tells it: /proc and /sys/class/power_supply.
	Proc, Power string
	// Workers is the processor time that running child processes have used; those that
	// have ended are known.
	Workers func() time.Duration

	// looks are of the last loadSpan.
	looks []look
	// busy are the loads that were found lately.
	busy []loadAt
}

// look is what was used until a time.
type look struct {
	at                time.Time
	total, used, ours time.Duration
}

type loadAt struct {
	at   time.Time
	load float64
}

// NewMachine returns the sensors of this machine.
func NewMachine(workers func() time.Duration) *Machine {
	return &Machine{Proc: "/proc", Power: "/sys/class/power_supply", Workers: workers}
}

// Sense implements Sensor. It is called by one goroutine.
func (m *Machine) Sense(load, battery bool) (s prefs.Sensed, err error) {
	if load {
		s.OtherLoad, err = m.load()
		s.LoadUnknown = err != nil
	} else {
		m.looks, m.busy = nil, nil
	}
	if battery {
		var failed error
		s.OnBattery, failed = m.onBattery()
		err = errors.Join(err, failed)
	}
	return s, err
}

// load is the most of all processors that other programs have used lately.
func (m *Machine) load() (float64, error) {
	now, err := m.look()
	if err != nil {
		return 0, err
	}
	m.looks = append(m.looks, now)
	for len(m.looks) > 2 && now.at.Sub(m.looks[1].at) >= loadSpan {
		m.looks = m.looks[1:]
	}
	first := m.looks[0]
	if all := now.total - first.total; all > 0 {
		others := (now.used - first.used) - (now.ours - first.ours)
		m.busy = append(m.busy, loadAt{now.at, min(max(float64(others)/float64(all), 0), 1)})
	}
	for len(m.busy) > 1 && now.at.Sub(m.busy[0].at) > calmTime {
		m.busy = m.busy[1:]
	}
	most := 0.0
	for _, b := range m.busy {
		most = max(most, b.load)
	}
	return most, nil
}

// look reads what all programs have used, and this one with its children.
func (m *Machine) look() (look, error) {
	f, err := os.Open(filepath.Join(m.Proc, "stat"))
	if err != nil {
		return look{}, fmt.Errorf("read load of processors: %w", errors.Join(errNoSensor, err))
	}
	defer f.Close()
	line := bufio.NewScanner(f)
	line.Scan()
	// user, nice, system, idle, iowait, irq, softirq, steal
	const columns, idle, iowait, steal = 8, 3, 4, 7
	fields := strings.Fields(line.Text())
	if len(fields) < 1+columns || fields[0] != "cpu" {
		return look{}, fmt.Errorf("read load of processors: %w: %q", errNoSensor, line.Text())
	}
	l := look{at: time.Now()}
	for i, field := range fields[1 : 1+columns] {
		ticks, err := strconv.ParseInt(field, 10, 62)
		if err != nil {
			return look{}, fmt.Errorf("read load of processors: %w", err)
		}
		spent := time.Duration(ticks) * time.Second / clockTicks
		l.total += spent
		if i != idle && i != iowait && i != steal {
			l.used += spent
		}
	}
	for _, who := range []int{unix.RUSAGE_SELF, unix.RUSAGE_CHILDREN} {
		var u unix.Rusage
		if err := unix.Getrusage(who, &u); err != nil {
			return look{}, fmt.Errorf("read own processor time: %w", err)
		}
		l.ours += time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	if m.Workers != nil {
		l.ours += m.Workers()
	}
	return l, nil
}

// onBattery reports whether a battery of this machine is discharging and nothing else
// gives power. A machine without batteries is on none.
func (m *Machine) onBattery() (bool, error) {
	supplies, err := os.ReadDir(m.Power)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, fmt.Errorf("read power supplies: %w", err)
	}
	discharging := false
	for _, s := range supplies {
		fact := func(name string) string {
			// What a supply does not tell it does not have.
			b, _ := os.ReadFile(filepath.Join(m.Power, s.Name(), name))
			return strings.TrimSpace(string(b))
		}
		switch kind := fact("type"); {
		case fact("scope") == "Device": // the battery of a mouse
		case kind == "Battery":
			discharging = discharging || fact("status") == "Discharging"
		case fact("online") == "1":
			return false, nil
		}
	}
	return discharging, nil
}
