package main

import (
	"fmt"
	"os"
	"strings"
	"time"
)

const (
	// barWidth is the width of the bar in characters, barParts in how many lines
	// the progress is told where there is no terminal.
	barWidth = 40
	barParts = 5
)

// bar shows the progress of a job: on a terminal as a bar, elsewhere in lines.
type bar struct {
	total    int
	terminal bool
	began    time.Time
	// told is how many parts were told in lines, open says that the terminal's last
	// line is the bar.
	told int
	open bool
}

func newBar(total int) bar {
	info, err := os.Stdout.Stat()
	return bar{total: total, terminal: err == nil && info.Mode()&os.ModeCharDevice != 0, began: time.Now()}
}

// show tells that so many are done.
func (b *bar) show(done uint32) {
	n := int(done)
	rate := float64(n) / max(time.Since(b.began).Seconds(), 1e-3)
	if b.terminal {
		full := barWidth * n / b.total
		fmt.Printf("\r           [%s%s] %d of %d tasks, %.0f/s ", strings.Repeat("#", full), strings.Repeat("-", barWidth-full), n, b.total, rate)
		b.open = true
		return
	}
	if parts := barParts * n / b.total; parts > b.told {
		b.told = parts
		fmt.Printf("           %d of %d tasks have ended, %.0f/s\n", n, b.total, rate)
	}
}

// end leaves the bar as it is: what follows is on the next line.
func (b *bar) end() {
	if b.open {
		fmt.Println()
		b.open = false
	}
}
