package capacity

import "time"

// Limits of a record. They are part of the wire format.
const (
	// WordsMax bounds the capabilities, and the labels, of an offer.
	WordsMax = 64
	// WordBytesMax bounds a capability, a label's key or its value.
	WordBytesMax = 128
	// OfferBytesMax bounds an encoded offer.
	OfferBytesMax = 8 << 10
	// FilterBytesMax bounds the filter of a holding.
	FilterBytesMax = 16 << 10
	// TTLMin and TTLMax bound how long a record is good for.
	TTLMin = time.Second //nolint:revive // the least, not minutes
	TTLMax = time.Hour
	// ClockSkewMax is how far ahead a record's time may be.
	ClockSkewMax = 30 * time.Second

	nodeBytesMax = 128
	// recordBytesMax bounds an encoded record with its signature.
	recordBytesMax = FilterBytesMax + 512
	// batchBytesMax bounds one batch on the wire.
	batchBytesMax = 256 << 10
	// forgedMax is how many records that fail their check a child may send on
	// one stream: the next one ends it.
	forgedMax = 4
)
