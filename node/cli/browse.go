package cli

import (
	"context"
	"fmt"
	"html"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
)

// browseFile is where the page is, in the data folder, that leads a browser to an
// address. The code in an address is a secret for a minute, and anybody on a machine may
// read the arguments of all programs: the browser is given the name of a file.
const browseFile = "open.html"

// browseText is that page; an address, quoted for HTML, goes there twice.
const browseText = `<!doctype html>
<meta charset="utf-8">
<meta name="referrer" content="no-referrer">
<meta http-equiv="refresh" content="0; url=%[1]s">
<title>Dugnad</title>
<p><a href="%[1]s">To the pages of the node</a></p>
`

// browse has this machine's browser open an address that was printed already, and says
// so where there is none.
func (a *app) browse(ctx context.Context, address string) error {
	program := browserProgram(runtime.GOOS, a.Environ)
	if program == "" {
		a.say("there is no display here: open the address yourself")
		return nil
	}
	path, err := exec.LookPath(program)
	if err != nil {
		a.say("%s is not installed: open the address yourself", program)
		return nil //nolint:nilerr // the address was printed, and can be opened
	}
	dir, err := dataDir(a.dataDir, a.Environ)
	if err != nil {
		return err
	}
	if err := makeDataDir(dir); err != nil {
		return err
	}
	file := filepath.Join(dir, browseFile)
	if err := replaceFile(file, fmt.Appendf(nil, browseText, html.EscapeString(address))); err != nil {
		return fmt.Errorf("writing what the browser opens: %w", err)
	}
	// It may be the browser itself, and outlives this program and its terminal.
	cmd := exec.CommandContext(context.WithoutCancel(ctx), path, file)
	cmd.Env, cmd.SysProcAttr = a.Environ, &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("starting the browser: %w", err)
	}
	return cmd.Process.Release()
}

// replaceFile writes a file that only its owner may read, whoever could read the one
// before.
func replaceFile(name string, text []byte) error {
	next := name + ".new"
	if err := os.Remove(next); err != nil && !os.IsNotExist(err) {
		return err
	}
	if err := os.WriteFile(next, text, 0o600); err != nil {
		return err
	}
	return os.Rename(next, name)
}

// browserProgram names the program that opens addresses on a system; empty is that
// nobody could see what it opens.
func browserProgram(system string, environ []string) string {
	switch {
	case system == "darwin":
		return "open"
	case lookup(environ, "DISPLAY") == "" && lookup(environ, "WAYLAND_DISPLAY") == "":
		return ""
	}
	return "xdg-open"
}
