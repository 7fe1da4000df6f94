package ledger

import (
	"encoding/binary"
	"fmt"
	"reflect"
	"strings"
	"unicode"
)

// Describe says what a key and its value are, for people: what is the kind of
// record and what names it, such as "job 2f…", fields are the others as
// "name=value", without those that are zero. Neither is stable, and nothing
// should parse them.
func Describe(key, value []byte) (what string, fields []string) {
	if len(key) == 0 {
		return "empty key", nil
	}
	what, record := describeKey(key)
	if record == nil {
		return what, nil
	}
	if err := decode(value, record); err != nil {
		return what, []string{err.Error()}
	}
	return what, describeFields(reflect.ValueOf(record).Elem())
}

// describeKey names the record and returns an empty one to decode it to; nil
// when the key says it all. A key of a stranger's making gives nonsense.
func describeKey(key []byte) (what string, record fielder) {
	defer func() {
		if recover() != nil {
			what, record = fmt.Sprintf("unknown key %x", key), nil
		}
	}()
	rest := key[1:]
	name, behind := cutName(rest)
	job := func(kind string) string { return kind + " " + JobID(rest[:16]).String() }
	switch key[0] {
	case tableMeta:
		return "meta", &meta{}
	case tableTenant:
		return "tenant " + string(rest), &Tenant{}
	case tableNode:
		return "node " + string(rest), &Node{}
	case tableModule:
		return "module " + ModuleID(rest).String(), &Module{}
	case tableJob:
		return job("job"), &Job{}
	case tableSpec:
		return job("spec"), &JobSpec{}
	case tablePayload:
		return job("payload"), nil
	case tablePending:
		return fmt.Sprintf("%s %s from %d", job("pending"), Phase(rest[16]), number(rest[17:])), &Pending{}
	case tableLease:
		return fmt.Sprintf("lease %s/%d", name, number(behind)), &Lease{}
	case tableChunk:
		return fmt.Sprintf("%s from %d", job("outcomes"), number(rest[16:])*chunkTasks), &Chunk{}
	case tableOutput:
		return fmt.Sprintf("%s from %d by %d", job("output"), number(rest[16:20]), number(rest[20:])), &Output{}
	case tableEvent:
		return fmt.Sprintf("%s %d", job("event"), number(rest[16:])), &Event{}
	case tableReasons:
		return job("reasons"), &Reasons{}
	case tableAccount:
		return fmt.Sprintf("account %s day %d", name, number(behind)), &Account{}
	case tableClient:
		return fmt.Sprintf("client %x", rest), &client{}
	case tableTimer:
		return describeTimer(parseTimer(key)), nil
	case tableQueue:
		name, behind = cutName(rest[1:])
		return fmt.Sprintf("queue band %d %s %s", 255-rest[0], name, JobID(behind[8:])), nil
	case tableJobLease:
		return fmt.Sprintf("%s %d from %d", job("lease of"), number(rest[20:]), number(rest[16:20])), nil
	case tableTenantJob:
		return fmt.Sprintf("job of %s %s", name, JobID(behind)), nil
	case tableSpare:
		return fmt.Sprintf("%s task %d", job("spare of"), number(rest[16:])), nil
	case tableDependent:
		return fmt.Sprintf("%s %s", job("dependent of"), JobID(rest[16:])), nil
	case tableOrder:
		return job("order"), &Order{}
	case tableOrderSpec:
		return job("order's spec"), &JobSpec{}
	case tableOrderPayload:
		return job("order's payload"), nil
	case tableTenantOrder:
		return fmt.Sprintf("order of %s %s, ended %d", name, OrderID(behind[1:]), behind[0]), nil
	case tableOrderJob:
		return fmt.Sprintf("%s %s", job("open job of order"), JobID(rest[16:])), nil
	case tableMaker:
		return job("maker of"), &maker{}
	case tableSeat:
		return fmt.Sprintf("%s %s", job("seat of"), rest[16:]), &Seat{}
	case tableRevocation:
		return fmt.Sprintf("revocation of %x", rest), &Revocation{}
	case tableJobDay:
		return fmt.Sprintf("%s day %d", job("charges of"), number(rest[16:])), &charges{}
	case tableModuleDay:
		return fmt.Sprintf("charges of %s day %d module %s", name, number(behind[:4]), ModuleID(behind[4:])), &charges{}
	case tableSecret:
		return fmt.Sprintf("secret of %s %s", name, behind), &Secret{}
	case tableSecretValue:
		return fmt.Sprintf("sealed value of %s %s", name, behind), nil
	case tableCustodian:
		return fmt.Sprintf("custodian %s", rest), &Custodian{}
	}
	return fmt.Sprintf("unknown key %x", key), nil
}

func describeTimer(t timerKey) string {
	name, behind := cutName(t.What)
	job := func(kind string) string { return fmt.Sprintf("timer %s %s %s", t.At, kind, JobID(t.What[:16])) }
	switch t.Kind {
	case timerLease:
		return fmt.Sprintf("timer %s lease %s/%d", t.At, name, number(behind))
	case timerBackoff:
		return fmt.Sprintf("%s from %d", job("back-off"), number(t.What[16:]))
	case timerQueueDeadline:
		return job("queue deadline")
	case timerTotalDeadline:
		return job("total deadline")
	case timerStop:
		return job("stop")
	case timerDependents:
		return job("dependents")
	case timerNode:
		return fmt.Sprintf("timer %s node %s", t.At, t.What)
	case timerPrune:
		return job("prune")
	case timerClient:
		return fmt.Sprintf("timer %s client %x", t.At, t.What)
	case timerOrderStop:
		return fmt.Sprintf("%s behind %s", job("stop order"), JobID(t.What[16:]))
	case timerOrderPrune:
		return job("prune order")
	case timerRevocation:
		return fmt.Sprintf("timer %s revocation of %x", t.At, t.What)
	case timerModules:
		return fmt.Sprintf("timer %s forget modules %s day %d", t.At, name, number(behind))
	default:
		return fmt.Sprintf("timer %s account %s day %d", t.At, name, number(behind))
	}
}

// number reads a big-endian number of 4 or 8 bytes.
func number(b []byte) uint64 {
	if len(b) == 4 {
		return uint64(binary.BigEndian.Uint32(b))
	}
	return binary.BigEndian.Uint64(b)
}

// describeFields returns the exported fields that are not zero, but for what the
// key says already; a state is told even when it is the first one.
func describeFields(v reflect.Value) []string {
	var fields []string
	_, event := v.Interface().(Event)
	_, lease := v.Interface().(Lease)
	_, pending := v.Interface().(Pending)
	for i := range v.NumField() {
		f := v.Type().Field(i)
		always := f.Name == "Kind" || f.Name == "Phase" || f.Name == "State" && !event
		named := f.Name == "ID" || event && f.Name == "Number" || lease && (f.Name == "Node" || f.Name == "Epoch") ||
			pending && (f.Name == "Job" || f.Name == "Phase")
		if f.IsExported() && !named && (always || !v.Field(i).IsZero()) {
			fields = append(fields, fieldName(f.Name)+"="+describeValue(v.Field(i)))
		}
	}
	return fields
}

func describeValue(v reflect.Value) string {
	if s, ok := v.Interface().(fmt.Stringer); ok {
		return s.String()
	}
	switch v.Kind() {
	case reflect.Struct:
		return "{" + strings.Join(describeFields(v), " ") + "}"
	case reflect.Array:
		return fmt.Sprintf("%x", v.Interface())
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			return fmt.Sprintf("%x", v.Bytes())
		}
		var parts []string
		for i := range v.Len() {
			parts = append(parts, describeValue(v.Index(i)))
		}
		return "[" + strings.Join(parts, " ") + "]"
	}
	return fmt.Sprint(v.Interface())
}

// fieldName turns FuelMax into fuel_max.
func fieldName(name string) string {
	var b strings.Builder
	for i, r := range name {
		if unicode.IsUpper(r) && i > 0 {
			b.WriteByte('_')
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String()
}
