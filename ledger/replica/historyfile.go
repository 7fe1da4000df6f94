package replica

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
)

// The history outlives a restart in a file that Close writes and Open reads and
// removes: 8 bytes of magic, u32 CRC-32C of the rest, the lineage, uvarint floor,
// uvarint last index, then records, each with its length. Without it, after a
// crash, followers and watches resume elsewhere or take the state as a whole. So
// nothing about it is an error, and it is not synced.
const historyMagic = "dugnadh1"

var historySums = crc32.MakeTable(crc32.Castagnoli)

func historyPath(config *Config) string { return filepath.Join(config.Dir, "history") }

// save writes the history of a member that is closing. lineage says of which
// history of the grid it is.
func (h *history) save(config *Config, lineage string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.records) == 0 || h.last != config.Store.Applied() {
		return nil
	}
	b := make([]byte, len(historyMagic)+4, len(historyMagic)+4+h.bytes)
	copy(b, historyMagic)
	b = appendBytes(b, lineage)
	b = binary.AppendUvarint(b, h.floor)
	b = binary.AppendUvarint(b, h.last)
	for _, r := range h.records {
		b = appendBytes(b, r.data)
	}
	rest := b[len(historyMagic)+4:]
	binary.LittleEndian.PutUint32(b[len(historyMagic):], crc32.Checksum(rest, historySums))
	path := historyPath(config)
	if err := os.WriteFile(path, b, 0o600); err != nil {
		return errors.Join(fmt.Errorf("save recent changes: %w", err), os.Remove(path))
	}
	return nil
}

// load takes the history from the file, if that ends where the store does.
func (h *history) load(config *Config, lineage string) error {
	path := historyPath(config)
	b, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = os.Remove(path) // what it says is true now and not later
	}
	if err != nil {
		return fmt.Errorf("load recent changes: %w", err)
	}
	floor, records, err := decodeHistory(b, lineage, config.Store.Applied())
	if err != nil {
		return fmt.Errorf("load recent changes: %w", err)
	}
	h.mu.Lock()
	h.floor = floor
	h.mu.Unlock()
	h.append(records)
	return nil
}

// decodeHistory returns the records behind floor, the last one of which is at
// applied, and all of them of the lineage.
func decodeHistory(b []byte, lineage string, applied uint64) (floor uint64, records []record, err error) {
	const head = len(historyMagic) + 4
	if len(b) < head || string(b[:len(historyMagic)]) != historyMagic ||
		binary.LittleEndian.Uint32(b[len(historyMagic):]) != crc32.Checksum(b[head:], historySums) {
		return 0, nil, ErrCorrupt
	}
	d := decoder{rest: b[head:]}
	if d.string(lineageBytesMax) != lineage {
		return 0, nil, fmt.Errorf("they are of another history of the grid: %w", ErrTooOld)
	}
	floor = d.uvarint()
	if last := d.uvarint(); d.err == nil && last != applied {
		return 0, nil, fmt.Errorf("they end at %d, the state is at %d: %w", last, applied, ErrTooOld)
	}
	at := floor
	for d.err == nil && len(d.rest) > 0 {
		r, err := parseRecord(d.bytes(frameBytesMax))
		if err != nil {
			return 0, nil, err
		}
		if r.index <= at {
			return 0, nil, ErrCorrupt
		}
		r.data = bytes.Clone(r.data) // so that b goes when the first ones do
		records, at = append(records, r), r.index
	}
	if d.err != nil || at != applied || len(records) == 0 {
		return 0, nil, errors.Join(d.err, ErrCorrupt)
	}
	return floor, records, nil
}
