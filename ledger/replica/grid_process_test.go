//go:build linux

package replica_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/rpc"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/dugnad/dugnad/ledger/ledgertest"
)

// processGrid is a grid whose members are processes. They end with the test, and
// with the process that runs it.
type processGrid struct {
	t testing.TB
	// base is the configuration of all members.
	base processConfig
	dir  string
	// acked counts the commands that were acknowledged.
	acked atomic.Int64

	mu      sync.Mutex
	members []*processMember
}

// processMember is one member, whether it runs or not.
type processMember struct {
	config processConfig
	log    string
	cmd    *exec.Cmd
	// calls is nil while the member does not run.
	calls *rpc.Client
}

func newProcessGrid(t testing.TB, base processConfig) *processGrid {
	t.Helper()
	g := &processGrid{t: t, base: base, dir: t.TempDir()}
	t.Cleanup(g.end)
	return g
}

// end kills what runs, and looks for what the members wrote about themselves.
func (g *processGrid) end() {
	for i := range g.members {
		g.kill(i)
	}
	for _, m := range g.members {
		text, err := os.ReadFile(m.log)
		if err != nil {
			g.t.Error(err)
		}
		for _, sign := range []string{"DATA RACE", "panic:", "fatal error:", "--- FAIL"} {
			if bytes.Contains(text, []byte(sign)) {
				g.t.Errorf("%s wrote %q", m.config.ID, sign)
			}
		}
		if g.t.Failed() {
			g.t.Logf("%s wrote at the end:\n%s", m.config.ID, text[max(0, len(text)-8<<10):])
		}
	}
}

// freeAddress returns an address that nobody uses. The host is this process's
// own part of the loopback network, from which nobody else dials.
func freeAddress(t testing.TB) string {
	t.Helper()
	pid := os.Getpid()
	host := fmt.Sprintf("127.%d.%d.%d", 64+pid>>16&63, pid>>8&255, pid&255)
	for {
		l, err := net.Listen("tcp", host+":0")
		if err != nil {
			t.Fatal(err)
		}
		address := l.Addr().String()
		l.Close()
		if _, given := addressesGiven.LoadOrStore(address, true); !given {
			return address
		}
	}
}

// addressesGiven are the addresses of members, which may not run at present.
var addressesGiven sync.Map

// add makes a new member and starts it.
func (g *processGrid) add(change func(*processConfig)) int {
	g.t.Helper()
	g.mu.Lock()
	i := len(g.members)
	c := g.base
	c.ID, c.Address = ledgertest.Name(i), freeAddress(g.t)
	c.Dir = filepath.Join(g.dir, c.ID)
	if change != nil {
		change(&c)
	}
	g.members = append(g.members, &processMember{config: c, log: filepath.Join(g.dir, c.ID+".log")})
	g.mu.Unlock()
	g.start(i)
	return i
}

// start starts member i again.
func (g *processGrid) start(i int) {
	g.t.Helper()
	m := g.members[i]
	text, err := json.Marshal(m.config)
	if err != nil {
		g.t.Fatal(err)
	}
	pair, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		g.t.Fatal(err)
	}
	ours, theirs := os.NewFile(uintptr(pair[0]), "calls"), os.NewFile(uintptr(pair[1]), "calls")
	defer ours.Close()
	defer theirs.Close()
	log, err := os.OpenFile(m.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		g.t.Fatal(err)
	}
	defer log.Close()
	cmd := exec.Command(os.Args[0], "-test.run=^TestProcess$")
	cmd.Env = append(os.Environ(), processVariable+"="+string(text))
	cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = log, log, []*os.File{theirs}
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		g.t.Fatal(err)
	}
	conn, err := net.FileConn(ours)
	if err != nil {
		g.t.Fatal(errors.Join(err, cmd.Process.Kill(), cmd.Wait()))
	}
	g.mu.Lock()
	m.cmd, m.calls = cmd, rpc.NewClient(conn)
	g.mu.Unlock()
}

// kill ends member i at once, without a word.
func (g *processGrid) kill(i int) {
	g.mu.Lock()
	m := g.members[i]
	calls := m.calls
	m.calls = nil
	g.mu.Unlock()
	if calls == nil {
		return
	}
	if err := m.cmd.Process.Kill(); err != nil {
		g.t.Errorf("kill %s: %v", m.config.ID, err)
	}
	_ = m.cmd.Wait() // it says that it was killed
	calls.Close()
}

// signal sends a signal to member i.
func (g *processGrid) signal(i int, s syscall.Signal) {
	g.t.Helper()
	if err := g.members[i].cmd.Process.Signal(s); err != nil {
		g.t.Fatal(err)
	}
}

// errSilent is returned by call when a process does not answer.
var errSilent = errors.New("process does not answer")

// call asks member i and waits for the answer no longer than within.
func (g *processGrid) call(i int, within time.Duration, method string, args, reply any) error {
	g.mu.Lock()
	calls := g.members[i].calls
	g.mu.Unlock()
	if calls == nil {
		return errSilent
	}
	late := time.NewTimer(within)
	defer late.Stop()
	select {
	case c := <-calls.Go("Member."+method, args, reply, make(chan *rpc.Call, 1)).Done:
		return c.Error
	case <-late.C:
		return errSilent
	}
}

// must is call for what has to work.
func (g *processGrid) must(i int, method string, args, reply any) {
	g.t.Helper()
	if err := g.call(i, 2*ledgertest.Deadline, method, args, reply); err != nil {
		g.t.Fatalf("%s of %s: %v", method, g.members[i].config.ID, err)
	}
}

// status returns where member i stands, nothing when it does not answer.
func (g *processGrid) status(i int) (p Place) {
	if g.call(i, time.Second, "Status", struct{}{}, &p) != nil {
		return Place{}
	}
	return p
}
