package cli

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/dugnad/dugnad/node/api"
	"github.com/dugnad/dugnad/node/api/apitest"
	"github.com/dugnad/dugnad/node/control"
	"github.com/dugnad/dugnad/runtime/task"
)

// hostileNode listens as a node does on the socket in its folder, which it returns, and
// answers with hostile texts; with refuse it refuses with them.
func hostileNode(t *testing.T, refuse bool) string {
	t.Helper()
	// Not in the test's folder, whose name is too long for a socket's.
	dir, err := os.MkdirTemp("", "cli")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	mux := http.NewServeMux()
	mux.Handle("/", apitest.Handler(refuse))
	for pattern, v := range map[string]any{
		"GET /status": &control.Status{}, "GET /activity": &control.Activity{}, "POST /invitations": &control.Invitation{},
		"POST /checkups": &control.Checkup{}, "POST /dialbacks": &control.DialBack{}, "GET /preferences": &control.Preferences{},
		"PUT /preferences": &control.Preferences{}, "PUT /will": &control.Preferences{}, "POST /objects": &control.Object{},
	} {
		apitest.Fill(v)
		if s, ok := v.(*control.Status); ok {
			s.Expelled = nil
		}
		if !refuse {
			mux.HandleFunc(pattern, func(w http.ResponseWriter, _ *http.Request) { _ = json.NewEncoder(w).Encode(v) })
		}
	}
	if !refuse {
		mux.HandleFunc("GET /objects/{hash}", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(apitest.Text)) })
	}
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "unix", filepath.Join(dir, "control.sock"))
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: mux, ReadHeaderTimeout: patience}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = server.Serve(l)
	}()
	t.Cleanup(func() {
		_ = server.Close()
		<-ended
	})
	return dir
}

// onTerminal runs a command with a terminal as its stdout and stderr, and returns what
// the terminal was told to show.
func (r *testRun) onTerminal(t *testing.T, args ...string) string {
	t.Helper()
	term := openTerminal(t, 400, 100)
	for i := range args {
		args[i] = strings.ReplaceAll(args[i], "@", r.dir)
	}
	a := &app{open: r.runner.open, Stdio: Stdio{In: strings.NewReader(r.stdin), Out: term.slave, Err: term.slave, Environ: r.env}}
	a.run(r.ctx, append([]string{"dugnad"}, args...))
	const end = "\x1b[end"
	if _, err := term.slave.WriteString(end); err != nil {
		t.Fatal(err)
	}
	term.await(t, 0, end)
	shown, _ := term.read()
	if err := term.slave.Close(); err != nil {
		t.Error(err)
	}
	<-term.ended
	if err := term.master.Close(); err != nil {
		t.Error(err)
	}
	shown, _, _ = strings.Cut(shown, end)
	// What is dugnad's own.
	return strings.NewReplacer("\r\n", "\n", clearLine, "").Replace(shown)
}

// textless are commands that show nothing of the grid, with why.
var textless = map[string]string{
	"up": "founds or joins, and logs", "dev": "as up", "backup": "writes a file", "restore": "reads one", "ledger backup": "writes a file",
	"ledger check": "reads this machine's ledger, and tells ids", "ledger recover": "as check", "ledger restore": "as check",
	"observe alerts": "prints what is built in", "observe dashboard": "as alerts", "observe metrics": "as alerts", "observe scrape": "as alerts", "version": "prints what is built in",
	"completion bash": "prints what is built in", "completion fish": "as bash", "completion powershell": "as bash", "completion zsh": "as bash",
	"audit": "reads a file of this machine: see TestAuditCommand", "node prefs check": "reads a file: see prefs.TestMistakes",
	"tenant create": "prints the caller's own words", "tenant token": "as create", "tenant revoke": "as create", "tenant allow": "as create", "tenant deny": "as create",
	"help": "prints what is built in",
}

// texts are the commands that show what somebody in the grid may have written, most with
// ids of apitest's. With silent nothing of that is shown when all goes well.
var texts = []struct {
	args   string
	silent bool
}{
	{args: "job ls --all"},
	{args: "job ls --json"},
	{args: "job show " + apitest.Job},
	{args: "job show --json " + apitest.Job},
	{args: "job why " + apitest.Job},
	{args: "job why --json " + apitest.Job},
	{args: "job tasks " + apitest.Job},
	{args: "job tasks --json " + apitest.Job},
	{args: "job logs " + apitest.Job},
	{args: "job logs -f " + apitest.Job},
	{args: "job logs --json " + apitest.Job},
	{args: "job results " + apitest.Job},
	{args: "job results --json " + apitest.Job},
	{args: "job wait " + apitest.Job},
	{args: "job cancel " + apitest.Job, silent: true},
	{args: "job pause " + apitest.Order, silent: true},
	{args: "job resume " + apitest.Order, silent: true},
	{args: "job submit @/job.yaml", silent: true},
	{args: "job submit --dry-run @/job.yaml"},
	{args: "module ls", silent: true},
	{args: "module ls --json"},
	{args: "module inspect " + apitest.Module},
	{args: "module inspect --json " + apitest.Module},
	{args: "module push @/m.wasm", silent: true},
	{args: "module rm " + apitest.Module, silent: true},
	{args: "node ls"},
	{args: "node ls --json"},
	{args: "node show " + apitest.Node},
	{args: "node show --json " + apitest.Node},
	{args: "node drain --deadline 1m " + apitest.Node, silent: true},
	{args: "node resume " + apitest.Node, silent: true},
	{args: "node pause", silent: true},
	{args: "node stop", silent: true},
	{args: "node prefs show"},
	{args: "node prefs show --json"},
	{args: "node prefs set @/prefs.yaml", silent: true},
	{args: "object get " + apitest.Module},
	{args: "object put @/m.wasm", silent: true},
	{args: "secret ls"},
	{args: "secret ls --json"},
	{args: "secret set NAME --from-file @/in.txt", silent: true},
	{args: "secret rm NAME", silent: true},
	{args: "tenant ls"},
	{args: "tenant ls --json"},
	{args: "tenant show x"},
	{args: "tenant quota x"},
	{args: "tenant quota x --jobs 3"},
	{args: "tenant usage x"},
	{args: "tenant usage x --json"},
	{args: "top --count 1"},
	{args: "top --count 1 --json"},
	{args: "top --grid --count 1"},
	{args: "status"},
	{args: "status --json"},
	{args: "doctor --json"},
	{args: "doctor"},
	{args: "invite"},
	{args: "expel " + apitest.Node, silent: true},
	{args: "web", silent: true},
	{args: "run --grid always @/m.wasm"},
	{args: "run --grid always --json @/m.wasm"},
}

// TestHarmless: whatever somebody in the grid has written does nothing to the terminal
// of who looks at it, in any command, and no refusal does.
func TestHarmless(t *testing.T) {
	good, bad := hostileNode(t, false), hostileNode(t, true)
	for _, tt := range texts {
		t.Run(tt.args, func(t *testing.T) {
			for _, dir := range []string{good, bad} {
				r := newTestRun(t)
				r.write(t, "job.yaml", "module: m.wasm\n")
				r.write(t, "prefs.yaml", "cores: 1\n")
				shown := r.onTerminal(t, append(strings.Fields(tt.args), "--node-dir", dir)...)
				if c, acts := apitest.Acting(shown); acts {
					t.Errorf("a terminal is told %U: %q", c, shown)
				}
				if !tt.silent && dir == good && !strings.Contains(shown, apitest.Mark) {
					t.Errorf("nothing is shown: %q", shown)
				}
			}
		})
	}
}

// TestHarmlessIsWhole: each command is in a table of those that show something, or of
// those that do not.
func TestHarmlessIsWhole(t *testing.T) {
	known := map[string]bool{}
	for _, tt := range texts {
		known[tt.args] = true
	}
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		for _, sub := range c.Commands() {
			walk(sub)
		}
		_, name, _ := strings.Cut(c.CommandPath(), " ")
		if _, ok := textless[name]; ok || c.HasSubCommands() {
			return
		}
		for args := range known {
			if args == name || strings.HasPrefix(args, name+" ") {
				return
			}
		}
		t.Errorf("dugnad %s is in neither table", name)
	}
	walk((&app{}).root())
}

// TestHarmlessRun: neither what a guest writes here nor the names of its functions do
// anything to a terminal; a pipe gets all bytes as they are.
func TestHarmlessRun(t *testing.T) {
	for _, count := range []string{"1", "2"} {
		r := newTestRun(t)
		r.runner.attempt = func(_ context.Context, _ task.Spec, s streams) task.Outcome {
			for _, w := range []io.Writer{s.Out, s.Err} {
				for _, b := range []byte(apitest.Text) { // also in the middle of a character
					_, _ = w.Write([]byte{b})
				}
			}
			return task.Outcome{Kind: task.Trapped, Message: apitest.Text, Stack: []task.Frame{{Function: apitest.Text}}}
		}
		shown := r.onTerminal(t, "run", "@/m.wasm", "--count", count, "--stdin", "@/in.txt")
		if c, acts := apitest.Acting(shown); acts || !strings.Contains(shown, `\x1b[2J`) || !strings.Contains(shown, `\u202egpj`) {
			t.Errorf("a terminal is told %U: %q", c, shown)
		}
		if r.run("run", "@/m.wasm", "--count", count, "--stdin", "@/in.txt"); !strings.HasPrefix(r.stdout.String(), apitest.Text) {
			t.Errorf("a pipe gets %q", r.stdout.String())
		}
	}
}

// FuzzSpelling: what is spelled out does nothing, says the same however it comes in
// parts, and leaves text alone that only says something.
func FuzzSpelling(f *testing.F) {
	f.Add([]byte(apitest.Text), 7)
	f.Add([]byte("blåbær 日本語 ok\n"), 3)
	f.Add([]byte("\xe2\x80"), 1)
	f.Fuzz(func(t *testing.T, text []byte, at int) {
		spell := func(parts ...[]byte) string {
			var b strings.Builder
			s := spelling{w: &b}
			for _, p := range parts {
				if n, err := s.Write(p); n != len(p) || err != nil {
					t.Fatal(n, err)
				}
			}
			s.flush()
			return b.String()
		}
		at = min(max(at, 0), len(text))
		whole := spell(text)
		if parts := spell(text[:at], text[at:]); parts != whole {
			t.Errorf("%q is %q, and in parts %q", text, whole, parts)
		}
		if r, acts := apitest.Acting(whole); acts || !utf8.ValidString(whole) {
			t.Errorf("%q is %q, which has %U", text, whole, r)
		}
		if _, acts := apitest.Acting(string(text)); !acts && utf8.Valid(text) && whole != string(text) {
			t.Errorf("%q is %q", text, whole)
		}
	})
}

// TestHarmlessJSON: JSON for a terminal says the same without what that would obey.
func TestHarmlessJSON(t *testing.T) {
	var b strings.Builder
	want := api.Job{Name: apitest.Text}
	if err := json.NewEncoder(jsonWriter{&b}).Encode(want); err != nil {
		t.Fatal(err)
	}
	if r, acts := apitest.Acting(b.String()); acts {
		t.Errorf("has %U: %q", r, b.String())
	}
	var got api.Job
	if err := json.Unmarshal([]byte(b.String()), &got); err != nil || got.Name != want.Name {
		t.Errorf("%q, %v", got.Name, err)
	}
}
