package ledger

import (
	"bytes"
	"errors"
	"fmt"
)

// ErrNotFound is returned by the views that ask for one thing when there is no
// such thing.
var ErrNotFound = errors.New("not found")

// one reads the record at key.
func one[T any, P interface {
	*T
	fielder
}](tx Tx, key []byte, what string, id any) (v T, err error) {
	defer catch(&err)
	if !(reader{tx}).load(key, P(&v)) {
		return v, fmt.Errorf("read %s %v: %w", what, id, ErrNotFound)
	}
	return v, nil
}

// page reads up to limit records of the table or part of it that begins with
// prefix, from the key from on.
func page[T any, P interface {
	*T
	fielder
}](tx Tx, prefix, from []byte, limit int) (list []T, err error) {
	defer catch(&err)
	r := reader{tx}
	if limit <= 0 {
		return nil, nil
	}
	r.scan(prefix, from, func(key, value []byte) bool {
		var v T
		r.parse(key, value, P(&v))
		list = append(list, v)
		return len(list) < limit
	})
	return list, nil
}

// beyond returns the first key after key, or nil for a page from the start on.
func beyond(key []byte, start bool) []byte {
	if start {
		return nil
	}
	return append(bytes.Clone(key), 0)
}

// FindTenant returns a tenant, or ErrNotFound.
func FindTenant(tx Tx, id TenantID) (Tenant, error) {
	return one[Tenant](tx, keyTenant(id), "tenant", id)
}

// Tenants returns up to limit tenants that come after the one given, in
// ascending order; "" begins with the first.
func Tenants(tx Tx, after TenantID, limit int) ([]Tenant, error) {
	return page[Tenant](tx, []byte{tableTenant}, beyond(keyTenant(after), after == ""), limit)
}

// FindNode returns a node, or ErrNotFound.
func FindNode(tx Tx, id NodeID) (Node, error) { return one[Node](tx, keyNode(id), "node", id) }

// Nodes returns up to limit nodes that come after the one given.
func Nodes(tx Tx, after NodeID, limit int) ([]Node, error) {
	return page[Node](tx, []byte{tableNode}, beyond(keyNode(after), after == ""), limit)
}

// FindModule returns a module, or ErrNotFound.
func FindModule(tx Tx, id ModuleID) (Module, error) {
	return one[Module](tx, keyModule(id), "module", id)
}

// Modules returns up to limit modules that come after the one given.
func Modules(tx Tx, after ModuleID, limit int) ([]Module, error) {
	return page[Module](tx, []byte{tableModule}, beyond(keyModule(after), after == ModuleID{}), limit)
}

// FindJob returns a job, or ErrNotFound.
func FindJob(tx Tx, id JobID) (Job, error) { return one[Job](tx, keyJob(id), "job", id) }

// FindSpec returns a job's specification with its payload, or ErrNotFound.
func FindSpec(tx Tx, id JobID) (spec JobSpec, err error) {
	defer catch(&err)
	if spec, err = one[JobSpec](tx, keySpec(id), "specification of job", id); err == nil {
		spec.Payload = bytes.Clone(reader{tx}.get(keyPayload(id)))
	}
	return spec, err
}

// FindMaker returns the order that has made a job, or ErrNotFound for a job that was
// submitted.
func FindMaker(tx Tx, id JobID) (OrderID, error) {
	m, err := one[maker](tx, keyMaker(id), "maker of job", id)
	return m.Order, err
}

// Jobs returns up to limit jobs that come after the one given, in ascending
// order of id.
func Jobs(tx Tx, after JobID, limit int) ([]Job, error) {
	return page[Job](tx, []byte{tableJob}, beyond(keyJob(after), after == JobID{}), limit)
}

// JobsOf returns up to limit jobs of a tenant that come after the one given.
func JobsOf(tx Tx, tenant TenantID, after JobID, limit int) (list []Job, err error) {
	defer catch(&err)
	r := reader{tx}
	prefix := prefixTenantJob(tenant)
	var ids []JobID
	r.scan(prefix, beyond(keyTenantJob(tenant, after), after == JobID{}), func(key, _ []byte) bool {
		if len(ids) >= limit {
			return false
		}
		ids = append(ids, JobID(key[len(prefix):]))
		return true
	})
	for _, id := range ids {
		var j Job
		r.load(keyJob(id), &j)
		list = append(list, j)
	}
	return list, nil
}

// LeasesOf returns up to limit leases of a node with an epoch above after. It steps
// over those that ended and are not compacted yet: who looks again and again keeps a
// Roll, and how many there are is Node.Leases.
func LeasesOf(tx Tx, node NodeID, after Epoch, limit int) ([]Lease, error) {
	return page[Lease](tx, prefixLease(node), keyLease(node, after+1), limit)
}

// JobLeases returns up to limit leases on tasks of a job, in ascending order of
// their first task and then of epoch, behind the lease whose first task and
// epoch are given; zero and zero begin with the first.
func JobLeases(tx Tx, job JobID, first uint32, after Epoch, limit int) (list []Lease, err error) {
	defer catch(&err)
	return reader{tx}.jobLeases(job, first, after, limit), nil
}

func (r reader) jobLeases(job JobID, first uint32, after Epoch, limit int) (list []Lease) {
	var names []leaseName
	r.scan(prefixJobLease(job), keyJobLease(job, first, after+1), func(key, value []byte) bool {
		if len(names) >= limit {
			return false
		}
		_, epoch, _, node := parseJobLease(key, value)
		names = append(names, leaseName{node, epoch})
		return true
	})
	for _, name := range names {
		var l Lease
		r.load(keyLease(name.node, name.epoch), &l)
		list = append(list, l)
	}
	return list
}

// PendingOf returns up to limit ranges of a job's tasks that wait: the ready
// ones first.
func PendingOf(tx Tx, job JobID, limit int) ([]Pending, error) {
	return page[Pending](tx, prefixPending(job), nil, limit)
}

// Events returns up to limit events of a job from the number given. The first
// may have a larger one: older events are not kept.
func Events(tx Tx, job JobID, from uint32, limit int) (list []Event, err error) {
	defer catch(&err)
	// A scan from an event that is gone steps over all those that went after it.
	var j Job
	if (reader{tx}).load(keyJob(job), &j) && j.Events > EventsKept {
		from = max(from, j.Events-EventsKept+1)
	}
	return page[Event](tx, prefixEvent(job), keyEvent(job, from), limit)
}

// Outputs returns up to limit outputs of a job whose first task is not below
// from.
func Outputs(tx Tx, job JobID, from uint32, limit int) ([]Output, error) {
	return page[Output](tx, prefixOutput(job), keyOutput(job, from, 0), limit)
}

// FindReasons returns why a job's tasks could not be placed, or ErrNotFound when
// nothing was noted since it was queued.
func FindReasons(tx Tx, job JobID) (Reasons, error) {
	return one[Reasons](tx, keyReasons(job), "reasons of job", job)
}

// FindAccount returns what a tenant used on a day, counted from 1970-01-01 UTC;
// a day without use is a zero Account.
func FindAccount(tx Tx, tenant TenantID, day uint32) (Account, error) {
	a, err := one[Account](tx, keyAccount(tenant, day), "account of tenant", tenant)
	if errors.Is(err, ErrNotFound) {
		return Account{}, nil
	}
	return a, err
}

// Accounts returns the accounts of a tenant for the days from from to to, by day; days
// without use have none. There are at most AccountDays of them.
func Accounts(tx Tx, tenant TenantID, from, to uint32) (list []DayAccount, err error) {
	defer catch(&err)
	r := reader{tx}
	prefix := keyName(newKey(tableAccount), tenant)
	r.scan(prefix, keyAccount(tenant, from), func(key, value []byte) bool {
		d := DayAccount{Day: uint32(number(key[len(prefix):]))}
		if d.Day > to {
			return false
		}
		r.parse(key, value, &d.Account)
		list = append(list, d)
		return true
	})
	return list, nil
}

// DayAccount is what a tenant has used on a day, counted from 1970-01-01 in UTC.
type DayAccount struct {
	Day uint32
	Account
}

// ModuleUsage returns what a tenant's modules have cost on a day, by receipts: at most
// DayModulesMax of them and OtherModules.
func ModuleUsage(tx Tx, tenant TenantID, day uint32) (list []ModuleCost, err error) {
	defer catch(&err)
	r := reader{tx}
	r.scan(prefixModuleDay(tenant, day), nil, func(key, value []byte) bool {
		var c charges
		r.parse(key, value, &c)
		list = append(list, ModuleCost{parseModuleDay(key).module, c.Usage})
		return true
	})
	return list, nil
}

// ModuleCost is what a module has cost.
type ModuleCost struct {
	Module ModuleID
	Usage  Usage
}

// JobUsage returns what a job has cost from day from to day to, by receipts.
func JobUsage(tx Tx, j *Job, from, to uint32) (sum Usage, err error) {
	defer catch(&err)
	r := reader{tx}
	r.scan(prefixJobDay(j.ID), keyJobDay(j.ID, from), func(key, value []byte) bool {
		if parseJobDay(key) > to {
			return false
		}
		var c charges
		r.parse(key, value, &c)
		sum.Add(c.Usage)
		return true
	})
	if j.Today != (Usage{}) && from <= j.Day && j.Day <= to {
		sum.Add(j.Today)
	}
	return sum, nil
}

// NextTick returns when a Tick will next have something to do, and whether it
// ever will.
func NextTick(tx Tx) (at Time, ok bool, err error) {
	defer catch(&err)
	reader{tx}.scan([]byte{tableTimer}, nil, func(key, _ []byte) bool {
		at, ok = parseTimer(key).At, true
		return false
	})
	return at, ok, nil
}

// TimerTime returns when the timer with a key is due, and whether the key is a
// timer's.
func TimerTime(key []byte) (at Time, ok bool) {
	if len(key) < timerHead || key[0] != tableTimer {
		return 0, false
	}
	return parseTimer(key).At, true
}
