package placement

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/dugnad/dugnad/ledger"
	"github.com/google/go-cmp/cmp"
)

// figureFile is the figure of DESIGN.md.
const figureFile = "testdata/shares.svg"

// figureMinutes are between two points of the figure.
const figureMinutes = 6

// TestFigure draws what three tenants have of a grid in twelve hours: ada wants all of
// it from the beginning, ben from hour 2, cyd, of twice the weight, from hour 6 to 9.
// -rewrite writes the figure.
func TestFigure(t *testing.T) {
	w := newWorld(8, ledger.Resources{MemoryBytes: 32 << 30, FuelRate: 8e9, Slots: 16})
	// ada's tasks need more memory, ben's and cyd's more processor time.
	tasks := []ledger.Resources{{MemoryBytes: 4 << 30, FuelRate: 5e8, Slots: 1}, {MemoryBytes: 1 << 30, FuelRate: 1e9, Slots: 1}, {MemoryBytes: 2 << 30, FuelRate: 1e9, Slots: 1}}
	from, to := []int{0, 2 * 60, 6 * 60}, []int{12 * 60, 12 * 60, 9 * 60}
	for i, task := range tasks {
		p := w.add([]uint32{1, 1, 2}[i], task, 200*secondNanos, 0)
		p.spread = 200 * secondNanos
	}
	points := make([][]float64, len(tasks))
	for minute := range 12 * 60 {
		for i, p := range w.players {
			if p.want = 0; minute >= from[i] && minute < to[i] {
				p.want = plenty
			}
		}
		w.step(60 * secondNanos)
		for i, p := range w.players {
			if minute%figureMinutes == 0 {
				points[i] = append(points[i], 0)
			}
			points[i][minute/figureMinutes] += w.shareNow(p) / figureMinutes
		}
	}
	got := figure([]string{"ada", "ben", "cyd (weight 2)"}, points)
	if *rewrite {
		if err := os.WriteFile(figureFile, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(figureFile)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("the figure differs (-want +got), -rewrite accepts it:\n%s", diff)
	}
}

// figure draws shares over time as lines.
func figure(names []string, points [][]float64) string {
	const left, top, width, height = 44, 16, 600, 200
	colours := []string{"#0072b2", "#d55e00", "#009e73"}
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="12" fill="#808080">`+"\n", left+width+16, top+height+40)
	fmt.Fprintln(&b, "<title>Dominant shares of three tenants over twelve hours</title>")
	for percent := 0; percent <= 100; percent += 25 {
		y := top + height - height*percent/100
		fmt.Fprintf(&b, `<path d="M%d %dh%d" stroke="#808080" stroke-opacity=".3"/><text x="%d" y="%d" text-anchor="end">%d %%</text>`+"\n", left, y, width, left-6, y+4, percent)
	}
	for hour := 0; hour <= 12; hour += 2 {
		fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="middle">%d h</text>`+"\n", left+width*hour/12, top+height+16, hour)
	}
	for i, name := range names {
		fmt.Fprintf(&b, `<path fill="none" stroke="%s" stroke-width="2" d="`, colours[i])
		move, last := 'M', 0
		for k, share := range points[i] {
			y := top + height - int(share*height+0.5)
			if share == 0 && last == 0 {
				continue // not there
			}
			fmt.Fprintf(&b, "%c%d %d", move, left+width*k/len(points[i]), y)
			if move, last = 'L', 1; share == 0 {
				move, last = 'M', 0
			}
		}
		fmt.Fprintf(&b, `"/><text x="%d" y="%d" fill="%s">%s</text>`+"\n", left+200*i, top+height+34, colours[i], name)
	}
	b.WriteString("</svg>\n")
	return b.String()
}
