package httpd

import (
	"encoding/xml"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// h2specEnviron names the program that make h2spec builds.
const h2specEnviron = "DUGNAD_H2SPEC"

// TestH2Spec runs the conformance suite for HTTP/2 against a port with TLS, and one
// without. It fails for any case but those in which Go's server is known to differ.
func TestH2Spec(t *testing.T) {
	program := os.Getenv(h2specEnviron)
	if program == "" {
		t.Skip("make h2spec builds the suite and names it in " + h2specEnviron)
	}
	for _, secured := range []bool{true, false} {
		t.Run(fmt.Sprint("secured ", secured), func(t *testing.T) {
			t.Parallel()
			s := start(t, secured, func(c *ServerConfig) {
				// The suite wants an answer that is longer than a few windows.
				c.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					_, _ = io.Copy(io.Discard, r.Body)
					_, _ = w.Write(make([]byte, 1<<10))
				})
			})
			host, port, err := net.SplitHostPort(s.Addr())
			if err != nil {
				t.Fatal(err)
			}
			args := []string{"-h", host, "-p", port}
			if secured {
				args = append(args, "-t", "-k")
			}
			passed, failed := runH2Spec(t, program, args)
			if len(unknown(failed, secured)) > 0 {
				// It waits two seconds for each answer, in which a busy machine may give none.
				passed, failed = runH2Spec(t, program, append(args, "-o", "20"))
			}
			if passed < h2specPass {
				t.Errorf("%d cases hold, at least %d did", passed, h2specPass)
			}
			for _, name := range unknown(failed, secured) {
				t.Errorf("does not hold: %s", name)
			}
			t.Logf("%d cases hold, %d do not: %q", passed, len(failed), failed)
		})
	}
}

// runH2Spec runs the suite, and returns how many cases hold, and which do not.
func runH2Spec(t *testing.T, program string, args []string) (passed int, failed []string) {
	t.Helper()
	report := filepath.Join(t.TempDir(), "report.xml")
	// It ends with a code of its own where a case fails: the report says which.
	out, err := exec.CommandContext(t.Context(), program, append(args, "-j", report)...).CombinedOutput()
	passed, failed = readReport(t, report)
	if len(failed) == 0 && err != nil {
		t.Errorf("%v:\n%s", err, out)
	}
	return passed, failed
}

// unknown returns the cases of which nobody has said why they do not hold.
func unknown(failed []string, secured bool) (out []string) {
	for _, name := range failed {
		if h2specKnown()[name] == "" && (secured || name != h2specClear) {
			out = append(out, name)
		}
	}
	return out
}

// readReport returns how many cases of a JUnit report hold, and the names of those
// that do not.
func readReport(t *testing.T, path string) (passed int, failed []string) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var report struct {
		Suites []struct {
			Cases []struct {
				Package string    `xml:"package,attr"`
				Class   string    `xml:"classname,attr"`
				Failure *struct{} `xml:"failure"`
				Error   *struct{} `xml:"error"`
				Skipped *struct{} `xml:"skipped"`
			} `xml:"testcase"`
		} `xml:"testsuite"`
	}
	if err := xml.Unmarshal(b, &report); err != nil {
		t.Fatal(err)
	}
	for _, s := range report.Suites {
		for _, c := range s.Cases {
			if c.Failure != nil || c.Error != nil || c.Skipped != nil {
				failed = append(failed, c.Package+": "+c.Class)
				continue
			}
			passed++
		}
	}
	return passed, failed
}

// h2specPass is how many cases hold at least, of 145.
const h2specPass = 141

// h2specKnown has the cases that Go's server is known not to hold, and what it does.
func h2specKnown() map[string]string {
	return map[string]string{
		"http2/6.5.3: Sends multiple values of SETTINGS_INITIAL_WINDOW_SIZE":                                            "it takes no setting twice in one frame, and closes the connection",
		"http2/8.1.2.2: Sends a HEADERS frame that contains the connection-specific header field":                       "it answers 400 instead of resetting the stream",
		"http2/8.1.2.2: Sends a HEADERS frame that contains the TE header field with any value other than \"trailers\"": "it answers 400 instead of resetting the stream",
	}
}

// h2specClear is one more on a port without TLS, where HTTP/1.1 is told from HTTP/2 by
// its first bytes: others than HTTP/2's are answered with HTTP/1.1's 400.
const h2specClear = "http2/3.5: Sends invalid connection preface"
