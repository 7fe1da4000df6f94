package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/dugnad/dugnad/node/client"
)

const (
	// stopTime is how long a node may take to leave in good order before it is
	// killed.
	stopTime = 30 * time.Second
	// logTail is how much of a node's log is shown when it has ended too early.
	logTail = 2 << 10
)

// peer is a node: a process of dugnad up, with a folder of its own.
type peer struct {
	name, dir string
	// node is its id in the grid.
	node   string
	client *client.Client
	cmd    *exec.Cmd
	// ended is closed when the process has.
	ended chan struct{}
}

// startPeer starts a node with two slots, which founds a grid or joins one, and
// waits until it is up.
func startPeer(ctx context.Context, dugnad, dir, name, invitation string) (*peer, error) {
	p := &peer{name: name, dir: filepath.Join(dir, name), ended: make(chan struct{})}
	if err := os.Mkdir(p.dir, 0o700); err != nil {
		return nil, err
	}
	args := []string{
		"up", "--node-dir", p.dir, "--name", name, "--slots", "2", "--loopback",
		"--listen", "/ip4/127.0.0.1/udp/0/quic-v1", "--listen", "/ip4/127.0.0.1/tcp/0",
	}
	if invitation != "" {
		args = append(args, "--join", invitation)
	}
	p.cmd = exec.Command(dugnad, args...)
	p.cmd.Env = environ()
	// Ctrl-C is for the demo, which ends its nodes; they do not outlive it.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	log, err := os.Create(p.log())
	if err != nil {
		return nil, err
	}
	defer log.Close()
	p.cmd.Stderr = log
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	said := make(chan string, 1)
	go func() {
		defer close(p.ended)
		defer close(said)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			if id, ok := nodeID(lines.Text()); ok {
				said <- id
			}
		}
		_ = p.cmd.Wait() // how it ended is in ProcessState
	}()
	return p, p.open(ctx, said)
}

// nodeID returns the node of the line that says that it is up.
func nodeID(line string) (id string, ok bool) {
	words := strings.Fields(line)
	if len(words) > 4 && words[0] == "node" && strings.Contains(line, " is up in grid ") {
		return words[1], true
	}
	return "", false
}

// open waits until the node says that it is up, and makes a client of its socket.
func (p *peer) open(ctx context.Context, said <-chan string) error {
	select {
	case p.node = <-said:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if p.node == "" {
		<-p.ended
		return fmt.Errorf("node %s has ended (%s) before it was up:\n%s", p.name, p.cmd.ProcessState, p.lastWords())
	}
	c, err := client.Open(client.Config{URL: "http://" + p.name, Dial: p.dial})
	p.client = c
	return err
}

// dial connects to the socket in the node's folder, through the folder's
// descriptor: the path of a socket may have 108 bytes only.
func (p *peer) dial(ctx context.Context) (net.Conn, error) {
	d, err := os.Open(p.dir)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	return (&net.Dialer{}).DialContext(ctx, "unix", fmt.Sprintf("/proc/self/fd/%d/control.sock", d.Fd()))
}

func (p *peer) log() string { return filepath.Join(p.dir, "log") }

// lastWords is the end of the node's log.
func (p *peer) lastWords() string {
	log, err := os.ReadFile(p.log())
	if err != nil {
		return err.Error()
	}
	return string(log[max(0, len(log)-logTail):])
}

// alive reports whether the process has not ended.
func (p *peer) alive() bool {
	select {
	case <-p.ended:
		return false
	default:
		return true
	}
}

// kill ends the node as a loss of power does.
func (p *peer) kill() error {
	err := p.cmd.Process.Kill()
	<-p.ended
	return err
}

// stop lets the node leave in good order, or kills it when it does not.
func (p *peer) stop() {
	if p.client != nil {
		p.client.Close()
	}
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
	late := time.NewTimer(stopTime)
	defer late.Stop()
	select {
	case <-p.ended:
	case <-late.C:
		_ = p.kill()
	}
}

// environ is the environment without settings of somebody's dugnad.
func environ() []string {
	list := []string{"DUGNAD_CONFIG="}
	for _, e := range os.Environ() {
		if !strings.HasPrefix(e, "DUGNAD_") {
			list = append(list, e)
		}
	}
	return list
}

// command runs dugnad for what one would type, and returns what it has printed.
func (d demo) command(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, d.dugnad, args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr, cmd.Env = &out, &errs, environ()
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("dugnad %s: %w: %s", strings.Join(args[:2], " "), err, strings.TrimSpace(errs.String()))
	}
	return strings.TrimSpace(out.String()), nil
}
