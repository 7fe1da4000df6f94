package web_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/dugnad/dugnad/node/api/apitest"
	"github.com/dugnad/dugnad/node/web"
)

// words returns all that a page says: what is seen, heard and pointed at, line by line.
const words = `[document.title, document.body.textContent, ...[...document.querySelectorAll("*")].flatMap((el) =>
	["title", "aria-label", "alt", "placeholder"].map((name) => el.getAttribute(name) || "")),
	...[...document.querySelectorAll("input, textarea, option")].map((el) => el.value)].join("\n")`

// testHostile looks at all pages of a node whose every text is hostile, and at those of
// one that refuses with such texts: they are shown, and do nothing.
func testHostile(t *testing.T, b *browser) {
	pages := []string{
		"/", "/jobs", "/jobs/" + apitest.Job, "/nodes/" + apitest.Node, "/modules", "/modules/" + apitest.Module, "/orders", "/orders/" + apitest.Order,
		"/tenant", "/tenants/" + url.PathEscape(apitest.Text), "/submit?module=" + apitest.Module,
	}
	for _, refuse := range []bool{false, true} {
		mux := http.NewServeMux()
		mux.Handle("/", web.Handler())
		mux.Handle("/v1/", apitest.Handler(refuse))
		server := httptest.NewServer(mux)
		defer server.Close()
		for _, path := range pages {
			// A page that is refused at once shows that and not itself.
			b.do(t, chromedp.Navigate("about:blank"), chromedp.Navigate(server.URL+"/ui/#"+path))
			// The list of modules has nobody's texts.
			shown := `(` + words + `).includes("` + apitest.Mark + `")`
			if path == "/modules" && !refuse {
				shown = `document.querySelector("main[data-ready] tbody tr")`
			}
			b.until(t, shown)
			text := eval[string](t, b, words)
			if r, acts := apitest.Acting(text); acts {
				at := strings.IndexRune(text, r)
				t.Errorf("%s, refused %v: says %U: %q", path, refuse, r, text[max(at-80, 0):min(at+20, len(text))])
			}
			if markup := eval[int](t, b, `document.querySelectorAll("main img, main script, pre *, [onerror], a[href^=javascript]").length`); markup > 0 {
				t.Errorf("%s, refused %v: %d elements come from the grid", path, refuse, markup)
			}
		}
		b.do(t, chromedp.Navigate("about:blank"))
	}
	app, err := os.ReadFile("ui/app.js")
	if err != nil {
		t.Fatal(err)
	}
	if routes := regexp.MustCompile(`(?m)^  \[/\^`).FindAll(app, -1); len(routes) != len(pages) {
		t.Errorf("there are pages at %d kinds of addresses, and %d are looked at", len(routes), len(pages))
	}
}
