package ledger

// Command is what a log entry asks for. The set is closed.
type Command interface {
	fielder
	// kind is the command's stable number.
	kind() uint8
	// apply does the command or refuses it; when it refuses the whole of it, it
	// has changed nothing.
	apply(s *session) Result
}

// The numbers of the commands; they are never used again for another.
const (
	kindCreateTenant = iota + 1
	kindSetQuota
	kindRegisterNode
	kindSetNodeState
	kindPutModule
	kindDropModule
	kindAddHolder
	kindDropHolder
	kindSubmit
	kindCancel
	kindPlace
	kindBegin
	kindRenew
	kindReport
	kindRelease
	kindRefuseLease
	kindNoteReasons
	kindTick
	kindRemoveNode
	kindCreateOrder
	kindSetOrderState
	kindFire
	kindRevoke
	kindPutSecret
	kindDropSecret
	kindWrapSecret
	kindPutCustodian
	kindPreempt
	kindSetCapabilities
)

// newCommand returns an empty command of the kind, or nil.
func newCommand(kind uint8) Command {
	switch kind {
	case kindCreateTenant:
		return &CreateTenant{}
	case kindSetQuota:
		return &SetQuota{}
	case kindRegisterNode:
		return &RegisterNode{}
	case kindSetNodeState:
		return &SetNodeState{}
	case kindPutModule:
		return &PutModule{}
	case kindDropModule:
		return &DropModule{}
	case kindAddHolder:
		return &AddHolder{}
	case kindDropHolder:
		return &DropHolder{}
	case kindSubmit:
		return &Submit{}
	case kindCancel:
		return &Cancel{}
	case kindPlace:
		return &Place{}
	case kindBegin:
		return &Begin{}
	case kindRenew:
		return &Renew{}
	case kindReport:
		return &Report{}
	case kindRelease:
		return &Release{}
	case kindRefuseLease:
		return &RefuseLease{}
	case kindNoteReasons:
		return &NoteReasons{}
	case kindTick:
		return &Tick{}
	case kindRemoveNode:
		return &RemoveNode{}
	case kindCreateOrder:
		return &CreateOrder{}
	case kindSetOrderState:
		return &SetOrderState{}
	case kindFire:
		return &Fire{}
	case kindRevoke:
		return &Revoke{}
	case kindPreempt:
		return &Preempt{}
	case kindPutSecret:
		return &PutSecret{}
	case kindDropSecret:
		return &DropSecret{}
	case kindWrapSecret:
		return &WrapSecret{}
	case kindPutCustodian:
		return &PutCustodian{}
	case kindSetCapabilities:
		return &SetCapabilities{}
	}
	return nil
}

// CreateTenant adds a tenant.
type CreateTenant struct {
	Tenant  TenantID
	Weight  uint32
	BandMax uint8
	Quota   Quota
	// Capabilities are what its jobs may ask for beyond computing.
	Capabilities Capabilities
}

// SetQuota changes what a tenant may hold. What it holds already stays, and so does what
// its jobs may ask for.
type SetQuota struct {
	Tenant  TenantID
	Weight  uint32
	BandMax uint8
	Quota   Quota
	// Only are the fields that change; none is all of them. Who wants to change one names
	// that: two who change different ones at once do not undo one another's.
	Only QuotaFields
}

// SetCapabilities changes what a tenant's jobs may ask for beyond computing: it gets
// those of Add and loses those of Remove, which have none in common. The others stay as
// somebody else may have changed them.
type SetCapabilities struct {
	Tenant      TenantID
	Add, Remove Capabilities
}

// RegisterNode adds a node, or says anew what it can give. A node that was
// unreachable or gone is up again; one that drains goes on draining.
type RegisterNode struct {
	Node     NodeID
	Capacity Resources
	Labels   []Label
	Features []string
	// Key is the Ed25519 key that verifies the node's reports from now on, which it
	// then has to sign; zero is none. Once it has said one it stays with it.
	Key [32]byte
}

// SetNodeState drains a node, resumes it or gives it up.
type SetNodeState struct {
	Node  NodeID
	State NodeState
	// From lists the states out of which the node may be taken, in ascending
	// order; empty is any. In another one it stays: who decided has not seen what
	// somebody else did since. A node that is in State already is left as it is, but
	// for WithinNanos.
	From []NodeState
	// WithinNanos is how long what runs on a node that is to drain may go on, from 1
	// to DrainNanosMax; zero is as long as it takes. To drain it again changes that.
	WithinNanos int64
}

// RemoveNode forgets a node that has no leases.
type RemoveNode struct{ Node NodeID }

// PutModule makes a module known, with one holder unless Holder is empty. To
// put it again adds the holder only.
type PutModule struct {
	Module ModuleID
	Bytes  uint64
	Holder NodeID
}

// DropModule forgets a module that no job names.
type DropModule struct{ Module ModuleID }

// AddHolder notes that a node has a module.
type AddHolder struct {
	Module ModuleID
	Node   NodeID
}

// DropHolder notes that a node has a module no longer.
type DropHolder AddHolder

// Submit adds a job.
type Submit struct {
	Job  JobID
	Spec JobSpec
}

// Cancel stops a job. What waits is killed at once; what is leased is ended by
// its nodes, and its usage still counts.
type Cancel struct{ Job JobID }

// Place grants leases. Each placement is accepted or refused for itself.
type Place struct{ Placements []Placement }

// Placement gives Count tasks, the first of the ready range that begins with
// task Start, to a node. When the range has fewer it gives what there is.
type Placement struct {
	Job          JobID
	Start, Count uint32
	Node         NodeID
	// Slots is how many run at the same time, at most Count.
	Slots  uint32
	Expiry Time
	// Heed refuses the placement when the range avoids the node by now. The
	// planner sets it unless it gives tasks back to such a node on purpose, as
	// the last resort: a plan that is older than a failure must not.
	Heed bool
	// Spare asks for a second attempt at the one task Start, which is leased.
	Spare bool
	// Refusals is how often in a row the tasks were given, and are now, to a node that had
	// refused them, at most RefusalsTop: with each the wait doubles if it refuses again.
	Refusals uint8
}

// Begin says that a node has begun to run leases.
type Begin struct {
	Node   NodeID
	Epochs []Epoch
}

// Renew moves the expiry of leases.
type Renew struct {
	Node   NodeID
	Epochs []Epoch
	Expiry Time
}

// Report says how attempts ended. One that is signed is a receipt for what they cost.
type Report struct {
	Node   NodeID
	Leases []LeaseReport
	// Costs is the version of the table by which fuel was counted.
	Costs uint32
	// Signature is the node's, as Sign makes it; zero is none.
	Signature [64]byte
}

// LeaseReport is the part of a report that is about one lease.
type LeaseReport struct {
	Epoch Epoch
	Runs  []Run
}

// Run says that Count tasks of a lease, counted in order of index from task
// First, ended alike. Fuel and the others are the sums over all of them.
type Run struct {
	First, Count uint32
	// State is TaskSucceeded, TaskFailed, TaskKilled or TaskRefused.
	State TaskState
	// Exit is the class of the exit, a number below ExitVarious that the ledger
	// only passes on.
	Exit uint8
	// Terminal says that another attempt would end the same way.
	Terminal bool
	Usage    Usage
	// Digest names the output in the content store; zero is none. StoredBytes is its
	// size, at most AmountMax; zero where it is not known.
	Digest      [32]byte
	StoredBytes uint64
}

// Release hands back the open tasks of a lease: they are queued again, and no
// attempt is counted. With CausePreempted it is the answer to a notice: see Preempt.
//
// With Parts, one for each lease and at most PartsMax, only those of its open tasks go back that are in its
// part, such as those that have not begun; what it has left goes on. A part of which
// nothing is open any more is answered CodeSettled.
type Release struct {
	Node   NodeID
	Epochs []Epoch
	Cause  Cause
	Parts  []Range
}

// Preempt gives leases notice that they have to give way to a job which waits: each is
// over in NoticeNanos. A lease is answered CodeBandCeiling when its job's band is not
// lower than that of the job which waits, CodePreempted when its tasks had a notice
// within PreemptAgainNanos, CodeStaleLease when it is there no longer or is a spare. No
// attempt is counted.
type Preempt struct {
	Job    JobID
	Leases []LeaseName
}

// LeaseName names a lease.
type LeaseName struct {
	Node  NodeID
	Epoch Epoch
}

// RefuseLease hands back a lease that the node will not run: its tasks are
// queued again after RefusalNanos, or longer the more Refusals its
// placement had, and keep away from the node. The cause is one
// of CauseRefused, CauseFull, CauseModule and CausePreference; CauseNone counts as
// CauseRefused.
type RefuseLease struct {
	Node   NodeID
	Epochs []Epoch
	Cause  Cause
}

// NoteReasons keeps why jobs could not be placed.
type NoteReasons struct{ Notes []Note }

// Note is the part of NoteReasons that is about one job; the fields are those
// of Reasons. No reasons at all clear what was noted.
type Note struct {
	Job            JobID
	Reasons        []Reason
	Nodes, Sampled uint32
	FreeAt         Time
}

// Tick does what has become due by Now: leases that ran out, back-off,
// deadlines, records that are too old. It does a bounded amount; Result.More
// says whether another Tick should follow at once.
type Tick struct{}

func (*CreateTenant) kind() uint8 { return kindCreateTenant }
func (*SetQuota) kind() uint8     { return kindSetQuota }
func (*RegisterNode) kind() uint8 { return kindRegisterNode }
func (*SetNodeState) kind() uint8 { return kindSetNodeState }
func (*RemoveNode) kind() uint8   { return kindRemoveNode }
func (*PutModule) kind() uint8    { return kindPutModule }
func (*DropModule) kind() uint8   { return kindDropModule }
func (*AddHolder) kind() uint8    { return kindAddHolder }
func (*DropHolder) kind() uint8   { return kindDropHolder }
func (*Submit) kind() uint8       { return kindSubmit }
func (*Cancel) kind() uint8       { return kindCancel }
func (*Place) kind() uint8        { return kindPlace }
func (*Begin) kind() uint8        { return kindBegin }
func (*Renew) kind() uint8        { return kindRenew }
func (*Report) kind() uint8       { return kindReport }
func (*Release) kind() uint8      { return kindRelease }
func (*RefuseLease) kind() uint8  { return kindRefuseLease }
func (*NoteReasons) kind() uint8  { return kindNoteReasons }
func (*Tick) kind() uint8         { return kindTick }
