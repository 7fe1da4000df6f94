package jobspec

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/dugnad/dugnad/ledger"
)

// Fuel is an amount of fuel. In a file: 500M, 1e9, 2G.
type Fuel uint64

// Size is a number of bytes. In a file: 64MiB, 1G.
type Size uint64

// Duration is a span of time. In a file: 500ms, 30s, 2h; a number is seconds.
type Duration time.Duration

// MarshalText writes d as time.Duration does.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// hashPrefix begins the text of a Hash.
const hashPrefix = "sha256:"

// errHash is returned by ParseHash.
var errHash = errors.New("is not sha256: and 64 hexadecimal digits")

// Hash names an object by the SHA-256 of its bytes. Its text is sha256:HEX.
type Hash [32]byte

// ParseHash is the inverse of Hash.String.
func ParseHash(s string) (Hash, error) {
	var h Hash
	digits, ok := strings.CutPrefix(s, hashPrefix)
	b, err := hex.DecodeString(digits)
	if !ok || err != nil || len(b) != len(h) || Hash(b) == (Hash{}) {
		return h, fmt.Errorf("%q %w", s, errHash)
	}
	return Hash(b), nil
}

// String returns sha256: and the hash in hexadecimal.
func (h Hash) String() string { return hashPrefix + hex.EncodeToString(h[:]) }

// MarshalText returns String.
func (h Hash) MarshalText() ([]byte, error) { return []byte(h.String()), nil }

// Reference is a local file or, when Path is empty, an object. Its text is a path
// or a hash.
type Reference struct {
	Path   string
	Object Hash
}

// ParseReference is the inverse of Reference.String. What begins as a hash does
// is one: a file of such a name is written ./sha256:….
func ParseReference(s string) (Reference, error) {
	if !strings.HasPrefix(s, hashPrefix) {
		return Reference{Path: s}, nil
	}
	h, err := ParseHash(s)
	return Reference{Object: h}, err
}

// String returns the path or the hash.
func (r Reference) String() string {
	if r.Path != "" || r.Object == (Hash{}) {
		return r.Path
	}
	return r.Object.String()
}

// MarshalText returns String.
func (r Reference) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// JobID is a ledger.JobID. Its text is 32 hexadecimal digits.
type JobID ledger.JobID

// String returns the id in hexadecimal.
func (id JobID) String() string { return ledger.JobID(id).String() }

// MarshalText returns String.
func (id JobID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// Stream is one of the two that a task puts out.
type Stream string

// The streams.
const (
	Stdout Stream = "stdout"
	Stderr Stream = "stderr"
)

func (Stream) names() []string { return []string{"stdout", "stderr"} }

// Kind is what becomes of a job.
type Kind string

// The kinds of job.
const (
	// KindJob runs its tasks once.
	KindJob Kind = "job"
	// KindCron is a template of jobs that are submitted at the times of Schedule.
	KindCron Kind = "cron"
	// KindDaemon keeps its tasks running.
	KindDaemon Kind = "daemon"
)

func (Kind) names() []string { return []string{"job", "cron", "daemon"} }

// Condition is how the jobs of After must have ended.
type Condition string

// The conditions.
const (
	// Succeeded: all of them have succeeded.
	Succeeded Condition = "succeeded"
	// Finished: all of them have ended, however.
	Finished Condition = "finished"
	// Any: one of them has succeeded; the others need not have ended.
	Any Condition = "any"
)

func (Condition) names() []string { return []string{"succeeded", "finished", "any"} }

// Overlap is what happens at a time of the schedule when the job of an earlier
// one has not ended.
type Overlap string

// The ways to overlap.
const (
	// OverlapSkip lets the time pass; this is the default.
	OverlapSkip Overlap = "skip"
	// OverlapQueue runs after the earlier one.
	OverlapQueue Overlap = "queue"
	// OverlapReplace cancels the earlier one.
	OverlapReplace Overlap = "replace"
	// OverlapAllow runs both.
	OverlapAllow Overlap = "allow"
)

func (Overlap) names() []string { return []string{"skip", "queue", "replace", "allow"} }

// CatchUp is which of the times are made up for that passed while no leader was
// there to see them.
type CatchUp string

// The ways to catch up.
const (
	// CatchUpNone makes up for none; this is the default.
	CatchUpNone CatchUp = "none"
	// CatchUpOne runs once, however many there were.
	CatchUpOne CatchUp = "one"
	// CatchUpAll runs for each.
	CatchUpAll CatchUp = "all"
)

func (CatchUp) names() []string { return []string{"none", "one", "all"} }

// enum is a text of which a few values are allowed.
type enum interface{ names() []string }

// quote shows what somebody wrote, shortened.
func quote(s string) string {
	const most = 80
	if len(s) > most {
		return fmt.Sprintf("%q…", strings.ToValidUTF8(s[:most], ""))
	}
	return fmt.Sprintf("%q", s)
}
