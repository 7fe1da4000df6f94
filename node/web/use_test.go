package web_test

import (
	"context"
	"path/filepath"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// testKeys goes round by keys alone.
func testKeys(t *testing.T, b *browser) {
	b.visit(t, "/")
	b.do(t, chromedp.KeyEvent("?"))
	b.until(t, `document.querySelector("dialog").open && document.querySelector("dialog").innerText.includes("submit a job")`)
	b.do(t, chromedp.KeyEvent(kb.Escape))
	b.until(t, `!document.querySelector("dialog").open`)
	b.do(t, chromedp.KeyEvent("j"))
	b.until(t, `location.hash === "#/jobs" && document.querySelector("[type=search]") && document.querySelectorAll("tbody tr").length > 3`)
	// The browser's own key event would be followed by a character, whatever the page
	// does with the key.
	eval[bool](t, b, `document.body.dispatchEvent(new KeyboardEvent("keydown", { key: "/", bubbles: true, cancelable: true })) || true`)
	b.until(t, `document.activeElement.type === "search"`)
	b.do(t, chromedp.KeyEvent("render"))
	b.until(t, `document.activeElement.value === "render"`)
	b.until(t, `document.querySelectorAll("tbody tr").length === 1`)
	b.do(t, chromedp.KeyEvent(kb.Tab), chromedp.KeyEvent(kb.Tab), chromedp.KeyEvent(kb.Enter))
	b.until(t, `document.activeElement.innerText === "active" && document.activeElement.getAttribute("aria-pressed") === "true"`)
	b.until(t, `document.querySelector(".empty")`)
}

// testMillion looks into an array of a million tasks, down to one of them.
func testMillion(t *testing.T, b *browser, g *grid) {
	b.visit(t, "/jobs/"+g.waiting)
	b.until(t, `document.querySelector("canvas")?.height > 0 && document.querySelector(".map-words").innerText.includes("tasks, and opens")`)
	if n := eval[int](t, b, `document.querySelectorAll("*").length`); n > 2000 {
		t.Errorf("the page has %d elements", n)
	}
	words := func() string { return eval[string](t, b, `document.querySelector(".map-words").innerText`) }
	whole := words()
	eval[bool](t, b, `document.querySelector("canvas").focus(), true`)
	b.do(t, chromedp.KeyEvent(kb.End))
	b.until(t, `document.querySelector(".map-words").innerText.includes("queued")`)
	b.do(t, chromedp.KeyEvent(kb.Enter))
	b.until(t, `document.querySelector(".map-words").innerText.includes("a cell is a task")`)
	b.do(t, chromedp.KeyEvent(kb.End), chromedp.KeyEvent(kb.Enter))
	b.until(t, `document.querySelector("tr.chosen")?.innerText.replaceAll("\u202f", "").includes("task 999999")`)
	eval[bool](t, b, `document.querySelector("canvas").focus(), true`)
	b.do(t, chromedp.KeyEvent(kb.Backspace))
	b.until(t, `document.querySelector(".map-bar button").hidden && document.querySelector(".map-words").innerText.includes("tasks, and opens")`)
	if again := words(); again != whole {
		t.Errorf("zoomed out: %q, want %q", again, whole)
	}
}

// testLive sees what becomes of a job without asking, and stops one.
func testLive(t *testing.T, b *browser, g *grid) {
	b.visit(t, "/jobs/"+g.running)
	b.until(t, `document.querySelector("h1 .st-active") && document.querySelector("tbody button")`)
	testLogs(t, b)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if _, err := g.client.Cancel(ctx, g.running); err != nil {
		t.Fatal(err)
	}
	b.until(t, `document.querySelector("h1 .st-killed")`)
	b.visit(t, "/jobs/"+g.waiting)
	b.until(t, `document.querySelector("button.danger")`)
	b.do(t, chromedp.Click(chromedp.CSS("button.danger")), chromedp.Click(chromedp.CSS("dialog button.primary")))
	b.until(t, `!document.querySelector("dialog").open && document.querySelector("h1 .st-killed")`)
	b.visit(t, "/orders/"+g.order)
	b.until(t, `document.querySelector("h1 .st-active")`)
	b.do(t, chromedp.Click(chromedp.CSS(".head .buttons button")), chromedp.Click(chromedp.CSS("dialog button.primary")))
	b.until(t, `!document.querySelector("dialog").open && document.querySelector("h1 .st-paused")`)
}

// testLogs sees what a task has put out while it runs: it sleeps for an hour. A connection
// that is cut is opened again, and shows nothing twice.
func testLogs(t *testing.T, b *browser) {
	const shown = `document.querySelector("pre[role=log]")?.innerText.trim() === "start"`
	b.do(t, chromedp.Click(chromedp.CSS("tbody button")))
	b.until(t, shown)
	again := `(() => {
		const real = window.EventSource;
		window.opened = 0;
		window.EventSource = function (url) { window.opened += url.includes("/logs?") && !url.endsWith("after="); return new real(url); };
		Object.defineProperty(document, "hidden", { configurable: true, value: false });
		document.dispatchEvent(new Event("visibilitychange"));
		return true;
	})()`
	eval[bool](t, b, again)
	b.until(t, `window.opened === 1 && `+shown)
}

// testSubmit brings a module and submits a job with it; what is no module, and a form
// with mistakes, are told.
func testSubmit(t *testing.T, b *browser) {
	b.visit(t, "/submit")
	eval[bool](t, b, `(() => {
		const transfer = new DataTransfer();
		transfer.items.add(new File(["<b>no module</b>"], "<i>x</i>.wasm"));
		document.querySelector(".drop").dispatchEvent(new DragEvent("drop", { dataTransfer: transfer, bubbles: true, cancelable: true }));
		return true;
	})()`)
	b.until(t, `document.querySelector("[role=alert]")?.innerText.includes("module")`)
	module, err := filepath.Abs(guest("hello"))
	if err != nil {
		t.Fatal(err)
	}
	b.do(t, chromedp.SetUploadFiles(chromedp.CSS("input[type=file]"), []string{module}))
	b.until(t, `document.getElementById("f-name")?.value === "hello"`)
	b.do(t, chromedp.SendKeys(chromedp.CSS(`[id="f-limits.memory"]`), "lots"))
	b.until(t, `document.getElementById("f-limits.memory").getAttribute("aria-invalid") === "true"`)
	b.do(t, chromedp.KeyEvent(kb.Backspace), chromedp.KeyEvent(kb.Backspace), chromedp.KeyEvent(kb.Backspace), chromedp.KeyEvent(kb.Backspace), chromedp.KeyEvent("32MiB"))
	b.until(t, `document.querySelector(".outlook")?.innerText.includes("1 task would start")`)
	b.do(t, chromedp.SendKeys(chromedp.ID("f-count"), "2"), chromedp.SendKeys(chromedp.ID("f-args"), "--part\n{index}"))
	b.until(t, `document.querySelector(".outlook")?.innerText.includes("wait")`)
	b.do(t, chromedp.Click(chromedp.CSS("form button.primary")))
	b.until(t, `location.hash.startsWith("#/jobs/") && document.querySelector("h1 .st-succeeded") && document.querySelectorAll("pre").length === 21`)
}

// testLost says so when the node does not answer, and goes on when it does.
func testLost(t *testing.T, b *browser) {
	b.visit(t, "/")
	eval[bool](t, b, `(window.real = window.fetch, window.fetch = () => Promise.reject(new TypeError("gone")), true)`)
	b.until(t, `!document.getElementById("trouble").hidden && document.querySelector(".nodes li")`)
	eval[bool](t, b, `(window.fetch = window.real, true)`)
	b.until(t, `document.getElementById("trouble").hidden`)
}
