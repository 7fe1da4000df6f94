// Package placement decides which node gets which tasks. It is a pure function
// of a snapshot: jobs that wait, nodes with their offers, the time and a seed
// come in; placements, and the reasons for everything that was left over, go
// out. It has no clock, no randomness of its own, no I/O, and its result does
// not depend on the order of nodes, on maps or on the architecture.
//
// A plan is advice. The ledger checks every placement against what is committed
// when it applies it, and the node that receives it may still refuse.
//
// # Which nodes may take a task
//
// Filters run in a fixed order. A node counts under the first one that it
// fails, so that the counts of a job's reasons sum up to the number of nodes:
//
//  1. node-state: the node is not up.
//  2. offer-stale: its offer is older than Params.OfferAgeNanosMax.
//  3. feature, label: what the specification demands, in its order; then secret: a
//     secret that it names is for other nodes.
//  4. job-label-denied, job-label-not-allowed: the operator's rules for the job's
//     labels; deny wins.
//  5. tenant-denied, tenant-not-allowed: the operator's lists; deny wins.
//  6. small-…: the node would be too small if it were empty.
//  7. full-…: too little is free now. Free is, in every dimension, the smaller
//     of capacity minus what the ledger reserves and what the offer says, less
//     what this plan has placed already.
//  8. disk: it does not hold the module and has no room for it.
//  9. power-off: its machine is switched off (Offer.Until) before the job's timeout
//     would have passed; Params.TimeoutNanos is that of jobs that say none.
//  10. avoided: an earlier attempt at these tasks failed there, or it refused them.
//     This filter is lifted when no other node can take them now: at once when no
//     other could even if it were empty, after Params.AvoidNanosMax when others are
//     full, or when the tasks were lost. A node that refused them last for what its
//     operator wanted is not avoided any more when that has changed since
//     (Offer.Changed). Placement.Heed is set unless the range avoids the node, so that
//     the ledger refuses a plan older than the failure. Placement.Refusals counts how
//     often in a row tasks went to nodes that had refused them: the wait after the next
//     refusal doubles with it.
//  11. spread: the node's value of the job's spread label has its share.
//
// What passes all of them and got nothing all the same counts under quota, when
// the tenant may not lease more, or under limit: a bound of this pass was reached
// first. The quota of a pass is memory only. Fuel, queued tasks and jobs are
// reserved when a job is submitted: its tasks have their fuel already, and a
// placement takes nothing more.
//
// # Which of them gets it
//
// The node with the highest score; among equals the one whose id sorts first.
//
//	score = Weights.Pack    × pack
//	      + Weights.Local   × local
//	      + Weights.Wait    × wait
//	      + Weights.Trust   × reliability
//	      + Weights.Spread  × spread
//
// Each part is an integer from 0 to 1000:
//
//	pack         the mean, over the dimensions that the task needs, of
//	             1000 × (used + need) / capacity; 1000 minus that when
//	             Params.Policy is Loose
//	local        1000 when the node holds the module, else
//	             1000 - 1000 × size / Params.FetchBytesMax, at least 0
//	wait         1000 - 1000 × expected wait / Params.WaitNanosMax, at least 0
//	reliability  as the ledger has it
//	spread       1000 - 1000 × running on the node's value / running in all;
//	             1000 for a job without a spread label
//
// # How much it gets
//
// A placement gives a node the first tasks of a pending range, and slots of the
// node to run them in, one after another. With left tasks waiting and parallel
// slots that the job has or could have, each slot gets
//
//	rounds = left / (Params.Stages × parallel)
//
// tasks (guided self-scheduling: Polychronopoulos and Kuck, 1987), so that
// shares are large while much is left and shrink towards the end, when a large
// one would hold up the job. Params.WorkNanosMin and WorkNanosMax bound them in
// time, TasksMin and TasksMax in number. The lease lasts twice the time that
// the work is expected to take, plus the expected wait, within
// Params.LeaseNanosMin and LeaseNanosMax.
//
// # Whose turn it is
//
// Bands come one after the other. Within a band the tenant with the least rank gets
// one placement, which raises its rank, and so on (progressive filling of weighted
// dominant resource fairness: Ghodsi et al., 2011):
//
//	rank = max(dominant share, recent) × (1 + past) / weight
//
//	dominant share  the largest of the shares that the tenant's leases, with what
//	                this plan gives it, take of the memory, the fuel rate and the
//	                slots of all nodes that are up
//	recent          what that was on the average just now (Params.RecentNanos):
//	                without it, tasks that end before the next pass would be free
//	past            what that was on the average of the last hours
//	                (Params.PastNanos), by what the tenant would have if all with
//	                jobs shared by weight, at most Params.PastMax
//
// So past use is a factor with a bound, and no debt: who has had the whole grid for a
// day gets no less than 1/(PastMax+1) of its weight, and starves nobody and is not
// starved. Among tenants of the same past, each gets at least its part by weight of
// what it needs most, and asking for more than is needed does not help. A job's age
// does not count against other tenants' jobs.
//
// A placement gives a tenant no more slots than bring it up to the next one's rank,
// or a grain beyond: 1/Params.Grain of its part by weight, and one slot at least.
// Where nobody else waits there is no such bound.
//
// Of one tenant, jobs are taken in the order of Input.Jobs. Neighbours that began
// to wait in the same window of Params.AgeNanos form a group, and take turns of
// RoundPlacementsMax placements until all are served or nothing fits. No job gets
// more than JobPlacementsMax placements in a pass, and no pass makes more than
// PlacementsMax.
//
// # What it costs
//
// Nodes with equal labels, features, lists and rules are one class: labels and features
// are looked up once per distinct demand in an index of classes, lists once per class,
// rules once per demand and class. Labels of a job that no rule names make no demand of
// their own. Jobs with the same demand and size are one shape, unless a list allows
// their tenant by name: a node that cannot hold one of them is not looked at again
// for the others, because what is free only shrinks during a pass. For the same
// reason a size that is not smaller than one that found no room is not tried.
//
// A shape scores a window of at most Params.SampleSize nodes that fit, drawn
// along a pseudo-random walk over its nodes and refilled as they fill up. The
// best of a random sample of s nodes is, on average, at the quantile s/(s+1) of
// all: with 64, among the best 1.5%. The exceptions are rare good nodes: when h
// of n nodes hold a module, a window has one of them with probability
// 1-(1-h/n)^s only. A walk visits at most Params.LookMax nodes per shape, and so
// does a job that its whole window refuses; on grids that are smaller nothing that
// fits is missed, as long as Params.PassLooksMax lasts. What is missed counts
// under limit, and the next pass has another seed. Reasons look at up to 2,048
// nodes, at 128 once Params.ReasonLooksMax is used up, and scale their counts up
// to all: Reasons.Sampled says so.
//
// # From the ledger and back
//
// Snapshot makes an Input out of a ledger.Backlog, which costs what has changed
// and not what is there. It keeps what tenants have had, as exponential averages that
// are brought up to date when a tenant's record changes. Of a tenant that it sees for
// the first time, as a new leader does, it reads the daily accounts instead. Commands
// makes commands out of the placements, and Reasons.Note what the ledger keeps of the
// reasons.
//
// # Who gives way
//
// A job of a higher band that has waited for Params.PreemptAfterNanos and fits on no node
// may take room from leases of lower bands, never from its own (Input.Leases, Preemption).
// For each task that is left, a sample of the nodes that would do is looked at. On each
// the leases of lower bands are taken in the order of band, then of the slot time that
// would be lost, until the task fits; then those are left out again, from the last on,
// that it does not need. The node whose victims are of the lowest band, the fewest, and
// lose least has them. A lease that has notice already counts as free soon, and none gets
// notice whose tasks had one within ledger.PreemptAgainNanos. Where all of them would not
// be enough nobody gives way.
//
// While leases of a node have notice, what is free there is for the band that needs it, and
// higher ones (Node.Hold): or else the tasks that gave way would be back before the last
// of several leases is gone.
//
// # What it does not do
//
// It does not reserve for a large job while smaller ones of its band pass it
// by, and does not know what other leaders plan. A job's dependencies, back-off
// and deadlines are the ledger's: only ready ranges come in.
package placement
