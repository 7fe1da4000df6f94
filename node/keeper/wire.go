package keeper

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/dugnad/dugnad/ledger"
	"github.com/dugnad/dugnad/node/result"
	"github.com/dugnad/dugnad/p2p/content"
	"github.com/dugnad/dugnad/p2p/rpc"
)

const (
	// keepMethod has a node keep an object, holdMethod says which of some objects it
	// keeps.
	keepMethod = "keeper.keep"
	holdMethod = "keeper.hold"

	wireVersion = 1
	// headBytes is the length of a request to keep an object, without the object.
	headBytes = 1 + 1 + 32 + 16 + 8 + 8
)

// What an object is kept for. The values are on the wire.
const (
	kindResult = 1 + iota
	kindModule
)

// Why an object is not kept. The codes are on the wire: they stay as they are.
var (
	// ErrMalformed: the request is not one.
	ErrMalformed = &rpc.Fault{Code: "malformed", Text: "malformed request"}
	// ErrUnknown: the ledger knows no such job or module.
	ErrUnknown = &rpc.Fault{Code: "unknown", Text: "the ledger does not know what the object is for"}
	// ErrWrongHash: the object is not what its name says.
	ErrWrongHash = &rpc.Fault{Code: "wrong_hash", Text: "the object has another hash"}
	// ErrTooLarge: the object is larger than this node's store takes, or than was
	// said.
	ErrTooLarge = &rpc.Fault{Code: "too_large", Text: "the object is too large"}
	// ErrTooMany: no further object can be pinned.
	ErrTooMany = &rpc.Fault{Code: "too_many", Text: "too many objects are kept"}
	// ErrFull: there is no room for it.
	ErrFull = &rpc.Fault{Code: "full", Text: "there is no room"}
	// ErrNotGiven: the object could not be fetched from who wants it kept.
	ErrNotGiven = &rpc.Fault{Code: "not_given", Text: "the object was not given"}
	// ErrBusy: too many objects of this node are being fetched.
	ErrBusy = &rpc.Fault{Code: "busy", Text: "too many objects are being fetched from this node"}
	// ErrClosing: the node is not ready, or stops.
	ErrClosing = &rpc.Fault{Code: "closing", Text: "the node does not keep objects now"}
)

// faults gives the store's errors their codes.
var faults = []struct {
	is    error
	fault *rpc.Fault
}{
	{content.ErrFull, ErrFull},
	{content.ErrDiskFull, ErrFull},
	{content.ErrQuota, ErrFull},
	{content.ErrPins, ErrTooMany},
	{content.ErrTooLarge, ErrTooLarge},
	{content.ErrNoHolder, ErrNotGiven},
	{content.ErrNoNetwork, ErrNotGiven},
	{content.ErrClosed, ErrClosing},
}

// faultOf returns what the caller is told of an error of the store.
func faultOf(err error) error {
	for _, f := range faults {
		if errors.Is(err, f.is) {
			return fmt.Errorf("%w: %w", f.fault, err)
		}
	}
	return err
}

// request asks a node to keep an object.
type request struct {
	kind byte
	hash content.Hash
	// job is whose result it is; zero for a module.
	job ledger.JobID
	// bytes is the object's length, index a state of the ledger that knows what it
	// is for.
	bytes, index uint64
	// small is the object itself; empty when it is to be fetched.
	small []byte
}

// owner is for whom the object is pinned.
func (q *request) owner() string {
	if q.kind == kindModule {
		return ModuleOwner
	}
	return result.Owner(q.job)
}

func (q *request) encode() []byte {
	b := make([]byte, 0, headBytes+len(q.small))
	b = append(b, wireVersion, q.kind)
	b = append(b, q.hash[:]...)
	b = append(b, q.job[:]...)
	b = binary.BigEndian.AppendUint64(b, q.bytes)
	b = binary.BigEndian.AppendUint64(b, q.index)
	return append(b, q.small...)
}

// decodeRequest reads what encode writes; small is part of b. Its errors are
// ErrMalformed.
func decodeRequest(b []byte) (q request, err error) {
	if len(b) < headBytes || b[0] != wireVersion {
		return q, fmt.Errorf("%w: %d bytes", ErrMalformed, len(b))
	}
	q.kind, q.hash, q.job = b[1], content.Hash(b[2:34]), ledger.JobID(b[34:50])
	q.bytes, q.index = binary.BigEndian.Uint64(b[50:]), binary.BigEndian.Uint64(b[58:])
	q.small = b[headBytes:]
	switch {
	case q.kind != kindResult && q.kind != kindModule:
		return q, fmt.Errorf("%w: kind %d", ErrMalformed, q.kind)
	case q.kind == kindModule && q.job != ledger.JobID{}:
		return q, fmt.Errorf("%w: a module of a job", ErrMalformed)
	case q.bytes == 0 || q.bytes > content.ObjectBytesMax:
		return q, fmt.Errorf("%w: an object of %d bytes", ErrMalformed, q.bytes)
	case len(q.small) > 0 && uint64(len(q.small)) != q.bytes:
		return q, fmt.Errorf("%w: %d bytes of %d", ErrMalformed, len(q.small), q.bytes)
	}
	return q, nil
}

// question is one object of which a node is asked whether it keeps it.
type question struct {
	kind byte
	job  ledger.JobID
	hash content.Hash
}

const questionBytes = 1 + 16 + 32

func encodeQuestions(list []question) []byte {
	b := append(make([]byte, 0, 1+len(list)*questionBytes), wireVersion)
	for i := range list {
		b = append(b, list[i].kind)
		b = append(b, list[i].job[:]...)
		b = append(b, list[i].hash[:]...)
	}
	return b
}

// decodeQuestions reads what encodeQuestions writes. Its errors are ErrMalformed.
func decodeQuestions(b []byte) ([]question, error) {
	if len(b) < 1 || b[0] != wireVersion || (len(b)-1)%questionBytes != 0 || len(b) > 1+pageMax*questionBytes {
		return nil, fmt.Errorf("%w: %d bytes", ErrMalformed, len(b))
	}
	var out []question
	for b = b[1:]; len(b) > 0; b = b[questionBytes:] {
		q := question{kind: b[0], job: ledger.JobID(b[1:17]), hash: content.Hash(b[17:questionBytes])}
		if q.kind != kindResult && q.kind != kindModule {
			return nil, fmt.Errorf("%w: kind %d", ErrMalformed, q.kind)
		}
		out = append(out, q)
	}
	return out, nil
}

func (q *question) owner() string { return (&request{kind: q.kind, job: q.job}).owner() }
