package meter

// Version names the cost table and the way modules are rewritten. It is part
// of every receipt and of every key of the code cache: another version may
// give another fuel for the same run.
const Version = 6

// ReservedPrefix begins every name that the meter adds to a module. Lint
// refuses modules that import or export a name with this prefix, so a guest
// can neither reach nor forge the meter.
const ReservedPrefix = "dugnad_meter"

// ImportModule is the module name of the host functions that a rewritten
// module imports.
const ImportModule = ReservedPrefix

// The functions of ImportModule.
const (
	// RefillFunc has the type () -> (). The guest calls it when its state
	// shows that the slice is used up or the stack is: the host books the
	// fuel, stops the attempt or stores a new state.
	RefillFunc = "refill"
	// TableGrowFunc has the type (delta, size, max i32) -> i32 and is called
	// before every table.grow, with the number of entries asked for, the
	// table's size and its declared maximum (0xffffffff without one), all
	// unsigned. It returns delta when the host agrees, having booked memory
	// and fuel for it, and 0xffffffff, which makes table.grow fail, when not.
	TableGrowFunc = "table_grow"
)

// The exports of a rewritten module.
const (
	// StateExport is a mutable i64 global, initially zero: see Pack. The host
	// stores a state before the first call. Whenever a host function runs, and
	// after a call has returned, it is exact; after a trap it is as old as the
	// last refill or call of the host, so a trap is charged the whole slice.
	StateExport = ReservedPrefix + ".state"
	// StartExport is the module's start function, type () -> (), when it had
	// one. It is no longer run by instantiation: the host calls it after
	// storing the first state, before anything else.
	StartExport = ReservedPrefix + ".start"
)

// helperPrefix begins the names of the functions that the meter adds. They
// are no part of the guest and do not belong in its stack traces.
const helperPrefix = ReservedPrefix + "."

// Pack makes a state from the fuel that is left of the slice and the bytes of
// call stack that are left. Either may be negative: the guest then calls
// RefillFunc at its next check.
func Pack(fuel, stack int32) uint64 {
	return uint64(int64(stack)<<32 + int64(fuel))
}

// Unpack is the inverse of Pack.
func Unpack(state uint64) (fuel, stack int32) {
	fuel = int32(state)
	return fuel, int32((int64(state) - int64(fuel)) >> 32)
}

// SliceFuelMax bounds the fuel that a host may store in a state. Between two
// checks a guest burns less than 2^30 (see checkEvery, afterCallLeast and
// lengthMax), so that the fuel in a state stays an int32.
const SliceFuelMax = 1 << 29
