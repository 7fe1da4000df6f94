package capacity

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/dugnad/dugnad/p2p"
)

// The reasons for which a record is refused. Each is a value of the metric's
// label result.
var (
	// ErrMalformed is returned for bytes that are no record.
	ErrMalformed = errors.New("record is malformed")
	// ErrVersion is returned for a record of a version that is not known here.
	ErrVersion = errors.New("record has an unknown version")
	// ErrForged is returned when the signature is not the node's.
	ErrForged = errors.New("record is not signed by its node")
	// ErrReplayed is returned for a record that is not newer than the one of
	// the same node that is known.
	ErrReplayed = errors.New("record is not newer than the known one")
	// ErrExpired is returned for a record whose time is over.
	ErrExpired = errors.New("record has expired")
	// ErrFuture is returned when a record's time is more than ClockSkewMax
	// ahead: one of the two clocks is wrong.
	ErrFuture = errors.New("record is from the future")
	// ErrFull is returned when a board has no room for another node.
	ErrFull = errors.New("board is full")
)

// kind tells records apart. The numbers are signed: they never change.
type kind uint8

const (
	kindOffer kind = 1 + iota
	kindHolding
)

// Label is a word about a node, such as zone=oslo.
type Label struct{ Key, Value string }

// Labels that an offer has for what its operator wants.
const (
	// LabelTenantAllowed names a tenant that may run there, once for each; where there
	// is one no others may. LabelTenantDenied names one that may not.
	LabelTenantAllowed = "tenant-allowed"
	LabelTenantDenied  = "tenant-denied"
	// LabelWithheld says in a sentence why nothing is given.
	LabelWithheld = "withheld"
	// LabelUntil is when the machine is switched off, in RFC 3339.
	LabelUntil = "until"
	// LabelJobLabelAllowed names a label of jobs, as NAME or NAME=VALUE, once for each;
	// where there is one no others may run there. LabelJobLabelDenied names one that may
	// not.
	LabelJobLabelAllowed = "job-label-allowed"
	LabelJobLabelDenied  = "job-label-denied"
	// LabelWanted stands for all that the operator wants: it is another one when that
	// has changed.
	LabelWanted = "wanted"
)

// Offer is what a node can give now, on top of what it runs.
type Offer struct {
	// FuelRate is fuel per second, of all slots together.
	FuelRate    uint64
	MemoryBytes uint64
	DiskBytes   uint64
	// Slots is how many more tasks may run at once.
	Slots uint32
	// Wait is how long a task would wait there before it begins.
	Wait time.Duration
	// BusyFor is how long it takes until the next slot is likely to be free;
	// zero is unknown.
	BusyFor time.Duration
	// Capabilities and Labels have at most WordsMax entries.
	Capabilities []string
	Labels       []Label
}

// Holding says which objects a node has, as a filter whose format is between
// those who make it and those who read it: in a grid, ledger/placement.
type Holding struct{ Filter []byte }

// stamp is what every record says about itself.
type stamp struct {
	kind kind
	node p2p.NodeID
	// sequence grows with every record of the node, over restarts too.
	sequence uint64
	// at is the time by the node's clock.
	at  time.Time
	ttl time.Duration
}

// message is what is signed: the record behind a purpose and a grid that are not
// sent, so that it is good for nothing else.
func (s *stamp) message(grid p2p.GridID, signed []byte) []byte {
	m := make([]byte, 0, 32+len(grid)+len(signed))
	m = append(m, "dugnad capacity v1\n"...)
	m = append(m, grid[:]...)
	return append(m, signed...)
}

// version of the encoding.
const version = 1

func (s *stamp) encode(body []byte) []byte {
	b := make([]byte, 0, 96+len(body))
	b = append(b, version, byte(s.kind))
	b = appendText(b, string(s.node))
	b = binary.AppendUvarint(b, s.sequence)
	b = binary.AppendVarint(b, s.at.UnixMilli())
	b = binary.AppendUvarint(b, uint64(s.ttl.Milliseconds()))
	return append(b, body...)
}

// seal makes the record: what is signed with its length, and the signature.
func seal(grid p2p.GridID, s stamp, body []byte, sign func([]byte) ([]byte, error)) ([]byte, error) {
	signed := s.encode(body)
	signature, err := sign(s.message(grid, signed))
	if err != nil {
		return nil, fmt.Errorf("sign offer: %w", err)
	}
	b := binary.AppendUvarint(make([]byte, 0, len(signed)+len(signature)+4), uint64(len(signed)))
	return append(append(b, signed...), signature...), nil
}

// record is one that was read. Its slices are those of the bytes it came from.
type record struct {
	stamp
	body      []byte
	signed    []byte
	signature []byte
	raw       []byte
}

func decodeRecord(raw []byte) (record, error) {
	r := reader{b: raw}
	signed := r.bytes(recordBytesMax)
	rec := record{signed: signed, signature: r.b, raw: raw}
	if r.bad || len(rec.signature) == 0 || len(raw) > recordBytesMax {
		return record{}, fmt.Errorf("%w: %d bytes", ErrMalformed, len(raw))
	}
	r = reader{b: signed}
	if v := r.byte(); !r.bad && v != version {
		return record{}, fmt.Errorf("%w: %d", ErrVersion, v)
	}
	rec.kind = kind(r.byte())
	rec.node = p2p.NodeID(r.bytes(nodeBytesMax))
	rec.sequence = r.uvarint()
	rec.at = time.UnixMilli(r.varint())
	ttl := r.uvarint()
	rec.body = r.b
	switch {
	case r.bad || rec.node == "":
		return record{}, fmt.Errorf("%w: header", ErrMalformed)
	case rec.kind != kindOffer && rec.kind != kindHolding:
		return record{}, fmt.Errorf("%w: kind %d", ErrMalformed, rec.kind)
	case ttl < uint64(TTLMin.Milliseconds()) || ttl > uint64(TTLMax.Milliseconds()):
		return record{}, fmt.Errorf("%w: good for %d ms, %d to %d are allowed", ErrMalformed, ttl, TTLMin.Milliseconds(), TTLMax.Milliseconds())
	}
	rec.ttl = time.Duration(ttl) * time.Millisecond
	return rec, nil
}

// Validate reports the first field that cannot be sent.
func (o *Offer) Validate() error {
	if len(o.Capabilities) > WordsMax || len(o.Labels) > WordsMax {
		return fmt.Errorf("%d capabilities and %d labels, at most %d of each", len(o.Capabilities), len(o.Labels), WordsMax)
	}
	if o.Wait < 0 || o.BusyFor < 0 {
		return errors.New("a duration is negative")
	}
	words := append([]string(nil), o.Capabilities...)
	for _, l := range o.Labels {
		words = append(words, l.Key, l.Value)
	}
	for _, w := range words {
		if len(w) > WordBytesMax {
			return fmt.Errorf("word of %d bytes, at most %d", len(w), WordBytesMax)
		}
	}
	if n := len(o.encode()); n > OfferBytesMax {
		return fmt.Errorf("offer of %d bytes, at most %d", n, OfferBytesMax)
	}
	return nil
}

func (o *Offer) encode() []byte {
	b := make([]byte, 0, 64)
	for _, v := range []uint64{
		o.FuelRate, o.MemoryBytes, o.DiskBytes, uint64(o.Slots),
		uint64(o.Wait.Milliseconds()), uint64(o.BusyFor.Milliseconds()), uint64(len(o.Capabilities)),
	} {
		b = binary.AppendUvarint(b, v)
	}
	for _, c := range o.Capabilities {
		b = appendText(b, c)
	}
	b = binary.AppendUvarint(b, uint64(len(o.Labels)))
	for _, l := range o.Labels {
		b = appendText(appendText(b, l.Key), l.Value)
	}
	return b
}

func decodeOffer(body []byte) (o Offer, err error) {
	r := reader{b: body}
	o.FuelRate, o.MemoryBytes, o.DiskBytes = r.uvarint(), r.uvarint(), r.uvarint()
	slots := r.uvarint()
	o.Slots = uint32(min(slots, 1<<32-1))
	o.Wait, o.BusyFor = r.duration(), r.duration()
	for range r.count(WordsMax) {
		o.Capabilities = append(o.Capabilities, string(r.bytes(WordBytesMax)))
	}
	for range r.count(WordsMax) {
		o.Labels = append(o.Labels, Label{Key: string(r.bytes(WordBytesMax)), Value: string(r.bytes(WordBytesMax))})
	}
	if r.bad || len(r.b) != 0 || slots > 1<<32-1 {
		return Offer{}, fmt.Errorf("%w: offer", ErrMalformed)
	}
	return o, nil
}

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// reader takes fields off the front of b; bad says that one was not there.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) byte() byte {
	if len(r.b) == 0 {
		r.bad = true
		return 0
	}
	v := r.b[0]
	r.b = r.b[1:]
	return v
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.bad, r.b = true, nil
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) varint() int64 {
	v, n := binary.Varint(r.b)
	if n <= 0 {
		r.bad, r.b = true, nil
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) bytes(most int) []byte {
	n := r.uvarint()
	if r.bad || n > uint64(len(r.b)) || n > uint64(most) {
		r.bad, r.b = true, nil
		return nil
	}
	v := r.b[:n:n]
	r.b = r.b[n:]
	return v
}

// count is the length of a list, of which each element takes a byte at least.
func (r *reader) count(most int) int {
	n := r.uvarint()
	if n > uint64(most) || n > uint64(len(r.b)) {
		r.bad, r.b = true, nil
		return 0
	}
	return int(n)
}

// duration is a number of milliseconds, up to a year.
func (r *reader) duration() time.Duration {
	const most = 366 * 24 * time.Hour
	v := r.uvarint()
	if v > uint64(most.Milliseconds()) {
		r.bad = true
		return 0
	}
	return time.Duration(v) * time.Millisecond
}
