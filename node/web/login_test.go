package web_test

import (
	"context"
	"net/url"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/dugnad/dugnad/node/client"
)

// enter opens the page that a new code lets in to, and returns its address.
func (g *grid) enter(t *testing.T, b *browser) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	s, err := g.operator.OpenSession(ctx, false)
	if err != nil {
		t.Fatal(err)
	}
	at, err := url.Parse(s.Page)
	if err != nil || s.Page != g.locked+"/ui/" {
		t.Fatalf("the page is %q, want that of %s, %v", s.Page, g.locked, err)
	}
	address := client.BeginURL(at, s.Code)
	b.open(t, address)
	return address
}

// testLogin is let in to a node that wants tokens, and out again.
func testLogin(t *testing.T, b *browser, g *grid, axe string) {
	b.open(t, g.locked+"/ui/#/jobs")
	b.look(t, page{name: "login", shows: `document.querySelector("h1").innerText === "Log in" && document.querySelector("pre").innerText === "dugnad web --api " + location.origin`}, axe)
	address := g.enter(t, b)
	in := `document.querySelector(".nodes li") && document.querySelector("#who .name")?.innerText === "default"`
	b.look(t, page{name: "logged-in", shows: in}, axe)
	if cookie := eval[string](t, b, `document.cookie + location.hash`); cookie != "#/" {
		t.Errorf("scripts see %q", cookie)
	}
	b.open(t, address)
	b.until(t, `document.querySelector("main").innerText.includes("it was used")`)
	b.open(t, g.locked+"/ui/")
	b.until(t, in)
	b.do(t, chromedp.Click(chromedp.CSS("#who button")))
	b.until(t, `document.querySelector("h1")?.innerText === "Log in" && document.getElementById("who").hidden`)
}
