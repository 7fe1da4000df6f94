package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/dugnad/dugnad/node/control"
)

// transcript is what a process has written so far.
type transcript struct {
	mu   sync.Mutex
	text bytes.Buffer
	// grew is closed and replaced when there is more.
	grew chan struct{}
}

// Write implements io.Writer.
func (o *transcript) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.grew != nil {
		close(o.grew)
		o.grew = nil
	}
	return o.text.Write(b)
}

// read returns what is there, and a channel that is closed when there is more.
func (o *transcript) read() (string, <-chan struct{}) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.grew == nil {
		o.grew = make(chan struct{})
	}
	return o.text.String(), o.grew
}

// nodeProcess is a process of dugnad up.
type nodeProcess struct {
	dir         string
	client      *control.Client
	cmd         *exec.Cmd
	out, errOut *transcript
	// ended is closed when the process has.
	ended chan struct{}
}

// dugnadCommand is the real program, which ends with the test, whatever becomes of
// that. wrapper is the command, if any, that starts it.
func dugnadCommand(tb testing.TB, wrapper []string, args ...string) *exec.Cmd {
	tb.Helper()
	if testing.Short() {
		tb.Skip("runs the real program, which the race detector does not see into")
	}
	binary, err := buildDugnad()
	if err != nil {
		tb.Fatal(err)
	}
	argv := append(append(append([]string(nil), wrapper...), binary), args...)
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=/nonexistent"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return cmd
}

// startNode starts dugnad up on a folder.
func startNode(tb testing.TB, wrapper []string, dir string, flags ...string) *nodeProcess {
	tb.Helper()
	n := &nodeProcess{
		dir: dir, client: control.NewClient(dir), out: &transcript{}, errOut: &transcript{}, ended: make(chan struct{}),
	}
	n.cmd = dugnadCommand(tb, wrapper, append([]string{"up", "--node-dir", dir}, flags...)...)
	n.cmd.Stdout, n.cmd.Stderr = n.out, n.errOut
	if err := n.cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	go func() {
		defer close(n.ended)
		_ = n.cmd.Wait()
	}()
	tb.Cleanup(func() {
		_ = n.cmd.Process.Kill()
		<-n.ended
		if log, _ := n.errOut.read(); tb.Failed() {
			tb.Logf("%s wrote:\n%s", filepath.Base(dir), log)
		}
	})
	return n
}

// await waits until the process has written a text to o, behind the first bytes.
func (n *nodeProcess) await(tb testing.TB, o *transcript, behind int, text string) {
	tb.Helper()
	late := time.After(patience)
	for {
		ended := n.hasEnded()
		got, grew := o.read()
		if strings.Contains(got[behind:], text) {
			return
		}
		if ended {
			tb.Fatalf("%s ended (%s) before it said %q", filepath.Base(n.dir), n.cmd.ProcessState, text)
		}
		select {
		case <-grew:
		case <-n.ended:
		case <-late:
			tb.Fatalf("%s has not said %q within %s", filepath.Base(n.dir), text, patience)
		}
	}
}

func (n *nodeProcess) hasEnded() bool {
	select {
	case <-n.ended:
		return true
	default:
		return false
	}
}

// up waits until the node is.
func (n *nodeProcess) up(tb testing.TB) *nodeProcess {
	tb.Helper()
	n.await(tb, n.out, 0, " is up in grid ")
	return n
}

// statusPause is between two questions for what has no event to wait for.
const statusPause = 50 * time.Millisecond

// status waits until the node's status is ok.
func (n *nodeProcess) status(tb testing.TB, what string, ok func(s control.Status) bool) control.Status {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), patience)
	defer cancel()
	tick := time.NewTicker(statusPause)
	defer tick.Stop()
	for {
		s, err := n.client.Status(ctx)
		if err == nil && ok(s) {
			return s
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			// What it says of its goroutines comes with its log.
			if n.cmd.Process.Signal(syscall.SIGQUIT) == nil {
				<-n.ended
			}
			tb.Fatalf("%s: %s: not within %s: status %+v, %v", filepath.Base(n.dir), what, patience, s, err)
		}
	}
}

// meets waits until all others are connected with the node and the ledger has a
// leader.
func (n *nodeProcess) meets(tb testing.TB, others ...*nodeProcess) control.Status {
	tb.Helper()
	var ids []string
	for _, o := range others {
		ids = append(ids, o.status(tb, "is there", func(control.Status) bool { return true }).Node)
	}
	return n.status(tb, "meets the others", func(s control.Status) bool {
		for _, id := range ids {
			if !connected(s, id) {
				return false
			}
		}
		return s.Ledger.Leader != ""
	})
}

// connected says whether a node is among the connected members.
func connected(s control.Status, id string) bool {
	for _, m := range s.Members {
		if m.Node == id {
			return m.Connected
		}
	}
	return false
}

// invite returns an invitation by the node.
func (n *nodeProcess) invite(tb testing.TB, flags ...string) string {
	tb.Helper()
	e := runDugnad(tb, append([]string{"invite", "--node-dir", n.dir}, flags...)...)
	if e.code != 0 || !strings.HasPrefix(e.stdout, "dug1") || strings.Count(e.stdout, "\n") != 1 {
		tb.Fatalf("invite: exit code %d, stdout %q, stderr %q", e.code, e.stdout, e.stderr)
	}
	return strings.TrimSpace(e.stdout)
}

// kill ends the node as a loss of power does.
func (n *nodeProcess) kill(tb testing.TB) {
	tb.Helper()
	if err := n.cmd.Process.Kill(); err != nil {
		tb.Error(err)
	}
	<-n.ended
}

// stop ends the node in good order, and checks that it was.
func (n *nodeProcess) stop(tb testing.TB) {
	tb.Helper()
	n.end(tb)
	if log, _ := n.errOut.read(); strings.Contains(log, "level=ERROR") {
		tb.Errorf("%s has logged an error:\n%s", filepath.Base(n.dir), log)
	}
}

// end ends the node in good order, whatever it has logged.
func (n *nodeProcess) end(tb testing.TB) {
	tb.Helper()
	if err := n.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		tb.Error(err)
	}
	select {
	case <-n.ended:
	case <-time.After(patience):
		tb.Fatalf("%s does not end", filepath.Base(n.dir))
	}
	log, _ := n.errOut.read()
	if code := n.cmd.ProcessState.ExitCode(); code != 0 || strings.Contains(log, "panic") {
		tb.Errorf("%s ended with exit code %d (%s):\n%s", filepath.Base(n.dir), code, n.cmd.ProcessState, log)
	}
	if _, err := os.Lstat(filepath.Join(n.dir, "control.sock")); !errors.Is(err, fs.ErrNotExist) {
		tb.Errorf("%s leaves its socket behind: %v", filepath.Base(n.dir), err)
	}
}

// runDugnad runs dugnad to its end.
func runDugnad(tb testing.TB, args ...string) ended {
	tb.Helper()
	cmd := dugnadCommand(tb, nil, args...)
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	if err := cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	late := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
	_ = cmd.Wait()
	if !late.Stop() {
		tb.Errorf("dugnad %s did not end within %s", args[0], patience)
	}
	return ended{out.String(), errOut.String(), cmd.ProcessState.ExitCode()}
}

// statusJSON is what dugnad status --json says.
func statusJSON(tb testing.TB, dir string) (s control.Status) {
	tb.Helper()
	e := runDugnad(tb, "status", "--json", "--node-dir", dir)
	if err := json.Unmarshal([]byte(e.stdout), &s); err != nil || e.code != 0 {
		tb.Fatalf("status: exit code %d, stdout %q, stderr %q, %v", e.code, e.stdout, e.stderr, err)
	}
	return s
}

var hosts atomic.Int32

// ownAddress returns flags for an address of this machine that no other node here
// has, in this test or in one that runs at the same time.
func ownAddress() []string {
	pid, host := os.Getpid(), hosts.Add(1)
	ip := fmt.Sprintf("/ip4/127.%d.%d.%d", 64+pid>>8&63, pid&255, host)
	return []string{"--loopback", "--listen", ip + "/udp/4610/quic-v1", "--listen", ip + "/tcp/4610"}
}
