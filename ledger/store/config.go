package store

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Limits of a single entry. A key or value beyond them is refused with
// ErrTooLarge before anything is written.
const (
	// KeyBytesMax bounds a key of the state.
	KeyBytesMax = 32 << 10
	// ValueBytesMax bounds a value of the state: all of them live in Badger's
	// tree, none in its value log.
	ValueBytesMax = 1<<20 - 1
	// LogBytesMax bounds one entry of the Raft log.
	LogBytesMax = 32 << 20
)

// Errors of the package. All but ErrTooLarge, ErrStale and those that
// are Retryable mean that the replica cannot go on as it is.
var (
	// ErrLocked is returned by Open when another process has the directory open.
	ErrLocked = errors.New("store is open in another process")
	// ErrClosed is returned by every method after Close.
	ErrClosed = errors.New("store is closed")
	// ErrDiskFull is returned when the file system has less room than
	// Config.DiskReserveBytes, or said so itself. Unless it is an ErrFault as
	// well, nothing was changed, and the same call succeeds once there is room.
	ErrDiskFull = errors.New("disk is full")
	// ErrCorrupt is returned when what is on disk is not what was written. The
	// text names the file.
	ErrCorrupt = errors.New("store is corrupt")
	// ErrVersion is returned for a store, or a snapshot, of a format that this
	// program does not know. The text names both versions.
	ErrVersion = errors.New("another version of dugnad wrote this")
	// ErrFault is returned by writes, and Fault, after an error that left unknown
	// what is on disk, until the store is closed and opened again.
	ErrFault = errors.New("store takes no more writes")
	// ErrTooLarge is returned for a key, value or log entry beyond its limit.
	ErrTooLarge = errors.New("entry is too large")
	// ErrStale is returned by Update for an index that is already applied.
	ErrStale = errors.New("index is already applied")
	// ErrReadOnly is returned by the writes of a transaction given by View, and
	// of any transaction inside a Scan.
	ErrReadOnly = errors.New("transaction does not write here")
	// ErrEnded is returned by a transaction that is used after its function.
	ErrEnded = errors.New("transaction has ended")
)

// Retryable reports whether a call that returned err changed nothing and will
// succeed, made again as it was, once the disk has room.
func Retryable(err error) bool { return errors.Is(err, ErrDiskFull) && !errors.Is(err, ErrFault) }

// Config says where a store is and what it may take.
type Config struct {
	// Dir is the directory; it is made, with mode 0700, when it does not exist.
	Dir string
	// Log receives what somebody would want to know; nil discards it.
	Log *slog.Logger
	// Registerer receives the metrics, until Close; nil keeps none.
	Registerer prometheus.Registerer
	// SyncLog syncs every write to the Raft log. Without it an acknowledged
	// command can be lost: for tests and benchmarks only.
	SyncLog bool
	// MemTableBytes is the size of one table in memory, from 8 MiB. There are
	// at most three for each of the two databases, and a write-ahead log of the
	// same size for each; as a rule there is one.
	MemTableBytes int64
	// BlockCacheBytes bounds the cache of blocks whose checksum was verified,
	// for each of the two databases. Zero is no cache. (Indexes need no cache:
	// they are read from the mapped file.)
	BlockCacheBytes int64
	// RecordCacheBytes bounds the cache of small records that updates read again
	// and again. Zero is no cache.
	RecordCacheBytes int64
	// DiskReserveBytes is the room that every write leaves. Badger writes
	// through mapped files, where a full disk kills the process, and it needs
	// room to move its tables; so the store stops earlier. Zero is no reserve.
	DiskReserveBytes int64
	// MaintainInterval is the time between rounds of Run.
	MaintainInterval time.Duration
	// VerifyInterval is the time between readings of every table by Run, to
	// find damage while there still are other replicas. Zero is never.
	VerifyInterval time.Duration
	// SkipVerify makes Open believe the tables' blocks without reading them.
	// Indexes are verified all the same.
	SkipVerify bool
}

// Default returns the configuration of a node, for dir.
func Default(dir string) Config {
	return Config{
		Dir:              dir,
		SyncLog:          true,
		MemTableBytes:    8 << 20,
		BlockCacheBytes:  8 << 20,
		RecordCacheBytes: 4 << 20,
		DiskReserveBytes: 256 << 20,
		MaintainInterval: 10 * time.Second,
		VerifyInterval:   6 * time.Hour,
	}
}

// Validate returns what is wrong with c, or nil.
func (c Config) Validate() error {
	switch {
	case c.Dir == "":
		return errors.New("the directory, Dir, is empty")
	case c.MemTableBytes < 8<<20 || c.MemTableBytes > 256<<20:
		return fmt.Errorf("MemTableBytes %d is not from 8 MiB to 256 MiB", c.MemTableBytes)
	case c.BlockCacheBytes < 0 || c.RecordCacheBytes < 0 || c.DiskReserveBytes < 0:
		return errors.New("a size is negative")
	case c.MaintainInterval <= 0 || c.VerifyInterval < 0:
		return errors.New("an interval is not positive")
	}
	return nil
}
