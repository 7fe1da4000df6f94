package content

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/dugnad/dugnad/p2p"
	"github.com/dugnad/dugnad/p2p/bandwidth"
)

// Errors of the package. Those of limits give the number in their text.
var (
	// ErrNotHeld is returned for an object that is not in the store.
	ErrNotHeld = errors.New("object is not held")
	// ErrNoHolder is returned by Fetch when nobody who can be reached has the
	// object, or will give it.
	ErrNoHolder = errors.New("no holder gives the object")
	// ErrNoNetwork is returned by Fetch for an object that is not held, when
	// Config.Network is nil.
	ErrNoNetwork = errors.New("store has no network")
	// ErrFull is returned when Config.BytesMax or ObjectsMax is reached and
	// everything held is pinned or open.
	ErrFull = errors.New("content store is full")
	// ErrDiskFull is returned when the file system has less room than
	// Config.DiskReserveBytes, or said so itself, and nothing can be evicted.
	ErrDiskFull = errors.New("disk is full")
	// ErrQuota is returned when what an owner pins would be more than
	// Config.OwnerBytesMax.
	ErrQuota = errors.New("owner's content quota is used up")
	// ErrPins is returned when there would be more than Config.PinsMax pins.
	ErrPins = errors.New("too many pins")
	// ErrOwner is returned for an owner's name that is empty or longer than
	// OwnerNameBytesMax.
	ErrOwner = errors.New("owner's name is not from 1 to 128 bytes long")
	// ErrTooLarge is returned for an object beyond Config.ObjectBytesMax or
	// FetchOptions.BytesMax.
	ErrTooLarge = errors.New("object is too large")
	// ErrCorrupt is returned when an object on disk is not what was written.
	// The store has dropped it; its pins stay.
	ErrCorrupt = errors.New("object is corrupt")
	// ErrLocked is returned by Open when another process has the directory open.
	ErrLocked = errors.New("content store is open in another process")
	// ErrClosed is returned by every method after Close.
	ErrClosed = errors.New("content store is closed")
)

// OwnerNameBytesMax bounds an owner's name.
const OwnerNameBytesMax = 128

// Config says where a store is, what it may take, and whom it serves.
type Config struct {
	// Dir is the directory; it is made, with mode 0700, when it does not exist.
	Dir string
	// Log receives what somebody would want to know; nil discards it.
	Log *slog.Logger
	// Registerer receives the metrics, until Close; nil keeps none.
	Registerer prometheus.Registerer

	// BytesMax bounds the files of all objects, whole and partial.
	BytesMax int64
	// ObjectsMax bounds their number.
	ObjectsMax int
	// ObjectBytesMax bounds one object; at most the constant of that name.
	ObjectBytesMax int64
	// OwnerBytesMax bounds the bytes that one owner pins; zero does not.
	OwnerBytesMax int64
	// PinsMax bounds the pairs of owner and object.
	PinsMax int
	// DiskReserveBytes is the room that every write leaves on the file system.
	DiskReserveBytes int64

	// Network is where objects are fetched and served; nil does neither.
	Network p2p.Network
	// Finder returns members that may hold an object, asked when those that
	// the caller of Fetch named do not suffice. May be nil.
	Finder func(ctx context.Context, h Hash) []p2p.NodeID
	// Report is told what a holder did wrong. It is called from many
	// goroutines and must not block. May be nil.
	Report func(holder p2p.NodeID, h Hash, reason Reason)

	// FetchesMax bounds the objects that are fetched at once; the rest wait.
	FetchesMax int
	// HoldersMax bounds the holders that one fetch has open at once.
	HoldersMax int
	// StreamsPerHolder bounds the streams to one holder for one fetch. Each
	// takes a buffer of one chunk.
	StreamsPerHolder int
	// ChunkTimeout is how long a holder may take for an answer, and for each
	// bandwidth.PieceBytes of a chunk: its bandwidth may be bounded.
	ChunkTimeout time.Duration
	// StealAfter is the age from which a chunk that was asked of one holder is
	// asked of a second one too, when that has nothing better to do.
	StealAfter time.Duration
	// Patience is how long a fetch without progress follows referrals before
	// it insists, and before it looks for further holders.
	Patience time.Duration
	// BanFor is how long a holder that gave wrong bytes is not asked.
	BanFor time.Duration

	// ServeRole is the least role that is served.
	ServeRole p2p.Role
	// UploadsMax bounds the chunks in memory for others, and UploadsPerPeer
	// those for one of them. What is above is answered with busy.
	UploadsMax, UploadsPerPeer int
	// StreamsMax bounds the streams that others have open here, and
	// StreamsPerPeer those of one of them. What is above is reset.
	StreamsMax, StreamsPerPeer int
	// CopiesMax is how many members get a chunk from here within SpreadWindow;
	// further ones are referred to those.
	CopiesMax    int
	SpreadWindow time.Duration
	// Down and Up bound what is received and sent; nil does not.
	Down, Up *bandwidth.Flow
	// IdleTimeout is how long a stream may wait for its next request.
	IdleTimeout time.Duration
}

// Default returns the configuration of a node, for dir, without a network.
func Default(dir string) Config {
	return Config{
		Dir:              dir,
		BytesMax:         10 << 30,
		ObjectsMax:       1 << 18,
		ObjectBytesMax:   4 << 30,
		PinsMax:          1 << 20,
		DiskReserveBytes: 512 << 20,
		FetchesMax:       16,
		HoldersMax:       8,
		StreamsPerHolder: 2,
		ChunkTimeout:     30 * time.Second,
		StealAfter:       time.Second,
		Patience:         5 * time.Second,
		BanFor:           10 * time.Minute,
		ServeRole:        p2p.RoleClient,
		UploadsMax:       32,
		UploadsPerPeer:   8,
		StreamsMax:       512,
		StreamsPerPeer:   32,
		CopiesMax:        3,
		SpreadWindow:     30 * time.Second,
		IdleTimeout:      time.Minute,
	}
}

// Validate returns what is wrong with c, or nil.
func (c Config) Validate() error {
	for name, n := range map[string]int64{
		"BytesMax": c.BytesMax, "ObjectsMax": int64(c.ObjectsMax), "ObjectBytesMax": c.ObjectBytesMax,
		"PinsMax": int64(c.PinsMax), "FetchesMax": int64(c.FetchesMax), "HoldersMax": int64(c.HoldersMax),
		"StreamsPerHolder": int64(c.StreamsPerHolder), "ChunkTimeout": int64(c.ChunkTimeout),
		"StealAfter": int64(c.StealAfter), "Patience": int64(c.Patience), "BanFor": int64(c.BanFor),
		"UploadsMax": int64(c.UploadsMax), "UploadsPerPeer": int64(c.UploadsPerPeer),
		"StreamsMax": int64(c.StreamsMax), "StreamsPerPeer": int64(c.StreamsPerPeer),
		"CopiesMax": int64(c.CopiesMax), "SpreadWindow": int64(c.SpreadWindow), "IdleTimeout": int64(c.IdleTimeout),
		"ServeRole": int64(c.ServeRole),
	} {
		if n <= 0 {
			return fmt.Errorf("%s %d is not positive", name, n)
		}
	}
	switch {
	case c.Dir == "":
		return errors.New("the directory, Dir, is empty")
	case c.ObjectBytesMax > ObjectBytesMax:
		return fmt.Errorf("ObjectBytesMax %d is more than %d", c.ObjectBytesMax, int64(ObjectBytesMax))
	case c.OwnerBytesMax < 0 || c.DiskReserveBytes < 0:
		return errors.New("a size is negative")
	}
	return nil
}
