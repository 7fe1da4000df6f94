package cli

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/dugnad/dugnad/node/api"
	"github.com/dugnad/dugnad/node/client"
	"github.com/dugnad/dugnad/node/control"
)

// prefsOf asks for a node's preferences until they are ok.
func prefsOf(t *testing.T, dir, what string, ok func(p control.Preferences) bool) control.Preferences {
	t.Helper()
	late := time.Now().Add(patience)
	for {
		r := newTestRun(t)
		var p control.Preferences
		if code := r.run("node", "prefs", "show", "--json", "--node-dir", dir); code != exitOK {
			t.Fatalf("exit code %d: %s", code, r.stderr.String())
		}
		if err := json.Unmarshal(r.stdout.Bytes(), &p); err != nil {
			t.Fatal(err)
		}
		if ok(p) {
			return p
		}
		if time.Now().After(late) {
			t.Fatalf("it has not come to be that %s: %+v", what, p)
		}
		time.Sleep(statusPause)
	}
}

// says runs a command on the node of a folder, and looks for a text in what it says.
func says(t *testing.T, dir string, code int, want string, args ...string) {
	t.Helper()
	r := newTestRun(t)
	got := r.run(append(args, "--node-dir", dir)...)
	if all := r.stdout.String() + r.stderr.String(); got != code || !strings.Contains(all, want) {
		t.Errorf("%s: exit code %d\n%s\nwant %d and %q", strings.Join(args, " "), got, all, code, want)
	}
}

// awaitBack waits until a job's tasks came back from a node that gives nothing.
func awaitBack(ctx context.Context, t *testing.T, c *client.Client, job string) {
	t.Helper()
	errBack := errors.New("back")
	if err := c.Watch(ctx, job, 0, func(e api.Event) error {
		if e.Kind == "requeued" && e.Cause == "drain" {
			return errBack
		}
		return nil
	}); !errors.Is(err, errBack) {
		t.Fatalf("job %s did not come back: %v", job, err)
	}
}

// told sends the node a signal, and waits until its log has said something.
func (n *nodeProcess) told(t *testing.T, s os.Signal, text string) {
	t.Helper()
	if err := n.cmd.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
	n.await(t, n.errOut, 0, text)
}

// TestOperator: an operator gives less, makes a mistake, pauses, stops and resumes the
// node on this machine, and each counts at once, while a task runs that does not end.
func TestOperator(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	home := newMachine(t, "home")
	n := home.up(t, "--slots", "1", "--name", "hut", "--stop-timeout", "1")
	asked := apiOf(t, n)
	self := n.status(t, "itself", func(control.Status) bool { return true }).Node
	file := prefsOf(t, n.dir, "it gives", func(p control.Preferences) bool { return p.Withheld == "" }).File
	if text, err := os.ReadFile(file); err != nil || !strings.Contains(string(text), "#cores: ") {
		t.Errorf("the file that was made at first: %q, %v", text, err)
	}
	less := filepath.Join(t.TempDir(), "less.yaml")
	if err := os.WriteFile(less, []byte("cores: 20%\nhand_back: 1h\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	says(t, n.dir, exitOK, "20 % of one", "node", "prefs", "set", less)
	job := submitModule(ctx, t, asked, "spin", "limits: {fuel: 100P}\n")
	awaitPlaced(ctx, t, asked, job, self)
	prefsOf(t, n.dir, "the task runs", func(p control.Preferences) bool { return p.Slots == 1 })

	// Straight into the file, as an editor does.
	if err := os.WriteFile(file, []byte("cores: 30%\ncoers: 40%\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	p := prefsOf(t, n.dir, "the mistake is told", func(p control.Preferences) bool { return p.Problem != "" })
	if p.Problem != "line 2, column 1: coers: is not known: did you mean cores?" || p.Cores != 0.2 {
		t.Errorf("with a mistake: %+v", p)
	}
	says(t, n.dir, exitOK, "did you mean cores?", "status")
	says(t, n.dir, exitFailure, "line 2, column 1", "node", "prefs", "set", file)
	if err := os.WriteFile(file, []byte("cores: 30%\nhand_back: 1h\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	prefsOf(t, n.dir, "the file is mended", func(p control.Preferences) bool { return p.Problem == "" && p.Cores == 0.3 })

	// With a signal it is read at once, and the log says what it came to.
	// Under nohup it heeds none.
	heeds := !signal.Ignored(syscall.SIGHUP)
	if heeds {
		n.told(t, syscall.SIGHUP, "preferences are as they were")
	}
	// In one step: half of a file is a file.
	if err := os.WriteFile(file+".new", []byte("cores: 30%\nhand_back: 1h\ndownload: 2MiB\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(file+".new", file); err != nil {
		t.Fatal(err)
	}
	if heeds {
		n.told(t, syscall.SIGHUP, `changed="download: 2MiB"`)
	}
	prefsOf(t, n.dir, "there is a bound", func(p control.Preferences) bool { return p.Download.Bound == 2<<20 })
	says(t, n.dir, exitOK, "per second of 2.0 MiB at most", "node", "prefs")
	says(t, n.dir, exitOK, "per second of 2.0 MiB at most", "node", "show", "hut")

	says(t, n.dir, exitOK, "nothing: paused by the operator", "node", "pause")
	prefsOf(t, n.dir, "it is frozen and not handed back", func(p control.Preferences) bool { return p.Will == willPause && p.Slots == 1 })
	says(t, n.dir, exitOK, "paused by the operator", "node", "show", "hut")
	says(t, n.dir, exitOK, "what it has", "node", "resume")
	if j, err := asked.Job(ctx, job, client.Fresh{}); err != nil || j.Tasks.Running+j.Tasks.Leased != 1 {
		t.Errorf("after a pause the task is not where it was: %+v, %v", j.Tasks, err)
	}

	says(t, n.dir, exitOK, "nothing: stopped by the operator", "node", "stop")
	awaitBack(ctx, t, asked, job)
	prefsOf(t, n.dir, "nothing runs", func(p control.Preferences) bool { return p.Slots == 0 })
	n.stop(t)
	n = home.up(t, "--slots", "1", "--name", "hut", "--stop-timeout", "1")
	p = prefsOf(t, n.dir, "it is back", func(control.Preferences) bool { return true })
	if p.Will != willStop || p.Withheld == "" || p.Cores != 0.3 {
		t.Errorf("after a restart: %+v", p)
	}
	says(t, n.dir, exitOK, "what it has", "node", "resume")
	prefsOf(t, n.dir, "the task runs again", func(p control.Preferences) bool { return p.Slots == 1 })
	// It would keep the machine busy.
	if _, err := apiOf(t, n).Cancel(ctx, job); err != nil {
		t.Error(err)
	}
}

// TestPrefsCheck: a file is looked at without a node.
func TestPrefsCheck(t *testing.T) {
	for text, want := range map[string]string{
		"cores: 25%":  "no mistakes\n",
		"coers: 25%":  "dugnad: line 1, column 1: coers: is not known: did you mean cores?\n",
		"hours: [1]":  "dugnad: line 1, column 8: hours: is no mapping",
		"tenants: {}": "no mistakes\n",
	} {
		r := newTestRun(t)
		r.stdin = text
		code := r.run("node", "prefs", "check", "-")
		if all := r.stdout.String() + r.stderr.String(); !strings.HasPrefix(all, want) || (code == exitOK) != (r.stderr.Len() == 0) {
			t.Errorf("%s: exit code %d, %s", text, code, all)
		}
	}
	for _, args := range []string{"node prefs check", "node prefs set", "node prefs check @/absent", "node pause now", "node resume --node-dir @", "node prefs --node-dir @"} {
		if r := newTestRun(t); r.run(strings.Fields(args)...) == exitOK || r.stderr.Len() == 0 {
			t.Errorf("%s: succeeded", args)
		}
	}
}

// TestPrefsEdit: what an editor leaves is put in force, and mistakes are not.
func TestPrefsEdit(t *testing.T) {
	t.Parallel()
	n := newMachine(t, "home").up(t, "--slots", "1")
	for _, tt := range []struct {
		sed  string
		code int
		want string
	}{
		{"s/#cores: 2/cores: 40%/", exitOK, "40 % of one"},
		{"s/cores: 40%/cores: -1/", exitFailure, "the preferences stay as they are:\nline "},
		{"s/nothing/else/", exitOK, "40 % of one"},
	} {
		r := newTestRun(t)
		r.env = append(r.env, "PATH="+os.Getenv("PATH"), "EDITOR=sed -i "+tt.sed)
		if strings.Contains(tt.sed, " ") {
			script := filepath.Join(r.dir, "edit.sh")
			if err := os.WriteFile(script, []byte("#!/bin/sh\nexec sed -i '"+tt.sed+"' \"$1\"\n"), 0o700); err != nil {
				t.Fatal(err)
			}
			r.env[len(r.env)-1] = "EDITOR=" + script
		}
		if code := r.run("node", "prefs", "--edit", "--node-dir", n.dir); code != tt.code || !strings.Contains(r.stdout.String()+r.stderr.String(), tt.want) {
			t.Errorf("%s: exit code %d, %s%s", tt.sed, code, r.stdout.String(), r.stderr.String())
		}
	}
}
