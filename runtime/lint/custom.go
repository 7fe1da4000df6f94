package lint

import "github.com/dugnad/dugnad/runtime/internal/wasm"

func (c *checker) readCustom(r *wasm.Reader) error {
	at := r.Offset()
	c.report.CustomSections++
	if err := c.atMost(at, "custom_sections", uint64(c.report.CustomSections), uint64(c.limits.CustomSections), "there are %d custom sections"); err != nil {
		return err
	}
	c.report.CustomBytes += r.Len()
	if err := c.atMost(at, "custom_bytes", uint64(c.report.CustomBytes), uint64(c.limits.CustomBytes), "the custom sections hold %d bytes"); err != nil {
		return err
	}
	name, err := r.Name()
	if err != nil {
		return err
	}
	if string(name) == "name" {
		if c.names {
			return invalid(at, "there are two name sections")
		}
		c.names = true
		return c.readNames(r)
	}
	_, err = r.Bytes(uint32(r.Len()))
	return err
}

// readNames reads the name section, whose parts are a module name (0), the
// names of functions (1) and of locals (2); further parts are skipped. The
// specification calls a malformed name section harmless; compilers do not.
func (c *checker) readNames(r *wasm.Reader) error {
	for r.Len() > 0 {
		at := r.Offset()
		id, err := r.Byte()
		if err != nil {
			return err
		}
		n, err := r.U32()
		if err != nil {
			return err
		}
		sub, err := r.Sub(n)
		if err != nil {
			return err
		}
		switch id {
		case 0:
			_, err = c.name(&sub)
		case 1:
			err = c.readNameMap(&sub)
		case 2:
			err = c.readLocalNames(&sub)
		default:
			continue
		}
		if err != nil {
			return err
		}
		if sub.Len() > 0 {
			return invalid(at, "part %d of the name section ends %d bytes before its size says", id, sub.Len())
		}
	}
	return nil
}

func (c *checker) readNameMap(r *wasm.Reader) error {
	at := r.Offset()
	n, err := c.count(r, 2, "name_entries", c.limits.NameEntries, "names")
	if err != nil {
		return err
	}
	c.report.NameEntries += int(n)
	if err := c.atMost(at, "name_entries", uint64(c.report.NameEntries), uint64(c.limits.NameEntries), "the name section holds %d names"); err != nil {
		return err
	}
	for range n {
		if _, err := r.U32(); err != nil {
			return err
		}
		if _, err := c.name(r); err != nil {
			return err
		}
	}
	return nil
}

func (c *checker) readLocalNames(r *wasm.Reader) error {
	n, err := c.count(r, 2, "functions", c.limits.Functions, "functions with names for locals")
	if err != nil {
		return err
	}
	for range n {
		if _, err := r.U32(); err != nil {
			return err
		}
		if err := c.readNameMap(r); err != nil {
			return err
		}
	}
	return nil
}
