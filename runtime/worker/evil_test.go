package worker

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/dugnad/dugnad/runtime/task"
)

// evilExecutable makes a program that behaves as evil[behaviour].
func evilExecutable(t testing.TB, behaviour string) string {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "evil")
	script := fmt.Sprintf("#!/bin/sh\nexec '%s' %s '%s'\n", exe, evilCommand, behaviour)
	if err := os.WriteFile(path, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

// evilChild is the parts of a child that breaks the rules sooner or later.
type evilChild struct {
	in     *frameReader
	out    *sender
	socket *os.File
}

// greet says hello as a good child does.
func greet() *evilChild {
	socket := os.NewFile(socketFD, "socket")
	c := &evilChild{in: newFrameReader(socket), out: &sender{w: socket}, socket: socket}
	if _, err := c.in.next(); err != nil {
		os.Exit(8)
	}
	c.must(c.out.sendJSON(frameHello, 0, hello{Version: protocolVersion}))
	return c
}

func (c *evilChild) must(err error) {
	if err != nil {
		os.Exit(8)
	}
}

// started reads frames up to the start of a task and returns the task's id.
func (c *evilChild) started() uint32 {
	for {
		f, err := c.in.next()
		c.must(err)
		switch f.kind {
		case frameLoad:
			c.must(c.out.send(frameLoaded, f.id, nil))
		case frameStart:
			return f.id
		}
	}
}

// startedSeries greets and returns the ids of a series.
func startedSeries() (c *evilChild, ids []uint32) {
	c = greet()
	for {
		f, err := c.in.next()
		c.must(err)
		switch f.kind {
		case frameLoad:
			c.must(c.out.send(frameLoaded, f.id, nil))
		case frameStartMore, frameStart:
			if ids = append(ids, f.id); f.kind == frameStart {
				return c, ids
			}
		}
	}
}

// giveBack gives tasks of a series back that have not begun.
func giveBack(places ...int) int {
	c, ids := startedSeries()
	for _, i := range places {
		c.must(c.out.send(frameReturned, ids[i], nil))
	}
	return c.hang()
}

// hang reads and ignores everything until the parent is gone.
func (c *evilChild) hang() int {
	for {
		if _, err := c.in.next(); err != nil {
			return 0
		}
	}
}

func (c *evilChild) raw(b []byte) int {
	_, err := c.socket.Write(b)
	c.must(err)
	return c.hang()
}

var evil = map[string]func() int{
	"exit at once": func() int { fmt.Fprintln(os.Stderr, "no reason"); return 3 },
	"never hello":  func() int { time.Sleep(time.Hour); return 0 },
	"garbage": func() int {
		c := greet()
		c.started()
		return c.raw([]byte("\x01\x02\x03\x04garbage that is no frame"))
	},
	"long frame": func() int {
		c := greet()
		c.started()
		return c.raw(binary.LittleEndian.AppendUint32(nil, 1<<31))
	},
	"longer frame": func() int {
		c := greet()
		c.started()
		return c.raw([]byte{1, 0, 0x10, 0, byte(frameStdout), 1, 0, 0, 0})
	},
	"half a frame": func() int {
		c := greet()
		c.started()
		c.socket.Write([]byte{1, 0})
		return 4
	},
	"other task": func() int {
		c := greet()
		c.must(c.out.send(frameStdout, c.started()+1, []byte("x")))
		return c.hang()
	},
	"outcome twice": func() int {
		c := greet()
		id := c.started()
		o := task.Outcome{Kind: task.Exited}
		c.must(c.out.sendJSON(frameOutcome, id, o))
		c.must(c.out.sendJSON(frameOutcome, id, o))
		return c.hang()
	},
	"senseless outcome": func() int {
		c := greet()
		c.must(c.out.sendJSON(frameOutcome, c.started(), task.Outcome{Kind: "happy"}))
		return c.hang()
	},
	"outcome is no JSON": func() int {
		c := greet()
		c.must(c.out.send(frameOutcome, c.started(), []byte("{")))
		return c.hang()
	},
	"flood": func() int {
		c := greet()
		id := c.started()
		for {
			if c.out.send(frameStdout, id, make([]byte, dataBytesMax)) != nil {
				return 0
			}
		}
	},
	"stdin that is not there": func() int {
		c := greet()
		c.must(c.out.sendCredit(frameStdinCredit, c.started(), 1))
		return c.hang()
	},
	"frame of a parent": func() int { c := greet(); c.must(c.out.send(frameCancel, c.started(), nil)); return c.hang() },
	"panic":             func() int { c := greet(); c.started(); panic("a bug") },
	"no answer":         func() int { c := greet(); c.started(); return c.hang() },
	"does not read":     func() int { defer greet().socket.Close(); time.Sleep(time.Hour); return 0 },
	"compiles for ever": func() int { return greet().hang() },
	"compiler dies":     func() int { c := greet(); c.in.next(); return 6 },
	"compiler spins":    func() int { limitCPU(); c := greet(); spinForEver(c); return 0 },
	"compiler without code": func() int {
		c := greet()
		c.must(c.out.sendJSON(frameCompiled, 0, compiled{}))
		return c.hang()
	},
	"compiler says invalid": func() int {
		c := greet()
		c.must(c.out.sendJSON(frameCompiled, 0, compiled{Error: "some reason"}))
		return c.hang()
	},
	"compiler out of memory": func() int {
		defer greet().socket.Close()
		fmt.Fprintln(os.Stderr, "fatal error: runtime: out of memory")
		return 2
	},
	"gives the first back":   func() int { return giveBack(0) },
	"gives back out of turn": func() int { return giveBack(3, 1) },
	"gives back as it ends": func() int {
		c, ids := startedSeries()
		c.must(c.out.sendJSON(frameOutcome, ids[0], task.Outcome{Kind: task.Exited}))
		for _, id := range ids[1:] {
			time.Sleep(time.Millisecond)
			c.must(c.out.send(frameReturned, id, nil))
		}
		return c.hang()
	},
	"ends out of turn": func() int {
		c, ids := startedSeries()
		c.must(c.out.sendJSON(frameOutcome, ids[1], task.Outcome{Kind: task.Exited}))
		return c.hang()
	},
	"gives back what wrote": func() int {
		c, ids := startedSeries()
		c.must(c.out.send(frameStdout, ids[1], []byte("x")))
		c.must(c.out.send(frameReturned, ids[1], nil))
		return c.hang()
	},
	"much on stderr": func() int {
		c := greet()
		c.started()
		fmt.Fprint(os.Stderr, "first words ", strings.Repeat("x", 100<<10), " last words")
		return 5
	},
}

func TestEvilChild(t *testing.T) {
	tests := []struct {
		behaviour string
		kind      task.Kind
		message   []string
	}{
		{"garbage", task.WorkerLost, []string{"protocol error", "is not known"}},
		{"long frame", task.WorkerLost, nil},
		{"longer frame", task.WorkerLost, []string{"protocol error", "too long", "1048577 bytes, at most 1048576"}},
		{"half a frame", task.WorkerLost, []string{"exit status 4"}},
		{"other task", task.WorkerLost, []string{"which does not run"}},
		{"senseless outcome", task.WorkerLost, []string{"makes no sense"}},
		{"outcome is no JSON", task.WorkerLost, []string{"protocol error"}},
		{"flood", task.WorkerLost, []string{"protocol error", "window"}},
		{"stdin that is not there", task.WorkerLost, []string{"stdin"}},
		{"frame of a parent", task.WorkerLost, []string{"is not for a parent"}},
		{"panic", task.WorkerLost, []string{"exit status 2", "panic: a bug"}},
		{"much on stderr", task.WorkerLost, []string{"exit status 5", "first words", "last words"}},
		{"no answer", task.DeadlineExceeded, []string{"did not stop"}},
		{"does not read", task.WorkerLost, []string{"signal: killed", "loading a module took longer"}},
	}
	cache := openTestCache(t, nil)
	img := testImage(t, cache, "tiny")
	for _, tt := range tests {
		t.Run(tt.behaviour, func(t *testing.T) {
			w := openTestWorker(t, cache, func(c *Config) { c.Executable = evilExecutable(t, tt.behaviour) })
			spec := task.Spec{}
			if tt.kind == task.DeadlineExceeded {
				spec.Limits.Timeout = time.Millisecond
			}
			if tt.behaviour == "long frame" {
				// The header is not complete: only the deadline can end this.
				spec.Limits.Timeout, tt.kind = time.Millisecond, task.DeadlineExceeded
			}
			stuck := make(chan struct{})
			defer close(stuck)
			o := w.Run(t.Context(), img, spec, Streams{Stdout: stuckWriter(stuck)})
			wantKind(t, o, tt.kind)
			for _, m := range tt.message {
				if !strings.Contains(o.Message, m) {
					t.Errorf("message %q lacks %q", o.Message, m)
				}
			}
			if len(o.Message) > stderrBytesMax+1000 {
				t.Errorf("message has %d bytes", len(o.Message))
			}
			wait(t, w.Gone(), "the child's end")
			wantKind(t, w.Run(t.Context(), img, task.Spec{}, Streams{}), task.WorkerLost)
		})
	}
}

// stuckWriter is a writer whose writes wait for the channel.
type stuckWriter chan struct{}

func (s stuckWriter) Write(p []byte) (int, error) { <-s; return len(p), nil }

func TestOutcomeTwice(t *testing.T) {
	cache := openTestCache(t, nil)
	img := testImage(t, cache, "tiny")
	w := openTestWorker(t, cache, func(c *Config) { c.Executable = evilExecutable(t, "outcome twice") })
	wantKind(t, w.Run(t.Context(), img, task.Spec{}, Streams{}), task.Exited)
	wait(t, w.Gone(), "the child's end")
}

func TestOpenFails(t *testing.T) {
	cache := openTestCache(t, nil)
	for _, behaviour := range []string{"exit at once", "never hello"} {
		t.Run(behaviour, func(t *testing.T) {
			c := Default()
			c.Dir, c.Executable = cache.TempDir(), evilExecutable(t, behaviour)
			ctx, cancel := contextWithTimeout(t, 200*time.Millisecond)
			defer cancel()
			if behaviour == "exit at once" {
				ctx = t.Context()
			}
			_, err := Open(ctx, c)
			if err == nil {
				t.Fatal("no error")
			}
			if behaviour == "exit at once" && !strings.Contains(err.Error(), "exit status 3: no reason") {
				t.Errorf("error %v", err)
			}
		})
	}
}

// limitCPU does what the jail does, which an evil child does not enter.
func limitCPU() {
	exitAtCPULimit()
	if err := syscall.Setrlimit(syscall.RLIMIT_CPU, &syscall.Rlimit{Cur: 1, Max: 10}); err != nil {
		os.Exit(7)
	}
}

// spinForEver spins and keeps the socket open.
func spinForEver(c *evilChild) {
	for c.socket != nil {
		runtime.Gosched()
	}
}
