package web_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
)

// screenshots is where the pictures of all pages go.
const screenshots = "../../bin/screenshots"

// size is a window's.
type size struct {
	name          string
	width, height int64
}

var (
	desk  = size{"desk", 1280, 800}
	phone = size{"phone", 360, 740}
)

// browser is a tab of a headless Chromium.
type browser struct {
	ctx context.Context
	url string

	mu sync.Mutex
	// complaints are what the console has said, exceptions with it.
	complaints []string
}

func openBrowser(t *testing.T) *browser {
	t.Helper()
	if testing.Short() {
		t.Skip("what a browser shows takes a while: run without -short")
	}
	path := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if found, err := exec.LookPath(name); err == nil {
			path = found
			break
		}
	}
	if path == "" {
		t.Skip("no chromium here: apt-get install chromium")
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.WSURLReadTimeout(patience))
	if os.Getuid() == 0 {
		options = append(options, chromedp.NoSandbox)
	}
	allocator, stop := chromedp.NewExecAllocator(t.Context(), options...)
	t.Cleanup(stop)
	ctx, end := chromedp.NewContext(allocator)
	t.Cleanup(end)
	b := &browser{ctx: ctx}
	if err := chromedp.Do(ctx); err != nil {
		t.Fatal(err)
	}
	hearing, deaf := context.WithCancel(ctx)
	var ended sync.WaitGroup
	ended.Go(func() { b.hear(hearing) })
	t.Cleanup(func() {
		deaf()
		ended.Wait()
	})
	return b
}

// hear keeps what the console says, until ctx ends: exceptions, and what the browser
// has stopped.
func (b *browser) hear(ctx context.Context) {
	for m, err := range chromedp.Console(ctx) {
		if err != nil {
			return
		}
		if m.Source == "network" {
			continue // A problem, which the page shows.
		}
		b.mu.Lock()
		b.complaints = append(b.complaints, string(m.Type)+": "+m.Text)
		b.mu.Unlock()
	}
}

// do runs steps.
func (b *browser) do(t *testing.T, steps ...chromedp.Action[chromedp.Void]) {
	t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	if err := chromedp.Do(ctx, steps...); err != nil {
		t.Fatal(err)
	}
}

// eval evaluates an expression, or waits for its promise.
func eval[T any](t *testing.T, b *browser, expression string) T {
	t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	v, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
	if err != nil {
		t.Fatalf("%s: %v", expression[:min(len(expression), 80)], err)
	}
	return v
}

// until waits until an expression is true.
func (b *browser) until(t *testing.T, expression string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	const look = `new Promise((done) => { const look = () => (%s) ? done(true) : setTimeout(look, 20); look(); })`
	for {
		_, err := chromedp.Run(ctx, chromedp.Evaluate[bool](fmt.Sprintf(look, expression), chromedp.EvalAwaitPromise))
		if err == nil {
			return
		}
		// A page that is loaded anew meanwhile is looked at anew.
		if ctx.Err() == nil && strings.Contains(err.Error(), "navigated") {
			continue
		}
		t.Fatalf("%s: %v; the page says %q", expression, err, eval[string](t, b, `document.activeElement.value + " in " + document.body.innerText.slice(0, 500)`))
	}
}

// visit opens a page anew and waits until it shows something.
func (b *browser) visit(t *testing.T, page string) {
	t.Helper()
	b.open(t, b.url+"/ui/#"+page)
}

// open is visit of any address.
func (b *browser) open(t *testing.T, address string) {
	t.Helper()
	b.do(t, chromedp.Navigate("about:blank"), chromedp.Navigate(address))
	b.until(t, `document.querySelector("main[data-ready]")`)
}

// window changes the window's size and theme.
func (b *browser) window(t *testing.T, s size, theme string) {
	t.Helper()
	b.do(t, chromedp.EmulateViewport(s.width, s.height), chromedp.Func(func(ctx context.Context, _ *chromedp.Target) error {
		_, err := chromedp.Call(ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{
			{Name: "prefers-color-scheme", Value: theme}, {Name: "prefers-reduced-motion", Value: "reduce"},
		}})
		return err
	}))
}

// picture keeps what the page looks like, all of it.
func (b *browser) picture(t *testing.T, name string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	png, err := chromedp.Run(ctx, chromedp.FullScreenshot(100))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(screenshots, 0o750); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(screenshots, name+".png"), png, 0o600); err != nil {
		t.Fatal(err)
	}
}

// violation is what axe finds.
type violation struct {
	ID, Help string
	Nodes    []struct{ HTML, FailureSummary string }
}

// axe checks the page for what keeps people out; of what is there many times it looks
// at the first few.
func (b *browser) axe(t *testing.T, script, where string) {
	t.Helper()
	if !eval[bool](t, b, `"axe" in window`) {
		eval[bool](t, b, script+";true")
	}
	var found []violation
	text := eval[string](t, b, `axe.run({exclude: ["tbody tr:nth-child(n+6)", ".lines > :nth-child(n+9)"]}, {resultTypes: ["violations"], preload: false}).then((r) => JSON.stringify(r.violations))`)
	if err := json.Unmarshal([]byte(text), &found); err != nil {
		t.Fatal(err)
	}
	for _, v := range found {
		for _, n := range v.Nodes {
			t.Errorf("%s: %s: %s\n%s\n%s", where, v.ID, v.Help, n.HTML, n.FailureSummary)
		}
	}
}

// browsers is how many look at the grid at the same time.
const browsers = 2

// TestBrowser opens one grid for all that is looked at and done. What changes nothing
// that others look at goes on side by side.
func TestBrowser(t *testing.T) {
	t.Parallel()
	free := make(chan *browser, browsers)
	for range browsers {
		free <- openBrowser(t)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	g := openGrid(ctx, t)
	script, err := os.ReadFile("testdata/axe.min.js")
	if err != nil {
		t.Fatal(err)
	}
	with := func(f func(*testing.T, *browser)) func(*testing.T) {
		return func(t *testing.T) {
			t.Parallel()
			b := <-free
			defer func() { free <- b }()
			b.url = g.url
			b.window(t, desk, "light")
			f(t, b)
			b.clean(t)
		}
	}
	t.Run("look", func(t *testing.T) {
		for _, p := range pages(g) {
			t.Run(p.name, with(func(t *testing.T, b *browser) { testPage(t, b, p, string(script)) }))
		}
		t.Run("keys", with(testKeys))
		t.Run("million", with(func(t *testing.T, b *browser) { testMillion(t, b, g) }))
		t.Run("lost", with(testLost))
		t.Run("hostile answers", with(testHostile))
		t.Run("login", with(func(t *testing.T, b *browser) { testLogin(t, b, g, string(script)) }))
	})
	t.Run("change", func(t *testing.T) {
		t.Run("live", with(func(t *testing.T, b *browser) { testLive(t, b, g) }))
		t.Run("submit", with(testSubmit))
	})
}

// page is one to look at, and what is true once it shows all.
type page struct{ name, path, shows string }

func pages(g *grid) []page {
	return []page{
		{"grid", "/", `document.querySelectorAll(".nodes li").length === 2 && document.querySelector(".area .line").getAttribute("d").includes("L")`},
		{"jobs", "/jobs", `document.querySelectorAll("tbody tr").length === 5`},
		{"array", "/jobs/" + g.array, `document.querySelector("canvas").height > 0 && document.querySelector("pre")?.innerText.includes("hello")`},
		{"failed", "/jobs/" + g.failed, `document.querySelector(".why.failed")`},
		{"waiting", "/jobs/" + g.waiting, `document.querySelector(".reasons") && document.querySelector(".map-words").innerText.includes("a cell is")`},
		{"hostile", "/jobs/" + g.hostile, `document.querySelector("pre")?.innerText.includes("\\x1b[31mred") && document.querySelector("h1").innerText.includes("<script>window.pwned=1</script>‹202e›gpj")`},
		{"running", "/jobs/" + g.running, `document.querySelector(".timeline")`},
		{"node", "/nodes/" + g.node, `document.querySelectorAll("tbody tr").length > 0 && document.querySelector(".area .line").getAttribute("d").includes("L")`},
		{"modules", "/modules", `document.querySelectorAll("tbody tr").length === 4`},
		{"module", "/modules/" + g.module, `document.querySelector(".sizes")`},
		{"orders", "/orders", `document.querySelectorAll("tbody tr").length === 1 && document.querySelector("tbody").innerText.includes("<script>")`},
		{"order", "/orders/" + g.order, `document.querySelector(".lead") && document.querySelector("h1").innerText.includes("<script>window.pwned=1</script>‹202e›gpj")`},
		{"tenant", "/tenant", tenantShows},
		{"submit", "/submit?module=" + g.module, `document.querySelector(".outlook")`},
	}
}

// tenantShows is true when the tenant's shares are drawn from a sample of while its job
// has slots, in words and in the table too, and its usage by day.
const tenantShows = `(() => {
	const now = document.getElementById("moment")?.getAttribute("aria-valuetext").match(/: (\d+)\u00a0% of the grid/);
	const line = document.querySelector("#shares ~ .plot .line-own")?.getAttribute("d");
	const row = document.querySelector("#shares ~ details tbody tr");
	return Number(now?.[1]) > 0 && /^M.*H/.test(line) && row.children[1].textContent === now[1] + "\u00a0%" &&
		document.querySelector("#shares ~ p").innerText.includes("has samples since") && document.querySelectorAll(".columns").length === 2 && document.querySelector("#days ~ .scroll tbody tr");
})()`

// testPage looks at a page as people do who see well or badly, by day at a desk and by
// night on a phone.
func testPage(t *testing.T, b *browser, p page, axe string) {
	b.visit(t, p.path)
	b.look(t, p, axe)
}

// look waits until a page shows all, and looks at it.
func (b *browser) look(t *testing.T, p page, axe string) {
	t.Helper()
	b.until(t, p.shows)
	if markup := eval[int](t, b, `document.querySelectorAll("main img, main script, pre *").length`); markup > 0 {
		t.Errorf("%d elements come from the grid", markup)
	}
	for _, w := range []struct {
		size  size
		theme string
	}{{desk, "light"}, {phone, "dark"}} {
		name := p.name + "-" + w.theme + "-" + w.size.name
		b.window(t, w.size, w.theme)
		if width := eval[int64](t, b, `document.scrollingElement.scrollWidth`); width > w.size.width {
			t.Errorf("%s: is %d wide", name, width)
		}
		b.picture(t, name)
		b.axe(t, axe, name)
	}
}

// clean checks that nothing from the grid became a part of a page, and that no page
// has complained.
func (b *browser) clean(t *testing.T) {
	t.Helper()
	if eval[bool](t, b, `"pwned" in window`) {
		t.Error("what came from the grid was run as a script")
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.complaints) > 0 {
		t.Errorf("the console says: %s", strings.Join(b.complaints, "\n"))
	}
}
