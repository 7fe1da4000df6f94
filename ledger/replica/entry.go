package replica

import (
	"encoding/binary"
	"fmt"

	"github.com/dugnad/dugnad/ledger"
)

// A log entry is a version byte and what belongs to it. Append-only.
const (
	// entryCommands: uvarint count, then each command with its length.
	entryCommands = 1
	// entryMember: one command of the replica itself, see memberCommand.
	entryMember = 2
)

// appendCommands encodes commands as one log entry.
func appendCommands(to []byte, commands [][]byte) []byte {
	to = append(to, entryCommands)
	to = binary.AppendUvarint(to, uint64(len(commands)))
	for _, c := range commands {
		to = appendBytes(to, c)
	}
	return to
}

// decodeCommands is the inverse of appendCommands, after the version byte.
func decodeCommands(rest []byte) ([][]byte, error) {
	d := decoder{rest: rest}
	n := d.uvarint()
	if n > batchCommandsLimit {
		d.fail("count of commands")
	}
	var commands [][]byte
	for i := uint64(0); i < n && d.err == nil; i++ {
		commands = append(commands, d.bytes(frameBytesMax))
	}
	if err := d.end(); err != nil {
		return nil, fmt.Errorf("decode log entry: %w", err)
	}
	return commands, nil
}

// memberCommand is a command of the replica: it changes what members know of
// one another. All of them may be applied twice.
type memberCommand struct {
	kind    uint8
	id      string
	address string
	flags   uint64
}

// Kinds of memberCommand. Append-only.
const (
	// memberLineage names the grid's history, in id; only the first counts.
	memberLineage = 1
	// memberPut enters a member or changes its address.
	memberPut = 2
	// memberDelete removes a member.
	memberDelete = 3
)

// flagNeverVote: the member does not want to vote.
const flagNeverVote = 1

func (m memberCommand) encode() []byte {
	b := []byte{entryMember, m.kind}
	b = appendBytes(b, m.id)
	b = appendBytes(b, m.address)
	return binary.AppendUvarint(b, m.flags)
}

// decodeMember is the inverse of encode, after the version byte. What it does
// not know it reports as an unknown command.
func decodeMember(rest []byte) (memberCommand, error) {
	d := decoder{rest: rest}
	m := memberCommand{kind: d.byte(), id: d.string(idBytesMax), address: d.string(addressBytesMax), flags: d.uvarint()}
	if err := d.end(); err != nil || m.kind < memberLineage || m.kind > memberDelete {
		return m, fmt.Errorf("decode member command of kind %d: %w", m.kind, ledger.ErrUnknownCommand)
	}
	return m, nil
}
