package jobspec

import (
	"fmt"
	"maps"
	"math"
	"math/bits"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/dugnad/dugnad/ledger"
	"github.com/dugnad/dugnad/node/calendar"
	"github.com/dugnad/dugnad/node/quantity"
	"github.com/dugnad/dugnad/runtime/abi"
	"github.com/dugnad/dugnad/runtime/task"
)

// checker collects mistakes by field.
type checker struct{ mistakes }

func (c *checker) add(field, message, help string) {
	c.report(&Error{Field: field, Message: message, Help: help})
}

// Validate reports all mistakes as Errors. A path that is left is none.
func (j *Job) Validate() error { return j.check().orNil() }

func (j *Job) check() *checker {
	c := &checker{}
	c.choice("kind", string(j.Kind), j.Kind)
	if j.Kind == "" {
		c.add("kind", "is missing", "write kind: job")
	}
	for _, b := range bounds() {
		b.check(c, j)
	}
	if j.Module == (Reference{}) {
		c.add("module", "is missing", "write module: FILE.wasm or module: "+hashPrefix+"…")
	}
	c.path("module", j.Module.Path)
	if j.Name != "" {
		c.words("name", "name", j.Name, ledger.TextBytesMax)
	}
	j.checkEnvironment(c)
	j.checkSecrets(c)
	j.checkLabels(c)
	j.checkInputs(c)
	j.checkRetry(c)
	j.checkPlace(c)
	j.checkAfter(c)
	j.checkSchedule(c)
	j.checkStanding(c)
	j.checkSums(c)
	return c
}

// choice reports a text that is not among the names of its type; empty is none.
func (c *checker) choice(field, text string, e enum) {
	if text == "" {
		return
	}
	if message, help := chosen(text, e); message != "" {
		c.add(field, message, help)
	}
}

// words reports a text that is empty, too long, or not to be shown to people.
func (c *checker) words(field, what, text string, most int) {
	switch {
	case text == "":
		c.add(field, "has an empty "+what, "write one, or remove it")
	case len(text) > most:
		c.add(field, fmt.Sprintf("the %s has %d bytes, at most %d", what, len(text), most), "shorten it")
	case !utf8.ValidString(text) || strings.ContainsFunc(text, unicode.IsControl):
		c.add(field, "the "+what+" "+quote(text)+" holds control characters", "remove them")
	}
}

// bytes reports a text that a guest cannot be given.
func (c *checker) bytes(field, text string) {
	if strings.IndexByte(text, 0) >= 0 || !utf8.ValidString(text) {
		c.add(field, quote(text)+" holds a zero byte or is not UTF-8", "put such data into a file, and name it in inputs")
	}
}

func (c *checker) path(field, path string) {
	switch {
	case len(path) > PathBytesMax:
		c.add(field, fmt.Sprintf("the path has %d bytes, at most %d", len(path), PathBytesMax), "shorten it")
	case !utf8.ValidString(path) || strings.IndexByte(path, 0) >= 0:
		c.add(field, "the path "+quote(path)+" holds a zero byte or is not UTF-8", "rename the file")
	}
}

func (j *Job) checkEnvironment(c *checker) {
	for i, a := range j.Args {
		c.bytes(fmt.Sprintf("args[%d]", i), a)
	}
	for _, name := range slices.Sorted(maps.Keys(j.Env)) {
		field := below("env", name)
		c.words(field, "name", name, ledger.TextBytesMax)
		if strings.Contains(name, "=") {
			c.add(field, "the name "+quote(name)+" holds =", "write NAME: value")
		}
		c.bytes(field, j.Env[name])
	}
}

func (j *Job) checkSecrets(c *checker) {
	names := slices.Sorted(maps.Keys(j.Secrets))
	if len(names) > ledger.JobSecretsMax {
		c.add("secrets", fmt.Sprintf("has %d secrets, at most %d", len(names), ledger.JobSecretsMax), "put several into one, as lines or as JSON")
	}
	for _, name := range names {
		field, secret := below("secrets", name), j.Secrets[name]
		c.words(field, "name", name, ledger.TextBytesMax)
		c.bytes(field, name)
		if strings.Contains(name, "=") {
			c.add(field, "the name "+quote(name)+" holds =", "write VARIABLE: NAME")
		}
		if _, both := j.Env[name]; both {
			c.add(field, "is a variable of env, too", "remove one")
		}
		if !ledger.ValidSecretName(ledger.SecretName(secret)) {
			// Somebody may have written the secret itself.
			c.add(field, "is not the name of a secret", "write the name under which dugnad secret set has kept it: 1 to 64 of A-Z, a-z, 0-9 and _, no digit first")
		}
	}
}

// LabelForm says what the names of a job's labels, and their values, are made of.
const LabelForm = "1 to 63 of A-Z, a-z, 0-9, ., _, / and -, a letter or a digit first"

// ValidLabel reports whether a text is of LabelForm.
func ValidLabel(text string) bool { return ledger.ValidJobLabel(text) }

func (j *Job) checkLabels(c *checker) {
	names := slices.Sorted(maps.Keys(j.Labels))
	if len(names) > ledger.JobLabelsMax {
		c.add("labels", fmt.Sprintf("has %d labels, at most %d", len(names), ledger.JobLabelsMax), "keep those that operators look for")
	}
	for _, name := range names {
		switch field := below("labels", name); {
		case !ValidLabel(name):
			c.add(field, "the name "+quote(name)+" is not "+LabelForm, "correct it; what a node must have goes into constraints.labels")
		case !ValidLabel(j.Labels[name]):
			c.add(field, "the value "+quote(j.Labels[name])+" is not "+LabelForm, "correct it; what a node must have goes into constraints.labels")
		}
	}
}

func (j *Job) checkInputs(c *checker) {
	for _, s := range j.sources() {
		s.file.check(c, s.field)
	}
	if len(j.Inputs) > InputsMax {
		c.add("inputs", fmt.Sprintf("has %d inputs, at most %d", len(j.Inputs), InputsMax), "put files into a folder, and write folder: true")
	}
	seen := map[string]bool{}
	for i := range j.Inputs {
		in, field := &j.Inputs[i], fmt.Sprintf("inputs[%d]", i)
		name := field + ".name"
		c.words(name, "name", in.Name, InputNameBytesMax)
		if in.Name == "." || in.Name == ".." || strings.Contains(in.Name, "/") {
			c.add(name, quote(in.Name)+" is not the name of a file", "write a name without /: the task sees it at /input/NAME")
		}
		if seen[in.Name] {
			c.add(name, quote(in.Name)+" is the name of an earlier input", "rename one")
		}
		seen[in.Name] = true
		if in.Folder && in.Lines {
			c.add(field+".lines", "a folder has no lines", "remove folder or lines")
		}
		if in.Folder && in.Job != (JobID{}) {
			c.add(field+".folder", "what a job has put out is no folder", "remove folder: the task sees one file at /input/NAME")
		}
	}
}

// namedFile is a File and the field that holds it.
type namedFile struct {
	field string
	file  *File
}

// sources lists what the tasks read, stdin first.
func (j *Job) sources() (list []namedFile) {
	if j.Stdin != nil {
		list = append(list, namedFile{"stdin", j.Stdin})
	}
	for i := range j.Inputs {
		list = append(list, namedFile{fmt.Sprintf("inputs[%d]", i), &j.Inputs[i].File})
	}
	return list
}

func (f *File) check(c *checker, field string) {
	c.path(field+".path", f.Path)
	c.choice(field+".stream", string(f.Stream), f.Stream)
	object, job := f.Object != (Hash{}), f.Job != (JobID{})
	switch {
	case object && f.Path != "":
		c.add(field, "has both a path and an object", "remove one")
	case job && f.Path != "":
		c.add(field, "has both a path and a job", "remove one")
	case job && object:
		c.add(field, "has both an object and a job", "remove one")
	case !object && !job && f.Path == "":
		c.add(field+".object", "is missing, and so are path and job", "write path: FILE, object: "+hashPrefix+"… or job: ID")
	case !job && f.Stream != "":
		c.add(field+".stream", "belongs to the outputs of a job, and there is no job", "write job: ID, or remove it")
	}
}

func (j *Job) checkRetry(c *checker) {
	r := &j.Retry
	if r.Backoff > r.BackoffMax {
		c.add("retry.backoff_max", fmt.Sprintf("is %s, at least retry.backoff, which is %s",
			span(uint64(r.BackoffMax)), span(uint64(r.Backoff))), "raise it, or lower retry.backoff")
	}
	if len(r.On) > RetryOnMax {
		c.add("retry.on", fmt.Sprintf("has %d outcomes, at most %d", len(r.On), RetryOnMax), "name exit instead of many of exit:N")
	}
	for i, on := range r.On {
		if message, help := checkRetryOn(on); message != "" {
			c.add(fmt.Sprintf("retry.on[%d]", i), message, help)
		}
	}
}

func (j *Job) checkPlace(c *checker) {
	j.Constraints.Labels.check(c)
	if n := len(j.Constraints.Features); n > ledger.FeaturesMax {
		c.add("constraints.features", fmt.Sprintf("has %d features, at most %d", n, ledger.FeaturesMax), "ask for less")
	}
	for i, f := range j.Constraints.Features {
		c.words(fmt.Sprintf("constraints.features[%d]", i), "feature", f, ledger.TextBytesMax)
	}
	j.checkCapabilities(c)
	if j.Spread != "" {
		c.words("spread", "label", j.Spread, ledger.TextBytesMax)
	}
}

func (j *Job) checkCapabilities(c *checker) {
	http := false
	for i, name := range j.Capabilities {
		field := fmt.Sprintf("capabilities[%d]", i)
		switch {
		case name != abi.CapabilityHTTP:
			c.add(field, quote(name)+" is no capability", "write "+abi.CapabilityHTTP+", or remove it")
		case http:
			c.add(field, quote(name)+" is given twice", "remove one")
		}
		http = http || name == abi.CapabilityHTTP
	}
	if len(j.HTTP.Hosts) > 0 && !http {
		c.add("http", "belongs to a job with the capability http", "write capabilities: [http], or remove it")
	}
	if n := len(j.HTTP.Hosts); n > task.HTTPHostsMax {
		c.add("http.hosts", fmt.Sprintf("has %d hosts, at most %d", n, task.HTTPHostsMax), "name a parent, such as *.example.org")
		return
	}
	for i, host := range j.HTTP.Hosts {
		if (&task.HTTP{Hosts: []string{host}}).Validate() != nil {
			c.add(fmt.Sprintf("http.hosts[%d]", i), quote(host)+" is no host", "write a name such as api.example.org, *.example.org or an address, without scheme and port")
		}
	}
}

func (j *Job) checkSchedule(c *checker) {
	c.choice("overlap", string(j.Overlap), j.Overlap)
	c.choice("catch_up", string(j.CatchUp), j.CatchUp)
	if j.Kind != KindCron {
		for _, f := range []struct{ field, value string }{
			{"schedule", j.Schedule}, {"timezone", j.Timezone}, {"overlap", string(j.Overlap)}, {"catch_up", string(j.CatchUp)},
		} {
			if f.value != "" {
				c.add(f.field, "belongs to kind: cron, and this is kind: "+string(j.Kind), "write kind: cron, or remove it")
			}
		}
		return
	}
	if j.Schedule == "" {
		c.add("schedule", "is missing", `write schedule: "30 4 * * *" (minute, hour, day, month, weekday) or @daily`)
	} else if message, help := checkCron(j.Schedule); message != "" {
		c.add("schedule", message, help)
	}
	if _, err := calendar.Zone(j.Timezone); err != nil {
		c.add("timezone", quote(j.Timezone)+" is not a time zone", "write one such as UTC or Europe/Oslo")
	}
}

// checkSums reports what is too much together.
func (j *Job) checkSums(c *checker) {
	// The ledger reserves the fuel of all tasks in 64 bits.
	if high, _ := bits.Mul64(j.Count, uint64(j.Limits.Fuel)); high != 0 && j.Count <= ledger.CountMax {
		most := uint64(math.MaxUint64) / j.Count
		c.add("limits.fuel", fmt.Sprintf("is %s for each of %d tasks, at most %s for so many",
			quantity.FormatFuel(uint64(j.Limits.Fuel)), j.Count, quantity.FormatFuel(roundFuel(most))), "say what one task needs")
	}
	if len(c.errs) > 0 {
		return // A program is made of what is valid.
	}
	if _, err := j.program().encode(); err != nil {
		c.add("", err.Error(), "put long arguments and variables into a file, and name it in inputs")
	}
}

// roundFuel makes a limit one that can be read: three digits, rounded down.
func roundFuel(n uint64) uint64 {
	unit := uint64(1)
	for n/unit >= 1000 {
		unit *= 10
	}
	return n / unit * unit
}
