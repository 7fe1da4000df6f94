package cli

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dugnad/dugnad/node/audit"
	"github.com/dugnad/dugnad/node/nodetest"
)

// TestAuditCommand: the log is shown whether a node runs or not, the last of it, and
// harmlessly.
func TestAuditCommand(t *testing.T) {
	dir := t.TempDir()
	none := newTestRun(t)
	if code := none.run("audit", "--node-dir", dir); code != exitFailure || !strings.Contains(none.stderr.String(), audit.ErrNone.Error()) {
		t.Errorf("without a log: %d, %q", code, none.stderr.String())
	}
	l, err := audit.Open(t.Context(), audit.Default(dir))
	if err != nil {
		t.Fatal(err)
	}
	for _, operation := range []string{"invite", "expel", "drain\x1b[31m-node"} {
		l.Note(audit.Record{Who: audit.Operator, From: audit.Socket, Operation: operation, Object: "n1", Code: audit.CodeOK})
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	text := newTestRun(t)
	if code := text.run("audit", "--node-dir", dir, "--lines", "2"); code != 0 {
		t.Errorf("exit code %d: %s", code, text.stderr.String())
	}
	if out := text.stdout.String(); strings.Count(out, "\n") != 2 || !strings.Contains(out, "operator  socket  expel") || strings.ContainsRune(out, 0x1b) {
		t.Errorf("output is %q", out)
	}
	asJSON := newTestRun(t)
	if code := asJSON.run("audit", "--node-dir", dir, "--json"); code != 0 {
		t.Errorf("exit code %d: %s", code, asJSON.stderr.String())
	}
	d := json.NewDecoder(&asJSON.stdout)
	for _, want := range []string{"invite", "expel", "drain\x1b[31m-node"} {
		var r audit.Record
		if err := d.Decode(&r); err != nil || r.Operation != want || r.Object != "n1" || r.Time.IsZero() {
			t.Errorf("%+v, %v: want %q", r, err, want)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "audit", "others.jsonl"), []byte("garbage\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	damaged := newTestRun(t)
	if code := damaged.run("audit", "--node-dir", dir); code != 0 || !strings.Contains(damaged.stderr.String(), "1 line of the audit log cannot be read") {
		t.Errorf("exit code %d: %s", code, damaged.stderr.String())
	}
}

// TestAuditFollow: what a running node notes is shown as it comes, until stopped.
func TestAuditFollow(t *testing.T) {
	t.Parallel()
	n := startNode(t, nil, nodetest.Dir(t), "--loopback", "--listen", "/ip4/127.0.0.1/udp/0/quic-v1", "--name", "n").up(t)
	cmd := dugnadCommand(t, nil, "audit", "-f", "--node-dir", n.dir)
	f := &nodeProcess{dir: n.dir, cmd: cmd, out: &transcript{}, errOut: &transcript{}, ended: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = f.out, f.errOut
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(f.ended)
		_ = cmd.Wait()
	}()
	f.await(t, f.out, 0, "start")
	r := newTestRun(t)
	if code := r.run("invite", "--node-dir", n.dir); code != 0 {
		t.Fatalf("exit code %d: %s", code, r.stderr.String())
	}
	f.await(t, f.out, 0, "worker, 1 times, for 24h0m0s")
	if out, _ := f.out.read(); strings.Contains(out, strings.TrimSpace(r.stdout.String())) {
		t.Errorf("the invitation is in the log: %s", out)
	}
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	<-f.ended
	if code := cmd.ProcessState.ExitCode(); code != 130 {
		t.Errorf("exit code %d, want 130", code)
	}
}

// TestObserve: what is printed is what the package has.
func TestObserve(t *testing.T) {
	for args, want := range map[string]string{
		"alerts": "alert: DugnadNoLeader", "scrape": "credentials_file: metrics.key", "dashboard": `"title": "Dugnad"`, "metrics": "| `dugnad_executor_fuel_total` | counter | fuel |",
	} {
		r := newTestRun(t)
		if code := r.run("observe", args); code != 0 || !strings.Contains(r.stdout.String(), want) {
			t.Errorf("%s: %d, %.200q", args, code, r.stdout.String())
		}
	}
	r := newTestRun(t)
	var out struct{ Metrics, Limits []map[string]any }
	if code := r.run("observe", "metrics", "--json"); code != 0 || json.Unmarshal(r.stdout.Bytes(), &out) != nil || len(out.Metrics) < 100 || len(out.Limits) < 50 {
		t.Errorf("%d, %d metrics, %d limits", code, len(out.Metrics), len(out.Limits))
	}
	if code := newTestRun(t).run("observe", "alert"); code == 0 {
		t.Error("a misspelt word is taken")
	}
}

// TestMetricsKey: a file with the key to a node's metrics has one that is long enough to be
// one, and is its owner's.
func TestMetricsKey(t *testing.T) {
	path := filepath.Join(t.TempDir(), "metrics.key")
	for _, tt := range []struct {
		text string
		mode os.FileMode
		says string
	}{
		{strings.Repeat("a", metricsKeyBytesMin) + "\n", 0o600, ""},
		{strings.Repeat("a", metricsKeyBytesMax), 0o400, ""},
		{strings.Repeat("a", metricsKeyBytesMin), 0o644, "mode is 0644"},
		{strings.Repeat("a", metricsKeyBytesMin-1), 0o600, "openssl rand"},
		{strings.Repeat("a", metricsKeyBytesMax+1), 0o600, "openssl rand"},
		{strings.Repeat("a", metricsKeyBytesMin) + "\nb", 0o600, "openssl rand"},
		{strings.Repeat("å", metricsKeyBytesMin), 0o600, "openssl rand"},
		{"", 0o600, "no file with"},
	} {
		_ = os.Remove(path)
		if err := os.WriteFile(path, []byte(tt.text), tt.mode); err != nil {
			t.Fatal(err)
		}
		key, err := readMetricsKey(path)
		if tt.says == "" && (err != nil || key != strings.TrimSpace(tt.text)) || tt.says != "" && (err == nil || !strings.Contains(err.Error(), tt.says) || !strings.Contains(err.Error(), path)) {
			t.Errorf("%.40q, %o: %q, %v, want %q", tt.text, tt.mode, key, err, tt.says)
		}
	}
	if key, err := readMetricsKey(""); key != "" || err != nil {
		t.Errorf("without a file: %q, %v", key, err)
	}
}
