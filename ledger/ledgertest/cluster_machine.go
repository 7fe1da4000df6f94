package ledgertest

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/dugnad/dugnad/ledger"
)

// Toy is a state machine of registers, for tests of what carries commands. It
// applies a command of a client and sequence number once; a repetition of the
// latest gets the same result, an older one ToyStale.
type Toy struct{}

// ToyOp is what a ToyCommand does to its key.
type ToyOp uint8

const (
	// ToySet stores the value; the result is the one before.
	ToySet ToyOp = iota + 1
	// ToyAdd adds 1 to a u64; the result is the sum.
	ToyAdd
	// ToyAppend appends the value; the result is the whole.
	ToyAppend
	// ToyGet changes nothing; the result is the value.
	ToyGet
	toyOps
)

// ToyStale is the result of a command older than the client's latest.
var ToyStale = []byte("stale")

// ToyCommand is one command of the Toy.
type ToyCommand struct {
	Client, Seq uint64
	Op          ToyOp
	Key, Value  string
}

// Encode returns the command's bytes.
func (c ToyCommand) Encode() []byte {
	b := binary.BigEndian.AppendUint64(nil, c.Client)
	b = binary.BigEndian.AppendUint64(b, c.Seq)
	b = append(b, byte(c.Op), byte(len(c.Key)))
	return append(append(b, c.Key...), c.Value...)
}

// ToyKey returns where the value of a key is kept.
func ToyKey(key string) []byte { return []byte("key/" + key) }

// Apply implements replica.Machine.
func (Toy) Apply(tx ledger.Tx, _ uint64, command []byte) ([]byte, error) {
	if len(command) < 18 || command[16] < 1 || ToyOp(command[16]) >= toyOps || len(command) < 18+int(command[17]) {
		return nil, fmt.Errorf("toy command %x: %w", command, ledger.ErrUnknownCommand)
	}
	session := append([]byte("client/"), command[:8]...)
	seq, op := command[8:16], ToyOp(command[16])
	key, value := ToyKey(string(command[18:18+command[17]])), command[18+command[17]:]
	last, err := tx.Get(session)
	if err != nil {
		return nil, err
	}
	if len(last) >= 8 {
		switch bytes.Compare(seq, last[:8]) {
		case 0:
			return bytes.Clone(last[8:]), nil
		case -1:
			return ToyStale, nil
		}
	}
	was, err := tx.Get(key)
	if err != nil {
		return nil, err
	}
	result := bytes.Clone(was)
	next := was
	switch op {
	case ToySet:
		next = value
	case ToyAdd:
		var sum [8]byte
		copy(sum[:], was)
		binary.BigEndian.PutUint64(sum[:], binary.BigEndian.Uint64(sum[:])+1)
		next, result = sum[:], sum[:]
	case ToyAppend:
		next = append(bytes.Clone(was), value...)
		result = next
	}
	if op != ToyGet {
		if err := tx.Set(key, next); err != nil {
			return nil, err
		}
	}
	return result, tx.Set(session, append(bytes.Clone(seq), result...))
}
