package sandbox

// The prices of host calls, in fuel: FuelPerNano for about a nanosecond of the
// host's work. Receipts depend on them: a change is a new version of metering.
const (
	// priceCall is for calls that touch only the run's own state.
	priceCall = 500
	// priceStream is for calls that move bytes or change a descriptor.
	priceStream = 2_000
	// pricePath is for calls that resolve a path, pricePathByte for each byte
	// of it: a look-up passes a folder for every two.
	pricePath     = 8_000
	pricePathByte = 16
	// pricePoll is for poll_oneoff, pricePollEach for each subscription.
	pricePoll     = 4_000
	pricePollEach = 400
	// priceSleep is for a poll_oneoff that may have to wait, however long: for
	// setting a timer, giving up the thread and coming back to one.
	priceSleep = 100_000
	// priceYield is for giving up the thread.
	priceYield = 8_000
	// priceString is for each argument or variable that is copied,
	// priceStringSize for each that is counted.
	priceString     = 60
	priceStringSize = 2
	// priceDirentByte is for each byte of a buffer that takes a folder's
	// entries: one takes at least 25 bytes.
	priceDirentByte = 4
	// priceTableEntry is for each entry by which a table grows: the engine
	// moves a table that grows.
	priceTableEntry = 100
	// priceIovec is for each buffer of a vector.
	priceIovec = 50
	// priceStreamedCall is for each call that reads or writes stdin, stdout or
	// stderr, bytesPerFuelStreamed how many bytes it moves for one unit: two
	// processes and the kernel handle them.
	priceStreamedCall    = 16_000
	bytesPerFuelStreamed = 2
	// priceRequest is for opening an HTTP request: another process parses it, looks
	// a name up, connects, and writes a line into a log. What is moved costs as with
	// stdin and stdout.
	priceRequest = 5_000_000
	// bytesPerFuel is how many bytes are copied for one unit.
	bytesPerFuel = 8
	// priceRandom is for each random byte.
	priceRandom = 4
)

// priceOf returns the base price of a WASI function.
func priceOf(name string) uint64 {
	switch name {
	case "args_get", "args_sizes_get", "environ_get", "environ_sizes_get",
		"clock_res_get", "clock_time_get", "proc_exit", "proc_raise", "random_get":
		return priceCall
	case "sched_yield":
		return priceYield
	case "poll_oneoff":
		return pricePoll
	case "path_create_directory", "path_filestat_get", "path_filestat_set_times", "path_link",
		"path_open", "path_readlink", "path_remove_directory", "path_rename", "path_symlink",
		"path_unlink_file", "fd_readdir":
		return pricePath
	}
	return priceStream
}

// priceBytes returns the price of moving n bytes.
func priceBytes(n uint64) uint64 { return n / bytesPerFuel }

// priceStreamed returns the price of moving n bytes through stdin, stdout or
// stderr.
func priceStreamed(n uint64) uint64 { return priceStreamedCall + n/bytesPerFuelStreamed }
