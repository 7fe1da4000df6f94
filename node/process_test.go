package node

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/dugnad/dugnad/node/client"
	"github.com/dugnad/dugnad/node/control"
	"github.com/dugnad/dugnad/node/nodetest"
	"github.com/dugnad/dugnad/runtime/worker"
)

// child is a node in a process of its own.
type child struct {
	t        *testing.T
	settings childSettings
	id       string
	client   *client.Client
	cmd      *exec.Cmd
	in       io.WriteCloser
	said     *lines
	errs     *os.File
	ended    chan struct{}
	asked    int
}

// lines are what a process has said.
type lines struct {
	mu   sync.Mutex
	list []string
	grew chan struct{}
}

func (l *lines) add(line string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.list = append(l.list, line)
	close(l.grew)
	l.grew = make(chan struct{})
}

// find returns the first line that begins with a text, and what is closed when
// there is another one.
func (l *lines) find(text string) (line string, grew chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, line := range l.list {
		if strings.HasPrefix(line, text) {
			return line, nil
		}
	}
	return "", l.grew
}

var childHosts atomic.Int32

// childListen is an address of this machine that no other process has, and that is
// the same after a restart.
func childListen() []string {
	pid, host := os.Getpid(), childHosts.Add(1)
	ip, port := fmt.Sprintf("/ip4/127.%d.%d.%d", 128+pid>>8&63, pid&255, host%250+1), 4610+host/250
	return []string{fmt.Sprintf("%s/udp/%d/quic-v1", ip, port), fmt.Sprintf("%s/tcp/%d", ip, port)}
}

// newChild makes a node that start starts.
func newChild(t *testing.T, name string) *child {
	t.Helper()
	dir := filepath.Join(nodetest.Dir(t), name)
	c := &child{t: t, settings: childSettings{Dir: dir, Name: name, Version: "1", Listen: childListen()}}
	c.client = openClient(t, client.Config{
		URL: "http://node", Dial: func(ctx context.Context) (net.Conn, error) { return control.Dial(ctx, c.dir()) },
	})
	var err error
	if c.errs, err = os.Create(dir + ".log"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.kill()
		if t.Failed() {
			b, _ := os.ReadFile(c.errs.Name())
			t.Logf("%s %s wrote:\n%s", name, c.id, b)
		}
		_ = c.errs.Close()
	})
	return c
}

// dir is the node's folder as others see it.
func (c *child) dir() string {
	if c.settings.Disk {
		return filepath.Join("/proc", strconv.Itoa(c.cmd.Process.Pid), "root", c.settings.Dir)
	}
	return c.settings.Dir
}

// status is what the node's operator is told.
func (c *child) status(ctx context.Context) (control.Status, error) {
	return control.NewClient(c.dir()).Status(ctx)
}

// start starts the process, which ends with its stdin. A death signal would come with
// the thread that starts it, and nodes in this process end threads.
func (c *child) start() *child {
	c.t.Helper()
	settings, err := json.Marshal(c.settings)
	if err != nil {
		c.t.Fatal(err)
	}
	executable, err := os.Executable()
	if err != nil {
		c.t.Fatal(err)
	}
	cmd := exec.Command(executable)
	cmd.Env = append(os.Environ(), childVariable+"="+string(settings))
	if c.settings.Disk {
		cmd.SysProcAttr = ownMounts()
	}
	cmd.Stderr = c.errs
	if c.in, err = cmd.StdinPipe(); err != nil {
		c.t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		c.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	said, ended := &lines{grew: make(chan struct{})}, make(chan struct{})
	c.cmd, c.said, c.ended = cmd, said, ended
	go func() {
		defer close(ended)
		for scan := bufio.NewScanner(out); scan.Scan(); {
			said.add(scan.Text())
		}
		_ = cmd.Wait()
	}()
	return c
}

// up waits until the node is.
func (c *child) up(ctx context.Context) *child {
	c.t.Helper()
	c.id, c.settings.Invitation = strings.Fields(c.await(ctx, "up "))[1], ""
	return c
}

// await waits until the process has said something that begins with a text.
func (c *child) await(ctx context.Context, text string) string {
	c.t.Helper()
	for {
		line, grew := c.said.find(text)
		if grew == nil {
			return line
		}
		select {
		case <-grew:
		case <-c.ended:
			c.t.Fatalf("%s has ended (%s) before it said %q", c.settings.Name, c.cmd.ProcessState, text)
		case <-ctx.Done():
			c.t.Fatalf("%s has not said %q in time", c.settings.Name, text)
		}
	}
}

// tell gives the process a command. One that has ended does not hear it.
func (c *child) tell(words ...any) { _, _ = fmt.Fprintln(c.in, words...) }

// hold has the node held at a step, reached waits until it is there.
func (c *child) hold(ctx context.Context, s step, key string) {
	c.t.Helper()
	c.tell("hold", s, key)
	c.await(ctx, fmt.Sprint("holds ", s, " ", key))
}

func (c *child) reached(ctx context.Context, s step, key string) {
	c.t.Helper()
	c.await(ctx, fmt.Sprint("held ", s, " ", key))
}

// metric returns what a metric of the node counts now.
func (c *child) metric(ctx context.Context, name string) (value float64) {
	c.t.Helper()
	c.asked++
	c.tell("metric", c.asked, name)
	head := fmt.Sprint("metric ", c.asked, " ")
	said := c.await(ctx, head)
	if _, err := fmt.Sscan(strings.TrimPrefix(said, head), &value); err != nil || !strings.HasSuffix(said, "<nil>") {
		c.t.Fatalf("%s says of %s: %s", c.settings.Name, name, said)
	}
	return value
}

// kill ends the process as a loss of power does.
func (c *child) kill() {
	if c.cmd != nil {
		_ = c.cmd.Process.Kill() // it may have ended
		<-c.ended
	}
}

// stop ends the process in good order.
func (c *child) stop() {
	c.t.Helper()
	_ = c.in.Close()
	<-c.ended
	if code := c.cmd.ProcessState.ExitCode(); code != 0 {
		c.t.Errorf("%s ended with exit code %d", c.settings.Name, code)
	}
}

// killWorkers kills the processes that run guests for the node.
func (c *child) killWorkers() {
	c.t.Helper()
	killed := 0
	names, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		c.t.Fatal(err)
	}
	for _, name := range names {
		stat, _ := os.ReadFile(name) // it may be gone by now
		_, rest, _ := strings.Cut(string(stat), ") ")
		fields := strings.Fields(rest)
		if len(fields) < 2 || fields[1] != strconv.Itoa(c.cmd.Process.Pid) {
			continue
		}
		line, _ := os.ReadFile(filepath.Join(filepath.Dir(name), "cmdline"))
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(name)))
		if err == nil && slices.Contains(strings.Split(string(line), "\x00"), worker.ChildCommand) {
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
				c.t.Error(err)
			}
			killed++
		}
	}
	if killed == 0 {
		c.t.Errorf("%s has no worker", c.settings.Name)
	}
}
