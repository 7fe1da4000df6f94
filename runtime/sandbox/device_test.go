package sandbox

import (
	"strings"
	"testing"

	"github.com/dugnad/dugnad/runtime/task"
)

// TestDevices: the first four names below /dev work like the streams that they stand
// for, with their limits, and are in no listing.
func TestDevices(t *testing.T) {
	o, out, errOut := probe(t, probeModule(t), task.Spec{}, Streams{Stdin: strings.NewReader("typed")}, "devices")
	const want = `typed <nil>
<nil> true <nil>
/dev/stdout
<nil> true <nil>
<nil> true <nil>
open /dev/other: No such file or directory
true <nil>
2 <nil>
`
	if o.Kind != task.Exited || out != want || errOut != "dev/../dev/stderr\n" {
		t.Errorf("%+v\nstdout %s\nwant %s\nstderr %s", o, out, want, errOut)
	}
	o, out, _ = probe(t, probeModule(t), task.Spec{Limits: task.Limits{OutputBytes: 30}}, Streams{Stdin: strings.NewReader("typed")}, "devices")
	if o.Kind != task.OutputLimit || len(out) != 30 {
		t.Errorf("%+v with %q", o, out)
	}
}
