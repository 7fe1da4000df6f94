package jobspec

import (
	"cmp"
	"maps"
	"slices"

	"github.com/dugnad/dugnad/ledger"
	"github.com/dugnad/dugnad/runtime/abi"
	"github.com/dugnad/dugnad/runtime/task"
)

// tenantBytesMax bounds a ledger.TenantID.
const tenantBytesMax = 64

// Spec returns the job as the ledger takes it, for KindCron and KindDaemon the
// job that they are made of. Its error is Errors: also of a job with a path
// left, see Paths.
func (j *Job) Spec(tenant ledger.TenantID) (ledger.JobSpec, error) {
	c := j.check()
	if !validTenant(tenant) {
		c.add("", "the tenant "+quote(string(tenant))+" is not 1 to 64 of a-z, 0-9 and -", "correct its name")
	}
	for _, f := range j.Paths() {
		c.add(f.Field, "is still the file "+quote(f.Path), "upload it, and name the object")
	}
	if err := c.orNil(); err != nil {
		return ledger.JobSpec{}, err
	}
	payload, err := j.program().Encode()
	if err != nil {
		return ledger.JobSpec{}, Errors{{Message: err.Error()}}
	}
	return ledger.JobSpec{
		Tenant: tenant, Module: ledger.ModuleID(j.Module.Object), Count: uint32(j.Count), Band: uint8(j.Priority),
		Task: ledger.Resources{
			MemoryBytes: uint64(j.Limits.Memory), ScratchBytes: uint64(j.Limits.Scratch), Slots: 1,
		},
		FuelMax: uint64(j.Limits.Fuel),
		Retry: ledger.Retry{
			AttemptsMax: uint32(j.Retry.Attempts), LossesMax: uint32(j.Retry.Losses),
			BackoffNanos: int64(j.Retry.Backoff), BackoffMaxNanos: int64(j.Retry.BackoffMax),
		},
		QueueNanos: int64(j.Deadlines.Queue), TotalNanos: int64(j.Deadlines.Total), LossGraceNanos: int64(j.Retry.LossGrace),
		Constraints: slices.Clone(j.Constraints.Labels), Features: j.features(), SpreadLabel: j.Spread,
		After: j.dependencies(), AfterAny: j.After.Condition == Finished, AfterOne: j.After.Condition == Any,
		RetentionNanos: j.retention(), SparesMax: j.spares(), Secrets: j.secrets(), Labels: j.labels(), TimeoutNanos: j.timeout(), Payload: payload,
	}, nil
}

// features are what the node's runtime must offer: what the job says, and what its
// capabilities need.
func (j *Job) features() []string {
	list := slices.Clone(j.Constraints.Features)
	if slices.Contains(j.Capabilities, abi.CapabilityHTTP) && !slices.Contains(list, ledger.FeatureHTTP) {
		list = append(list, ledger.FeatureHTTP)
	}
	return list
}

// retention returns JobSpec.RetentionNanos. The ledger is not told its own
// default: what a job does not ask for, earlier versions of it need not know.
func (j *Job) retention() int64 {
	if j.Retention == Duration(ledger.RetentionNanos) {
		return 0
	}
	return int64(j.Retention)
}

// spares returns how many tasks may have a second attempt at the same time.
func (j *Job) spares() uint32 {
	if !j.Retry.Spare || j.Count < SpareCountMin {
		return 0
	}
	return uint32(min(max(j.Count/SparePart, 1), ledger.SparesLimit))
}

// secrets returns the names of the secrets, each once.
func (j *Job) secrets() (names []ledger.SecretName) {
	for _, name := range slices.Sorted(maps.Values(j.Secrets)) {
		names = append(names, ledger.SecretName(name))
	}
	return slices.Compact(names)
}

// labels returns the labels in order of name.
func (j *Job) labels() (list []ledger.Label) {
	for _, name := range slices.Sorted(maps.Keys(j.Labels)) {
		list = append(list, ledger.Label{Name: name, Value: j.Labels[name]})
	}
	return list
}

// timeout returns JobSpec.TimeoutNanos. The ledger is not told what holds for jobs that do
// not ask for anything else.
func (j *Job) timeout() int64 {
	if j.Limits.Timeout == Duration(task.Default().Timeout) {
		return 0
	}
	return int64(j.Limits.Timeout)
}

// validTenant repeats what the ledger asks of a tenant's name.
func validTenant(t ledger.TenantID) bool {
	for i := range len(t) {
		if c := t[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return len(t) >= 1 && len(t) <= tenantBytesMax
}

// program returns what the nodes need of the job.
func (j *Job) program() *Program {
	p := &Program{
		Name: j.Name, Args: slices.Clone(j.Args), Limits: j.Limits.Task(),
		RealClock: j.RealClock, RealRandom: j.RealRandom, Seed: j.Seed, RetryOn: slices.Clone(j.Retry.On),
	}
	if slices.Contains(j.Capabilities, abi.CapabilityHTTP) {
		p.HTTP = &task.HTTP{Hosts: slices.Clone(j.HTTP.Hosts)}
	}
	for _, name := range slices.Sorted(maps.Keys(j.Env)) {
		p.Env = append(p.Env, name+"="+j.Env[name])
	}
	for _, variable := range slices.Sorted(maps.Keys(j.Secrets)) {
		p.Secrets = append(p.Secrets, Secret{Variable: variable, Name: ledger.SecretName(j.Secrets[variable])})
	}
	if j.Stdin != nil {
		s := j.Stdin.source()
		p.Stdin = &s
	}
	for i := range j.Inputs {
		in := &j.Inputs[i]
		p.Inputs = append(p.Inputs, Input{Name: in.Name, Source: in.source(), Folder: in.Folder})
	}
	return p
}

func (f *File) source() Source {
	s := Source{Object: f.Object, Job: ledger.JobID(f.Job), Lines: f.Lines}
	if f.Job != (JobID{}) {
		s.Stream = cmp.Or(f.Stream, Stdout)
	}
	return s
}
