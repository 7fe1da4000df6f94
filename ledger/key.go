package ledger

import (
	"bytes"
	"encoding/binary"
)

// The tables. A key is the table's byte and fields of fixed width, big-endian,
// so that scans are in order; names of tenants and nodes end with a zero byte
// where something follows. DESIGN.md has the same list with what it is for.
const (
	tableMeta      = 'm' //                             → meta
	tableTenant    = 't' // tenant                      → Tenant
	tableNode      = 'n' // node                        → Node
	tableModule    = 'M' // module                      → Module
	tableJob       = 'J' // job                         → Job
	tableSpec      = 'S' // job                         → JobSpec
	tablePayload   = 'B' // job                         → JobSpec.Payload as it is
	tablePending   = 'P' // job phase start             → Pending
	tableLease     = 'L' // node 0 epoch                → Lease
	tableChunk     = 'C' // job number                  → Chunk
	tableOutput    = 'O' // job first epoch             → Output
	tableEvent     = 'E' // job number                  → Event
	tableReasons   = 'R' // job                         → Reasons
	tableAccount   = 'A' // tenant 0 day                → Account
	tableClient    = 'c' // client                      → client
	tableQueue     = 'Q' // 255-band tenant 0 created job → 1
	tableTimer     = 'T' // time kind what              → 1
	tableJobLease  = 'l' // job first epoch             → end node
	tableTenantJob = 'K' // tenant 0 job                → 1
	tableDependent = 'D' // job dependent               → 1

	tableOrder        = 'o' // order                    → Order
	tableOrderSpec    = 's' // order                    → JobSpec
	tableOrderPayload = 'b' // order                    → JobSpec.Payload as it is
	tableTenantOrder  = 'k' // tenant 0 ended order     → 1
	tableOrderJob     = 'j' // order job                → 1
	tableMaker        = 'i' // job                      → maker
	tableSeat         = 'd' // order node               → Seat

	tableSpare = 'x' // job task                        → epoch node

	tableRevocation = 'v' // delegation               → Revocation

	tableJobDay      = 'u' // job day                   → charges
	tableModuleDay   = 'a' // tenant 0 day module       → charges
	tableSecret      = 'y' // tenant 0 name             → Secret
	tableSecretValue = 'Y' // tenant 0 name             → its value, sealed, as it is
	tableCustodian   = 'U' // node                      → Custodian
)

// The kinds of timer, with what their keys end with.
const (
	timerLease         = iota + 1 // node 0 epoch
	timerBackoff                  // job start
	timerQueueDeadline            // job
	timerTotalDeadline            // job
	timerStop                     // job: pending ranges are still to be killed
	timerDependents               // job: dependents are still to be told
	timerNode                     // node: leases are still to be given up
	timerPrune                    // job
	timerClient                   // client
	timerAccount                  // tenant 0 day
	timerOrderStop                // order job: jobs behind this one are still to be stopped
	timerOrderPrune               // order
	timerRevocation               // delegation
	timerModules                  // tenant 0 day: accounts of modules are still to be forgotten
)

// keyBuilder makes a key from left to right.
type keyBuilder []byte

func newKey(table byte) keyBuilder { return append(make(keyBuilder, 0, 64), table) }

func (k keyBuilder) raw(b []byte) keyBuilder { return append(k, b...) }
func (k keyBuilder) u8(v uint8) keyBuilder   { return append(k, v) }
func (k keyBuilder) u32(v uint32) keyBuilder { return binary.BigEndian.AppendUint32(k, v) }
func (k keyBuilder) u64(v uint64) keyBuilder { return binary.BigEndian.AppendUint64(k, v) }

// time flips the sign bit, so that times before 1970 sort first.
func (k keyBuilder) time(t Time) keyBuilder { return k.u64(uint64(t) ^ 1<<63) }

func keyName[S ~string](k keyBuilder, name S) keyBuilder { return append(append(k, name...), 0) }

func keyMeta() []byte                { return newKey(tableMeta) }
func keyTenant(t TenantID) []byte    { return newKey(tableTenant).raw([]byte(t)) }
func keyNode(n NodeID) []byte        { return newKey(tableNode).raw([]byte(n)) }
func keyModule(m ModuleID) []byte    { return newKey(tableModule).raw(m[:]) }
func keyJob(j JobID) []byte          { return newKey(tableJob).raw(j[:]) }
func keySpec(j JobID) []byte         { return newKey(tableSpec).raw(j[:]) }
func keyPayload(j JobID) []byte      { return newKey(tablePayload).raw(j[:]) }
func keyReasons(j JobID) []byte      { return newKey(tableReasons).raw(j[:]) }
func keyClient(c [16]byte) []byte    { return newKey(tableClient).raw(c[:]) }
func prefixPending(j JobID) []byte   { return newKey(tablePending).raw(j[:]) }
func prefixChunk(j JobID) []byte     { return newKey(tableChunk).raw(j[:]) }
func prefixOutput(j JobID) []byte    { return newKey(tableOutput).raw(j[:]) }
func prefixEvent(j JobID) []byte     { return newKey(tableEvent).raw(j[:]) }
func prefixJobLease(j JobID) []byte  { return newKey(tableJobLease).raw(j[:]) }
func prefixSpare(j JobID) []byte     { return newKey(tableSpare).raw(j[:]) }
func prefixDependent(j JobID) []byte { return newKey(tableDependent).raw(j[:]) }

func keyRevocation(id [32]byte) []byte { return newKey(tableRevocation).raw(id[:]) }

func prefixSecret(t TenantID) []byte            { return keyName(newKey(tableSecret), t) }
func keyCustodian(n NodeID) []byte              { return newKey(tableCustodian).raw([]byte(n)) }
func keySecret(t TenantID, n SecretName) []byte { return append(prefixSecret(t), n...) }

func keySecretValue(t TenantID, n SecretName) []byte {
	return append(keyName(newKey(tableSecretValue), t), n...)
}

func keyOrder(o OrderID) []byte        { return newKey(tableOrder).raw(o[:]) }
func keyOrderSpec(o OrderID) []byte    { return newKey(tableOrderSpec).raw(o[:]) }
func keyOrderPayload(o OrderID) []byte { return newKey(tableOrderPayload).raw(o[:]) }
func keyMaker(j JobID) []byte          { return newKey(tableMaker).raw(j[:]) }
func prefixOrderJob(o OrderID) []byte  { return newKey(tableOrderJob).raw(o[:]) }
func prefixSeat(o OrderID) []byte      { return newKey(tableSeat).raw(o[:]) }

func keyOrderJob(o OrderID, j JobID) []byte { return newKey(tableOrderJob).raw(o[:]).raw(j[:]) }
func keySeat(o OrderID, n NodeID) []byte    { return newKey(tableSeat).raw(o[:]).raw([]byte(n)) }

// prefixTenantOrder is what the keys of a tenant's orders begin with, of those that
// have ended or of the others.
func prefixTenantOrder(t TenantID, ended bool) []byte {
	k := keyName(newKey(tableTenantOrder), t)
	if ended {
		return k.u8(1)
	}
	return k.u8(0)
}

func keyTenantOrder(t TenantID, ended bool, o OrderID) []byte {
	return append(prefixTenantOrder(t, ended), o[:]...)
}

func prefixLease(n NodeID) []byte       { return keyName(newKey(tableLease), n) }
func prefixTenantJob(t TenantID) []byte { return keyName(newKey(tableTenantJob), t) }

func keyPending(j JobID, p Phase, start uint32) []byte {
	return newKey(tablePending).raw(j[:]).u8(uint8(p)).u32(start)
}

func keyLease(n NodeID, e Epoch) []byte {
	return keyName(newKey(tableLease), n).u64(uint64(e))
}

func keyChunk(j JobID, number uint32) []byte {
	return newKey(tableChunk).raw(j[:]).u32(number)
}

func keyOutput(j JobID, first uint32, e Epoch) []byte {
	return newKey(tableOutput).raw(j[:]).u32(first).u64(uint64(e))
}

func keyEvent(j JobID, number uint32) []byte {
	return newKey(tableEvent).raw(j[:]).u32(number)
}

func keyAccount(t TenantID, day uint32) []byte {
	return keyName(newKey(tableAccount), t).u32(day)
}

func keyJobDay(j JobID, day uint32) []byte { return newKey(tableJobDay).raw(j[:]).u32(day) }
func prefixJobDay(j JobID) []byte          { return newKey(tableJobDay).raw(j[:]) }

func prefixModuleDay(t TenantID, day uint32) []byte {
	return keyName(newKey(tableModuleDay), t).u32(day)
}

func keyModuleDay(t TenantID, day uint32, m ModuleID) []byte {
	return append(prefixModuleDay(t, day), m[:]...)
}

func keyQueue(j *Job) []byte {
	return keyName(newKey(tableQueue).u8(255-j.Band), j.Tenant).time(j.Created).raw(j.ID[:])
}

// queueEntry is the length of what follows the tenant in a key of the queue.
const queueEntry = 8 + 16

func keyJobLease(j JobID, first uint32, e Epoch) []byte {
	return newKey(tableJobLease).raw(j[:]).u32(first).u64(uint64(e))
}

func keySpare(j JobID, task uint32) []byte {
	return newKey(tableSpare).raw(j[:]).u32(task)
}

func keyTenantJob(t TenantID, j JobID) []byte {
	return keyName(newKey(tableTenantJob), t).raw(j[:])
}

func keyDependent(j, dependent JobID) []byte {
	return newKey(tableDependent).raw(j[:]).raw(dependent[:])
}

// keyTimer returns the key of a timer; what is the end of it.
func keyTimer(at Time, kind uint8, what []byte) []byte {
	return newKey(tableTimer).time(at).u8(kind).raw(what)
}

func whatLease(n NodeID, e Epoch) []byte {
	return keyName(make(keyBuilder, 0, 64), n).u64(uint64(e))
}

func whatBackoff(j JobID, start uint32) []byte {
	return make(keyBuilder, 0, 20).raw(j[:]).u32(start)
}

func whatAccount(t TenantID, day uint32) []byte {
	return keyName(make(keyBuilder, 0, 70), t).u32(day)
}

func whatOrderJob(o OrderID, j JobID) []byte {
	return make(keyBuilder, 0, 32).raw(o[:]).raw(j[:])
}

// timerKey is a timer's key, taken apart.
type timerKey struct {
	At   Time
	Kind uint8
	What []byte
}

// timerHead is the length of a timer's key up to what it is about.
const timerHead = 1 + 8 + 1

func parseTimer(key []byte) timerKey {
	return timerKey{Time(binary.BigEndian.Uint64(key[1:9]) ^ 1<<63), key[9], key[10:]}
}

// cutName takes a name that ends with a zero byte off the front of b.
func cutName(b []byte) (name string, rest []byte) {
	before, after, _ := bytes.Cut(b, []byte{0})
	return string(before), after
}

// parsePending reads the phase and the first task of a pending range's key.
func parsePending(key []byte) (Phase, uint32) {
	return Phase(key[17]), binary.BigEndian.Uint32(key[18:])
}

// parseJobLease reads the first task, the epoch, the end and the node of a lease
// in the list of a job's leases.
func parseJobLease(key, value []byte) (first uint32, epoch Epoch, end uint32, node NodeID) {
	return binary.BigEndian.Uint32(key[17:]), Epoch(binary.BigEndian.Uint64(key[21:])),
		binary.BigEndian.Uint32(value), NodeID(value[4:])
}

// parseOutput reads the first task of an output's key.
func parseOutput(key []byte) uint32 { return binary.BigEndian.Uint32(key[17:]) }

// parseSpare reads the task and the lease of a spare.
func parseSpare(key, value []byte) (task uint32, name leaseName) {
	return binary.BigEndian.Uint32(key[17:]), leaseName{NodeID(value[8:]), Epoch(binary.BigEndian.Uint64(value))}
}

// parseJob reads the job at the front of b.
func parseJob(b []byte) JobID { return JobID(b[:16]) }

// NodePrefix is what the key of a node's record begins with: to be watched by the
// node. Those of nodes whose names begin with the same text do, too.
func NodePrefix(n NodeID) []byte { return keyNode(n) }

// LeasePrefix is what the keys of a node's leases begin with: to be watched by
// the node.
func LeasePrefix(n NodeID) []byte { return prefixLease(n) }

// EventPrefix is what the keys of a job's events begin with. Each change of a
// job that somebody may wait for adds an event.
func EventPrefix(j JobID) []byte { return prefixEvent(j) }

// QueuePrefix is what the keys of the queue begin with: to be watched by the
// scheduler. A job that is in the queue already changes JobPrefix only.
func QueuePrefix() []byte { return []byte{tableQueue} }

// JobPrefix is what the keys of all jobs begin with; followed by a JobID it is
// the key of one.
func JobPrefix() []byte { return []byte{tableJob} }

// TenantPrefix is what the keys of all tenants begin with; followed by a TenantID it
// is the key of one.
func TenantPrefix() []byte { return []byte{tableTenant} }

// OrderPrefix is what the keys of all orders begin with; followed by an OrderID it is
// the key of one. SeatPrefix is the same for the seats of daemons.
func OrderPrefix() []byte { return []byte{tableOrder} }

// SeatPrefix is what the keys of all seats begin with.
func SeatPrefix() []byte { return []byte{tableSeat} }

// RevocationPrefix is what the keys of all revocations begin with: to be watched by
// whoever serves somebody for long.
func RevocationPrefix() []byte { return []byte{tableRevocation} }

// SecretPrefix is what the keys of all secrets begin with, CustodianPrefix those of all
// custodians: to be watched by custodians.
func SecretPrefix() []byte { return []byte{tableSecret} }

// CustodianPrefix is what the keys of all custodians begin with.
func CustodianPrefix() []byte { return []byte{tableCustodian} }
