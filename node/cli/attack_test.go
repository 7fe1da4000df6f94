package cli

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestParentKilled: when dugnad is killed its children die with it, and the
// next run is none the worse.
func TestParentKilled(t *testing.T) {
	p := newProgram(t)
	good := p.file(t, "good.wasm", hello())
	spin := p.file(t, "spin.wasm", guest{bodies: [][]byte{join(write(), loop(nil))}, data: iovec("on\n")}.bytes())
	for range 3 {
		cmd, ctx := p.command(t, "run", spin)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if _, err := out.Read(make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		var children []int
		for _, exe := range p.running(t) {
			var pid int
			if _, err := fmt.Sscanf(exe, "/proc/%d/exe", &pid); err != nil {
				t.Fatal(err)
			}
			if pid == cmd.Process.Pid {
				continue
			}
			// A descriptor of a process is readable when the process has ended.
			fd, err := unix.PidfdOpen(pid, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer unix.Close(fd)
			children = append(children, fd)
		}
		if len(children) == 0 {
			t.Fatal("dugnad has no child")
		}
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait()
		for _, fd := range children {
			left, _ := ctx.Deadline()
			n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, int(time.Until(left).Milliseconds()))
			if n != 1 {
				t.Errorf("a child lives on: %v", err)
			}
		}
		p.serves(t, good)
	}
}

// TestCompileTogether: processes that compile the same module at once do not
// disturb each other, whatever is done to what they leave in the cache.
func TestCompileTogether(t *testing.T) {
	p := newProgram(t)
	good := p.file(t, "good.wasm", hello())
	var all []*exec.Cmd
	var outs [6]bytes.Buffer
	for i := range outs {
		cmd, _ := p.command(t, "run", good)
		cmd.Stdout = &outs[i]
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		all = append(all, cmd)
	}
	for i, cmd := range all {
		if err := cmd.Wait(); err != nil || outs[i].String() != "ok\n" {
			t.Errorf("process %d: %v, %q", i, err, outs[i].String())
		}
	}
	cache := filepath.Join(filepath.Dir(p.path), "data/cache")
	files, err := filepath.Glob(cache + "/entries/*/*/*")
	if err != nil || len(files) != 3 {
		t.Fatalf("the entry's files are %v, %v", files, err)
	}
	for _, damage := range []func([]byte) []byte{
		func(b []byte) []byte { b[len(b)/3] ^= 0x10; return b },
		func(b []byte) []byte { return b[:len(b)/2] },
		func([]byte) []byte { return nil },
	} {
		for _, f := range files {
			b, err := os.ReadFile(f)
			if err == nil {
				err = os.Remove(f)
			}
			if err == nil {
				err = os.WriteFile(f, damage(b), 0o400)
			}
			if err != nil {
				t.Fatal(err)
			}
			p.serves(t, good)
		}
	}
	if left, err := os.ReadDir(cache + "/tmp"); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}

// TestFullDisk: a cache on a full disk is dugnad's failure, not the module's.
func TestFullDisk(t *testing.T) {
	p := newProgram(t)
	good := p.file(t, "good.wasm", hello())
	// A file may not grow beyond one block, which is less than any code takes.
	cmd, _ := p.command(t)
	shell := exec.Command("sh", "-c", `ulimit -f 1 && trap '' XFSZ && exec "$0" run "$1"`, p.path, good)
	shell.Env, shell.Dir = cmd.Env, cmd.Dir
	var errOut strings.Builder
	shell.Stderr = &errOut
	_ = shell.Run()
	status, ok := shell.ProcessState.Sys().(syscall.WaitStatus)
	if !ok || status.ExitStatus() != exitFailure || strings.Contains(errOut.String(), "refused") {
		t.Errorf("got %s, %q", shell.ProcessState, errOut.String())
	}
	if left, err := os.ReadDir(filepath.Join(filepath.Dir(p.path), "data/cache/tmp")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
	p.serves(t, good)
}
