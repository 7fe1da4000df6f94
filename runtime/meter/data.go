package meter

import (
	"fmt"

	"github.com/dugnad/dugnad/runtime/internal/wasm"
)

// joinGap is the largest gap between two data segments that the skeleton
// fills with zeros to join them. Linkers leave gaps where the program's own
// data is zero, and an engine pays per segment.
const joinGap = 64

// segmentJoiner collects active data segments that follow one another.
type segmentJoiner struct {
	out   code
	count uint32
	// at and pending are the segment that still grows.
	at      uint32
	pending []byte
	open    bool
}

// dataSection counts the module's data and returns the contents of the
// skeleton's data section: the same bytes at the same places, in fewer
// segments. Memory is zero before the first segment, segments apply in order,
// and one that does not fit traps; joining neighbours in ascending order
// changes none of that. Where the code names segments, or one lies at an
// offset that is not a constant, the section stays as it is.
func (w *rewriter) dataSection() (code, error) {
	r, n, err := w.reader(wasm.SectionData)
	if err != nil || n == 0 {
		return nil, err
	}
	join, plain := segmentJoiner{}, !w.usesSegments
	for range n {
		at, constant, bytes, err := dataSegment(&r)
		if err != nil {
			return nil, err
		}
		w.dataSegments++
		w.dataBytes += uint64(len(bytes))
		if plain = plain && constant; plain {
			join.add(at, bytes)
		}
	}
	s := w.sections[wasm.SectionData]
	if !plain {
		return code(w.bytes[s.from:s.to]), nil
	}
	join.close()
	var c code
	c.u32(join.count)
	return append(c, join.out...), nil
}

// dataSegment reads one segment. constant is set when it is active and its
// offset is a constant.
func dataSegment(r *wasm.Reader) (at uint32, constant bool, bytes []byte, err error) {
	form, err := r.U32()
	if err != nil {
		return 0, false, nil, err
	}
	switch form {
	case 0, 2:
		if form == 2 {
			if _, err := r.U32(); err != nil {
				return 0, false, nil, err
			}
		}
		if at, constant, err = constOffset(r); err != nil {
			return 0, false, nil, err
		}
	case 1:
	default:
		return 0, false, nil, fmt.Errorf("data segment of form %d", form)
	}
	n, err := r.U32()
	if err != nil {
		return 0, false, nil, err
	}
	bytes, err = r.Bytes(n)
	return at, constant, bytes, err
}

// constOffset reads a constant expression and reports whether it is a single
// i32.const.
func constOffset(r *wasm.Reader) (at uint32, constant bool, err error) {
	var in wasm.Instr
	for n := 0; ; n++ {
		if err := r.Next(&in); err != nil {
			return 0, false, err
		}
		if in.Op == wasm.OpEnd {
			return at, constant && n == 1, nil
		}
		constant = n == 0 && in.Op == wasm.OpI32Const
		at = uint32(in.Value)
	}
}

func (j *segmentJoiner) add(at uint32, bytes []byte) {
	end := uint64(j.at) + uint64(len(j.pending))
	if j.open && uint64(at) >= end && uint64(at)-end <= joinGap {
		j.pending = append(j.pending, make([]byte, uint64(at)-end)...)
		j.pending = append(j.pending, bytes...)
		return
	}
	j.close()
	j.at, j.pending, j.open = at, append(j.pending[:0], bytes...), true
}

func (j *segmentJoiner) close() {
	if !j.open {
		return
	}
	j.out.u32(0)
	j.out.i32Const(int32(j.at))
	j.out.op(wasm.OpEnd)
	j.out.u32(uint32(len(j.pending)))
	j.out = append(j.out, j.pending...)
	j.count++
	j.open = false
}
