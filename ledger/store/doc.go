// Package store keeps one replica's data on disk, in Badger: the Raft log, the
// stable store that Raft needs beside it, and the state machine's keys.
//
// A directory holds
//
//	LOCK             held while a process has the store open
//	raft/            Badger: log and stable store, every write synced
//	state/CURRENT    number of the generation that counts
//	state/NUMBER/    Badger: the state machine's keys, synced by Sync
//
// A write to the state needs no sync because the log repeats it; before the log
// is cut, Sync makes up for that. What the state must never show is half of an
// update, or an update without those before it. Three things see to that. Keys
// are written at the version of the update's Raft index, and read at the
// applied index, so that an update too large for one Badger transaction stays
// invisible until its last part, which moves the applied index. Badger replays
// each write-ahead log up to the first damaged record, in whole transactions.
// And every update names the one before it, and counts its own parts, so that
// Open notices when the machine lost the end of one write-ahead log but not the
// next; it then goes back to the last update before the hole.
//
// Updates read through a cache of small records, which follows what they commit,
// and write in ascending order of key. Views and snapshots use neither. Scans of keys
// whose low end is deleted steadily begin where an update has last found the first.
//
// The package does not know what a command is, takes no part in Raft, and holds
// no goroutine of its own except those of Badger, which Run lets rest: Run is the
// caller's.
package store
