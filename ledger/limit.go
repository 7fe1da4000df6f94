package ledger

import "time"

// The limits of the state machine. Every replica must hold the same ones: a
// changed limit needs a command that announces it, or a new version of the
// command that it bears on. limit_test.go pins them.
const (
	// LeaseTasksMax bounds the tasks of one lease, and with it every mask.
	LeaseTasksMax = 65536
	// chunkTasks is the number of tasks whose outcomes share a record.
	chunkTasks = 8192

	// ItemsMax bounds the placements, leases or runs of one command.
	ItemsMax = 4096
	// PartsMax bounds the parts of leases that one Release names, each of which may
	// take 8 KiB, a bit for every task, however few bytes describe it.
	PartsMax = 256
	// CommandBytesMax bounds an encoded command.
	CommandBytesMax = 4 << 20

	// AvoidMax bounds the nodes that a range remembers to stay away from.
	AvoidMax = 4
	// ConstraintsMax and FeaturesMax bound a job's demands.
	ConstraintsMax = 32
	FeaturesMax    = 32
	// AfterMax bounds the jobs that a job waits for.
	AfterMax = 64
	// SparesLimit bounds JobSpec.SparesMax.
	SparesLimit = 64
	// AttemptsMax bounds Retry.AttemptsMax and Retry.LossesMax.
	AttemptsMax = 1000
	// LabelsMax bounds a node's labels.
	LabelsMax = 64
	// JobLabelsMax bounds a job's labels, JobLabelBytesMax the name and the value of each.
	JobLabelsMax     = 16
	JobLabelBytesMax = 63
	// HoldersMax bounds the nodes that are listed as holders of a module.
	HoldersMax = 64
	// TextBytesMax bounds a label, a value, a feature or a name.
	TextBytesMax = 256
	// BandTop is the highest priority band.
	BandTop = 7
	// WeightMax bounds a tenant's weight.
	WeightMax = 1 << 20
	// AmountMax bounds each resource of a task or a node but for slots, so that
	// sums cannot overflow: over the slots of a lease, over 2^18 nodes.
	AmountMax = 1 << 46
	// TaskSlotsMax bounds the slots of one task, NodeSlotsMax those of a node.
	TaskSlotsMax = 1024
	NodeSlotsMax = 65536

	// EndingsMax bounds the kinds of ending that a chunk of outcomes tells apart;
	// from then on the classes of exit are one, ExitVarious.
	EndingsMax = 8
	// EventsKept is the number of events that a job keeps; older ones go.
	EventsKept = 128
	// DrainNanosMax bounds SetNodeState.WithinNanos.
	DrainNanosMax = 30 * 24 * time.Hour
	// DayModulesMax bounds the modules that have an account of their own on one day of
	// a tenant; what the others cost is under OtherModules.
	DayModulesMax = 64
	// ReasonsMax bounds the reasons kept for one job.
	ReasonsMax = 16
	// DetailBytesMax bounds Reason.Detail: a label, a value and what is between.
	DetailBytesMax = 3 * TextBytesMax

	// SecretsMax bounds the secrets of a tenant, SecretBytesMax the sealed value of one,
	// SecretNameBytesMax its name, SecretNodesMax the nodes that it is for. JobSecretsMax
	// bounds the secrets that a job names.
	SecretsMax         = 64
	SecretBytesMax     = 64<<10 + 64
	SecretNameBytesMax = 64
	SecretNodesMax     = 64
	JobSecretsMax      = 16
	// CustodiansMax bounds the custodians that can open one secret, SecretKeyBytesMax
	// what is sealed to each. CardsMax bounds those that the ledger knows, CardBytesMax
	// what it keeps of one.
	CustodiansMax     = 8
	SecretKeyBytesMax = 2 << 10
	CardsMax          = 64
	CardBytesMax      = 4 << 10

	// RevocationsMax bounds the delegations of a tenant that were taken back and are
	// remembered, GridRevocationsMax those of all and of whom it is not known. One is
	// some 100 bytes.
	RevocationsMax     = 4096
	GridRevocationsMax = 65536

	// tickScan is the number of timers that one Tick looks at, tickTimers how many
	// of them it lets fire, and errandSteps the number of ranges, leases, jobs or
	// records that one command touches beside what it names. What is left is done
	// by the Ticks that follow.
	tickScan    = 2048
	tickTimers  = 256
	errandSteps = 256
)

// Periods that the state machine keeps to.
const (
	// ClientNanos is how long a client's last result is kept after its last
	// command: a command repeated later than that would be done twice.
	ClientNanos = Time(24 * time.Hour)
	// RetentionNanos is how long a finished job is kept that does not say it, from
	// RetentionMinNanos to RetentionMaxNanos what a job may say.
	RetentionNanos    = Time(7 * 24 * time.Hour)
	RetentionMinNanos = Time(time.Minute)
	RetentionMaxNanos = Time(400 * 24 * time.Hour)
	// AccountDays is how many days a daily account is kept.
	AccountDays = 400
	// RevocationNanos is how long a delegation's revocation is remembered when the
	// delegation is over by itself: longer than clocks differ.
	RevocationNanos = Time(24 * time.Hour)
	// NoticeNanos is how long a lease that has to give way to a higher band may go on,
	// and NoticeLateNanos how much later the ledger takes its tasks back when its node
	// has not handed them back.
	NoticeNanos     = Time(10 * time.Second)
	NoticeLateNanos = Time(30 * time.Second)
	// PreemptAgainNanos is the least time between two notices for the same task.
	PreemptAgainNanos = Time(time.Minute)
	// RefusalNanos is the wait after a node has refused a lease, of which it takes
	// RefusalNanos << Placement.Refusals; RefusalsTop bounds these.
	RefusalNanos = Time(time.Second)
	RefusalsTop  = 6

	// ClockAheadMax and ClockBehindMax are how far a command's Now may be from the
	// leader's clock for Admit. Ahead is dangerous: leases end early by as much.
	// Behind is not, and a command that is sent again has the time of its first
	// try; but it must be far less than ClientNanos.
	ClockAheadMax  = Time(30 * time.Second)
	ClockBehindMax = Time(10 * time.Minute)

	// TimeMax is the end of time, SpanMax the longest period that a command may
	// name: 146 and 36 years.
	TimeMax = Time(1) << 62
	SpanMax = Time(1) << 60

	dayNanos = Time(24 * time.Hour)
)
