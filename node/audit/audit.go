// Package audit keeps who did what on a node, and whom it refused: one JSON line for
// each, in files of bounded size in the node's data folder. It is told ids and codes,
// never what a request carried, so that no secret can get into it.
package audit

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/dugnad/dugnad/p2p/metric"
)

const (
	// folderName is the folder of the files in a node's data folder.
	folderName = "audit"
	// FileBytesMax bounds a file: the line that would be beyond it begins another one.
	FileBytesMax = 8 << 20
	// FilesMax bounds the files of the operator's lines, and again those of all others:
	// the oldest is removed to make room.
	FilesMax = 4
	// RefusalsPerMinuteMax bounds the lines about those who were refused, whom nothing
	// else keeps from asking again.
	RefusalsPerMinuteMax = 120
	// RefusalsOfOneMax bounds those of them that are about one tenant, or one node: who
	// floods a node does not push out what is said of others.
	RefusalsOfOneMax = 30
	// idBytesMax bounds an id, textBytesMax any other part of a line. Tokens and
	// invitations are longer than ids.
	idBytesMax, textBytesMax = 96, 192
	// lineBytesMax is more than any line has.
	lineBytesMax = 16 << 10
)

// The limits' names in the metric.
const (
	limitFiles    = "files"
	limitRefusals = "refusals_per_minute"
	limitText     = "text_bytes"
)

// CodeOK is the code of what was done; any other one says why it was not.
const CodeOK = "ok"

// Who did something, when it was no tenant and no node: Tenant and Node make those.
const (
	Operator = "operator"
	Unknown  = "unknown"
)

// Socket is what Record.From has for the operator's socket in the node's folder.
const Socket = "socket"

// Tenant is what Record.Who has for a tenant.
func Tenant(id string) string { return "tenant:" + id }

// Node is what Record.Who has for a node.
func Node(id string) string { return "node:" + id }

// ErrLost is returned by Close when what was noted last could not be written.
var ErrLost = errors.New("lines of the audit log could not be written")

// Record is one line.
type Record struct {
	Time time.Time `json:"time"`
	// Who is Operator, Unknown, or what Tenant or Node return.
	Who string `json:"who"`
	// Token is the id of the token that was shown. It is no secret.
	Token string `json:"token,omitempty"`
	// From is where it came from: socket, or an address.
	From string `json:"from,omitempty"`
	// Operation is what was asked for, by the name that the API's description has for
	// it, or the command of the operator.
	Operation string `json:"operation"`
	// Object is the id of what it was done to, Detail a word about how.
	Object string `json:"object,omitempty"`
	Detail string `json:"detail,omitempty"`
	// Code is CodeOK, or the code of the problem.
	Code string `json:"code"`
}

// Config says where lines go, and how many.
type Config struct {
	// Dir is the node's data folder.
	Dir string
	// FileBytesMax, FilesMax and RefusalsPerMinuteMax are the constants of the same
	// names, unless a test wants less.
	FileBytesMax                   int64
	FilesMax, RefusalsPerMinuteMax int
	// Log hears when lines cannot be written, and when they can again; nil discards it.
	Log *slog.Logger
	// Registerer receives the metrics; nil keeps none.
	Registerer prometheus.Registerer

	// now is the clock; nil is the machine's.
	now func() time.Time
}

// Default returns the configuration of a node on dir.
func Default(dir string) Config {
	return Config{Dir: dir, FileBytesMax: FileBytesMax, FilesMax: FilesMax, RefusalsPerMinuteMax: RefusalsPerMinuteMax}
}

// Validate says what cannot work.
func (c *Config) Validate() error {
	var errs []error
	for name, n := range map[string]int64{"FileBytesMax": c.FileBytesMax, "FilesMax": int64(c.FilesMax), "RefusalsPerMinuteMax": int64(c.RefusalsPerMinuteMax)} {
		if n < 1 {
			errs = append(errs, fmt.Errorf("%s is %d, at least 1 is needed", name, n))
		}
	}
	return errors.Join(errs...)
}

// Log takes records. A nil Log takes all and keeps none. It is safe for concurrent use.
type Log struct {
	config  Config
	log     *slog.Logger
	metrics *metrics

	mu     sync.Mutex
	closed bool
	// operator has what the operator did, others the rest: nobody pushes out what the
	// operator did by asking much.
	operator, others *series
	// lost is why the last line could not be written, nil when it was.
	lost error
	// minute began when the first of the refusals in it came; leftOut are those beyond
	// the limit, and of has how many there were of each tenant and node.
	minute            time.Time
	refusals, leftOut int
	of                map[string]int
}

type metrics struct {
	records  *prometheus.CounterVec
	limits   *prometheus.CounterVec
	failures prometheus.Counter
	bytes    prometheus.Gauge
}

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	m := &metrics{}
	var err error
	vector := func(to **prometheus.CounterVec, name, help, label string, values ...string) {
		metric.Register(reg, to, prometheus.NewCounterVec(prometheus.CounterOpts{Name: "dugnad_audit_" + name, Help: help}, []string{label}), &err)
		for _, v := range values {
			(*to).WithLabelValues(v)
		}
	}
	vector(&m.records, "records_total", "Lines written to the audit log, by whether the operator did what they say or somebody else.", "by", nameOperator, nameOthers)
	vector(&m.limits, "limit_reached_total", "How often a limit of the audit log removed, shortened or left out something, by limit.", "limit", limitFiles, limitRefusals, limitText)
	metric.Register(reg, &m.failures, prometheus.NewCounter(prometheus.CounterOpts{
		Name: "dugnad_audit_failures_total", Help: "Lines of the audit log that could not be written.",
	}), &err)
	metric.Register(reg, &m.bytes, prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "dugnad_audit_file_bytes", Help: "Size of the audit log's newest files.",
	}), &err)
	return m, err
}

// Open opens the log in a data folder, and makes it if need be.
func Open(_ context.Context, c Config) (*Log, error) {
	if err := c.Validate(); err != nil {
		return nil, fmt.Errorf("open audit log: %w", err)
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.now == nil {
		c.now = time.Now
	}
	l := &Log{config: c, log: c.Log}
	var err error
	if l.metrics, err = newMetrics(c.Registerer); err != nil {
		return nil, fmt.Errorf("open audit log: %w", err)
	}
	dir := filepath.Join(c.Dir, folderName)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("open audit log: %w", err)
	}
	l.operator, err = openSeries(dir, nameOperator)
	if err == nil {
		l.others, err = openSeries(dir, nameOthers)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open audit log: %w", err), l.Close())
	}
	l.metrics.bytes.Set(float64(l.operator.size + l.others.size))
	return l, nil
}

// Close closes the files. It is idempotent. The error is ErrLost when the log did not
// recover from a failure.
func (l *Log) Close() error {
	if l == nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil
	}
	l.closed = true
	l.sum()
	return errors.Join(l.lost, l.operator.close(), l.others.close())
}

// Note writes a record, with the time if it has none. What cannot be written is
// counted, said in Config.Log, and not tried again: the node goes on. A crash of the
// machine may take the last lines, one of the process does not.
func (l *Log) Note(r Record) {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return
	}
	if r.Time.IsZero() {
		r.Time = l.config.now()
	}
	if l.counts(&r) {
		l.write(&r)
	}
}

// counts reports whether a record may be written: one of a refusal only when there are
// not too many. l.mu is held.
func (l *Log) counts(r *Record) bool {
	if since := r.Time.Sub(l.minute); since >= time.Minute || since < 0 {
		l.sum()
		l.minute, l.refusals, l.of = r.Time, 0, map[string]int{}
	}
	if r.Code == CodeOK || r.Who == Operator {
		return true
	}
	if l.refusals < l.config.RefusalsPerMinuteMax && (r.Who == Unknown || l.of[r.Who] < RefusalsOfOneMax) {
		l.refusals++
		l.of[r.Who]++
		return true
	}
	l.leftOut++
	l.metrics.limits.WithLabelValues(limitRefusals).Inc()
	return false
}

// sum writes how many refusals were left out. l.mu is held.
func (l *Log) sum() {
	if l.leftOut == 0 {
		return
	}
	r := Record{Time: l.config.now(), Who: Unknown, Operation: "more-refusals", Detail: strconv.Itoa(l.leftOut) + " left out", Code: limitRefusals}
	l.leftOut = 0
	l.write(&r)
}

// write writes a line to its file. l.mu is held.
func (l *Log) write(r *Record) {
	to, by := l.others, nameOthers
	if r.Who == Operator {
		to, by = l.operator, nameOperator
	}
	if r.clean() {
		l.metrics.limits.WithLabelValues(limitText).Inc()
	}
	line, err := json.Marshal(r)
	if err == nil {
		line = append(line, '\n')
		err = l.makeRoom(to, int64(len(line)))
	}
	if err == nil {
		err = to.write(line)
	}
	l.wrote(by, err)
}

// wrote takes note of whether a line was written.
func (l *Log) wrote(by string, err error) {
	switch {
	case err != nil && l.lost == nil:
		l.log.Error("audit log cannot be written", "err", err)
	case err == nil && l.lost != nil:
		l.log.Info("audit log can be written again")
	}
	l.lost = nil
	if err != nil {
		l.metrics.failures.Inc()
		l.lost = fmt.Errorf("%w: %w", ErrLost, err)
		return
	}
	l.metrics.records.WithLabelValues(by).Inc()
	l.metrics.bytes.Set(float64(l.operator.size + l.others.size))
}

// makeRoom begins another file when a line of so many bytes would be beyond this one.
func (l *Log) makeRoom(to *series, bytes int64) error {
	if to.file == nil {
		if err := to.open(); err != nil {
			return err
		}
	}
	if to.size == 0 || to.size+bytes <= l.config.FileBytesMax {
		return nil
	}
	dropped, err := to.rotate(l.config.FilesMax)
	if dropped {
		l.metrics.limits.WithLabelValues(limitFiles).Inc()
	}
	return err
}

// clean makes a record one that may be written, and reports whether something was too
// long. An object is an id or nothing: whatever else came in its place may be anything.
func (r *Record) clean() (long bool) {
	r.Time = r.Time.UTC().Round(0)
	for _, text := range []*string{&r.Who, &r.From, &r.Operation, &r.Detail, &r.Code} {
		if len(*text) > textBytesMax {
			*text, long = strings.ToValidUTF8((*text)[:textBytesMax], "")+"…", true
		}
	}
	for _, id := range []*string{&r.Token, &r.Object} {
		if !isID(*id) {
			*id, long = "(no id)", long || len(*id) > idBytesMax
		}
	}
	return long
}

// isID reports whether a text may be an id: of a job, a node, a module, an invitation.
func isID(text string) bool {
	const signs = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.:"
	return len(text) <= idBytesMax && strings.Trim(text, signs) == ""
}

type recordKey struct{}

// With returns a context for the handling of a request about which r will be noted.
func With(ctx context.Context, r *Record) context.Context {
	return context.WithValue(ctx, recordKey{}, r)
}

// Of returns the record of a request that is being handled, for its handlers to fill in,
// or one that nobody reads. Only the goroutine that handles the request may.
func Of(ctx context.Context) *Record {
	if r, ok := ctx.Value(recordKey{}).(*Record); ok {
		return r
	}
	return &Record{}
}
