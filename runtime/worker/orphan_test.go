package worker

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
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
	"syscall"
	"testing"
	"time"

	"github.com/dugnad/dugnad/runtime/task"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sys/unix"
)

// parentCommand is the first argument of a process that has a worker until it is
// killed.
const parentCommand = "parent"

// parentOrder is what such a process is to do.
type parentOrder struct {
	Dir       string
	OrphanMax time.Duration
	// Adopt has it adopt a worker, and run the task Key there.
	Adopt bool
	// Series are run, each in one message: the next one when the one before has ended,
	// or, when that has Stdin without End, when its first task has put something out.
	Series [][]parentTask
}

// parentTask is a task. When it has read Stdin bytes it waits for more for ever,
// unless End.
type parentTask struct {
	Guest, Key string
	Stdin      int
	End        bool
	// Stuck has the parent take none of the output.
	Stuck bool
	// HTTP has the task ask for HTTP, and the parent answer none of its requests.
	HTTP bool
}

// stdinOf is what tasks of tests read.
func stdinOf(n int) []byte {
	b := make([]byte, 0, n+8)
	for i := 0; len(b) < n; i++ {
		b = fmt.Appendf(b, "%d,", i)
	}
	return b[:n]
}

// never is a reader that has nothing, and does not end.
type never struct{}

func (never) Read([]byte) (int, error) { select {} }

// saying is a writer that says how much has come.
type saying struct {
	mu    *sync.Mutex
	key   string
	n     int
	begun chan struct{}
}

func (s *saying) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.n == 0 {
		close(s.begun)
	}
	s.n += len(p)
	fmt.Println("out", s.key, s.n)
	return len(p), nil
}

// stuck is a writer that says that something has come, and takes nothing.
type stuck string

func (s stuck) Write([]byte) (int, error) {
	fmt.Println("out", string(s), "stuck")
	select {}
}

func (p *parentTask) task(mu *sync.Mutex, begun chan struct{}) Task {
	t := Task{Key: p.Key, Streams: Streams{Stdout: &saying{mu: mu, key: p.Key, begun: begun}}}
	t.Streams.Stdin = io.MultiReader(bytes.NewReader(stdinOf(p.Stdin)), never{})
	if p.End {
		t.Streams.Stdin = bytes.NewReader(stdinOf(p.Stdin))
	}
	if p.Stuck {
		t.Streams.Stdout = stuck(p.Key)
	}
	if p.HTTP {
		t.Spec.HTTP = &task.HTTP{}
		t.Streams.Outbound = world(func(ctx context.Context, head []byte, _ io.ReadCloser) (Response, error) {
			fmt.Printf("request %s\n", head)
			<-ctx.Done()
			return Response{}, ctx.Err()
		})
	}
	return t
}

func (o *parentOrder) config() Config {
	c := Default()
	c.Dir, c.OrphanDir, c.OrphanMax, c.Label = filepath.Join(o.Dir, "cache", "tmp"), filepath.Join(o.Dir, "workers"), o.OrphanMax, "label"
	c.ReadOnly = []string{o.Dir}
	return c
}

// parentMain says on stdout what happens, and ends only when it is killed.
func parentMain(order string) int {
	var o parentOrder
	must := func(err error) {
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(7)
		}
	}
	must(json.Unmarshal([]byte(order), &o))
	ctx, mu := context.Background(), &sync.Mutex{}
	if o.Adopt {
		list, err := Adopt(ctx, o.config())
		must(err)
		fmt.Println("worker", list[0].PID())
		list[0].Run(ctx, o.Series[0][0].task(mu, make(chan struct{})))
		return 6
	}
	cc := DefaultCache()
	cc.Dir = filepath.Join(o.Dir, "cache")
	cache, err := OpenCache(ctx, cc)
	must(err)
	w, err := Open(ctx, o.config())
	must(err)
	fmt.Println("worker", w.PID())
	for _, series := range o.Series {
		module, err := os.ReadFile(filepath.Join("testdata", series[0].Guest+".wasm"))
		must(err)
		img, err := cache.Image(ctx, module, nil)
		must(err)
		var tasks []Task
		begun := make(chan struct{})
		for i := range series {
			tasks = append(tasks, series[i].task(mu, begun))
			begun = make(chan struct{})
		}
		first, _ := tasks[0].Streams.Stdout.(*saying)
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			w.RunSeries(ctx, img, tasks, func(i int, o task.Outcome) {
				fmt.Println("ended", tasks[i].Key, o.Kind)
			}, func(from, to int) { fmt.Println("back", from, to) })
		}()
		if first != nil && series[0].Stdin > 0 && !series[0].End {
			<-first.begun
		} else {
			<-ended
		}
	}
	select {}
}

// parent is such a process.
type parent struct {
	t     *testing.T
	order parentOrder
	cmd   *exec.Cmd
	said  *bufio.Scanner
	// child is a descriptor of its worker's process.
	child, childPID int
}

func startParent(t *testing.T, o parentOrder) *parent {
	t.Helper()
	if o.Dir == "" {
		o.Dir = t.TempDir()
	}
	if o.OrphanMax == 0 {
		o.OrphanMax = OrphanMaxMax
	}
	order, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p := &parent{t: t, order: o, cmd: exec.Command(exe, parentCommand, string(order))}
	p.cmd.Stderr = os.Stderr
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p.said = bufio.NewScanner(out)
	t.Cleanup(p.kill)
	overdue := time.AfterFunc(2*deadline, func() { _ = p.cmd.Process.Kill() })
	t.Cleanup(func() { overdue.Stop() })
	p.childPID, err = strconv.Atoi(p.await("worker "))
	if err != nil {
		t.Fatal(err)
	}
	if p.child, err = unix.PidfdOpen(p.childPID, 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = unix.PidfdSendSignal(p.child, unix.SIGKILL, nil, 0)
		_ = unix.Close(p.child)
	})
	return p
}

// await waits until the process says something that begins with a text, and returns
// the rest.
func (p *parent) await(text string) string {
	p.t.Helper()
	for p.said.Scan() {
		if rest, ok := strings.CutPrefix(p.said.Text(), text); ok {
			return rest
		}
	}
	p.t.Fatalf("the parent has ended before it said %q", text)
	return ""
}

// awaitOutput waits until so much of a task's output has come.
func (p *parent) awaitOutput(key string, bytes int) {
	p.t.Helper()
	for {
		n, err := strconv.Atoi(p.await("out " + key + " "))
		if err != nil {
			p.t.Fatal(err)
		}
		if n >= bytes {
			return
		}
	}
}

func (p *parent) kill() {
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
}

// childEnds waits for the end of the worker's process.
func (p *parent) childEnds() {
	p.t.Helper()
	for end := time.Now().Add(deadline); ; {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(p.child), Events: unix.POLLIN}}, int(time.Until(end).Milliseconds()))
		switch {
		case n == 1:
			return
		case !errors.Is(err, unix.EINTR):
			p.t.Fatalf("the worker does not end: %v", err)
		}
	}
}

// adopted adopts what the parent has left, which is one worker.
func (p *parent) adopted() (*Adopted, *prometheus.Registry) {
	p.t.Helper()
	list, r := p.adopt()
	if len(list) != 1 {
		p.t.Fatalf("%d workers are adopted, want 1", len(list))
	}
	if list[0].PID() != p.childPID {
		p.t.Errorf("process %d is adopted, want %d", list[0].PID(), p.childPID)
	}
	return list[0], r
}

func (p *parent) adopt() ([]*Adopted, *prometheus.Registry) {
	p.t.Helper()
	c := p.order.config()
	r := prometheus.NewRegistry()
	c.Registerer = r
	list, err := Adopt(p.t.Context(), c)
	if err != nil {
		p.t.Fatal(err)
	}
	for _, a := range list {
		p.t.Cleanup(func() { _ = a.Close() })
	}
	return list, r
}

// nothingLeft verifies that no file of a worker is there.
func (p *parent) nothingLeft() {
	p.t.Helper()
	for _, pattern := range []string{"workers/*", "cache/tmp/worker-*"} {
		if left, err := filepath.Glob(filepath.Join(p.order.Dir, pattern)); err != nil || len(left) > 0 {
			p.t.Errorf("left behind: %v, %v", left, err)
		}
	}
}

// finish runs a task that is kept, with all of its stdin, and verifies its output.
func finish(t *testing.T, a *Adopted, key string, stdin []byte, want []byte) task.Outcome {
	t.Helper()
	var out bytes.Buffer
	o, ok := a.Run(t.Context(), Task{Key: key, Streams: Streams{Stdin: bytes.NewReader(stdin), Stdout: &out}})
	if !ok {
		t.Fatalf("task %s is not there: %q", key, a.Keys())
	}
	wantKind(t, o, task.Exited)
	if o.ExitCode != 0 || !bytes.Equal(out.Bytes(), want) {
		t.Errorf("task %s: exit code %d, %d bytes of output, want 0 and %d bytes", key, o.ExitCode, out.Len(), len(want))
	}
	return o
}

// counts verifies counters.
func counts(t *testing.T, r *prometheus.Registry, want map[string]float64) {
	t.Helper()
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if n, ok := want[f.GetName()]; ok && f.GetMetric()[0].GetCounter().GetValue() != n {
			t.Errorf("%s is %v, want %v", f.GetName(), f.GetMetric()[0].GetCounter().GetValue(), n)
		}
		delete(want, f.GetName())
	}
	if len(want) > 0 {
		t.Errorf("there are no metrics %v", want)
	}
}

// TestAdopt: a task goes on when its parent is killed, and whoever comes after that
// is told all of its output, and an outcome as if nothing had happened.
func TestAdopt(t *testing.T) {
	const given = 25_000
	p := startParent(t, parentOrder{Series: [][]parentTask{{{Guest: "cat", Key: "a", Stdin: given}}}})
	p.await("out a ")
	p.kill()
	a, metrics := p.adopted()
	if a.Label() != "label" || !slices.Equal(a.ReadOnly(), []string{p.order.Dir}) || !slices.Equal(a.Keys(), []string{"a"}) || a.Done() {
		t.Errorf("adopted is %q %q with tasks %q, done %t", a.Label(), a.ReadOnly(), a.Keys(), a.Done())
	}
	stdin := stdinOf(700_000)
	o := finish(t, a, "a", stdin, stdin)
	if _, again := a.Run(t.Context(), Task{Key: "a"}); again || !a.Done() {
		t.Errorf("the task is there twice: %t, all is done: %t", again, a.Done())
	}
	if err := a.Close(); err != nil {
		t.Error(err)
	}
	p.childEnds()
	p.nothingLeft()
	cache := openTestCache(t, nil)
	w := openTestWorker(t, cache, nil)
	want := w.Run(t.Context(), testImage(t, cache, "cat"), task.Spec{}, Streams{Stdin: bytes.NewReader(stdin)})
	if o.Usage.Fuel != want.Usage.Fuel || o.Usage.OutputBytes != want.Usage.OutputBytes || o.Usage.WallTime <= 0 {
		t.Errorf("usage %+v, want that of a run without a gap, %+v", o.Usage, want.Usage)
	}
	counts(t, metrics, map[string]float64{"dugnad_worker_adoptions_total": 1, "dugnad_worker_adopted_tasks_total": 1, "dugnad_worker_orphans_ended_total": 0})
}

// TestAdoptOutput: nothing of an output is lost or there twice that was on its way
// when the parent was killed, and that came when there was none.
func TestAdoptOutput(t *testing.T) {
	t.Parallel()
	for name, n := range map[string]int{"within a window": 200_000, "more than a window": 450_000, "more than is kept": 3_000_000} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := startParent(t, parentOrder{Series: [][]parentTask{{{Guest: "cat", Key: "a", Stdin: n, End: true, Stuck: true}}}})
			p.await("out a ")
			p.kill()
			a, _ := p.adopted()
			finish(t, a, "a", stdinOf(n), stdinOf(n))
		})
	}
}

// TestAdoptTwice: the process that has adopted a worker is killed as well.
func TestAdoptTwice(t *testing.T) {
	t.Parallel()
	// No socket could have a name as long as that of the folder.
	dir := filepath.Join(t.TempDir(), strings.Repeat("folder", 25))
	p := startParent(t, parentOrder{Dir: dir, Series: [][]parentTask{{{Guest: "cat", Key: "a", Stdin: 25_000}}}})
	p.await("out a ")
	p.kill()
	q := startParent(t, parentOrder{Dir: p.order.Dir, Adopt: true, Series: [][]parentTask{{{Key: "a", Stdin: 90_000}}}})
	q.awaitOutput("a", 80_000)
	q.kill()
	a, _ := q.adopted()
	finish(t, a, "a", stdinOf(100_000), stdinOf(100_000))
}

// TestAdoptEnded: the outcome of a task that the dead process may have read is told
// until that has begun another one.
func TestAdoptEnded(t *testing.T) {
	t.Parallel()
	cat, hello := parentTask{Guest: "cat", Key: "c", Stdin: 25_000}, parentTask{Guest: "hello", Key: "h"}
	p := startParent(t, parentOrder{Series: [][]parentTask{{cat}, {hello}}})
	p.await("ended h ")
	p.kill()
	a, _ := p.adopted()
	finish(t, a, "h", nil, []byte("hello\n"))
	if a.Done() || !slices.Equal(a.Keys(), []string{"c"}) {
		t.Errorf("tasks %q, want c", a.Keys())
	}

	p = startParent(t, parentOrder{Series: [][]parentTask{{hello}, {cat}}})
	p.await("out c ")
	p.kill()
	if a, _ = p.adopted(); !slices.Equal(a.Keys(), []string{"c"}) {
		t.Errorf("tasks %q, want c alone", a.Keys())
	}
}

// TestAdoptSeries: of a series the task that runs is kept, and those behind it are
// not.
func TestAdoptSeries(t *testing.T) {
	t.Parallel()
	series := []parentTask{{Guest: "cat", Key: "a", Stdin: 25_000}, {Key: "b"}, {Key: "c"}}
	p := startParent(t, parentOrder{Series: [][]parentTask{series}})
	p.await("out a ")
	p.kill()
	a, _ := p.adopted()
	if !slices.Equal(a.Keys(), []string{"a"}) {
		t.Errorf("tasks %q, want a alone", a.Keys())
	}
	finish(t, a, "a", stdinOf(30_000), stdinOf(30_000))
}

// TestOrphanEnds: a worker without a parent ends, at once when there is nothing to
// keep, or when nobody has come in time.
func TestOrphanEnds(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]parentOrder{
		"no task":                   {},
		"no key":                    {Series: [][]parentTask{{{Guest: "cat", Stdin: 25_000}}}},
		"nobody comes":              {OrphanMax: time.Millisecond, Series: [][]parentTask{{{Guest: "cat", Key: "a", Stdin: 25_000}}}},
		"nobody comes, guest spins": {OrphanMax: time.Millisecond, Series: [][]parentTask{{{Guest: "spin", Key: "a"}}}},
		"too much output to keep":   {Series: [][]parentTask{{{Guest: "cat", Key: "a", Stdin: tapeBytesMax + 10_000}}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := startParent(t, o)
			if len(o.Series) > 0 {
				p.awaitOutput(o.Series[0][0].Key, o.Series[0][0].Stdin-10_000)
			}
			p.kill()
			p.childEnds()
			if list, _ := p.adopt(); len(list) > 0 {
				t.Errorf("a worker that has ended is adopted")
			}
			p.nothingLeft()
		})
	}
}

// TestKeptOutput: a task whose output is too much to be kept is counted.
func TestKeptOutput(t *testing.T) {
	t.Parallel()
	cache := openTestCache(t, nil)
	img := testImage(t, cache, "cat")
	for n, want := range map[int]float64{tapeBytesMax: 0, tapeBytesMax + 1: 1} {
		w := openTestWorker(t, cache, func(c *Config) {
			c.OrphanDir, c.OrphanMax, c.Registerer = t.TempDir(), time.Minute, cache.config.Registerer
		})
		stdin := Streams{Stdin: bytes.NewReader(stdinOf(n))}
		before := metric(t, cache, "dugnad_worker_limit_reached_total")
		w.RunSeries(t.Context(), img, []Task{{Key: "a", Streams: stdin}}, func(_ int, o task.Outcome) { wantKind(t, o, task.Exited) }, nil)
		if got := metric(t, cache, "dugnad_worker_limit_reached_total") - before; got != want {
			t.Errorf("after %d bytes of output the limit was reached %v times, want %v", n, got, want)
		}
	}
}

// TestAdoptOtherVersion: a child that speaks another version of the protocol is
// ended, which is no error.
func TestAdoptOtherVersion(t *testing.T) {
	t.Parallel()
	p := startParent(t, parentOrder{Series: [][]parentTask{{{Guest: "cat", Key: "a", Stdin: 25_000}}}})
	p.await("out a ")
	p.kill()
	records, err := filepath.Glob(filepath.Join(p.order.Dir, "workers", "*"+recordSuffix))
	if err != nil || len(records) != 1 {
		t.Fatal(records, err)
	}
	b, err := os.ReadFile(records[0])
	if err != nil {
		t.Fatal(err)
	}
	b = bytes.Replace(b, fmt.Appendf(nil, `"version":%d`, protocolVersion), []byte(`"version":1`), 1)
	if err := os.WriteFile(records[0], b, 0o600); err != nil {
		t.Fatal(err)
	}
	list, metrics := p.adopt()
	if len(list) > 0 {
		t.Error("it is adopted")
	}
	p.childEnds()
	p.nothingLeft()
	counts(t, metrics, map[string]float64{"dugnad_worker_adoptions_total": 0, "dugnad_worker_orphans_ended_total": 1})
}

// TestAdoptAtOnce: of several processes that look for the same worker one gets it,
// and one that lives keeps its own.
func TestAdoptAtOnce(t *testing.T) {
	t.Parallel()
	p := startParent(t, parentOrder{Series: [][]parentTask{{{Guest: "cat", Key: "a", Stdin: 25_000}}}})
	p.await("out a ")
	if list, _ := p.adopt(); len(list) > 0 {
		t.Error("the worker of a process that lives is adopted")
	}
	p.kill()
	found := make(chan []*Adopted)
	for range 4 {
		go func() {
			list, err := Adopt(context.Background(), p.order.config())
			if err != nil {
				t.Error(err)
			}
			found <- list
		}()
	}
	var all []*Adopted
	for range 4 {
		all = append(all, <-found...)
	}
	if len(all) != 1 {
		t.Fatalf("%d have adopted the worker", len(all))
	}
	finish(t, all[0], "a", stdinOf(30_000), stdinOf(30_000))
	if err := all[0].Close(); err != nil {
		t.Error(err)
	}
}

// TestOrphanGarbage: who connects and is no parent is sent away, or is given up.
func TestOrphanGarbage(t *testing.T) {
	t.Parallel()
	p := startParent(t, parentOrder{Series: [][]parentTask{{{Guest: "cat", Key: "a", Stdin: 25_000}}}})
	p.await("out a ")
	p.kill()
	dir := filepath.Join(p.order.Dir, "workers")
	records, err := filepath.Glob(filepath.Join(dir, "*"+recordSuffix))
	if err != nil || len(records) != 1 {
		t.Fatal(records, err)
	}
	tr := &trace{dir: dir, name: strings.TrimSuffix(filepath.Base(records[0]), recordSuffix)}
	for _, garbage := range [][]byte{
		nil, // closed at once
		[]byte("GET / HTTP/1.1\r\n\r\n"),
		appendFrame(nil, frameSetup, 0, []byte("{}")),
		appendFrame(nil, frameAdopt, 0, []byte("{")),
		appendFrame(nil, frameAdopt, 0, []byte(`{"version":1}`)),
		{255, 255, 255, 255, byte(frameAdopt), 0, 0, 0, 0},
	} {
		conn, err := tr.dial()
		if err != nil {
			t.Fatal(err)
		}
		if len(garbage) == 0 {
			_ = conn.Close()
			continue
		}
		if _, err := conn.Write(garbage); err != nil {
			t.Fatal(err)
		}
		if b, err := io.ReadAll(conn); len(b) > 0 || err != nil && !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("%q is answered %q, %v", garbage, b, err)
		}
		_ = conn.Close()
	}
	silent, err := tr.dial()
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	a, _ := p.adopted()
	finish(t, a, "a", stdinOf(30_000), stdinOf(30_000))
}

// strangerCommand is the first argument of a process that connects to a child as
// another user.
const strangerCommand = "stranger"

// strangerMain succeeds when it is sent away whatever it says.
func strangerMain(socket string) int {
	conn, err := net.Dial("unix", socket)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	// An error is that it was sent away.
	_, _ = conn.Write(appendFrame(nil, frameAdopt, 0, fmt.Appendf(nil, `{"version":%d}`, protocolVersion)))
	_ = conn.SetReadDeadline(time.Now().Add(deadline))
	if b, err := io.ReadAll(conn); len(b) > 0 || err != nil && !errors.Is(err, syscall.ECONNRESET) {
		fmt.Fprintf(os.Stderr, "%q, %v\n", b, err)
		return 2
	}
	return 0
}

// TestOrphanStranger: another user is sent away, who could not even see the socket
// but for this test.
func TestOrphanStranger(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can become another user")
	}
	t.Parallel()
	base, err := os.MkdirTemp("", "stranger")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(base) })
	p := startParent(t, parentOrder{Dir: base, Series: [][]parentTask{{{Guest: "cat", Key: "a", Stdin: 25_000}}}})
	p.await("out a ")
	p.kill()
	sockets, err := filepath.Glob(filepath.Join(base, "workers", "*"+socketSuffix))
	if err != nil || len(sockets) != 1 {
		t.Fatal(sockets, err)
	}
	exe, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	stranger := filepath.Join(base, "stranger")
	if err := os.WriteFile(stranger, exe, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{base, filepath.Join(base, "workers"), sockets[0], stranger} {
		if err := os.Chmod(name, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(stranger, strangerCommand, sockets[0])
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
	a, _ := p.adopted()
	finish(t, a, "a", stdinOf(30_000), stdinOf(30_000))
}

// TestAdoptEndsTasks: a task that is kept can be cancelled, and one that nobody wants
// is ended and not told of.
func TestAdoptEndsTasks(t *testing.T) {
	t.Parallel()
	p := startParent(t, parentOrder{Series: [][]parentTask{{{Guest: "cat", Key: "a", Stdin: 25_000}}}})
	p.await("out a ")
	p.kill()
	a, _ := p.adopted()
	ctx, cancel := context.WithCancel(t.Context())
	var out firstWrite
	out.happened = make(chan struct{})
	go func() {
		<-out.happened
		cancel()
	}()
	o, ok := a.Run(ctx, Task{Key: "a", Streams: Streams{Stdin: io.MultiReader(bytes.NewReader(stdinOf(25_000)), endless(t.Context())), Stdout: &out}})
	if !ok || o.Kind != task.Cancelled {
		t.Errorf("%t, %+v, want that it is cancelled", ok, o)
	}

	p = startParent(t, parentOrder{Series: [][]parentTask{{{Guest: "cat", Key: "b", Stdin: 25_000}}, {{Guest: "hello", Key: "c"}}}})
	p.await("ended c ")
	p.kill()
	a, _ = p.adopted()
	a.Discard("b")
	if _, ok := a.Run(t.Context(), Task{Key: "b"}); ok || a.Done() {
		t.Errorf("a task is there that was not wanted: %t, all is done: %t", ok, a.Done())
	}
	finish(t, a, "c", nil, []byte("hello\n"))
	if err := a.Close(); err != nil {
		t.Error(err)
	}
	p.nothingLeft()
}

// endless returns a reader that has nothing before ctx ends.
func endless(ctx context.Context) io.Reader { return untilDone{ctx} }

type untilDone struct{ ctx context.Context }

func (u untilDone) Read([]byte) (int, error) {
	<-u.ctx.Done()
	return 0, io.EOF
}

// TestAdoptLost: an adopted worker that dies costs its tasks.
func TestAdoptLost(t *testing.T) {
	t.Parallel()
	p := startParent(t, parentOrder{Series: [][]parentTask{{{Guest: "cat", Key: "a", Stdin: 25_000}}}})
	p.await("out a ")
	p.kill()
	a, _ := p.adopted()
	if err := syscall.Kill(a.PID(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	o, ok := a.Run(t.Context(), Task{Key: "a", Streams: Streams{Stdin: bytes.NewReader(nil)}})
	if !ok || o.Kind != task.WorkerLost {
		t.Errorf("%t, %+v, want a worker lost", ok, o)
	}
	wait(t, a.Gone(), "the end of the worker")
	if err := a.Close(); err != nil {
		t.Error(err)
	}
	p.nothingLeft()
}
