package lint

import (
	"bytes"
	"hash/maphash"

	"github.com/dugnad/dugnad/runtime/internal/wasm"
)

// nameSet finds duplicates among names without copying them: 16 bytes or so
// for each name.
type nameSet struct {
	seed  maphash.Seed
	first map[uint64][]byte
	more  [][]byte // names whose hash was taken by another name: none in practice
}

// add reports whether name is new.
func (s *nameSet) add(name []byte) bool {
	if s.first == nil {
		s.seed, s.first = maphash.MakeSeed(), map[uint64][]byte{}
	}
	h := maphash.Bytes(s.seed, name)
	old, taken := s.first[h]
	if !taken {
		s.first[h] = name
		return true
	}
	if bytes.Equal(old, name) {
		return false
	}
	for _, other := range s.more {
		if bytes.Equal(other, name) {
			return false
		}
	}
	s.more = append(s.more, name)
	return true
}

func (c *checker) readExports(r *wasm.Reader) error {
	n, err := c.count(r, 3, "exports", c.limits.Exports, "exports")
	if err != nil {
		return err
	}
	var seen nameSet
	for range n {
		at := r.Offset()
		name, err := c.name(r)
		if err != nil {
			return err
		}
		if reserved(name) {
			return reservedName(at, "exports", name)
		}
		if !seen.add(name) {
			return invalid(at, "the name %q is exported twice", clip(name))
		}
		if err := c.readExportKind(r); err != nil {
			return err
		}
	}
	c.report.Exports = int(n)
	return nil
}

func (c *checker) readExportKind(r *wasm.Reader) error {
	at := r.Offset()
	kind, err := r.Byte()
	if err != nil {
		return err
	}
	x, err := r.U32()
	if err != nil {
		return err
	}
	var count int
	var what string
	switch kind {
	case 0:
		count, what = len(c.funcs), "function"
	case 1:
		count, what = len(c.tables), "table"
	case 2:
		what = "memory"
		if c.memory {
			count = 1
		}
	case 3:
		count, what = len(c.globals), "global"
	case 4:
		return feature(at, featExceptions, "the export of a tag")
	default:
		return invalid(at, "%#02x is not a kind of export", kind)
	}
	if uint64(x) >= uint64(count) {
		return invalid(at, "%s %d is exported, there are %d", what, x, count)
	}
	if kind == 0 {
		c.declare(x)
		if int(x) >= c.funcImports {
			c.cost.front(&c.types[c.funcs[x]])
		}
	}
	return nil
}

// declare notes that ref.func may name function x within bodies.
func (c *checker) declare(x uint32) {
	if c.declared == nil {
		c.declared = make([]uint64, len(c.funcs)/64+1)
	}
	c.declared[x/64] |= 1 << (x % 64)
}

func (c *checker) isDeclared(x uint32) bool {
	return c.declared != nil && c.declared[x/64]&(1<<(x%64)) != 0
}

func (c *checker) readStart(r *wasm.Reader) error {
	at := r.Offset()
	x, err := r.U32()
	if err != nil {
		return err
	}
	if uint64(x) >= uint64(len(c.funcs)) {
		return invalid(at, "function %d is to start, there are %d", x, len(c.funcs))
	}
	if t := c.types[c.funcs[x]]; len(t.params) > 0 || len(t.results) > 0 {
		return invalid(at, "the start function %d has parameters or results", x)
	}
	c.report.Start = true
	return nil
}
