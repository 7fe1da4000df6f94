package ledger

import "fmt"

// Code says how a command, or a part of one, went. The numbers and the names
// are stable; new ones go to the end.
type Code uint8

// The codes.
const (
	CodeOK Code = iota
	CodeMalformed
	CodeStaleSequence
	CodeInvalid
	CodeTooMany
	CodeTenantUnknown
	CodeTenantExists
	CodeNodeUnknown
	CodeNodeState
	CodeNodeBusy
	CodeModuleUnknown
	CodeModuleUsed
	CodeJobUnknown
	CodeJobExists
	CodeJobState
	CodeBandCeiling
	CodeQuotaFuel
	CodeQuotaMemory
	CodeQuotaQueued
	CodeQuotaJobs
	CodeDependencyUnknown
	CodeDependencyFailed
	CodeRangeUnknown
	CodeCapacity
	CodeConstraint
	CodeFeature
	CodeStaleLease
	CodeStopped
	CodeSettled
	CodeAvoided
	CodeOrderUnknown
	CodeOrderExists
	CodeOrderState
	CodeQuotaOrders
	CodeRunPast
	CodeRunOverlap
	CodeRunLimit
	CodeRunEarly
	CodePreempted
	CodeQuotaDay
	CodeQuotaRate
	CodeQuotaStored
	CodeQuotaEgress
	CodeNodeKey
	CodeSignature
	CodeCapability
	CodeSecretUnknown
	CodeQuotaSecrets
	CodeQuotaRevocations

	codes
)

// codeTable names every code and says what would help.
var codeTable = [codes]struct{ name, help string }{
	CodeOK:                {"ok", ""},
	CodeMalformed:         {"malformed", "the command's bytes cannot be read: send it again from a sound client"},
	CodeStaleSequence:     {"stale_sequence", "a later command of this client was applied: use a higher sequence number"},
	CodeInvalid:           {"invalid", "correct the field that is named; where it is a number, the bounds are given"},
	CodeTooMany:           {"too_many", "send fewer in one command, and the others in the next"},
	CodeTenantUnknown:     {"tenant_unknown", "create the tenant first"},
	CodeTenantExists:      {"tenant_exists", "choose another name, or change its quota"},
	CodeNodeUnknown:       {"node_unknown", "the node has to join first"},
	CodeNodeState:         {"node_state", "the node is in another state by now: resume it when it drains, or wait until it is back"},
	CodeNodeBusy:          {"node_busy", "wait until the node's leases have ended, or declare it gone"},
	CodeModuleUnknown:     {"module_unknown", "push the module first"},
	CodeModuleUsed:        {"module_used", "wait until the jobs that name the module have been pruned"},
	CodeJobUnknown:        {"job_unknown", "check the job's id; finished jobs are pruned when their retention is over, as a rule after a week"},
	CodeJobExists:         {"job_exists", "the job was submitted before: make a new id for another one"},
	CodeJobState:          {"job_state", "look at the job: one that has ended, is being stopped or waits for another cannot do this"},
	CodeBandCeiling:       {"band_ceiling", "ask for a lower band, or for a higher ceiling"},
	CodeQuotaFuel:         {"quota_fuel", "ask for less fuel or fewer tasks, wait for tasks to end, or raise the quota"},
	CodeQuotaMemory:       {"quota_memory", "wait for running tasks to end, or raise the quota"},
	CodeQuotaQueued:       {"quota_queued", "wait for queued tasks to be placed, or raise the quota"},
	CodeQuotaJobs:         {"quota_jobs", "wait for jobs to end, or raise the quota"},
	CodeDependencyUnknown: {"dependency_unknown", "name jobs that exist"},
	CodeDependencyFailed:  {"dependency_failed", "repeat the job that failed, or ask to come after any end"},
	CodeRangeUnknown:      {"range_unknown", "the plan is stale: plan again"},
	CodeCapacity:          {"capacity", "the plan is stale: plan again"},
	CodeConstraint:        {"constraint", "place it on a node whose labels match"},
	CodeFeature:           {"feature", "place it on a node whose runtime has the feature"},
	CodeStaleLease:        {"stale_lease", "the lease has ended: stop its tasks and forget them"},
	CodeStopped:           {"stopped", "the job was stopped: end its tasks and report them"},
	CodeSettled:           {"settled", "runs with tasks that were reported before, or that do not belong to the lease, were left out"},
	CodeAvoided:           {"avoided", "an attempt at these tasks failed on the node: place them on another, or again there as the last resort"},
	CodeOrderUnknown:      {"order_unknown", "check the order's id; orders that have ended are forgotten after a week"},
	CodeOrderExists:       {"order_exists", "the order was submitted before: make a new id for another one"},
	CodeOrderState:        {"order_state", "look at the order: one that has ended cannot do this, one that is paused makes no jobs"},
	CodeQuotaOrders:       {"quota_orders", "end orders that are not needed any more"},
	CodeRunPast:           {"run_past", "this time, or a later one, was decided about before"},
	CodeRunOverlap:        {"run_overlap", "an earlier job of the order has not ended: give it less to do, run it less often, or let runs overlap"},
	CodeRunLimit:          {"run_limit", "too many earlier jobs of the order have not ended: see what they wait for"},
	CodeCapability:        {"capability", "ask the grid's admin to allow it with dugnad tenant allow, or do without"},
	CodeRunEarly:          {"run_early", "the last job on this node ended a moment ago: wait"},
	CodePreempted:         {"preempted", "these tasks gave way, or were told to, less than a minute ago: take others"},
	CodeQuotaDay:          {"quota_fuel_per_day", "wait until the day ends, in UTC, ask for less fuel or fewer tasks, or raise the quota"},
	CodeQuotaRate:         {"quota_fuel_rate", "wait for running tasks to end, or raise the quota"},
	CodeQuotaStored:       {"quota_stored_bytes", "wait until jobs that have ended are forgotten, give jobs a shorter retention, or raise the quota"},
	CodeQuotaEgress:       {"quota_egress_per_day", "wait until the day ends, in UTC, or raise the quota"},
	CodeNodeKey:           {"node_key", "the node is known with another key: remove it first, if it is another one"},
	CodeSignature:         {"signature", "the report is not signed by the key that its node is known with"},
	CodeSecretUnknown:     {"secret_unknown", "name a secret that the tenant has, or set it first"},
	CodeQuotaSecrets:      {"quota_secrets", "remove secrets that are not needed any more"},
	CodeQuotaRevocations:  {"quota_revocations", "wait until tokens that were revoked have been over for a day, make tokens with an end, or revoke by its id alone the token that many were made of"},
}

// String returns the code's stable name.
func (c Code) String() string {
	if c < codes {
		return codeTable[c].name
	}
	return fmt.Sprintf("code %d", uint8(c))
}

// Help says what would help, in a sentence without a capital; "" for CodeOK.
func (c Code) Help() string {
	if c < codes {
		return codeTable[c].help
	}
	return ""
}

// Result is what Apply answers.
type Result struct {
	// Code is CodeOK when the command was applied, at least in part.
	Code Code
	// What names the field, the quota or the thing that Code is about; Have is
	// its number, where it has one, and Min and Max are what that may be.
	What           string
	Have, Min, Max uint64
	// Items has one entry for each placement, lease or job that the command
	// names, in their order.
	Items []Item
	// More says that a Tick left something due.
	More bool
}

// Item is the result of one part of a command.
type Item struct {
	Code Code
	// Epoch is the lease's, Count the number of tasks that it is about.
	Epoch Epoch
	Count uint32
}

// Help says what would help after a refusal.
func (r Result) Help() string { return r.Code.Help() }

func (r *Result) fields(w *wire) {
	w.u8((*uint8)(&r.Code))
	text(w, &r.What)
	w.u64(&r.Have)
	w.u64(&r.Min)
	w.u64(&r.Max)
	list(w, &r.Items, func(i *Item) {
		w.u8((*uint8)(&i.Code))
		w.u64((*uint64)(&i.Epoch))
		w.u32(&i.Count)
	})
	w.bool(&r.More)
}

// DecodeResult reads what Apply has returned.
func DecodeResult(b []byte) (Result, error) {
	var r Result
	if err := decode(b, &r); err != nil {
		return Result{}, fmt.Errorf("decode result: %w", err)
	}
	return r, nil
}

// refuse returns the result of a refusal.
func refuse(code Code, what string) Result { return Result{Code: code, What: what} }

// outside returns the result of a refusal of a number beyond its bounds.
func outside(what string, have, least, most uint64) Result {
	return Result{Code: CodeInvalid, What: what, Have: have, Min: least, Max: most}
}

// over returns the result of a refusal at a limit.
func over(code Code, what string, have, limit uint64) Result {
	return Result{Code: code, What: what, Have: have, Max: limit}
}
